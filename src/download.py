"""Download a data set, verify it, and decode it once into data/NAME/; or read a folder of images.

ATLAS_MIRROR names a folder laid out as torchvision's root, to read instead of the official hosts.
"""

import os
from pathlib import Path

from atlas.core.files import run_stage


def download_dataset(name: str) -> None:
    """Download the data set of that name; write data/NAME."""
    from atlas.core import settings as settings_file
    from atlas.core.datasets import Dataset
    from atlas.core.schema import FolderSettings

    datasets = settings_file.load().datasets
    settings = datasets[settings_file.require_known("dataset", name, datasets)]
    folder = Path("data") / name
    if isinstance(settings, FolderSettings):
        from atlas.data.folder import read_folder

        origin = read_folder(name, settings, folder)
    else:
        from atlas.data.download import download

        mirror = os.environ.get("ATLAS_MIRROR")
        origin = download(name, settings.validation, folder, Path(mirror).expanduser() if mirror else None)
    dataset = Dataset.open(folder)
    counts = ", ".join(f"{count} {split}" for split, count in dataset.counts.items())
    print(f"{folder}: {counts} images of {'x'.join(map(str, dataset.shape))}, from {origin}")


if __name__ == "__main__":
    run_stage(download_dataset, __doc__, dataset="a name under `datasets` in params.yaml")
