"""A person's own picture as a network has learned to see pictures: MNIST's framing of a digit, CIFAR-10's square."""

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from atlas.core.files import AtlasError

Plane = NDArray[np.float32]

LARGEST = 1024
"""Pixels of the longer side from which a picture is first shrunk: strokes survive it, grain and dust do not."""
FRAME = 0.03
"""The share of the shorter side that counts as the picture's border, which shows the paper."""
FAINT = 0.03
"""Of the way from black to white: what differs less from the paper is paper."""
CONTRAST = 0.1
"""The least that ink must differ from the paper."""
SHADE = 0.15
"""The share of the ink's contrast below which a difference is the light on the paper."""
DUST = 0.002
"""The share of the ink that may lie beyond each side of the box around it."""
BOX = 20 / 28
"""The box that MNIST's digits were scaled into, as a share of the picture."""


def picture(path: str | os.PathLike[str], shape: tuple[int, int, int]) -> NDArray[np.uint8]:
    """Return an image file as uint8 `shape`, [1, H, W] by `digit` or [3, H, W] by `square`.

    Whatever Pillow reads: any size and colours, with transparency, 16 bits, turned as its EXIF data say; of a film its
    first picture.

    Raises:
        AtlasError: if there is no such file, it is not an image or a damaged one, or it shows nothing.
    """
    path = Path(path)
    image = _open(path)
    try:
        if shape[0] == 1:
            return digit(*_tones(image), shape[1:])[None]
        if shape[0] == 3:
            return np.moveaxis(square(image, shape[1:]), -1, 0)
    except AtlasError as error:
        raise AtlasError(f"{path}: {error}") from None
    raise AtlasError(f"{path}: a model of images with {shape[0]} channels cannot take a picture; allowed: 1 or 3")


def digit(tones: Plane, cover: Plane, size: tuple[int, int]) -> NDArray[np.uint8]:
    """Return light ink on a black ground, uint8 [H, W], framed as MNIST's makers framed their digits.

    The ink is cropped, scaled into a box of 20 by 20 pixels (of 28) with its aspect kept, its edges smoothed by that,
    and moved by whole pixels until its centre of mass is in the middle (LeCun et al. 1998). A digit of MNIST's comes
    back as itself.

    Args:
        tones: [h, w], 0 for black to 1 for white; cover: [h, w], 0 where the picture is transparent.
        size: (H, W).

    Raises:
        AtlasError: if there is no ink.
    """
    ink = _ink(tones, cover)
    top, bottom = _span(ink.sum(1))
    left, right = _span(ink.sum(0))
    ink = ink[top:bottom, left:right]
    # Pixels of the picture in one of the result's.
    step = max(ink.shape) / (BOX * min(size))
    rows, columns = (_window(ink.sum(1 - axis), size[axis], step) for axis in (0, 1))
    room = int(np.ceil(step * max(size)))
    window = columns[0] + room, rows[0] + room, columns[1] + room, rows[1] + room
    # One resampling for scale and place: each blurs. Pillow's smooths first where it shrinks.
    padded = Image.fromarray(np.pad(ink, room))
    small = np.asarray(padded.resize((size[1], size[0]), Image.Resampling.BICUBIC, box=window)).clip(0)
    # MNIST's strokes are white, however thin the pen; where two cross, they would be whiter.
    white = np.quantile(small[small > FAINT], 0.9)
    return ((small / white).clip(0, 1) * 255).round().astype(np.uint8)


def square(image: Image.Image, size: tuple[int, int]) -> NDArray[np.uint8]:
    """Return the middle of a picture, as large as fits, as uint8 [H, W, 3]; what is transparent is white."""
    if image.mode.startswith(("I", "F")):
        image = Image.fromarray((_tones(image)[0] * 255).round().astype(np.uint8))
    clear = image.convert("RGBA")
    opaque = Image.alpha_composite(Image.new("RGBA", clear.size, "white"), clear).convert("RGB")
    return np.array(ImageOps.fit(opaque, (size[1], size[0]), Image.Resampling.LANCZOS))


def _open(path: Path) -> Image.Image:
    if not path.is_file():
        raise AtlasError(f"{path}: {'a folder, not an image' if path.is_dir() else 'no such file'}")
    try:
        with Image.open(path) as image:
            return ImageOps.exif_transpose(image)
    except Image.UnidentifiedImageError:
        raise AtlasError(f"{path}: not an image that Pillow can read; allowed: PNG, JPEG, WebP, TIFF, ...") from None
    except Image.DecompressionBombError:
        raise AtlasError(f"{path}: too large to be read safely; shrink it first") from None
    except (OSError, ValueError, SyntaxError, EOFError) as error:
        raise AtlasError(f"{path}: a damaged image ({error})") from None


