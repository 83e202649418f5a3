"""Sheets of images: reconstructions, samples, latent maps, style transfers, rows of images, label arithmetic.

Every image is shown pixel by pixel, enlarged by a whole factor. Images are uint8 [..., C, H, W] with C = 1 or 3; each
function writes one PNG.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from atlas.plotting.canvas import (
    BACKGROUND,
    MUTED,
    TEXT,
    Array,
    GridLayout,
    Label,
    best_scale,
    blank,
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
    bands = -(-len(originals) // PAIRS_PER_ROW)
    columns = -(-len(originals) // bands)
    scale = _scale(columns, originals)
    column_width = (originals.shape[-1] + 1) * scale
    marked = [["✗ " + parts[0], *parts[1:]] if bad else list(parts) for parts, bad in zip(texts, wrong, strict=True)]
    lines, size = _fit_lines(marked, column_width, text_size(columns * column_width - scale))
    line_space = round(1.3 * size * max(map(len, lines), default=0))
    starts = range(0, len(originals), columns)
    pairs = [np.stack([images[start : start + columns] for images in (originals, reconstructions)]) for start in starts]
    canvas, tops, lefts = _arrange([[pair] for pair in pairs], scale, _group_gap(scale) + line_space)
    labels = _row_labels(["original", "reconstruction"] * bands, tops, originals, scale, canvas)
    for index, (parts, bad) in enumerate(zip(lines, wrong, strict=True)):
        row, column = divmod(index, columns)
        for line, text in enumerate(reversed(parts)):
            x, y = lefts[column] + column_width / 2, tops[2 * row] - size * (0.4 + 1.2 * line)
            labels.append(Label(x, y, text, "ms", size, bold=bad, color=WRONG if bad else TEXT))
    write_sheet(path, canvas, title, labels)


def samples(path: Path, images: Array, classes: Sequence[str], title: str) -> None:
    """Draw samples [L, n, C, H, W], one row a label with its class name beside it.

    An unconditional model has L = 1 and `classes` [""]: its samples are laid out as nearly a square, unnamed.
    """
    if len(images) > 1 or classes[0]:
        image_rows(path, images, classes, title)
        return
    count = images.shape[1]
    columns = int(np.ceil(np.sqrt(count)))
    cells = np.zeros((-(-count // columns) * columns, *images.shape[2:]), np.uint8)
    cells[:count] = images[0]
    scale = _scale(columns, images)
    canvas, tops, lefts = _arrange([[cells.reshape(-1, columns, *images.shape[2:])]], scale)
    if remainder := count % columns:
        canvas[max(0, tops[-1] - scale) :, lefts[remainder] - scale :] = BACKGROUND
    write_sheet(path, canvas, title)


def latent_map(path: Path, images: Array, first: Array, second: Array, title: str, axes: Sequence[str] = AXES) -> None:
    """Draw the map of two code dimensions, which `axes` names.

    `images` [n, n, C, H, W] is images[row, column], decoded at z1 = first[column] and z2 = second[row]. Row 0 is drawn
    at the top, so `first` [n] ascends and `second` [n] descends: z1 rises to the right, z2 upwards.

    Raises:
        ValueError: if the values do not run that way.
    """
    if not (np.all(np.diff(first) > 0) and np.all(np.diff(second) < 0)):
        raise ValueError("first must ascend (z1, left to right) and second descend (z2, top to bottom)")
    scale = _scale(images.shape[1], images)
    canvas, tops, lefts = _arrange([[images]], scale)
    height, width = canvas.shape[:2]
    size = text_size(width)
    rows = thinned(len(second), TICKS)
    row_names = [_format_code(second[row]) for row in rows]
    labels = _row_labels(row_names, [tops[row] for row in rows], images, scale, canvas)
    for column in thinned(len(first), TICKS):
        x = lefts[column] + images.shape[-1] * scale / 2
        labels.append(Label(x, height + size * 0.4, _format_code(first[column]), "ma", size))
    widest = max(font(size).getlength(text) for text in row_names)
    labels.append(Label(width / 2, height + size * 1.8, axes[0], "ma", size, bold=True))
    labels.append(Label(-widest - size * 1.1, height / 2, axes[1], "rm", size, bold=True))
    write_sheet(path, canvas, title, labels)


def latent_maps(path: Path, images: Array, classes: Sequence[str], title: str, axes: Sequence[str] = AXES) -> None:
    """Draw the maps [L, n, n, C, H, W] of every label side by side, five a row, laid out as in `latent_map`.

    Of maps with more than `MAP_CELLS` to a side, evenly spaced rows and columns are shown, the outermost among them.
    """
    cells = thinned(images.shape[1], MAP_CELLS[images.shape[-3]])
    images = images[:, cells][:, :, cells]
    columns = min(len(images), 5)
    # Photographs of 32 pixels cannot be read at their own size, as digits can.
    scale = max(_scale(columns * len(cells), images), 2 if images.shape[-3] == 3 else 1)
    maps = [grid(image, scale, scale) for image in images]
    height, width = maps[0].shape[:2]
    size = text_size(width * columns)
    layout = GridLayout(len(maps), columns, height, width, round(size * 1.5) if any(classes) else 0, size)
    canvas = layout.paint(maps)
    directions = f"each map: {axes[0]} rises to the right, {axes[1]} upwards"
    labels = layout.captions(classes, size) if any(classes) else []
    y = canvas.shape[0] + size * 0.7
    labels.append(Label(canvas.shape[1] / 2, y, directions, "ma", round(size * 0.85), color=MUTED))
    write_sheet(path, canvas, title, labels)


def style_transfer(
    path: Path, originals: Array, original_labels: Sequence[str], transfers: Array, classes: Sequence[str], title: str
) -> None:
    """Draw originals [S, C, H, W] in the top row under their labels; below, every class in the style of each.

    `transfers` [S, L, C, H, W] is the image of style s and class l: column s, row l.
    """
    scale = _scale(len(originals), originals)
    canvas, tops, lefts = _arrange([[originals[None]], [transfers.swapaxes(0, 1)]], scale)
    labels = _row_labels(["original", *classes], tops, originals, scale, canvas)
    labels += _column_labels(original_labels, lefts, originals, scale, canvas)
    write_sheet(path, canvas, title, labels)


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
    scale = best_scale((columns + 1) * image.shape[-1], WIDTH)
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
    blocks = [None if before is None else before[:, None], images, None if after is None else after[:, None]]
    present = [block for block in blocks if block is not None]
    scale = _scale(images.shape[1] + len(present) - 1, images)
    canvas, tops, lefts = _arrange([present], scale)
    height, width = canvas.shape[:2]
    labels = _row_labels(row_labels, tops, images, scale, canvas)
    labels += _column_labels(column_labels, lefts, images, scale, canvas)
    size = text_size(width)
    for line, text in enumerate(wrap(below, width, size).splitlines()):
        labels.append(Label(width / 2, height + size * (0.6 + 1.3 * line), text, "ma", size))
    write_sheet(path, canvas, title, labels)


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
    scale = _scale(len(classes) + 1, originals)
    canvas, tops, lefts = _arrange([[None, means[None]], [originals[:, None], moved]], scale)
    size = text_size(canvas.shape[1])
    labels = _row_labels(["", *original_labels], tops, originals, scale, canvas)
    labels += _column_labels(["", *classes], lefts, originals, scale, canvas)
    labels += _column_labels(["original"], lefts, originals, scale, canvas, top=tops[1])
    labels.append(Label(lefts[1] - size * 0.5, originals.shape[-2] * scale / 2, "class means", "rm", size))
    write_sheet(path, canvas, title, labels)


def _scale(columns: int, images: Array) -> int:
    """Return the factor by which images [..., W], so many in a row, are enlarged; the gaps between them are as wide."""
    return min(best_scale(columns * images.shape[-1], WIDTH), MAX_SCALE)


def _group_gap(scale: int) -> int:
    """Return the pixels between groups of images."""
    return 6 + 4 * scale


def _arrange(
    blocks: Sequence[Sequence[Array | None]], scale: int, row_gap: int | None = None
) -> tuple[Array, list[int], list[int]]:
    """Lay out rows and columns of blocks, each of images [rows, columns, C, H, W] or None where nothing stands.

    Blocks are set apart by `_group_gap`, vertically by `row_gap` if it is given.

    Returns:
        the canvas; the tops of all rows of images and the lefts of all their columns, in pixels.
    """

    height, width = next(block.shape[-2:] for row in blocks for block in row if block is not None)
    row_counts = [next(len(block) for block in row if block is not None) for row in blocks]
    column_counts = [
        max(block.shape[1] for block in column if block is not None) for column in zip(*blocks, strict=True)
    ]
    # The row (column) of blocks that each row (column) of images belongs to.
    block_rows, block_columns = (np.repeat(np.arange(len(counts)), counts) for counts in (row_counts, column_counts))
    gap = _group_gap(scale)
    tops = np.arange(len(block_rows)) * (height + 1) * scale + block_rows * ((row_gap or gap) - scale)
    lefts = np.arange(len(block_columns)) * (width + 1) * scale + block_columns * (gap - scale)
    canvas = blank(tops[-1] + height * scale, lefts[-1] + width * scale)
    for i, row in enumerate(blocks):
        for j, block in enumerate(row):
            if block is not None:
                cells = grid(block, scale, scale)
                top, left = tops[block_rows == i][0], lefts[block_columns == j][0]
                canvas[top : top + len(cells), left : left + cells.shape[1]] = cells
    return canvas, tops.tolist(), lefts.tolist()


def _row_labels(names: Sequence[str], tops: Sequence[int], images: Array, scale: int, canvas: Array) -> list[Label]:
    """Return labels at the left of the canvas, each beside the middle of its row of images."""
    size, middle = text_size(canvas.shape[1]), images.shape[-2] * scale / 2
    return [Label(-size * 0.5, top + middle, name, "rm", size) for top, name in zip(tops, names, strict=True) if name]


def _column_labels(
    names: Sequence[str], lefts: Sequence[int], images: Array, scale: int, canvas: Array, top: int = 0
) -> list[Label]:
    """Return labels above columns of images that begin at `lefts`, all in the size that lets the longest fit."""
    if not any(names):
        return []
    width, size = images.shape[-1] * scale, text_size(canvas.shape[1])
    fitting = fit_font(names, width, size)
    return [
        Label(left + width / 2, top - size * 0.4, name, "ms", fitting)
        for left, name in zip(lefts, names, strict=False)
        if name
    ]


def _fit_lines(texts: Sequence[Sequence[str]], width: float, size: int) -> tuple[list[list[str]], int]:
    """Return texts as lines, and their size.

    The parts of each text stand on one line if all then fit into `width` pixels hardly smaller, else one below the
    other.
    """
    joined = [[" · ".join(parts)] for parts in texts]
    if not joined:
        return [], size
    fitting = fit_font([line for (line,) in joined], width, size, bold=True)
    if fitting > 0.75 * size:
        return joined, fitting
    return [list(parts) for parts in texts], fit_font([text for parts in texts for text in parts], width, size, True)


def _format_code(value: float) -> str:
    """Return a code value as a tick label, with a true minus sign and no minus zero."""
    return f"{round(float(value), 2) + 0.0:.2f}".replace("-", "−")
