"""A person's own image: the same digit however it was drawn, MNIST's framing, the command and what it refuses."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter, ImageOps
from tests.conftest import PARAMS

import atlas
import restyle
from atlas.core.datasets import Dataset
from atlas.inference.own_image import picture
from atlas.core.files import AtlasError
from atlas.core.model import Model
from atlas.plotting.restyled import restyled
from atlas.core.model import save_model
from atlas.training.optimizers import KEYS

ROOT = Path(__file__).parents[1]
GREY, COLOUR = (1, 28, 28), (3, 32, 32)


def _drawn(width: int = 300, height: int = 400, ink: int = 0, paper: int = 255) -> Image.Image:
    """A four in three strokes of a thick pen, off the centre of the paper."""
    four = 4  # drawn larger, so that its edges are smooth
    image = Image.new("L", (width * four, height * four), paper)
    points = [[(0.4, 0.1), (0.2, 0.5), (0.75, 0.45)], [(0.6, 0.3), (0.5, 0.8)]]
    for stroke in points:
        line = [(x * width * four, y * height * four) for x, y in stroke]
        ImageDraw.Draw(image).line(line, fill=ink, width=round(0.08 * height * four), joint="curve")
    return image.resize((width, height), Image.Resampling.BOX)


def _see(image: Image.Image, folder: Path, name: str = "drawn.png", **options: object) -> np.ndarray:
    image.save(folder / name, **options)  # type: ignore[arg-type]
    seen = picture(folder / name, GREY)
    assert seen.shape == GREY and seen.dtype == np.uint8
    return seen[0].astype(float)


def _distance(seen: np.ndarray, expected: np.ndarray) -> float:
    """Mean absolute difference of the pixels, as a share of the ink."""
    return float(np.abs(seen - expected).mean() / expected.mean())


# --- the digit that the network sees --------------------------------------------------------------------------------


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
    "in colour": (lambda image: ImageOps.colorize(image, "darkred", "lightyellow"), 0.05),
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
    expected = _see(_drawn(), tmp_path)
    change, most = WAYS[way]
    seen = _see(change(_drawn()), tmp_path, "other.tiff" if way == "CMYK" else "other.png")
    assert _distance(seen, expected) < most


@pytest.mark.parametrize("turn", range(1, 9))
def test_a_digit_is_turned_as_its_exif_data_say(turn: int, tmp_path: Path) -> None:
    expected = _see(_drawn(), tmp_path)
    # How the camera stored what EXIF orientation 1 to 8 turns upright.
    back = [None, 0, 3, 1, 5, 2, 6, 4][turn - 1]
    stored = _drawn() if back is None else _drawn().transpose(Image.Transpose(back))
    exif = Image.Exif()
    exif[0x0112] = turn
    assert _distance(_see(stored, tmp_path, "turned.jpg", exif=exif, quality=95), expected) < 0.05


def test_a_digit_fills_mnists_box_and_its_mass_is_in_the_middle(tmp_path: Path) -> None:
    for size in ((300, 400), (500, 200), (90, 400)):
        seen = _see(_drawn(*size), tmp_path)
        inked = seen > 0.1 * seen.max()
        tall, wide = np.ptp(np.nonzero(inked.any(1))[0]) + 1, np.ptp(np.nonzero(inked.any(0))[0]) + 1
        assert max(tall, wide) in (20, 21), "the longer side fills it"
        box = ImageOps.invert(_drawn(*size)).getbbox()
        assert box is not None
        assert wide / tall == pytest.approx((box[2] - box[0]) / (box[3] - box[1]), rel=0.15), "the aspect is kept"
        for axis in (0, 1):
            assert np.average(np.arange(28), weights=seen.sum(axis)) == pytest.approx(14, abs=0.6)
        assert np.quantile(seen[seen > 0], 0.9) > 250


def test_a_digit_with_a_long_tail_stays_whole(tmp_path: Path) -> None:
    image = Image.new("L", (200, 1000), 255)
    ImageDraw.Draw(image).rectangle((94, 150, 106, 950), fill=0)
    ImageDraw.Draw(image).ellipse((20, 50, 180, 210), fill=0)
    seen = _see(image, tmp_path)
    assert seen[-1].max() > 50 and (seen.max(1) > 50).sum() == 20


def test_what_already_is_framed_comes_back_as_itself(home: Path, tmp_path: Path) -> None:
    """MNIST's own digits do too: of 150, the middle one had 2 % of its ink moved."""
    digits = Dataset.open(home / "data/digits").split("test").images[:40, 0].numpy()
    moved = []
    for digit in digits:
        first = _see(Image.fromarray(255 - digit), tmp_path)
        moved.append(_distance(_see(Image.fromarray(first.astype(np.uint8)), tmp_path), first))
    assert np.median(moved) < 0.05 and np.quantile(moved, 0.9) < 0.25


