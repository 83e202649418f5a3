"""Fetch a dataset, verify it, and decode it once into data/NAME/."""

import argparse
import os
from pathlib import Path

from atlas.core.datasets import Dataset
from atlas.data.download import download
from atlas.core.files import run_stage
from atlas.core.settings import known, load


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog="ATLAS_MIRROR names a folder laid out as torchvision's root, to read instead of the official hosts.",
    )
    parser.add_argument("name", help="a dataset of params.yaml: mnist, cifar10 or digits")
    name = parser.parse_args().name
    settings = load()
    validation = settings.datasets[known("dataset", name, settings.datasets)].validation
    mirror = os.environ.get("ATLAS_MIRROR")
    folder = Path("data") / name
    origin = download(name, validation, folder, Path(mirror).expanduser() if mirror else None)
    dataset = Dataset.open(folder)
    counts = ", ".join(f"{count} {split}" for split, count in dataset.counts.items())
    print(f"{folder}: {counts} images of {'x'.join(map(str, dataset.shape))}, from {origin}")


if __name__ == "__main__":
    run_stage(main)
