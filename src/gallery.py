"""Write outputs/gallery/: every run's metrics, figures and animations as web pages that open from disk."""

import argparse
from pathlib import Path

from atlas.core.files import AtlasError, run_stage

CACHE = Path(".cache")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--partial", action="store_true", help="show the outputs that exist instead of requiring all")
    partial = parser.parse_args().partial
    from atlas.core import settings as settings_file
    from atlas.gallery import onnx_runtime, pages
    from atlas.gallery.outputs import collect, collect_claims, collect_judges
    from atlas.metrics.registry import METRICS

    settings = settings_file.load()
    root = Path()
    runs = collect(root, {key: settings.flat(key) for key in settings.runs}, partial)
    judges = collect_judges(root, [run.dataset for run in runs], partial)
    claims = collect_claims(root)
    runtime = None
    if any(run.explorer for run in runs):
        try:
            runtime = onnx_runtime.fetch(CACHE)
        except AtlasError as error:
            again = "make gallery" if partial else "dvc repro -f -s gallery"
            print(f"the latent explorers will show maps drawn beforehand: {error}; once that is mended, `{again}`")
    folder = root / "outputs" / "gallery"
    pages.build(folder, runs, judges, claims, list(METRICS.values()), settings.scale, settings.seed, runtime)
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    print(f"{folder / 'index.html'}: {len(runs)} runs, {size / 1e6:.1f} MB in the folder")


if __name__ == "__main__":
    run_stage(main)
