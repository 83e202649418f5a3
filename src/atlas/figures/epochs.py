"""The sheet of epochs: how every class in one shared style comes to be, from the frames that the training kept."""

from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from atlas.figures.context import Album
from atlas.core.files import AtlasError
from atlas.core.files import require
from atlas.show import figures

KEYS = ("steps", "images", "kind", "epoch_ends")


def epochs(album: Album, frames: Path) -> None:
    """Draw a row an epoch and a column a class, all of one code: the centre of the map, or the first prior code."""
    names, images, kind = load_epochs(frames)
    style = "the map's centre" if kind == "map" else "one draw from N(0, I)"
    path, title = album.add(
        "epochs.png",
        f"Every class in one style ({style}), epoch by epoch",
        "a row for each epoch, from the untrained model (0) at the top to the last, and a column for each class",
    )
    figures.strips(path, images, names, title, "row: epochs trained, 0 before any; column: class", album.classes)


def load_epochs(path: Path) -> tuple[list[str], np.ndarray, str]:
    """Read frames.npz and keep one image a label, before the first epoch and after each.

    Returns:
        the rows' names, "0" and the epochs' numbers; images uint8 [rows, labels, C, H, W]; "map" or "samples".

    Raises:
        AtlasError: if the file is missing, damaged, or not as `atlas.training.snapshots` writes it.
    """
    stage = f"train@{path.parent.name}"
    try:
        with np.load(require(path, stage), allow_pickle=False) as held:
            lacking = [key for key in KEYS if key not in held]
            if lacking:
                raise AtlasError(f"{path} lacks '{lacking[0]}'; run `dvc repro --force {stage}`")
            steps, images, kind, ends = (held[key] for key in KEYS)
    except (OSError, ValueError, EOFError, BadZipFile) as error:
        raise AtlasError(f"{path} is damaged ({error}); run `dvc repro --force {stage}`") from None
    if images.ndim != 7 or steps.shape != images.shape[:1] or not len(ends) or not np.isin([0, *ends], steps).all():
        raise AtlasError(f"{path} holds no frame of every epoch's end; run `dvc repro --force {stage}`")
    rows = [int(np.flatnonzero(steps == step)[0]) for step in (0, *ends)]
    # The first end is the first epoch's.
    names = ["0", *(str(end // ends[0]) for end in ends)]
    middle = images.shape[2] // 2 if str(kind) == "map" else 0
    return names, images[rows][:, :, middle, middle], str(kind)
