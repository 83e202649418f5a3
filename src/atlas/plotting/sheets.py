"""Sheets of images: reconstructions, latent maps, style transfers, rows of images, label arithmetic.

Every image is shown pixel by pixel, enlarged by a whole factor. Images are uint8 [..., C, H, W] with C = 1 or 3; each
function writes one PNG.
"""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from atlas.plotting.canvas import (
    MUTED,
    TEXT,
    Array,
    GridLayout,
    Label,
    best_scale,
    blank,
    elide,
    fit_font,
    font,
    grid,
    text_size,
    thinned,
    wrap,
    write_sheet,
)

WIDTH = 900  # pixels towards which sheets are enlarged
MAX_SCALE = 8  # pixels to the side of an image's pixel: a few images need not fill the width
PAIRS_PER_ROW = 10
MAX_SIDE = 1000  # pixels of images along a side, from which on a sheet shows fewer of them
MAX_HEIGHT = 2400  # pixels up to which a sheet of few columns and many rows is enlarged
MAX_MAPS_SIDE = 1700  # the same of the sheet of all maps
AXES = ("z₁", "z₂")
WRONG = "#aa1414"
TICKS = 5  # labeled columns and rows of a map
MAP_CELLS = {1: 8, 3: 5}  # cells to a side of each map on the sheet of all maps, by channels: more is too large a file


def reconstructions(
    path: Path,
    originals: Array,
    reconstructions: Array,
    title: str,
    texts: Sequence[Sequence[str]] = (),
    wrong: Sequence[bool] = (),
) -> None:
    """Draw originals [N, C, H, W] over their reconstructions [N, C, H, W], in pairs of rows.

    `texts` are the parts of what is written above each original, on one line where there is room and else one below
    the other; where `wrong` [N] it is bold, red and crossed.
    """
    bands = math.ceil(len(originals) / fitting(PAIRS_PER_ROW, originals.shape))
    columns = math.ceil(len(originals) / bands)
    scale = _scale(columns, originals)
    column_width = (originals.shape[-1] + 1) * scale
    marked = [["✗ " + parts[0], *parts[1:]] if bad else list(parts) for parts, bad in zip(texts, wrong, strict=True)]
    full_size = text_size(columns * column_width - scale)
    # The parts of each text stand on one line if all then fit hardly smaller, else one below the other.
    for lines in ([[" · ".join(parts)] for parts in marked], marked):
        size = fit_font([text for parts in lines for text in parts], column_width, full_size, bold=True)
        if size > 0.75 * full_size:
            break
    starts = range(0, len(originals), columns)
    pairs = [np.stack([images[start : start + columns] for images in (originals, reconstructions)]) for start in starts]
    sheet = _Sheet([[pair] for pair in pairs], round(1.3 * size * max(map(len, lines), default=0)))
    labels = sheet.row_labels(["original", "reconstruction"] * bands)
    for index, (parts, bad) in enumerate(zip(lines, wrong, strict=True)):
        row, column = divmod(index, columns)
        for line, text in enumerate(reversed(parts)):
            x, y = sheet.lefts[column] + column_width / 2, sheet.tops[2 * row] - size * (0.4 + 1.2 * line)
            labels.append(Label(x, y, text, "ms", size, bold=bad, color=WRONG if bad else TEXT))
    sheet.write(path, title, labels)


def latent_map(path: Path, images: Array, first: Array, second: Array, title: str, axes: Sequence[str] = AXES) -> None:
    """Draw the map of two code dimensions, which `axes` names.

    `images` [n, n, C, H, W] is images[row, column], decoded at z1 = first[column] and z2 = second[row]. Row 0 is drawn
    at the top, so `first` [n] ascends and `second` [n] descends: z1 rises to the right, z2 upwards.

    Raises:
        ValueError: if the values do not run that way.
    """
    if not (np.all(np.diff(first) > 0) and np.all(np.diff(second) < 0)):
        raise ValueError("first must ascend (z1, left to right) and second descend (z2, top to bottom)")
    sheet = _Sheet([[images]])
    size, (height, width) = sheet.text_size, sheet.canvas.shape[:2]
    ticks = thinned(len(first), TICKS)
    row_names = [_format_code(value) if row in ticks else "" for row, value in enumerate(second)]
    labels = sheet.row_labels(row_names)
    for column in ticks:
        x = sheet.lefts[column] + sheet.cell_width / 2
        labels.append(Label(x, height + size * 0.4, _format_code(first[column]), "ma", size))
    widest = max(font(size).getlength(text) for text in row_names)
    labels.append(Label(width / 2, height + size * 1.8, axes[0], "ma", size, bold=True))
    labels.append(Label(-widest - size * 1.1, height / 2, axes[1], "rm", size, bold=True))
    sheet.write(path, title, labels)


