"""An image of one's own: the same digit however it was drawn, framed as MNIST's, and what is refused."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter, ImageOps
from sklearn.datasets import load_digits

from atlas.core.files import AtlasError
from atlas.core.images import to_pixels
from atlas.inference.own_image import read_image

GREY, COLOR = (1, 28, 28), (3, 32, 32)


def draw_four(width: int = 300, height: int = 400, ink: int = 0, paper: int = 255) -> Image.Image:
    """A four in three strokes of a thick pen, off the center of the paper."""
    larger = 4  # drawn larger, so that its edges are smooth
    image = Image.new("L", (width * larger, height * larger), paper)
    points = [[(0.4, 0.1), (0.2, 0.5), (0.75, 0.45)], [(0.6, 0.3), (0.5, 0.8)]]
    for stroke in points:
        line = [(x * width * larger, y * height * larger) for x, y in stroke]
        ImageDraw.Draw(image).line(line, fill=ink, width=round(0.08 * height * larger), joint="curve")
    return image.resize((width, height), Image.Resampling.BOX)


def _read(image: Image.Image, folder: Path, name: str = "drawn.png", **options: object) -> np.ndarray:
    image.save(folder / name, **options)  # type: ignore[arg-type]
    digit = read_image(folder / name, GREY)
    assert digit.shape == GREY and digit.dtype == np.uint8
    return digit[0].astype(float)


def _distance(digit: np.ndarray, expected: np.ndarray) -> float:
    """Mean absolute difference of the pixels, as a share of the ink."""
    return float(np.abs(digit - expected).mean() / expected.mean())


def _transparent(image: Image.Image, ink: str) -> Image.Image:
    strokes = Image.new("RGBA", image.size, ink)
    strokes.putalpha(ImageOps.invert(image))
    return strokes


def _rimmed(image: Image.Image) -> Image.Image:
    """On paper, with a transparent rim."""
    sheet = image.convert("RGBA")
    sheet.putalpha(ImageOps.expand(Image.new("L", (image.width - 20, image.height - 20), 255), 10))
    return sheet


def _shaded(image: Image.Image) -> Image.Image:
    """A photograph: grey ink on paper lit from one side, with grain."""
    tones = np.asarray(image, float) / 255 * 150 + 60
    light = np.linspace(1, 0.6, tones.shape[1]) * np.linspace(1, 0.9, tones.shape[0])[:, None]
    grain = np.random.default_rng(0).normal(0, 5, tones.shape)
    return Image.fromarray((tones * light + grain).clip(0, 255).astype(np.uint8))


def _deep(image: Image.Image) -> Image.Image:
    return Image.fromarray(np.asarray(image, np.uint16) * 200 + 3000)


WAYS: dict[str, tuple[Callable[[Image.Image], Image.Image], float]] = {
    "light on dark": (ImageOps.invert, 0.01),
    "grey on grey": (lambda image: image.point(lambda tone: 120 + tone // 4), 0.05),
    "in color": (lambda image: ImageOps.colorize(image, "darkred", "lightyellow"), 0.05),
    "black, transparent paper": (lambda image: _transparent(image, "black"), 0.01),
    "white, transparent paper": (lambda image: _transparent(image, "white"), 0.01),
    "transparent rim": (_rimmed, 0.01),
    "palette": (lambda image: image.quantize(16), 0.05),
    "two tones": (lambda image: image.convert("1", dither=Image.Dither.NONE), 0.1),
    "CMYK": (lambda image: image.convert("CMYK"), 0.05),
    "16 bits": (_deep, 0.01),
    "elsewhere on larger paper": (lambda image: ImageOps.expand(image, (400, 20, 30, 90), 255), 0.05),
    "touching the edge": (lambda image: image.crop(ImageOps.invert(image).getbbox()), 0.05),
    "huge": (lambda image: image.resize((3000, 4000), Image.Resampling.BICUBIC), 0.1),
    "tiny": (lambda image: image.resize((30, 40), Image.Resampling.BOX), 0.3),
    "a photograph": (_shaded, 0.15),
}


@pytest.mark.parametrize("way", WAYS)
def test_a_digit_is_the_same_however_it_was_drawn(way: str, tmp_path: Path) -> None:
    expected = _read(draw_four(), tmp_path)
    change, most = WAYS[way]
    digit = _read(change(draw_four()), tmp_path, "other.tiff" if way == "CMYK" else "other.png")
    assert _distance(digit, expected) < most


def test_a_digit_is_turned_as_its_exif_data_say(tmp_path: Path) -> None:
    expected = _read(draw_four(), tmp_path)
    # As a camera stores what EXIF orientation 6 turns upright.
    stored = draw_four().transpose(Image.Transpose.ROTATE_90)
    exif = Image.Exif()
    exif[0x0112] = 6
    assert _distance(_read(stored, tmp_path, "turned.jpg", exif=exif, quality=95), expected) < 0.05


def test_a_digit_fills_mnists_box_and_its_mass_is_in_the_middle(tmp_path: Path) -> None:
    for size in ((300, 400), (500, 200), (90, 400)):
        digit = _read(draw_four(*size), tmp_path)
        inked = digit > 0.1 * digit.max()
        tall, wide = np.ptp(np.nonzero(inked.any(1))[0]) + 1, np.ptp(np.nonzero(inked.any(0))[0]) + 1
        assert max(tall, wide) in (20, 21), "the longer side fills it"
        box = ImageOps.invert(draw_four(*size)).getbbox()
        assert box is not None
        assert wide / tall == pytest.approx((box[2] - box[0]) / (box[3] - box[1]), rel=0.15), "the aspect is kept"
        for axis in (0, 1):
            assert np.average(np.arange(28), weights=digit.sum(axis)) == pytest.approx(14, abs=0.6)
        assert np.quantile(digit[digit > 0], 0.9) > 250


def test_a_digit_with_a_long_tail_stays_whole(tmp_path: Path) -> None:
    image = Image.new("L", (200, 1000), 255)
    ImageDraw.Draw(image).rectangle((94, 150, 106, 950), fill=0)
    ImageDraw.Draw(image).ellipse((20, 50, 180, 210), fill=0)
    digit = _read(image, tmp_path)
    ink = digit.sum(1)
    assert ink[-1] > 50 and (ink > 50).sum() == 20


def test_what_already_is_framed_comes_back_as_itself(tmp_path: Path) -> None:
    moved = []
    for small in load_digits().images[:40]:
        digit = np.asarray(Image.fromarray((small * 15.9).astype(np.uint8)).resize((28, 28), Image.Resampling.BICUBIC))
        first = _read(Image.fromarray(255 - digit), tmp_path)
        moved.append(_distance(_read(Image.fromarray(first.astype(np.uint8)), tmp_path), first))
    assert np.median(moved) < 0.05 and np.quantile(moved, 0.9) < 0.25


def test_dust_does_not_count(tmp_path: Path) -> None:
    image = draw_four()
    image.putpixel((290, 390), 0)
    image.putpixel((5, 7), 60)
    assert _distance(_read(image, tmp_path), _read(draw_four(), tmp_path)) < 0.02


def test_a_picture_in_colour_is_cut_square(tmp_path: Path) -> None:
    image = Image.new("RGB", (300, 100), "red")
    image.paste("blue", (100, 0, 200, 100))
    image.save(tmp_path / "wide.png")
    digit = read_image(tmp_path / "wide.png", COLOR)
    assert digit.shape == COLOR and digit.dtype == np.uint8
    # At the edge, what lies beyond shines in.
    assert (digit[2, :, 1:-1] > 250).all() and (digit[0, :, 1:-1] < 5).all()
    Image.new("RGBA", (50, 70)).save(tmp_path / "clear.png")
    assert (read_image(tmp_path / "clear.png", COLOR) == 255).all()
    Image.fromarray(np.full((40, 40), 32768, np.uint16)).save(tmp_path / "deep.png")
    assert set(np.unique(read_image(tmp_path / "deep.png", COLOR))) <= {127, 128}


def _noise() -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (60, 60), dtype=np.uint8))


@pytest.mark.parametrize(
    "image",
    [
        Image.new("L", (100, 80), 255),
        Image.new("RGB", (100, 80), "navy"),
        Image.new("RGBA", (100, 80)),
        Image.new("1", (1, 1)),
        Image.new("L", (2, 2), 9),
        _noise(),
        draw_four(ink=245),
    ],
    ids=["white", "one color", "transparent", "one pixel", "four pixels", "noise", "too faint"],
)
def test_a_picture_without_ink_is_refused(image: Image.Image, tmp_path: Path) -> None:
    with pytest.raises(AtlasError, match=r"drawn\.png: an empty picture: found no"):
        _read(image, tmp_path)


def test_what_is_no_image_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AtlasError, match=r"none\.png: no such file"):
        read_image(tmp_path / "none.png", GREY)
    with pytest.raises(AtlasError, match="a folder, not an image"):
        read_image(tmp_path, GREY)
    (tmp_path / "text.png").write_text("no image")
    with pytest.raises(AtlasError, match=r"text\.png: not an image that Pillow can read; allowed: PNG, JPEG"):
        read_image(tmp_path / "text.png", GREY)
    draw_four().filter(ImageFilter.BLUR).save(tmp_path / "cut.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "cut.png").read_bytes()[:900])
    with pytest.raises(AtlasError, match=r"cut\.png: a damaged image"):
        read_image(tmp_path / "cut.png", GREY)
    draw_four().save(tmp_path / "good.png")
    with pytest.raises(AtlasError, match="2 channels cannot take a picture; allowed: 1 or 3"):
        read_image(tmp_path / "good.png", (2, 16, 20))


@pytest.mark.parametrize("framing", ["crop", "pad", "stretch"])
@pytest.mark.parametrize("size", [(1, 48, 96), (3, 16, 32)])
def test_a_photograph_is_framed_as_the_data_sets_images(
    framing: str, size: tuple[int, int, int], tmp_path: Path
) -> None:
    photo = Image.merge("RGB", [Image.linear_gradient("L").rotate(angle) for angle in (0, 90, 180)]).crop(
        (0, 0, 256, 200)
    )
    photo.save(tmp_path / "photo.png")
    pixels = read_image(tmp_path / "photo.png", size, framing, "#ff0000")
    assert np.array_equal(pixels, to_pixels(photo, size, framing, "#ff0000"))
    (tmp_path / "broken.png").write_bytes((tmp_path / "photo.png").read_bytes()[:300])
    with pytest.raises(AtlasError, match=r"broken\.png: "):
        read_image(tmp_path / "broken.png", size, framing)
