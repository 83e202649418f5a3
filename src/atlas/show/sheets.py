"""Sheets of images: reconstructions, samples, maps of the latent space, style transfers, strips.

Every image is shown pixel by pixel, enlarged by a whole factor. Images are uint8 [..., C, H, W] with C = 1 or 3; each
function writes one PNG and returns nothing.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from atlas.show.page import (
    PAPER,
    QUIET,
    Array,
    Label,
    Tiles,
    best_scale,
    font,
    grid,
    in_rows,
    text_size,
    thinned,
    write_sheet,
)

WIDE = 900  # the width in pixels that sheets are enlarged towards
LARGEST = 8  # pixels to the side of an image's pixel: a few images need not fill the width
ABREAST = 10  # images side by side before a new row begins
TICKS = 5  # labelled columns and rows of a map
MAP_CELLS = {1: 8, 3: 5}  # cells a side of each map on the overview, by channels: more would be too large a file


def reconstructions(path: Path, originals: Array, reconstructions: Array, title: str) -> None:
    """Draw originals [N, C, H, W] over their reconstructions [N, C, H, W], in pairs of rows of at most ten."""
    bands = -(-len(originals) // ABREAST)
    columns = -(-len(originals) // bands)
    gap, scale = _measure(columns, originals.shape[-1])
    pieces, rows, top = [], [], 0
    for start in range(0, len(originals), columns):
        some = slice(start, start + columns)
        band = grid(np.stack([originals[some], reconstructions[some]]), gap, scale)
        rows += [(top + band.shape[0] * (1 + 2 * row) / 4, ("original", "reconstruction")[row]) for row in (0, 1)]
        pieces.append(band)
        top += band.shape[0] + _space(scale)
    canvas = _stack(pieces, _space(scale))
    write_sheet(path, canvas, title, _at_left(rows, canvas))


def samples(path: Path, images: Array, classes: Sequence[str], title: str) -> None:
    """Draw samples [L, n, C, H, W], one row a label with its class name beside it.

    An unconditional model has L = 1 and `classes` [""]: its samples are laid out as nearly a square, unnamed.
    """
    if len(images) == 1 and not classes[0]:
        count = images.shape[1]
        columns = int(np.ceil(np.sqrt(count)))
        gap, scale = _measure(columns, images.shape[-1])
        write_sheet(path, in_rows(images[0], columns, gap, scale), title)
    else:
        interpolations(path, images, classes, title, "")


def latent_map(path: Path, images: Array, first: Array, second: Array, title: str) -> None:
    """Draw the map of the first two code dimensions.

    `images` [n, n, C, H, W] is images[row, column], decoded at z1 = first[column] and z2 = second[row]. Row 0 is drawn
    at the top, so `first` [n] ascends and `second` [n] descends: z1 rises to the right, z2 upwards.

    Raises:
        ValueError: if the values do not run that way.
    """
    if not (np.all(np.diff(first) > 0) and np.all(np.diff(second) < 0)):
        raise ValueError("first must ascend (z1, left to right) and second descend (z2, top to bottom)")
    gap, scale = _measure(images.shape[1], images.shape[-1])
    canvas = grid(images, gap, scale)
    height, width = canvas.shape[:2]
    size = text_size(width)
    down, across = images.shape[-2] * scale + gap, images.shape[-1] * scale + gap
    rows = [((row + 0.5) * down, _number(second[row])) for row in thinned(len(second), TICKS)]
    labels = _at_left(rows, canvas)
    labels += [
        Label((column + 0.5) * across, height + size * 0.4, _number(first[column]), "ma", size)
        for column in thinned(len(first), TICKS)
    ]
    widest = max(font(size).getlength(text) for _, text in rows)
    labels.append(Label(width / 2, height + size * 1.8, "z₁", "ma", size, bold=True))
    labels.append(Label(-widest - size * 1.1, height / 2, "z₂", "rm", size, bold=True))
    write_sheet(path, canvas, title, labels)


def latent_maps(path: Path, images: Array, classes: Sequence[str], title: str) -> None:
    """Draw the maps [L, n, n, C, H, W] of every label side by side, five abreast, laid out as in `latent_map`.

    Of maps with more cells than the sheet has room for, evenly spaced rows and columns are shown, the outermost too.
    """
    shown = thinned(images.shape[1], MAP_CELLS[images.shape[-3]])
    images = images[:, shown][:, :, shown]
    columns = min(len(images), 5)
    gap, scale = _measure(columns * len(shown), images.shape[-1])
    blocks = [grid(block, gap, scale) for block in images]
    height, width = blocks[0].shape[:2]
    size = text_size(width * columns)
    named = any(classes)
    tiles = Tiles(len(blocks), columns, height, width, round(size * 1.5) if named else 0, size)
    canvas = tiles.paint(blocks)
    axes = "each map: z₁ rises to the right, z₂ upwards"
    labels = tiles.captions(classes, size) if named else []
    labels.append(
        Label(canvas.shape[1] / 2, canvas.shape[0] + size * 0.7, axes, "ma", round(size * 0.85), colour=QUIET)
    )
    write_sheet(path, canvas, title, labels)


def style_transfer(
    path: Path, originals: Array, original_labels: Sequence[str], transfers: Array, classes: Sequence[str], title: str
) -> None:
    """Draw originals [S, C, H, W] in the top row under their labels; below, every class in the style of each.

    `transfers` [S, L, C, H, W] is the image of style s and class l: column s, row l.
    """
    gap, scale = _measure(len(originals), originals.shape[-1])
    top = grid(originals[None], gap, scale)
    below = grid(transfers.swapaxes(0, 1), gap, scale)
    canvas = _stack([top, below], _space(scale))
    size = text_size(canvas.shape[1])
    down, across = originals.shape[-2] * scale + gap, originals.shape[-1] * scale + gap
    rows = [(top.shape[0] / 2, "original")]
    rows += [(top.shape[0] + _space(scale) + (row + 0.5) * down, name) for row, name in enumerate(classes)]
    small = _fitting(original_labels, across, size)
    above = [
        Label((column + 0.5) * across, -size * 0.4, name, "ms", small) for column, name in enumerate(original_labels)
    ]
    write_sheet(path, canvas, title, _at_left(rows, canvas) + above)


def interpolations(path: Path, images: Array, row_labels: Sequence[str], title: str, xlabel: str) -> None:
    """Draw strips [rows, steps, C, H, W]: each row named at its left, `xlabel` below all."""
    gap, scale = _measure(images.shape[1], images.shape[-1])
    canvas = grid(images, gap, scale)
    down = images.shape[-2] * scale + gap
    labels = _at_left([((row + 0.5) * down, name) for row, name in enumerate(row_labels)], canvas)
    if xlabel:
        size = text_size(canvas.shape[1])
        labels.append(Label(canvas.shape[1] / 2, canvas.shape[0] + size * 0.6, xlabel, "ma", size))
    write_sheet(path, canvas, title, labels)


traversals = interpolations


def _measure(columns: int, width: int) -> tuple[int, int]:
    """The gap and the factor for `columns` images of `width` pixels abreast."""
    scale = min(best_scale(columns * width, WIDE), LARGEST)
    return scale, scale


def _space(scale: int) -> int:
    """What sets rows apart that belong to different groups."""
    return 6 + 4 * scale


def _stack(pieces: Sequence[Array], space: int) -> Array:
    """Canvases one below the other on paper, `space` pixels apart, flush left."""
    width = max(piece.shape[1] for piece in pieces)
    height = sum(piece.shape[0] for piece in pieces) + space * (len(pieces) - 1)
    canvas = np.full((height, width, 3), PAPER, np.uint8)
    top = 0
    for piece in pieces:
        canvas[top : top + piece.shape[0], : piece.shape[1]] = piece
        top += piece.shape[0] + space
    return canvas


def _at_left(rows: Sequence[tuple[float, str]], canvas: Array) -> list[Label]:
    """Labels at the left of `canvas`, each centred at its height in pixels."""
    size = text_size(canvas.shape[1])
    return [Label(-size * 0.5, y, text, "rm", size) for y, text in rows if text]


def _fitting(texts: Sequence[str], width: float, size: int) -> int:
    """The largest text size up to `size` at which each text is at most `width` pixels long."""
    longest = max(font(size).getlength(text) for text in texts)
    return max(9, min(size, int(size * (width - 4) / max(longest, 1))))


def _number(value: float) -> str:
    """A code value as a tick label, with a true minus sign and no minus zero."""
    return f"{round(float(value), 2) + 0.0:.2f}".replace("-", "−")
