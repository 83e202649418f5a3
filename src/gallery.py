"""Write outputs/gallery/index.html: every run's numbers, pictures and films on one page that opens from disk."""

import argparse
from pathlib import Path

from atlas import settings
from atlas.errors import run_stage
from atlas.measures.catalogue import MEASURES
from atlas.show import gallery, gallery_outputs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--partial", action="store_true", help="show what is there already instead of asking for every run's outputs"
    )
    partial = parser.parse_args().partial

    params = settings.load()
    root = Path()
    runs = gallery_outputs.collect(root, {key: params.flat(key) for key in params.runs}, partial)
    judges = gallery_outputs.collect_judges(root, [run.dataset for run in runs], partial)
    page = root / "outputs" / "gallery" / "index.html"
    gallery.build(page, runs, judges, list(MEASURES.values()), params.scale, params.seed)
    print(f"{page}: {len(runs)} runs, {page.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    run_stage(main)
