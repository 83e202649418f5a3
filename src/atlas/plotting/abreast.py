"""Style transfers of several models on one sheet: the same images, model beside model."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from atlas.plotting.canvas import PAPER, QUIET, Array, Label, best_scale, grid, text_size, write_sheet

WIDE = 1300  # the width in pixels that the sheet is enlarged towards
APART = 18  # pixels between models


@dataclass(frozen=True)
class Transfers:
    """What transfer.npz holds: `originals` uint8 [S, C, H, W], their labels' names [S], and `images` [S, L, C, H, W],
    each style with every label; `searched` tells whether the codes were searched for, as there was no encoder."""

    originals: Array
    names: list[str]
    images: Array
    searched: bool


def style_transfers(path: Path, models: Sequence[tuple[str, Transfers]], classes: Sequence[str], title: str) -> None:
    """Draw a group of columns for each model, its name above it: the originals on top, below them a row a label.

    Args:
        models: (name, transfers of the same originals); classes: the rows' names.

    Raises:
        ValueError: if there is no model, or their originals differ.
    """
    if not models or any(not np.array_equal(each.originals, models[0][1].originals) for _, each in models):
        raise ValueError("the transfers must be of the same images, one model or more")
    count, _, height, width = models[0][1].originals.shape
    scale = best_scale(len(models) * count * width, WIDE)
    gap, room = scale, 6 + 4 * scale
    pieces = []
    for _, each in models:
        top = grid(each.originals[None], gap, scale)
        below = grid(each.images.swapaxes(0, 1), gap, scale)
        pieces.append(np.concatenate([top, np.full((room, top.shape[1], 3), PAPER, np.uint8), below]))
    tall, across = pieces[0].shape[:2]
    canvas = np.full((tall, len(pieces) * (across + APART) - APART, 3), PAPER, np.uint8)
    size = text_size(canvas.shape[1])
    labels = []
    for number, ((name, each), piece) in enumerate(zip(models, pieces, strict=True)):
        left = number * (across + APART)
        canvas[:, left : left + across] = piece
        middle = left + across / 2
        labels.append(Label(middle, -size * 2.7, name, "ms", size, bold=True))
        how = "codes searched for" if each.searched else "codes from the encoder"
        labels.append(Label(middle, -size * 1.5, how, "ms", round(size * 0.8), colour=QUIET))
        # Where all are of one class, once; else above each, as far as there is room for words.
        if len(set(each.names)) == 1:
            labels.append(Label(middle, -size * 0.4, f"originals: {each.names[0]}", "ms", round(size * 0.8)))
        else:
            small = round(size * 0.6)
            for place, word in enumerate(each.names):
                x = left + place * (width * scale + gap) + width * scale / 2
                labels.append(Label(x, -size * 0.3, word if len(word) < 4 else word[:3] + ".", "ms", small))
    down = height * scale + gap
    labels.append(Label(-size * 0.5, height * scale / 2, "original", "rm", size))
    labels += [
        Label(-size * 0.5, height * scale + room + (row + 0.5) * down, name, "rm", size)
        for row, name in enumerate(classes)
    ]
    write_sheet(path, canvas, title, labels)
