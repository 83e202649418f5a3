"""An image file of one's own, framed as the training images are: MNIST's box for a digit, CIFAR-10's square."""

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from atlas.core.files import AtlasError

Array = NDArray[np.float32]

MAX_SIDE = 1024
"""Pixels of the longer side from which an image is first shrunk: strokes survive it, grain does not."""
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
FIT_STEPS = 10
"""Of the fit of the background."""


def read_image(path: str | os.PathLike[str], shape: tuple[int, int, int]) -> NDArray[np.uint8]:
    """Return an image file as uint8 `shape`: [1, H, W] by `frame_digit`, or the middle of it as [3, H, W].

    Any size and format that Pillow reads, with transparency, 16 bits or an EXIF orientation; of several frames the
    first.

    Raises:
        AtlasError: if there is no such file, it is not an image or a damaged one, or it is empty.
    """
    path = Path(path)
    channels, height, width = shape
    image = _open(path)
    if channels == 3:
        opaque = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
        return np.moveaxis(np.array(ImageOps.fit(opaque, (width, height), Image.Resampling.LANCZOS)), -1, 0)
    if channels != 1:
        raise AtlasError(f"{path}: a model of images with {channels} channels cannot take a picture; allowed: 1 or 3")
    try:
        return frame_digit(_grey(image), (height, width))[None]
    except AtlasError as error:
        raise AtlasError(f"{path}: an empty picture: {error}") from None


def frame_digit(grey: Array, size: tuple[int, int]) -> NDArray[np.uint8]:
    """Return light ink on black, uint8 [H, W], framed as MNIST's digits were (LeCun et al. 1998).

    The ink is cropped, scaled into a box of 20 by 20 pixels (of 28) with its aspect kept, and moved by whole pixels
    until its center of mass is in the middle. One of MNIST's digits comes back nearly as it was.

    Args:
        grey: [h, w], 0 for black to 1 for white; size: (H, W).

    Raises:
        AtlasError: if there is no ink.
    """
    ink = _ink(grey)
    (top, bottom), (left, right) = _span(ink.sum(1)), _span(ink.sum(0))
    ink = ink[top:bottom, left:right]
    scale = BOX * min(size) / max(ink.shape)
    height, width = (max(1, round(length * scale)) for length in ink.shape)
    small = np.asarray(Image.fromarray(ink).resize((width, height), Image.Resampling.BICUBIC)).clip(0)
    # MNIST's strokes are white, however thin the pen; where two cross, they would be whiter.
    small = (small / np.quantile(small[small > MIN_DIFFERENCE], 0.9)).clip(0, 1)
    framed = np.zeros(size, np.uint8)
    row, column = (_start(ink.sum(1 - axis), small.shape[axis], size[axis]) for axis in (0, 1))
    framed[row : row + height, column : column + width] = (small * 255).round()
    return framed


def _open(path: Path) -> Image.Image:
    """Return the file as RGBA, 8 bits a channel, upright."""
    if not path.is_file():
        raise AtlasError(f"{path}: {'a folder, not an image' if path.is_dir() else 'no such file'}")
    try:
        with Image.open(path) as file:
            image = ImageOps.exif_transpose(file)
    except Image.UnidentifiedImageError:
        raise AtlasError(f"{path}: not an image that Pillow can read; allowed: PNG, JPEG, WebP, TIFF, ...") from None
    except Image.DecompressionBombError:
        raise AtlasError(f"{path}: too large to be read safely; shrink it first") from None
    except (OSError, ValueError, SyntaxError, EOFError) as error:
        raise AtlasError(f"{path}: a damaged image ({error})") from None
    if image.mode.startswith(("I", "F")):
        values = np.asarray(image, np.float32)
        white = 65535 if values.max() > 255 else 255 if values.max() > 1 else 1
        image = Image.fromarray((values / white * 255).round().clip(0, 255).astype(np.uint8))
    return image.convert("RGBA")


