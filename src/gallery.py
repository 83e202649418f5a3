"""Write outputs/gallery/: every run's numbers, pictures and films as pages that open from disk."""

import argparse
from pathlib import Path

from atlas import runtime, settings
from atlas.core.files import AtlasError, run_stage
from atlas.metrics.registry import METRICS
from atlas.show import gallery, gallery_claims, gallery_outputs

CACHE = Path(".cache")


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
    sheets = gallery_outputs.collect_sheets(root, partial)
    claims = gallery_claims.collect_claims(root)
    folder = root / "outputs" / "gallery"
    live = None
    if any(run.explorer for run in runs):
        try:
            live = runtime.fetch(CACHE)
        except AtlasError as error:
            print(f"the latent explorers will show maps drawn beforehand: {error}")
    gallery.build(folder, runs, judges, claims, list(METRICS.values()), params.scale, params.seed, live, sheets)
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    print(f"{folder / 'index.html'}: {len(runs)} runs, {size / 1e6:.1f} MB in the folder")


if __name__ == "__main__":
    run_stage(main)