def _tones(image: Image.Image) -> tuple[Plane, Plane]:
    """Return how light (0 to 1) and how opaque (0 to 1) each pixel is, [h, w] both, at most `LARGEST` wide."""
    times = -(-max(image.size) // LARGEST)
    if image.mode.startswith(("I", "F")):
        values = np.asarray(image, np.float32)
        whole = 65535 if values.max() > 255 else 255 if values.max() > 1 else 1
        tones = np.asarray(Image.fromarray(values / whole).reduce(times)).clip(0, 1)
        return tones, np.ones_like(tones)
    clear = image.convert("RGBA").reduce(times)
    red, green, blue, cover = np.moveaxis(np.asarray(clear, np.float32) / 255, -1, 0)
    return 0.299 * red + 0.587 * green + 0.114 * blue, cover


def _ink(tones: Plane, cover: Plane) -> Plane:
    """Return how much ink (0 to 1) lies on each pixel, [h, w], whether it is darker than the paper or lighter."""
    solid = cover > 0.5
    if not solid.all():
        if not solid.any():
            raise AtlasError("an empty picture: found no pixel that is not transparent")
        if np.ptp(np.quantile(tones[solid], (0.02, 0.98))) < CONTRAST:
            # Strokes on no paper.
            return np.where(cover > FAINT, cover, 0)
        tones = cover * tones + (1 - cover) * np.median(tones[solid])
    paper, grain = _paper(tones)
    least = max(FAINT, 3 * grain)
    ink, other = paper - tones, tones - paper
    if ink[ink > least].sum() >= other[other > least].sum():
        # Where less light falls, paper and ink are darker in proportion.
        ink *= np.median(paper) / np.maximum(paper, CONTRAST)
    else:
        ink = other
    inked = ink[ink > least]
    full = float(np.quantile(inked, 0.95)) if inked.size else 0.0
    if full < max(CONTRAST, 2 * least):
        raise AtlasError(
            f"an empty picture: found no ink (nothing differs from the paper by {max(CONTRAST, 2 * least):.0%} of the "
            "way from black to white)"
        )
    return np.where(ink > max(least, SHADE * full), ink / full, 0).clip(0, 1)


def _paper(tones: Plane) -> tuple[Plane, float]:
    """Return the paper's tone under each pixel, [h, w], and how far its pixels scatter.

    A plane through the border's pixels, for the light on a photograph comes from one side; those far from a first
    plane are ink that reaches the border, and count no more in the second.
    """
    height, width = tones.shape
    y, x = np.mgrid[:height, :width].astype(np.float32)
    y, x = y / height - 0.5, x / width - 0.5
    wide = max(1, round(FRAME * min(height, width)))
    border = np.ones(tones.shape, bool)
    border[wide:-wide, wide:-wide] = False
    points, values = np.stack([np.ones_like(x), x, y], -1)[border], tones[border]
    plane, scatter = np.array([np.median(values), 0, 0], np.float32), 0.0
    for _ in range(2):
        off = np.abs(values - points @ plane)
        near = off <= max(FAINT, 4 * float(np.median(off)))
        plane = np.linalg.lstsq(points[near], values[near], rcond=None)[0].astype(np.float32)
        scatter = 1.4826 * float(np.median(np.abs(values - points @ plane)))
    return plane[0] + plane[1] * x + plane[2] * y, scatter


def _span(profile: Plane) -> tuple[int, int]:
    """Return where the ink begins and ends along a profile of it [n], but for dust."""
    share = np.cumsum(profile, dtype=np.float64) / profile.sum(dtype=np.float64)
    return int(np.searchsorted(share, DUST, "right")), int(np.searchsorted(share, 1 - DUST)) + 1


def _window(profile: Plane, size: int, step: float) -> tuple[float, float]:
    """Return where `size` pixels of the result, each `step` of the ink's, begin and end along a profile of the ink."""
    centre = float(np.average(np.arange(len(profile)) + 0.5, weights=profile))
    # The middle of pixel 14 of 28, as one measures in MNIST.
    before = round(size / 2 + 0.5 - centre / step)
    # A digit with a long tail would lose it at the edge, were it centred by mass alone.
    before = max(0, min(before, int(size - len(profile) / step)))
    return -before * step, (size - before) * step
