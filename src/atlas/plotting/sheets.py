"""Sheets of images: reconstructions, samples, maps of the latent space, style transfers, strips, arithmetic.

Every image is shown pixel by pixel, enlarged by a whole factor. Images are uint8 [..., C, H, W] with C = 1 or 3; each
function writes one PNG and returns nothing.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from atlas.plotting.canvas import (
    INK,
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
    wrap,
    write_sheet,
)

WIDE = 900  # the width in pixels that sheets are enlarged towards
LARGEST = 8  # pixels to the side of an image's pixel: a few images need not fill the width
ABREAST = 10  # images side by side before a new row begins
AXES = ("z₁", "z₂")
WRONG = (170, 20, 20)
TICKS = 5  # labelled columns and rows of a map
MAP_CELLS = {1: 8, 3: 5}  # cells a side of each map on the overview, by channels: more would be too large a file


def reconstructions(
    path: Path,
    originals: Array,
    reconstructions: Array,
    title: str,
    words: Sequence[Sequence[str]] = (),
    wrong: Sequence[bool] = (),
) -> None:
    """Draw originals [N, C, H, W] over their reconstructions [N, C, H, W], in pairs of rows of at most ten.

    `words` are the parts of what is written above each original, on one line where there is room and else one below
    the other; where `wrong` [N] it is bold, red and crossed.
    """
    bands = -(-len(originals) // ABREAST)
    columns = -(-len(originals) // bands)
    gap, scale = _measure(columns, originals.shape[-1])
    across, width = originals.shape[-1] * scale + gap, columns * (originals.shape[-1] * scale + gap) - gap
    marked = [["✗ " + parts[0], *parts[1:]] if bad else list(parts) for parts, bad in zip(words, wrong, strict=True)]
    lines, small = _lines(marked, across, text_size(width))
    space = _space(scale) + round(1.3 * small * max(map(len, lines), default=0))
    pieces, rows, above, top = [], [], [], 0
    for start in range(0, len(originals), columns):
        some = slice(start, start + columns)
        band = grid(np.stack([originals[some], reconstructions[some]]), gap, scale)
        rows += [(top + band.shape[0] * (1 + 2 * row) / 4, ("original", "reconstruction")[row]) for row in (0, 1)]
        for column, (parts, bad) in enumerate(zip(lines[some], wrong[some], strict=True)):
            for line, text in enumerate(reversed(parts)):
                x, y = (column + 0.5) * across, top - small * (0.4 + 1.2 * line)
                above.append(Label(x, y, text, "ms", small, bold=bad, colour=WRONG if bad else INK))
        pieces.append(band)
        top += band.shape[0] + space
    canvas = _stack(pieces, space)
    write_sheet(path, canvas, title, _at_left(rows, canvas) + above)


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
        strips(path, images, classes, title)


def latent_map(path: Path, images: Array, first: Array, second: Array, title: str, axes: Sequence[str] = AXES) -> None:
    """Draw the map of two code dimensions, which `axes` names.

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
    labels.append(Label(width / 2, height + size * 1.8, axes[0], "ma", size, bold=True))
    labels.append(Label(-widest - size * 1.1, height / 2, axes[1], "rm", size, bold=True))
    write_sheet(path, canvas, title, labels)


def latent_maps(path: Path, images: Array, classes: Sequence[str], title: str, axes: Sequence[str] = AXES) -> None:
    """Draw the maps [L, n, n, C, H, W] of every label side by side, five abreast, laid out as in `latent_map`.

    Of maps with more cells than the sheet has room for, evenly spaced rows and columns are shown, the outermost too.
    """
    shown = thinned(images.shape[1], MAP_CELLS[images.shape[-3]])
    images = images[:, shown][:, :, shown]
    columns = min(len(images), 5)
    gap, scale = _measure(columns * len(shown), images.shape[-1])
    if images.shape[-3] == 3:
        # Photographs of 32 pixels cannot be read at their own size, as digits can.
        gap = scale = max(scale, 2)
    blocks = [grid(block, gap, scale) for block in images]
    height, width = blocks[0].shape[:2]
    size = text_size(width * columns)
    named = any(classes)
    tiles = Tiles(len(blocks), columns, height, width, round(size * 1.5) if named else 0, size)
    canvas = tiles.paint(blocks)
    run = f"each map: {axes[0]} rises to the right, {axes[1]} upwards"
    labels = tiles.captions(classes, size) if named else []
    labels.append(Label(canvas.shape[1] / 2, canvas.shape[0] + size * 0.7, run, "ma", round(size * 0.85), colour=QUIET))
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
    down, across = originals.shape[-2] * scale + gap, originals.shape[-1] * scale
    rows = [(top.shape[0] / 2, "original")]
    rows += [(top.shape[0] + _space(scale) + (row + 0.5) * down, name) for row, name in enumerate(classes)]
    above = _above(original_labels, [column * (across + gap) for column in range(len(originals))], across, 0, size)
    write_sheet(path, canvas, title, _at_left(rows, canvas) + above)


