"""Pixels of image files in every mode: what a viewer would show, at the size and in the channels asked for."""

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from atlas.core.images import to_pixels

COLORS = np.array([[(250, 10, 20), (10, 240, 30)], [(20, 30, 230), (250, 250, 5)]], np.uint8)
"""Red, green; blue, yellow."""


def picture(side: int = 8) -> Image.Image:
    return Image.fromarray(COLORS.repeat(side // 2, 0).repeat(side // 2, 1))


def through_file(image: Image.Image, kind: str, **options: object) -> Image.Image:
    file = BytesIO()
    image.save(file, kind, **options)
    return Image.open(file)


@pytest.mark.parametrize(
    ("image", "tolerance"),
    [
        (through_file(picture(), "PNG"), 0),
        (through_file(picture().quantize(8), "PNG"), 6),
        (through_file(picture().convert("RGBA"), "PNG"), 0),
        (through_file(picture().quantize(8), "GIF"), 6),
        (through_file(picture(), "BMP"), 0),
        (through_file(picture(), "TIFF"), 0),
        (through_file(picture().convert("CMYK"), "TIFF"), 2),
        (through_file(picture(), "WEBP", lossless=True), 0),
        (through_file(picture(), "JPEG", quality=100, subsampling=0), 8),
    ],
    ids=lambda value: f"{value.format}-{value.mode}" if isinstance(value, Image.Image) else "",
)
def test_every_kind_of_file_gives_the_same_colors(image: Image.Image, tolerance: int) -> None:
    pixels = to_pixels(image, (3, 8, 8))
    assert pixels.dtype == np.uint8
    truth = np.asarray(picture()).transpose(2, 0, 1).astype(int)
    assert np.abs(pixels - truth).max() <= tolerance


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bits_become_eight(kind: str) -> None:
    values = np.linspace(0, 65535, 64).astype(np.uint16).reshape(8, 8)
    pixels = to_pixels(through_file(Image.fromarray(values), kind), (1, 8, 8))
    assert np.abs(pixels[0] - values / 257).max() <= 0.5
    shares = Image.fromarray((values / 65535).astype(np.float32))
    assert np.abs(to_pixels(through_file(shares, "TIFF"), (3, 8, 8))[1] - values / 257).max() <= 0.51


@pytest.mark.parametrize(("background", "color"), [("#ffffff", 255), ("#000000", 0)])
def test_what_is_transparent_shows_the_background(background: str, color: int) -> None:
    image = picture().convert("RGBA")
    image.putalpha(Image.fromarray(np.where(np.arange(8) < 4, 255, 0).astype(np.uint8)[None].repeat(8, 0)))
    pixels = to_pixels(through_file(image, "PNG"), (3, 8, 8), background=background)
    assert (pixels[:, :, 4:] == color).all() and (COLORS[0, 0] == pixels[:, :4, 0].T).all()
    palette = picture().quantize(4)
    palette.info["transparency"] = palette.getpixel((0, 0))
    assert (to_pixels(through_file(palette, "PNG"), (3, 8, 8), background=background)[:, :4, :4] == color).all()
    half = Image.new("LA", (8, 8), (100, 51))
    assert abs(int(to_pixels(half, (1, 8, 8), background=background)[0, 0, 0]) - (20 + 0.8 * color)) <= 1


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_photograph_taken_sideways_is_upright(orientation: int) -> None:
    undo = [None, None, 0, 3, 1, 5, 2, 6, 4][orientation]
    stored = picture() if undo is None else picture().transpose(Image.Transpose(undo))
    exif = Image.Exif()
    exif[0x0112] = orientation
    pixels = to_pixels(through_file(stored, "PNG", exif=exif), (3, 8, 8))
    assert np.array_equal(pixels, np.asarray(picture()).transpose(2, 0, 1))


def test_crop_pad_and_stretch() -> None:
    wide = Image.fromarray(np.repeat(np.arange(3, dtype=np.uint8) * 100, 16)[None].repeat(16, 0))
    crop, pad, stretch = (to_pixels(wide, (1, 24, 24), fit)[0] for fit in ("crop", "pad", "stretch"))
    assert (crop[12, 4:20] == 100).all(), "the middle third"
    assert (pad[:7] == 255).all() and (pad[17:] == 255).all(), "white bars"
    assert pad[12, 2] == 0 and pad[12, 12] == 100 and pad[12, 22] == 200
    assert (stretch[[0, 23], 2] == 0).all() and stretch[12, 12] == 100 and stretch[12, 22] == 200
    assert to_pixels(wide, (3, 16, 32)).shape == (3, 16, 32)


def test_an_image_of_the_right_size_keeps_its_bytes(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 256, (32, 48, 3), dtype=np.uint8)
    Image.fromarray(values).save(tmp_path / "noise.png")
    for fit in ("crop", "pad", "stretch"):
        pixels = to_pixels(Image.open(tmp_path / "noise.png"), (3, 32, 48), fit)
        assert np.array_equal(pixels, values.transpose(2, 0, 1))
