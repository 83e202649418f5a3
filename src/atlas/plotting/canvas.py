"""The paper that pictures are drawn on: cells of images laid out to the pixel, text beside them, one PNG writer."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from atlas.core.files import atomic_write, write_json

PAPER = 255
GAP = 216
INK = (34, 34, 34)
QUIET = (96, 96, 96)

Array = np.ndarray
Caption = dict[str, Any]


class Label(NamedTuple):
    """A text at (`x`, `y`) pixels from the top left corner of the pictures; `anchor` as in Pillow ("rm", "ma", ...)."""

    x: float
    y: float
    text: str
    anchor: str
    size: int
    bold: bool = False
    colour: tuple[int, int, int] = INK


@cache
def font(size: int, bold: bool = False) -> ImageFont.FreeTypeFont:
    """DejaVu Sans at `size` pixels: it comes with matplotlib, so that text is the same on every machine."""
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    path = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / name
    return ImageFont.truetype(str(path), size, layout_engine=ImageFont.Layout.BASIC)


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


def to_rgb(images: Array) -> Array:
    """Turn uint8 images [..., C, H, W] with C = 1 or 3 into [..., H, W, 3].

    Raises:
        ValueError: if the array is not such images.
    """
    if images.dtype != np.uint8 or images.ndim < 3 or images.shape[-3] not in (1, 3):
        raise ValueError(f"images must be uint8 [..., 1 or 3, H, W], not {images.dtype} {list(images.shape)}")
    last = np.moveaxis(images, -3, -1)
    return last if last.shape[-1] == 3 else np.repeat(last, 3, axis=-1)


def grid(images: Array, gap: int = 1, scale: int = 1) -> Array:
    """Lay images [rows, columns, C, H, W] out on one canvas [H', W', 3], uint8, with light gaps between the cells.

    Each pixel becomes a square of `scale` pixels; cell (i, j) begins at row i * (H * scale + gap) and at column
    j * (W * scale + gap). There is no gap around the whole.
    """
    cells = to_rgb(images).repeat(scale, axis=2).repeat(scale, axis=3)
    rows, columns, height, width, _ = cells.shape
    canvas = np.full((rows, height + gap, columns, width + gap, 3), GAP, np.uint8)
    canvas[:, :height, :, :width] = cells.transpose(0, 2, 1, 3, 4)
    whole = canvas.reshape(rows * (height + gap), columns * (width + gap), 3)
    return whole[: rows * (height + gap) - gap, : columns * (width + gap) - gap]


def in_rows(images: Array, columns: int, gap: int = 1, scale: int = 1) -> Array:
    """Lay images [N, C, H, W] out in rows of `columns`, as `grid` does; what the last row lacks is left as paper."""
    count = len(images)
    rows = -(-count // columns)
    padded = np.zeros((rows * columns, *images.shape[1:]), np.uint8)
    padded[:count] = images
    canvas = grid(padded.reshape(rows, columns, *images.shape[1:]), gap, scale)
    used = count - (rows - 1) * columns
    if used < columns:
        top = max(0, (rows - 1) * (images.shape[-2] * scale + gap) - gap)
        canvas[top:, used * (images.shape[-1] * scale + gap) - gap :] = PAPER
    return canvas


def best_scale(width: int, wanted: int) -> int:
    """The whole factor, at least 1, that brings `width` pixels nearest to `wanted`."""
    return max(1, round(wanted / width))


def thinned(count: int, most: int) -> list[int]:
    """At most `most` of the indices 0..count-1, evenly spaced, both ends kept."""
    return [int(i) for i in np.linspace(0, count - 1, min(count, most)).round()]


@dataclass(frozen=True)
class Tiles:
    """Where the blocks of a sheet of maps lie: `columns` a row, each with room above it for a caption."""

    count: int
    columns: int
    height: int
    width: int
    room: int
    space: int

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the whole in pixels."""
        rows = -(-self.count // self.columns)
        full = (self.height + self.room + self.space, self.width + self.space)
        return rows * full[0] - self.space, min(self.columns, self.count) * full[1] - self.space

    def corner(self, block: int) -> tuple[int, int]:
        """The (top, left) pixel of a block, below its caption."""
        row, column = divmod(block, self.columns)
        return (
            row * (self.height + self.room + self.space) + self.room,
            column * (self.width + self.space),
        )

    def paint(self, blocks: Iterable[Array]) -> Array:
        """Put canvases [height, width, 3] in their places on paper [height', width', 3]."""
        canvas = np.full((*self.size, 3), PAPER, np.uint8)
        for number, block in enumerate(blocks):
            top, left = self.corner(number)
            canvas[top : top + self.height, left : left + self.width] = block
        return canvas

    def captions(self, texts: Sequence[str], size: int) -> list[Label]:
        """One label centred above each block."""
        corners = [self.corner(number) for number in range(len(texts))]
        return [
            Label(left + self.width / 2, top - size * 0.35, text, "ms", size)
            for (top, left), text in zip(corners, texts, strict=True)
        ]


def draw(page: Image.Image, label: Label, left: int = 0, top: int = 0) -> None:
    """Write `label` on `page`, where the pictures begin at (`left`, `top`)."""
    ImageDraw.Draw(page).text(
        (round(left + label.x), round(top + label.y)),
        label.text,
        fill=label.colour,
        font=font(label.size, label.bold),
        anchor=label.anchor,
    )


def write_sheet(path: Path, canvas: Array, title: str, labels: Sequence[Label] = ()) -> None:
    """Write a PNG: the title, below it `canvas` [H, W, 3] pixel by pixel, and around it `labels`, none cut off."""
    height, width = canvas.shape[:2]
    margin = text_size(width)
    boxes = [(0.0, 0.0, float(width), float(height))]
    for at in labels:
        box = font(at.size, at.bold).getbbox(at.text, anchor=at.anchor)
        boxes.append((at.x + box[0], at.y + box[1], at.x + box[2], at.y + box[3]))
    west, north = np.min(boxes, axis=0)[:2]
    east, south = np.max(boxes, axis=0)[2:]
    across = max(round(east - west) + 2 * margin, 480)
    left = (across - round(east - west)) // 2 - round(west)

    heading, big = _fit_title(title, across - 2 * margin, round(margin * 1.2))
    line_height = big * 1.35
    top = round(margin * 1.1 + len(heading) * line_height - north)
    page = Image.new("RGB", (across, round(top + south + margin)), (PAPER,) * 3)
    for number, line in enumerate(heading):
        draw(page, Label(across / 2, margin * 0.6 + number * line_height + big, line, "ms", big, bold=True))
    page.paste(Image.fromarray(canvas), (left, top))
    for label in labels:
        draw(page, label, left, top)
    write_png(path, np.asarray(page))


def _fit_title(title: str, width: int, size: int) -> tuple[list[str], int]:
    """The lines of a bold title and their size: one line if a size down to 80 % allows it, else wrapped."""
    smaller = int(size * min(1.0, width / max(font(size, bold=True).getlength(title), 1)))
    if smaller >= 0.8 * size:
        return [title], smaller
    return wrap(title, width, size, bold=True).splitlines(), size


def text_size(width: int) -> int:
    """Pixels of the text beside pictures `width` pixels wide: legible still when the page is shown 800 pixels wide."""
    return int(np.clip(round(width / 50), 16, 26))


def write_png(path: Path, pixels: Array) -> None:
    """Write uint8 pixels [H, W, 3] as a PNG without metadata; in grey where there is no colour, a third of the size."""
    grey = bool((pixels == pixels[..., :1]).all())
    image = Image.fromarray(np.ascontiguousarray(pixels[..., 0] if grey else pixels))
    with atomic_write(path) as aside:
        image.save(aside)


def write_captions(folder: Path, captions: Sequence[Caption]) -> None:
    """Write captions.json: for each picture its "file", "title" and "alt", in the order to be shown.

    Raises:
        ValueError: if a caption lacks one of these or names a file that the folder does not hold.
    """
    for caption in captions:
        lacking = [key for key in ("file", "title", "alt") if not caption.get(key)]
        absent = [caption[key] for key in ("file", "gif") if key in caption and not (folder / caption[key]).is_file()]
        if lacking or absent:
            raise ValueError(f"caption {caption} lacks {lacking or 'nothing'}; not in the folder: {absent or 'none'}")
    write_json(folder / "captions.json", list(captions))