def strips(
    path: Path,
    images: Array,
    row_labels: Sequence[str],
    title: str,
    below: str = "",
    column_labels: Sequence[str] = (),
    before: Array | None = None,
    after: Array | None = None,
) -> None:
    """Draw images [rows, columns, C, H, W], each row named at its left, each column above it, `below` below all.

    `before` and `after` [rows, C, H, W] stand at the left and the right ends of the rows, set apart. They have column
    labels too.
    """
    ends = sum(end is not None for end in (before, after))
    gap, scale = _measure(images.shape[1] + ends, images.shape[-1])
    canvas, lefts = _beside([before, images, after], gap, scale)
    down, across = images.shape[-2] * scale + gap, images.shape[-1] * scale
    labels = _at_left([((row + 0.5) * down, name) for row, name in enumerate(row_labels)], canvas)
    labels += _above(column_labels, lefts, across, 0, text_size(canvas.shape[1]))
    if below:
        size = text_size(canvas.shape[1])
        lines = wrap(below, canvas.shape[1], size).splitlines()
        labels += [
            Label(canvas.shape[1] / 2, canvas.shape[0] + size * (0.6 + 1.3 * line), text, "ma", size)
            for line, text in enumerate(lines)
        ]
    write_sheet(path, canvas, title, labels)


def arithmetic(
    path: Path,
    means: Array,
    originals: Array,
    original_labels: Sequence[str],
    moved: Array,
    classes: Sequence[str],
    title: str,
) -> None:
    """Draw each class's mean code, decoded [L, C, H, W], in the top row; below, images moved from class to class.

    Row by row an original [S, C, H, W], named at its left, and what becomes of it, `moved` [S, L, C, H, W]: column l
    is the image moved to class l.
    """
    gap, scale = _measure(len(classes) + 1, originals.shape[-1])
    below, lefts = _beside([originals, moved], gap, scale)
    top = np.full((originals.shape[-2] * scale, below.shape[1], 3), PAPER, np.uint8)
    top[:, lefts[1] :] = grid(means[None], gap, scale)
    canvas = _stack([top, below], _space(scale))
    start = top.shape[0] + _space(scale)
    down, across = originals.shape[-2] * scale + gap, originals.shape[-1] * scale
    size = text_size(canvas.shape[1])
    rows = [(start + (row + 0.5) * down, name) for row, name in enumerate(original_labels)]
    labels = _at_left(rows, canvas) + _above(["", *classes], lefts, across, 0, size)
    labels.append(Label(lefts[1] - size * 0.5, top.shape[0] / 2, "class means", "rm", size))
    labels += _above(["original"], lefts, across, start, size)
    write_sheet(path, canvas, title, labels)


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


def _beside(blocks: Sequence[Array | None], gap: int, scale: int) -> tuple[Array, list[int]]:
    """Blocks of images [rows, columns, C, H, W], or of one column [rows, C, H, W], side by side and set apart.

    Returns the canvas and where each column begins, in pixels.
    """
    pieces, lefts, left = [], [], 0
    for block in blocks:
        if block is None:
            continue
        block = block[:, None] if block.ndim == 4 else block
        piece = grid(block, gap, scale)
        lefts += [left + column * (block.shape[-1] * scale + gap) for column in range(block.shape[1])]
        pieces += [piece, np.full((len(piece), _space(scale), 3), PAPER, np.uint8)]
        left += piece.shape[1] + _space(scale)
    return np.concatenate(pieces[:-1], axis=1), lefts


def _above(names: Sequence[str], lefts: Sequence[int], width: int, top: float, size: int) -> list[Label]:
    """Labels above columns `width` pixels wide that begin at `lefts`, all in the size that lets the longest fit."""
    if not any(names):
        return []
    small = _fitting(names, width, size)
    return [
        Label(left + width / 2, top - size * 0.4, name, "ms", small)
        for left, name in zip(lefts, names, strict=False)
        if name
    ]


def _lines(words: Sequence[Sequence[str]], width: float, size: int) -> tuple[list[list[str]], int]:
    """The parts of each text on one line if all then fit into `width` pixels hardly smaller, else one below the other.

    Returns them and their size.
    """
    joined = [[" · ".join(parts)] for parts in words]
    if not joined:
        return [], size
    smaller = _fitting([text for (text,) in joined], width, size, bold=True)
    if smaller > 0.75 * size:
        return joined, smaller
    return [list(parts) for parts in words], _fitting(
        [text for parts in words for text in parts], width, size, bold=True
    )


def _at_left(rows: Sequence[tuple[float, str]], canvas: Array) -> list[Label]:
    """Labels at the left of `canvas`, each centred at its height in pixels."""
    size = text_size(canvas.shape[1])
    return [Label(-size * 0.5, y, text, "rm", size) for y, text in rows if text]


def _fitting(texts: Sequence[str], width: float, size: int, bold: bool = False) -> int:
    """The largest text size up to `size` at which each text is at most `width` pixels long."""
    longest = max(font(size, bold).getlength(text) for text in texts)
    return max(9, min(size, int(size * (width - 4) / max(longest, 1))))


def _number(value: float) -> str:
    """A code value as a tick label, with a true minus sign and no minus zero."""
    return f"{round(float(value), 2) + 0.0:.2f}".replace("-", "−")
