"""Canvas: grids of images laid out to the pixel, text around them, one writer of PNG files."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib
import numpy as np
from matplotlib.ft2font import FT2Font
from PIL import Image, ImageDraw, ImageFont
from PIL.PngImagePlugin import PngInfo

from atlas.core.files import atomic_write, write_json

BACKGROUND = 255
"""Gray value of the page."""
GAP = 216
"""Gray value between the cells of a grid."""
MAX_NAME = 22
"""Characters of a class's name in a figure."""
TEXT, MUTED = "#222222", "#606060"

LETTERING = "lettering"
"""Text chunk of a PNG: what is written on it, so that a page can show the images alone and set the words itself."""

Array = np.ndarray
Caption = dict[str, Any]
Blocks = Sequence[tuple[int, int, int, int]]
"""Of grids of cells on a canvas: left and top in pixels, columns and rows."""


class Label(NamedTuple):
    """Text at (`x`, `y`) pixels from the top left corner of the images; `anchor` as in Pillow ("rm", "ma", ...)."""

    x: float
    y: float
    text: str
    anchor: str
    size: int
    bold: bool = False
    color: str = TEXT


@cache
def font(size: int, bold: bool = False) -> ImageFont.FreeTypeFont:
    """Return DejaVu Sans at `size` pixels. It comes with matplotlib, so text is the same on every machine."""
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    path = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / name
    return ImageFont.truetype(str(path), size, layout_engine=ImageFont.Layout.BASIC)


def fit_font(texts: Iterable[str], width: float, size: int, bold: bool = False) -> int:
    """Return the largest text size up to `size`, and at least 9, at which each text is at most `width` pixels long."""
    longest = max((font(size, bold).getlength(text) for text in texts), default=0)
    return max(9, min(size, int(size * (width - 4) / max(longest, 1))))


@cache
def _drawable() -> frozenset[int]:
    """Return the code points that DejaVu Sans has a glyph of."""
    return frozenset(FT2Font(font(16).path).get_charmap())


def display_names(classes: Sequence[str]) -> list[str]:
    """Return class names as figures show them: long ones cut, "label 3" where the font lacks a letter of the name."""
    names = [name if _drawable().issuperset(map(ord, name)) else f"label {i}" for i, name in enumerate(classes)]
    return [name if len(name) <= MAX_NAME else name[: MAX_NAME - 1] + "…" for name in names]


def elide(text: str, width: float, size: int, bold: bool = False) -> str:
    """Return the text, its end cut off where it would be longer than `width` pixels."""
    if font(size, bold).getlength(text) <= width:
        return text
    fitting = (length for length in range(len(text), 0, -1) if font(size, bold).getlength(text[:length] + "…") <= width)
    return text[: next(fitting, 0)] + "…"


def wrap(text: str, width: float, size: int, bold: bool = False) -> str:
    """Break `text` between words into lines of at most `width` pixels (a single longer word stays whole)."""
    lines: list[str] = []
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and font(size, bold).getlength(longer) <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    return "\n".join(lines)


