"""Set the style transfers of a data set's conditional models side by side, of the same test images."""

import argparse
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from atlas import settings as settings_file
from atlas.errors import AtlasError, run_stage
from atlas.files import need, whole_folder
from atlas.show.abreast import Transfers, style_transfers
from atlas.show.page import Caption, write_captions

TARGET = Path("outputs/side_by_side")
KEYS = ("originals", "names", "images", "classes", "searched")
SOURCES = 5
"""Images whose style each model transfers: more would be too small to read."""
MOST = 4
"""Models on a sheet."""


def main() -> None:
    argparse.ArgumentParser(description=__doc__).parse_args()
    settings = settings_file.load()
    captions: list[Caption] = []
    with whole_folder(TARGET) as folder:
        for dataset in dict.fromkeys(run.dataset for run in settings.runs.values()):
            models = [settings.run(key) for key, run in settings.runs.items() if run.dataset == dataset]
            captions += draw(folder, dataset, [(run.key, run.model) for run in models])
        write_captions(folder, captions)
    print(f"{TARGET}: {len(captions)} sheets")


def draw(folder: Path, dataset: str, runs: list[tuple[str, str]]) -> list[Caption]:
    """Draw the sheet of a data set, if two models or more transfer styles; return its caption.

    Args:
        runs: (name, member) of its runs. Those that can do it have written transfer.npz; of a member with several runs
            the one with the lowest error of its own label's image stands for it.

    Raises:
        AtlasError: if a run's figures are missing, its transfers damaged, or of other images.
    """
    best: dict[str, tuple[float, str, Transfers]] = {}
    classes: list[str] = []
    for key, member in runs:
        path = need(Path("outputs/samples") / key, f"sample@{key}") / "transfer.npz"
        if not path.exists():
            continue
        found, classes = load(path)
        error = rebuilt(found, classes)
        if member not in best or error < best[member][0]:
            best[member] = error, key, found
    chosen = [(key, found) for _, key, found in best.values()][:MOST]
    if len(chosen) < 2:
        return []
    names = ", ".join(key for key, _ in chosen)
    title = f"{dataset} · the style of the same test images in every label"
    try:
        style_transfers(folder / f"{dataset}.png", chosen, classes, title)
    except ValueError as error:
        raise AtlasError(f"{dataset}: {error}; run `dvc repro --glob 'sample@{dataset}_*'`") from None
    alt = f"Style transfer on {dataset} by {names}: test images on top, below them a row for each label in their style"
    return [{"file": f"{dataset}.png", "title": f"Style transfer on {dataset}: {names}", "alt": alt}]


def load(path: Path) -> tuple[Transfers, list[str]]:
    """Return what stage sample wrote into transfer.npz, of the first `SOURCES` images, and the names of the classes.

    Raises:
        AtlasError: if it is damaged.
    """
    try:
        with np.load(path, allow_pickle=False) as held:
            originals, names, images, classes, searched = (held[key] for key in KEYS)
    except (OSError, ValueError, KeyError, EOFError, BadZipFile) as error:
        again = f"run `dvc repro --force sample@{path.parent.name}`"
        raise AtlasError(f"{path} is damaged ({error}); {again}") from None
    kept = Transfers(originals[:SOURCES], names[:SOURCES].tolist(), images[:SOURCES], bool(searched))
    return kept, classes.tolist()


def rebuilt(found: Transfers, classes: list[str]) -> float:
    """Return the squared error, in [0, 1], of the images in their own labels: of a large enough code it is small."""
    own = [classes.index(name) for name in found.names]
    difference = found.images[range(len(own)), own].astype(float) - found.originals
    return float(np.square(difference / 255).mean())


if __name__ == "__main__":
    run_stage(main)
