"""The sheet of one image restyled: what the network saw, what it made of it, and its style in every label."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from atlas.plotting.canvas import PAPER, Array, Label, Tiles, best_scale, font, grid, text_size, write_sheet

WIDE = 900  # the width in pixels that the sheet is enlarged towards


def restyled(
    path: Path, seen: Array, rebuilt: Array, styles: Array, classes: Sequence[str], own: int, title: str
) -> None:
    """Draw the image as the network sees it over its reconstruction, and beside them its style in every label.

    Args:
        seen, rebuilt: uint8 [C, H, W].
        styles: uint8 [classes, C, H, W], in two rows.
        own: the number of the image's own label, whose name is set in bold.
    """
    columns = -(-len(styles) // 2)
    scale = best_scale((columns + 1) * seen.shape[-1], WIDE)
    height, width = seen.shape[-2] * scale, seen.shape[-1] * scale
    size = text_size((columns + 1) * width)
    room, space = round(1.6 * size), scale
    left = Tiles(2, 1, height, width, room, space)
    right = Tiles(len(styles), columns, height, width, room, space)
    apart = width // 4
    start = width + apart
    canvas = np.full((left.size[0], start + right.size[1], 3), PAPER, np.uint8)
    canvas[:, :width] = left.paint(grid(image[None, None], 0, scale) for image in (seen, rebuilt))
    canvas[: right.size[0], start:] = right.paint(grid(image[None, None], 0, scale) for image in styles)
    labels = _fitted(left.captions(["input", "reconstruction"], size), width)
    named = [label._replace(bold=number == own) for number, label in enumerate(right.captions(classes, size))]
    labels += [label._replace(x=label.x + start) for label in _fitted(named, width)]
    write_sheet(path, canvas, title, labels)


def _fitted(labels: Sequence[Label], width: int) -> list[Label]:
    """The labels in the largest size up to their own at which each is at most `width` pixels long."""
    longest = max(font(label.size, label.bold).getlength(label.text) for label in labels)
    return [label._replace(size=max(9, int(label.size * min(1, width / max(longest, 1))))) for label in labels]