def test_dust_does_not_count(tmp_path: Path) -> None:
    image = _drawn()
    image.putpixel((290, 390), 0)
    image.putpixel((5, 7), 60)
    assert _distance(_see(image, tmp_path), _see(_drawn(), tmp_path)) < 0.02


def test_a_picture_in_colour_is_cut_square(tmp_path: Path) -> None:
    image = Image.new("RGB", (300, 100), "red")
    image.paste("blue", (100, 0, 200, 100))
    image.save(tmp_path / "wide.png")
    seen = picture(tmp_path / "wide.png", COLOUR)
    assert seen.shape == COLOUR and seen.dtype == np.uint8
    # At the edge, what lies beyond shines in.
    assert (seen[2, :, 1:-1] > 250).all() and (seen[0, :, 1:-1] < 5).all()
    Image.new("RGBA", (50, 70)).save(tmp_path / "clear.png")
    assert (picture(tmp_path / "clear.png", COLOUR) == 255).all()
    Image.fromarray(np.full((40, 40), 32768, np.uint16)).save(tmp_path / "deep.png")
    assert set(np.unique(picture(tmp_path / "deep.png", COLOUR))) <= {127, 128}


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
        _drawn(ink=245),
    ],
    ids=["white", "one colour", "transparent", "one pixel", "four pixels", "noise", "too faint"],
)
def test_a_picture_without_ink_is_refused(image: Image.Image, tmp_path: Path) -> None:
    with pytest.raises(AtlasError, match=r"drawn\.png: an empty picture: found no"):
        _see(image, tmp_path)


