"""Figure of the epochs: every class in one shared style, from the snapshots of the training."""

import numpy as np

from atlas.figures.context import RunFigures
from atlas.plotting import sheets
from atlas.plotting.canvas import Array
from atlas.plotting.frames import Frames


def epochs(figures: RunFigures, frames: Frames) -> None:
    """Draw a row an epoch and a column a class, all of one code: the center of the map, or the first prior code."""
    names, images = epoch_images(frames)
    style = "the map's center" if frames.kind == "map" else "one draw from N(0, I)"
    path, title = figures.add(
        "epochs.png",
        f"Every class in one style ({style}), epoch by epoch",
        "a row for each epoch, from the untrained model (0) at the top to the last, and a column for each class",
    )
    sheets.image_rows(path, images, names, title, "row: epochs trained, 0 before any; column: class", figures.classes)


def epoch_images(frames: Frames) -> tuple[list[str], Array]:
    """Return one image a label, before the first epoch and after each.

    Returns:
        the rows' names, "0" and the epochs' numbers; images uint8 [rows, labels, C, H, W].
    """
    ends = frames.epoch_ends
    rows = np.searchsorted(frames.steps, [0, *ends])
    names = ["0", *(str(end // ends[0]) for end in ends)]
    middle = frames.images.shape[2] // 2 if frames.kind == "map" else 0
    return names, frames.images[rows][:, :, middle, middle]