def _grey(image: Image.Image) -> Array:
    """Return the brightness of an RGBA image, [h, w], 0 to 1, at most `MAX_SIDE` wide, on an opaque background."""
    reduced = image.reduce(-(-max(image.size) // MAX_SIDE))
    red, green, blue, alpha = np.moveaxis(np.asarray(reduced, np.float32) / 255, -1, 0)
    grey = 0.299 * red + 0.587 * green + 0.114 * blue
    opaque = grey[alpha > 0.5]
    if not opaque.size:
        raise AtlasError("found no pixel that is not transparent")
    background = np.median(opaque)
    if np.ptp(np.quantile(opaque, (0.02, 0.98))) < MIN_CONTRAST and opaque.size < grey.size:
        # Strokes alone: on white if they are dark, else on black.
        background = np.float32(background < 0.5)
    return alpha * grey + (1 - alpha) * background


def _ink(grey: Array) -> Array:
    """Return how much ink lies on each pixel, [h, w], 0 to 1, darker or lighter than the background."""
    background, noise = _background(grey)
    least = max(MIN_DIFFERENCE, 3 * noise)
    darker, lighter = background - grey, grey - background
    if darker[darker > least].sum() >= lighter[lighter > least].sum():
        # Where less light falls, paper and ink are darker in proportion.
        ink = darker * np.median(background) / background.clip(MIN_CONTRAST)
    else:
        ink = lighter
    inked = ink[ink > least]
    contrast = np.quantile(inked, 0.95) if inked.size else 0
    needed = max(MIN_CONTRAST, 2 * least)
    if contrast < needed:
        raise AtlasError(
            f"found no ink (nothing differs from the background by {needed:.0%} of the way from black to white)"
        )
    return np.where(ink > max(least, SHADE * contrast), ink / contrast, 0).clip(0, 1).astype(np.float32)


def _background(grey: Array) -> tuple[Array, float]:
    """Return the background's brightness under each pixel, [h, w], and the scatter of its pixels.

    A plane through the border's pixels, for the light on a photograph comes from one side. Pixels far from it are ink
    that reaches the border: the next step of the fit replaces them by the plane itself.
    """
    height, width = grey.shape
    thickness = max(1, round(BORDER * min(height, width)))
    border = np.ones(grey.shape, bool)
    border[thickness:-thickness, thickness:-thickness] = False
    axes = [
        (index - (length - 1) / 2) / length for index, length in zip(np.indices(grey.shape), grey.shape, strict=True)
    ]
    values = grey[border]
    fit = np.full_like(values, np.median(values))
    for _ in range(FIT_STEPS):
        distance = np.abs(values - fit)
        values_near = np.where(distance <= max(MIN_DIFFERENCE, 4 * np.median(distance)), values, fit)
        # Over the whole border the two axes are uncorrelated, so each slope has a formula of its own.
        slopes = [(axis[border] * values_near).sum() / max((axis[border] ** 2).sum(), 1e-9) for axis in axes]
        plane = values_near.mean() + slopes[0] * axes[0] + slopes[1] * axes[1]
        fit = plane[border]
    return plane, 1.4826 * float(np.median(np.abs(values - fit)))


def _span(profile: Array) -> tuple[int, int]:
    """Return where the ink begins and ends along a profile of it [n], but for dust."""
    share = np.cumsum(profile, dtype=np.float64) / profile.sum(dtype=np.float64)
    return int(np.searchsorted(share, DUST, "right")), int(np.searchsorted(share, 1 - DUST)) + 1


def _start(profile: Array, length: int, size: int) -> int:
    """Return where a profile of the ink, scaled to `length`, begins in `size` pixels to have its mass in the middle."""
    center = float(np.average(np.arange(len(profile)) + 0.5, weights=profile)) * length / len(profile)
    # The middle of pixel 14 of 28, as one measures in MNIST. A digit with a long tail must not lose it at the edge.
    return min(max(round(size / 2 + 0.5 - center), 0), size - length)