def test_what_is_no_image_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AtlasError, match=r"none\.png: no such file"):
        picture(tmp_path / "none.png", GREY)
    with pytest.raises(AtlasError, match="a folder, not an image"):
        picture(tmp_path, GREY)
    (tmp_path / "text.png").write_text("no image")
    with pytest.raises(AtlasError, match=r"text\.png: not an image that Pillow can read; allowed: PNG, JPEG"):
        picture(tmp_path / "text.png", GREY)
    _drawn().filter(ImageFilter.BLUR).save(tmp_path / "cut.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "cut.png").read_bytes()[:900])
    with pytest.raises(AtlasError, match=r"cut\.png: a damaged image"):
        picture(tmp_path / "cut.png", GREY)
    _drawn().save(tmp_path / "good.png")
    with pytest.raises(AtlasError, match="2 channels cannot take a picture; allowed: 1 or 3"):
        picture(tmp_path / "good.png", (2, 16, 20))


# --- the sheet ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("size", "classes"), [(GREY, 10), (COLOUR, 10), (GREY, 3), (COLOUR, 1)])
def test_the_sheet_shows_every_pixel_of_every_image(size: tuple[int, int, int], classes: int, tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (classes + 2, *size), dtype=np.uint8)
    names = [f"automobile {number}" for number in range(classes)]
    restyled(tmp_path / "sheet.png", images[0], images[1], images[2:], names, 0, "a run · the style of it")
    with Image.open(tmp_path / "sheet.png") as file:
        sheet = np.asarray(file.convert("RGB")).astype(int)
    assert 480 <= sheet.shape[1] <= 1400
    scale = max(1, round(900 / ((-(-classes // 2) + 1) * size[2])))
    for image in images:
        cell = np.broadcast_to(np.moveaxis(image, 0, -1), (*size[1:], 3)).repeat(scale, 0).repeat(scale, 1)
        corners = np.argwhere((sheet[: 1 - len(cell), : 1 - cell.shape[1]] == cell[0, 0]).all(-1))
        found = [(y, x) for y, x in corners if np.array_equal(sheet[y : y + len(cell), x : x + cell.shape[1]], cell)]
        assert len(found) == 1


# --- the command ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the sources that has trained a CVAE of the digits and their judge, at scale smoke."""
    home = tmp_path_factory.mktemp("home")
    shutil.copytree(ROOT / "src", home / "src", ignore=shutil.ignore_patterns("__pycache__"))
    text = (ROOT / "params.yaml").read_text(encoding="utf-8")
    (home / "params.yaml").write_text(re.sub(r"(?m)^scale: \w+", "scale: smoke", text), encoding="utf-8")
    environment = {key: value for key, value in os.environ.items() if key != "DVC_ROOT"} | {"ATLAS_THREADS": "1"}
    for stage, name in (("download", "digits"), ("train_judge", "digits"), ("train", "digits_cvae_2")):
        command = [sys.executable, f"src/{stage}.py", name]
        done = subprocess.run(command, cwd=home, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    _drawn().save(home / "four.png")
    Image.new("L", (50, 50), 255).save(home / "white.png")
    return home


@pytest.fixture
def command(home: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """command("digits_cvae_2", "four.png"): src/restyle.py with these arguments, in `home`."""
    monkeypatch.chdir(home)
    monkeypatch.setenv("ATLAS_DEVICE", "cpu")

    def run(*arguments: str) -> None:
        monkeypatch.setattr(sys, "argv", ["restyle.py", *arguments])
        restyle.main()

    return run


def test_a_digit_from_a_file_is_read_and_restyled(
    home: Path, command: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    split = Dataset.open(home / "data/digits").split("test")
    six = split.images[(split.labels == 6).nonzero()[0]][0, 0].numpy()
    Image.fromarray(255 - six).resize((140, 140)).save("six.png")
    command("digits_cvae_2", "six.png")
    assert re.fullmatch(
        r"six\.png: read as 6 \(\d+% sure; --label says otherwise\); its style in 10 labels in restyled\.png\n",
        capsys.readouterr().out,
    )
    # What stands on the sheet is what the model says.
    trained = atlas.load("digits_cvae_2")
    moved = trained.transfer(picture(Path("six.png"), trained.shape), "6")[0, 8, 0]
    cell = (moved * 255).round().astype(int).repeat(5, 0).repeat(5, 1)
    with Image.open("restyled.png") as file:
        sheet = np.asarray(file.convert("L")).astype(int)
    corners = np.argwhere(np.abs(sheet[:-139, :-139] - cell[0, 0]) <= 1)
    assert any(np.abs(sheet[y : y + 140, x : x + 140] - cell).max() <= 1 for y, x in corners)
    # A label that is given is believed.
    command("digits_cvae_2", "six.png", "--label", "3", "--output", "as/three.png")
    assert "given as 3; its style in 10 labels in as/three.png" in capsys.readouterr().out
    assert Path("as/three.png").is_file()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["digits_cvae_22", "four.png"], r"unknown run 'digits_cvae_22', did you mean 'digits_cvae_2'\?"),
        (["mnist_cvae_8", "four.png"], "'mnist_cvae_8' is not trained yet in"),
        (["digits_cvae_2", "nothing.png"], r"nothing\.png: no such file"),
        (["digits_cvae_2", "params.yaml"], r"params\.yaml: not an image"),
        (["digits_cvae_2", "white.png"], r"white\.png: an empty picture: found no ink"),
        (["digits_cvae_2", "four.png", "--label", "four"], "unknown label of digits 'four'; there are: 0, 1"),
        (["digits_cvae_2", "four.png", "--label", "12"], "label: found 12; allowed: 0 to 9"),
        (["digits_cvae_2", "four.png", "--output", "a.jpg"], r"--output: found 'a\.jpg'; allowed: a name that ends in"),
    ],
)
def test_the_command_refuses(arguments: list[str], words: str, command: Callable[..., None]) -> None:
    with pytest.raises(AtlasError, match=words) as refusal:
        command(*arguments)
    assert "\n" not in str(refusal.value)


def test_a_model_without_labels_cannot(home: Path, make: Callable[..., Model], command: Callable[..., None]) -> None:
    arguments = {key: value for key, value in PARAMS["models"]["vae"].items() if key not in KEYS} | {"width": 0.125}
    save_model(
        make("vae", GREY, **arguments),
        home / "outputs/models/digits_vae",
        run="digits_vae",
        dataset="digits",
        name="vae",
        classes=[str(number) for number in range(10)],
        arguments=arguments,
    )
    with pytest.raises(AtlasError, match=r"digits_vae: a vae knows no labels.*allowed: a run of a conditional model"):
        command("digits_vae", "four.png")


def test_without_a_judge_the_label_must_be_given(home: Path, command: Callable[..., None]) -> None:
    judges, away = home / "outputs/judges", home / "outputs/away"
    judges.rename(away)
    with pytest.raises(AtlasError, match="no judge of digits to read the label; give --label, or run `dvc"):
        command("digits_cvae_2", "four.png")
    command("digits_cvae_2", "four.png", "--label", "4")
    away.rename(judges)
    (judges / "digits/weights.safetensors").write_bytes(b"damaged")
    with pytest.raises(AtlasError, match=r"weights\.safetensors does not fit .*dvc repro --force train_judge@digits"):
        command("digits_cvae_2", "four.png")