def latent_maps(
    path: Path, images: Array, first: Array, second: Array, classes: Sequence[str], title: str,
    axes: Sequence[str] = AXES,
) -> None:  # fmt: skip
    """Draw the maps [L, n, n, C, H, W] of every label side by side, five a row, laid out as in `latent_map`.

    Of maps with more than `MAP_CELLS` to a side, evenly spaced rows and columns are shown, the outermost among them.
    """
    columns, side = min(len(images), 5), max(images.shape[-2:])
    # Photographs of 32 pixels cannot be read at their own size, as digits can.
    least = 2 if images.shape[-3] == 3 and side < 2 * 32 else 1
    cells = thinned(
        images.shape[1], min(MAP_CELLS[images.shape[-3]], max(2, MAX_MAPS_SIDE // (columns * side * least)))
    )
    images = images[:, cells][:, :, cells]
    scale = max(_scale(columns * len(cells), images), least)
    maps = [grid(image, scale, scale) for image in images]
    height, width = maps[0].shape[:2]
    size = text_size(width * columns)
    layout = GridLayout(len(maps), columns, height, width, round(size * 1.5), size)
    canvas = layout.paint(maps)
    ways = zip(axes, (first, second), ("to the right", "upwards"), strict=True)
    # A code of one dimension has no second axis.
    spans = [
        f"{axis} {way} from {_format_code(min(ends))} to {_format_code(max(ends))}" for axis, ends, way in ways if axis
    ]
    directions = f"in each map {' and '.join(spans)}"
    x, y = canvas.shape[1] / 2, canvas.shape[0] + size * 0.7
    labels = [*layout.captions(classes, size), Label(x, y, directions, "ma", round(size * 0.85), color=MUTED)]
    blocks = [(left, top, len(cells), len(cells)) for top, left in map(layout.corner, range(len(maps)))]
    write_sheet(path, canvas, title, labels, (images.shape[-1] * scale, images.shape[-2] * scale, scale), blocks)


def style_transfer(
    path: Path, originals: Array, original_labels: Sequence[str], transfers: Array, classes: Sequence[str], title: str
) -> None:
    """Draw originals [S, C, H, W] in the top row under their labels; below, every class in the style of each.

    `transfers` [S, L, C, H, W] is the image of style s and class l: column s, row l.
    """
    sheet = _Sheet([[originals[None]], [transfers.swapaxes(0, 1)]])
    labels = sheet.row_labels(["original", *classes]) + sheet.column_labels(original_labels)
    sheet.write(path, title, labels)


def style_transfer_sheet(
    path: Path, image: Array, reconstruction: Array, transfers: Array, classes: Sequence[str], own: int, title: str
) -> None:
    """Draw one image, as the network sees it, over its reconstruction, and beside them its style in every label.

    Args:
        image, reconstruction: uint8 [C, H, W].
        transfers: uint8 [classes, C, H, W], in two rows.
        own: the image's own label, whose name is set in bold.
    """
    columns = -(-len(transfers) // 2)
    scale = best_scale((columns + 1) * max(image.shape[-2:]), WIDTH)
    height, width = image.shape[-2] * scale, image.shape[-1] * scale
    size = text_size((columns + 1) * width)
    left = GridLayout(2, 1, height, width, round(1.6 * size), scale)
    right = GridLayout(len(transfers), columns, height, width, round(1.6 * size), scale)
    start = width + width // 4
    canvas = blank(left.size[0], start + right.size[1])
    canvas[:, :width] = left.paint(grid(cell[None, None], 0, scale) for cell in (image, reconstruction))
    canvas[: right.size[0], start:] = right.paint(grid(cell[None, None], 0, scale) for cell in transfers)
    labels = left.captions(["input", "reconstruction"], fit_font(["reconstruction"], width, size))
    captions = right.captions(classes, fit_font(classes, width, size, bold=True))
    labels += [label._replace(x=label.x + start, bold=index == own) for index, label in enumerate(captions)]
    write_sheet(path, canvas, title, labels)


def image_rows(
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
    start, end = (None if images is None else images[:, None] for images in (before, after))
    sheet = _Sheet([[block for block in (start, images, end) if block is not None]])
    labels = sheet.row_labels(row_labels) + sheet.column_labels(column_labels)
    size, (height, width) = sheet.text_size, sheet.canvas.shape[:2]
    for line, text in enumerate(wrap(below, width, size).splitlines()):
        labels.append(Label(width / 2, height + size * (0.6 + 1.3 * line), text, "ma", size))
    sheet.write(path, title, labels)


def label_arithmetic(
    path: Path,
    means: Array,
    originals: Array,
    original_labels: Sequence[str],
    moved: Array,
    classes: Sequence[str],
    title: str,
) -> None:
    """Draw each class's mean code, decoded [L, C, H, W], in the top row; below, images moved from class to class.

    Row by row an original [S, C, H, W], named at its left, and `moved` [S, L, C, H, W]: column l is the image moved to
    class l.
    """
    sheet = _Sheet([[None, means[None]], [originals[:, None], moved]])
    size = sheet.text_size
    labels = sheet.row_labels(["", *original_labels]) + sheet.column_labels(["", *classes])
    labels += sheet.column_labels(["original"], sheet.tops[1])
    labels.append(Label(sheet.lefts[1] - size * 0.5, sheet.cell_height / 2, "class means", "rm", size))
    sheet.write(path, title, labels)


def fitting(count: int, shape: Sequence[int], least: int = 3) -> int:
    """Return how many of `count` images of a shape [..., H, W] stand in a row: of large ones fewer, `least` or more."""
    most = max(least, MAX_SIDE // max(shape[-2:]))
    # An odd number has a middle.
    return count if count <= most else most - 1 + most % 2


class _Sheet:
    """Rows and columns of blocks on a canvas: each block images [rows, columns, C, H, W], or None for an empty place.

    Blocks are set apart, rows of blocks by `line_space` pixels more.
    """

    def __init__(self, blocks: Sequence[Sequence[Array | None]], line_space: int = 0) -> None:
        present = [block for row in blocks for block in row if block is not None]
        row_counts = [next(len(block) for block in row if block is not None) for row in blocks]
        column_counts = [
            next(block.shape[1] for block in column if block is not None) for column in zip(*blocks, strict=True)
        ]
        # The row (column) of blocks that each row (column) of images belongs to.
        block_rows = np.repeat(np.arange(len(row_counts)), row_counts)
        block_columns = np.repeat(np.arange(len(column_counts)), column_counts)
        tall = max(1, MAX_HEIGHT // (len(block_rows) * present[0].shape[-2]))
        self.scale = scale = min(_scale(len(block_columns), present[0]), tall)
        self.cell_height, self.cell_width = (side * scale for side in present[0].shape[-2:])
        gap = 6 + 3 * scale
        tops = np.arange(len(block_rows)) * (self.cell_height + scale) + block_rows * (gap + line_space)
        lefts = np.arange(len(block_columns)) * (self.cell_width + scale) + block_columns * gap
        self.canvas = blank(tops[-1] + self.cell_height, lefts[-1] + self.cell_width)
        self._blocks = []
        for i, row in enumerate(blocks):
            for j, block in enumerate(row):
                if block is not None:
                    cells = grid(block, scale, scale)
                    top, left = tops[block_rows == i][0], lefts[block_columns == j][0]
                    self.canvas[top : top + len(cells), left : left + cells.shape[1]] = cells
                    self._blocks.append((left, top, block.shape[1], len(block)))
        self.tops: list[int] = tops.tolist()
        """Of every row of images, in pixels; `lefts`: of every column."""
        self.lefts: list[int] = lefts.tolist()
        self.text_size = text_size(self.canvas.shape[1])

    def write(self, path: Path, title: str, labels: Sequence[Label]) -> None:
        cell = self.cell_width, self.cell_height, self.scale
        write_sheet(path, self.canvas, title, labels, cell, self._blocks)

    def row_labels(self, names: Sequence[str]) -> list[Label]:
        """Return labels at the left of the canvas, each beside the middle of its row of images."""
        x, middle = -self.text_size * 0.5, self.cell_height / 2
        names_and_tops = zip(names, self.tops, strict=True)
        return [Label(x, top + middle, name, "rm", self.text_size) for name, top in names_and_tops if name]

    def column_labels(self, names: Sequence[str], top: int = 0) -> list[Label]:
        """Return labels above the first columns of images, all in the size that lets the longest fit."""
        size = fit_font(names, self.cell_width, self.text_size)
        y, middle = top - self.text_size * 0.4, self.cell_width / 2
        names_and_lefts = zip(names, self.lefts, strict=False)
        return [
            Label(left + middle, y, elide(name, self.cell_width, size), "ms", size)
            for name, left in names_and_lefts
            if name
        ]


def _scale(columns: int, images: Array) -> int:
    """Return the factor by which images, so many in a row, are enlarged; the gaps between them are as wide."""
    return min(best_scale(columns * max(images.shape[-2:]), WIDTH), MAX_SCALE)


def _format_code(value: float) -> str:
    """Return a code value as a tick label, with a true minus sign and no minus zero."""
    return f"{round(float(value), 2) + 0.0:.2f}".replace("-", "−")
