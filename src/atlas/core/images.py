"""An image file's pixels as the networks see them: upright, without transparency, of one size and channel count."""

from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

Fit = Literal["crop", "pad", "stretch"]
FITS: tuple[str, ...] = get_args(Fit)


def to_pixels(
    image: Image.Image, shape: tuple[int, int, int], fit: str = "crop", background: str = "#ffffff"
) -> NDArray[np.uint8]:
    """Pixels of any Pillow image as uint8 [C, H, W] of `shape`, whose channels are 1 (grey) or 3 (red, green, blue).

    Args:
        fit: crop (the middle, as large as fits), pad (all of it, with bars of `background`) or stretch.
        background: what transparent pixels lie on, as "#rrggbb".

    Raises:
        OSError or ValueError: if the file is broken, or of a kind that Pillow cannot convert.
    """
    channels, height, width = shape
    # JPEG's own coarse steps are many times faster than decoding a photograph in full; twice the size loses nothing.
    image.draft(None, (2 * max(height, width), 2 * max(height, width)))
    image = opaque(ImageOps.exif_transpose(image), background)
    image = image.convert("L" if channels == 1 else "RGB")
    size, method = (width, height), Image.Resampling.BICUBIC
    if fit == "crop":
        image = ImageOps.fit(image, size, method)
    elif fit == "pad":
        image = ImageOps.pad(image, size, method, color=background)
    else:
        image = image.resize(size, method)
    return np.asarray(image).reshape(height, width, channels).transpose(2, 0, 1)


def opaque(image: Image.Image, background: str = "#ffffff") -> Image.Image:
    """Image of 8 bits a channel and without transparency: modes 1, L, P, RGB, CMYK and their like stay as they are."""
    if image.has_transparency_data:
        under = Image.new("RGBA", image.size, background)
        return Image.alpha_composite(under, image.convert("RGBA")).convert("RGB")
    if image.mode.startswith(("I", "F")):
        # Pillow's own conversion cuts off what is above 255. Real values are taken for shares if none exceeds 1.
        values = np.asarray(image).astype(np.float64)
        white = 65535 if image.mode.startswith("I") else 1 if values.max() <= 1 else 255
        return Image.fromarray(np.round(values * (255 / white)).clip(0, 255).astype(np.uint8))
    return image
