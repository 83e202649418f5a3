"""An image file of one's own, framed as the training images are: MNIST's box for a digit, a photograph's middle."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from atlas.core.files import AtlasError
from atlas.core.images import opaque, to_pixels

Array = NDArray[np.float32]
T = TypeVar("T")

MAX_SIDE = 1024
"""Pixels of the longer side to which a larger image is first shrunk: strokes survive it, grain does not."""
BORDER = 0.03
"""Share of the shorter side that counts as the image's border, which shows the background."""
MIN_DIFFERENCE = 0.03
"""Of the way from black to white: what differs less from the background is background."""
MIN_CONTRAST = 0.1
"""The least that ink must differ from the background."""
SHADE = 0.15
"""Share of the ink's contrast below which a difference is the light on the paper."""
DUST = 0.002
"""Share of the ink that may lie beyond each side of the box around it."""
BOX = 20 / 28
"""Side of the box that MNIST's digits were scaled into, as a share of the image's."""


def read_image(
    path: str | os.PathLike[str],
    shape: tuple[int, int, int],
    framing: str | None = None,
    background: str = "#ffffff",
) -> NDArray[np.uint8]:
    """Return an image file as uint8 `shape` [C, H, W], as the data set's images were brought to it.

    Any size and format that Pillow reads, with transparency, 16 bits or an EXIF orientation; of several frames the
    first.

    Args:
        framing: digit (`frame_digit`), or crop, pad or stretch (`to_pixels`); if None, digit where `shape` is grey,
            else crop.
        background: what transparent pixels of a photograph lie on, as "#rrggbb".

    Raises:
        AtlasError: if there is no such file, it is not an image or a damaged one, or it is empty.
    """
    channels, height, width = shape
    if channels not in (1, 3):
        raise AtlasError(f"{path}: a model of images with {channels} channels cannot take a picture; allowed: 1 or 3")
    framing = framing or ("digit" if channels == 1 else "crop")
    if framing != "digit":
        return _open(Path(path), lambda image: to_pixels(image, shape, framing, background))
    try:
        return frame_digit(_ink(_grey(_open(Path(path), _rgba))), (height, width))[None]
    except AtlasError as error:
        raise AtlasError(f"{path}: an empty picture: {error}") from None


def frame_digit(ink: Array, size: tuple[int, int]) -> NDArray[np.uint8]:
    """Return ink [h, w], 0 to 1, as white on black, uint8 [H, W], framed as MNIST's digits were (LeCun et al. 1998).

    The ink is cropped, scaled into a box of 20 by 20 pixels (of 28) with its aspect kept, and moved by whole pixels
    until its center of mass is in the middle. One of MNIST's digits comes back nearly as it was.
    """
    profiles = [ink.sum(1 - axis, dtype=np.float64) / ink.sum(dtype=np.float64) for axis in (0, 1)]
    ink = ink[np.ix_(*((share.cumsum() > DUST) & (share[::-1].cumsum()[::-1] > DUST) for share in profiles))]
    scale = BOX * min(size) / max(ink.shape)
    height, width = (max(1, round(length * scale)) for length in ink.shape)
    small = np.asarray(Image.fromarray(ink).resize((width, height), Image.Resampling.BICUBIC)).clip(0)
    # MNIST's strokes are white, however thin the pen; where two cross, they would be whiter.
    small = (small / np.quantile(small[small > MIN_DIFFERENCE], 0.9)).clip(0, 1)
    starts = []
    for axis, length in enumerate(small.shape):
        middles = (np.arange(ink.shape[axis]) + 0.5) * length / ink.shape[axis]
        center = np.average(middles, weights=ink.sum(1 - axis))
        # The middle of pixel 14 of 28, as one measures in MNIST. A digit with a long tail must not lose it at the edge.
        starts.append(min(max(round(size[axis] / 2 + 0.5 - center), 0), size[axis] - length))
    framed = np.zeros(size, np.uint8)
    framed[starts[0] :, starts[1] :][:height, :width] = (small * 255).round()
    return framed


def _open(path: Path, convert: Callable[[Image.Image], T]) -> T:
    """Return what `convert` makes of the opened file."""
    reasons = {
        FileNotFoundError: "no such file",
        IsADirectoryError: "a folder, not an image",
        Image.UnidentifiedImageError: "not an image that Pillow can read; allowed: PNG, JPEG, WebP, TIFF, ...",
        Image.DecompressionBombError: "too large to be read safely; shrink it first",
    }
    try:
        with Image.open(path) as file:
            return convert(file)
    except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError) as error:
        raise AtlasError(f"{path}: {reasons.get(type(error), f'a damaged image ({error})')}") from None


def _rgba(image: Image.Image) -> Image.Image:
    """Return an image upright, 8 bits a channel, its transparency kept."""
    image = ImageOps.exif_transpose(image)
    return (image if image.has_transparency_data else opaque(image)).convert("RGBA")


def _grey(image: Image.Image) -> Array:
    """Return the brightness of an RGBA image, [h, w], 0 to 1, on an opaque background."""
    image.thumbnail((MAX_SIDE, MAX_SIDE))
    grey, alpha = image.convert("L"), image.getchannel("A")
    opaque = np.asarray(grey)[np.asarray(alpha) > 127]
    if not opaque.size:
        raise AtlasError("found no pixel that is not transparent")
    low, background, high = np.quantile(opaque, (0.02, 0.5, 0.98))
    if high - low < 255 * MIN_CONTRAST and opaque.size < alpha.width * alpha.height:
        # Strokes alone: on white if they are dark, else on black.
        background = 255 if background < 128 else 0
    grey.paste(round(background), mask=ImageOps.invert(alpha))
    return np.asarray(grey, np.float32) / np.float32(255)


def _ink(grey: Array) -> Array:
    """Return how much ink lies on each pixel, [h, w], 0 to 1, darker or lighter than the background."""
    background, noise = _background(grey)
    least = max(MIN_DIFFERENCE, 3 * noise)
    # Where less light falls, paper and ink are darker in proportion.
    darker = (background - grey) * np.median(background) / background.clip(MIN_CONTRAST)
    ink = max(darker, grey - background, key=lambda ink: ink[ink > least].sum())
    contrast = np.quantile(ink[ink > least], 0.95) if ink.max() > least else 0
    needed = max(MIN_CONTRAST, 2 * least)
    if contrast < needed:
        raise AtlasError(f"found no ink (nothing differs from the background by {needed:.0%} of black to white)")
    return np.where(ink > max(least, SHADE * contrast), ink / contrast, 0).clip(0, 1).astype(np.float32)


def _background(grey: Array) -> tuple[Array, float]:
    """Return the background's brightness under each pixel, [h, w], and the scatter of the border's pixels around it.

    A plane through the border's pixels, for the light on a photograph comes from one side. Pixels far from it are ink
    that reaches the border: the next step of the fit replaces them by the plane itself.
    """
    thickness = max(1, round(BORDER * min(grey.shape)))
    border = np.ones(grey.shape, bool)
    border[thickness:-thickness, thickness:-thickness] = False
    points = np.stack([np.ones(grey.shape), *np.indices(grey.shape)], -1)
    solve, values = np.linalg.pinv(points[border]), grey[border]
    fit = np.full_like(values, np.median(values))
    for _ in range(10):
        distance = np.abs(values - fit)
        near = distance <= max(MIN_DIFFERENCE, 4 * np.median(distance))
        plane = points @ (solve @ np.where(near, values, fit))
        fit = plane[border]
    return plane, 1.4826 * float(np.median(np.abs(values - fit)))