def grid(images: Array, gap: int = 1, scale: int = 1) -> Array:
    """Grid of images [rows, columns, C, H, W] on one canvas, uint8 [H', W', 3], with light gaps between the cells.

    Each pixel becomes a square of `scale` pixels; cell (i, j) begins at row i * (H * scale + gap) and at column
    j * (W * scale + gap). There is no gap around the whole.

    Raises:
        ValueError: if the array is not uint8 with C = 1 or 3.
    """
    if images.dtype != np.uint8 or images.shape[2] not in (1, 3):
        raise ValueError(f"images must be uint8 [..., 1 or 3, H, W], not {images.dtype} {list(images.shape)}")
    images = np.moveaxis(images, 2, -1).repeat(3 // images.shape[2], axis=-1)
    cells = images.repeat(scale, axis=2).repeat(scale, axis=3)
    rows, columns, height, width, _ = cells.shape
    canvas = np.full((rows, height + gap, columns, width + gap, 3), GAP, np.uint8)
    canvas[:, :height, :, :width] = cells.transpose(0, 2, 1, 3, 4)
    whole = canvas.reshape(rows * (height + gap), columns * (width + gap), 3)
    return whole[: rows * (height + gap) - gap, : columns * (width + gap) - gap]


def blank(height: int, width: int) -> Array:
    """Return an empty canvas, uint8 [height, width, 3]."""
    return np.full((height, width, 3), BACKGROUND, np.uint8)


def best_scale(width: int, target: int) -> int:
    """Return the whole factor, at least 1, that brings `width` pixels nearest to `target`."""
    return max(1, round(target / width))


def thinned(count: int, most: int) -> list[int]:
    """Return at most `most` of the indices 0..count-1, evenly spaced, the first and the last among them."""
    return [int(index) for index in np.linspace(0, count - 1, min(count, most)).round()]


@dataclass(frozen=True)
class GridLayout:
    """Layout of `count` blocks of [height, width] pixels, `columns` a row, each with room above it for a caption."""

    count: int
    columns: int
    height: int
    width: int
    caption_height: int
    gap: int

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the whole in pixels."""
        rows = -(-self.count // self.columns)
        height = rows * (self.height + self.caption_height + self.gap) - self.gap
        return height, min(self.columns, self.count) * (self.width + self.gap) - self.gap

    def corner(self, block: int) -> tuple[int, int]:
        """Return the (top, left) pixel of a block, below its caption."""
        row, column = divmod(block, self.columns)
        top = row * (self.height + self.caption_height + self.gap) + self.caption_height
        return top, column * (self.width + self.gap)

    def paint(self, blocks: Iterable[Array]) -> Array:
        """Return a canvas of `size` with the blocks, uint8 [height, width, 3] each, in their places."""
        canvas = blank(*self.size)
        for index, block in enumerate(blocks):
            top, left = self.corner(index)
            canvas[top : top + self.height, left : left + self.width] = block
        return canvas

    def captions(self, texts: Sequence[str], size: int) -> list[Label]:
        """Return one label centered above each block."""
        corners = map(self.corner, range(len(texts)))
        x, y, width = self.width / 2, -size * 0.35, self.width + self.gap - 4
        return [
            Label(left + x, top + y, elide(text, width, size), "ms", size)
            for (top, left), text in zip(corners, texts, strict=True)
        ]


def draw(page: Image.Image, label: Label, left: int = 0, top: int = 0) -> None:
    """Write a label on a page on which the images begin at (`left`, `top`)."""
    position = round(left + label.x), round(top + label.y)
    ImageDraw.Draw(page).text(position, label.text, label.color, font(label.size, label.bold), label.anchor)


def write_sheet(
    path: Path, canvas: Array, title: str, labels: Sequence[Label] = (), cell: Sequence[int] = (), blocks: Blocks = ()
) -> None:
    """Write a PNG: the title, below it the canvas [H, W, 3] pixel by pixel, and around it the labels, none cut off.

    `cell` [width, height, gap] and `blocks` tell where on the canvas there are images, and where there is paper.
    """
    height, width = canvas.shape[:2]
    margin = text_size(width)
    boxes = [(0.0, 0.0, float(width), float(height))]
    for label in labels:
        box = font(label.size, label.bold).getbbox(label.text, anchor=label.anchor)
        boxes.append((label.x + box[0], label.y + box[1], label.x + box[2], label.y + box[3]))
    x_min, y_min = np.min(boxes, axis=0)[:2]
    x_max, y_max = np.max(boxes, axis=0)[2:]
    page_width = max(round(x_max - x_min) + 2 * margin, 480)
    left = (page_width - round(x_max - x_min)) // 2 - round(x_min)

    # The title stands on one line if a size down to 80 % allows it, else it is wrapped.
    text_width, size = page_width - 2 * margin, round(margin * 1.2)
    smaller = int(size * min(1.0, text_width / max(font(size, bold=True).getlength(title), 1)))
    one_line = smaller >= 0.8 * size
    lines = [title] if one_line else wrap(title, text_width, size, bold=True).splitlines()
    title_size = smaller if one_line else size
    line_height = title_size * 1.35
    top = round(margin * 1.1 + len(lines) * line_height - y_min)
    page = Image.new("RGB", (page_width, round(top + y_max + margin)), (BACKGROUND,) * 3)
    for index, line in enumerate(lines):
        y = margin * 0.6 + index * line_height + title_size
        draw(page, Label(page_width / 2, y, line, "ms", title_size, bold=True))
    page.paste(Image.fromarray(canvas), (left, top))
    for label in labels:
        draw(page, label, left, top)
    x, y = round(-x_min), round(-y_min)
    lettering = {
        "size": [x + round(x_max), y + round(y_max)],
        "corner": [left, top],
        "image": [x, y, width, height],
        "cell": list(cell),
        "blocks": [list(map(int, block)) for block in blocks],
        "labels": [[round(x + each.x, 1), round(y + _baseline(each), 1), *each[2:]] for each in labels],
    }
    write_png(path, np.asarray(page), lettering)


def _baseline(label: Label) -> float:
    """Return the height of a label's baseline: browsers know no ascender as Pillow does."""
    ascent = font(label.size, label.bold).getmetrics()[0]
    return label.y + {"a": ascent, "m": 0.36 * label.size, "s": 0}[label.anchor[1]]


def text_size(width: int) -> int:
    """Return the size of text beside `width` pixels of images: legible when the page is shown 800 pixels wide."""
    return int(np.clip(round(width / 50), 16, 26))


def write_png(path: Path, pixels: Array, lettering: Mapping[str, Any] | None = None) -> None:
    """Write pixels, uint8 [H, W, 3], as a PNG; in gray if there is no color, a third of the size.

    `lettering` goes with it as text: the "size" of what is below the title, its "image" [left, top, width, height] and
    the [left, top] "corner" of that in the PNG, the "cell" and "blocks" of `write_sheet`, and "labels" [x, y, text,
    anchor, size, bold, color], y at the baseline.
    """
    gray = bool((pixels == pixels[..., :1]).all())
    image = Image.fromarray(np.ascontiguousarray(pixels[..., 0] if gray else pixels))
    words = PngInfo()
    if lettering:
        words.add_itxt(LETTERING, json.dumps(lettering, ensure_ascii=False))
    with atomic_write(path) as tmp:
        image.save(tmp, pnginfo=words)


def write_captions(folder: Path, captions: Sequence[Caption]) -> None:
    """Write captions.json: for each figure or animation its "file", "title" and "alt", in the order to be shown.

    Raises:
        ValueError: if a caption lacks one of these or names a file that the folder does not hold.
    """
    for caption in captions:
        lacking = [key for key in ("file", "title", "alt") if not caption.get(key)]
        absent = [caption[key] for key in ("file", "gif") if key in caption and not (folder / caption[key]).is_file()]
        if lacking or absent:
            raise ValueError(f"caption {caption} lacks {lacking or 'nothing'}; not in the folder: {absent or 'none'}")
    write_json(folder / "captions.json", list(captions))
