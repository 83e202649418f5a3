"""Style transfers of several models on one sheet: whose, of what, and where each image lies."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import side_by_side as stage
from atlas.errors import AtlasError
from atlas.show.abreast import Transfers, style_transfers

CLASSES = ["cat", "dog", "horse"]
RNG = np.random.default_rng(0)
ORIGINALS = RNG.integers(0, 256, (6, 1, 8, 8), dtype=np.uint8)
NAMES = ["cat", "dog", "horse", "cat", "dog", "horse"]


def made(noise: int, seed: int) -> np.ndarray:
    """Transfers [6, 3, 1, 8, 8] that miss the originals, in their own labels, by up to `noise`."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (6, 3, 1, 8, 8), dtype=np.uint8)
    for place, name in enumerate(NAMES):
        off = ORIGINALS[place].astype(int) + rng.integers(-noise, noise + 1, (1, 8, 8))
        images[place, CLASSES.index(name)] = off.clip(0, 255)
    return images


def write(run: str, noise: int, seed: int = 1, searched: bool = False, originals: np.ndarray = ORIGINALS) -> np.ndarray:
    folder = Path("outputs/samples") / run
    folder.mkdir(parents=True, exist_ok=True)
    images = made(noise, seed)
    np.savez(
        folder / "transfer.npz", originals=originals, names=np.array(NAMES), images=images, classes=np.array(CLASSES),
        searched=np.array(searched),
    )  # fmt: skip
    return images


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def place(page: np.ndarray, image: np.ndarray, scale: int) -> tuple[int, int]:
    """Where an image of noise [1, 8, 8] lies on a page, enlarged."""
    cells = image[0].repeat(scale, 0).repeat(scale, 1)
    rows, columns = np.nonzero(page[: -8 * scale, : -8 * scale] == cells[0, 0])
    found = [
        (int(y), int(x))
        for y, x in zip(rows, columns, strict=True)
        if (page[y : y + 8 * scale, x : x + 8 * scale] == cells).all()
    ]
    assert len(found) >= 1
    return found[0]


def test_models_stand_in_columns_originals_on_top_and_labels_in_rows(home: Path) -> None:
    first, second = made(40, 1), made(40, 2)
    models = [(name, Transfers(ORIGINALS, NAMES, images, False)) for name, images in (("a", first), ("b", second))]
    style_transfers(home / "a.png", models, CLASSES, "title")
    page = np.asarray(Image.open(home / "a.png").convert("L"))
    scale = 14  # 2 models of 6 images of 8 pixels, 1300 wide
    top = place(page, ORIGINALS[0], scale)
    down = 8 * scale + scale
    starts = [place(page, images[0, 0], scale) for images in (first, second)]
    assert starts[0][1] == top[1] and starts[1][1] > starts[0][1] + 6 * 8 * scale
    for images, start in zip((first, second), starts, strict=True):
        assert start[0] > top[0] + down
        for style in range(6):
            for label in range(3):
                where = start[0] + label * down, start[1] + style * down
                assert place(page, images[style, label], scale) == where
    with pytest.raises(ValueError, match="same images"):
        style_transfers(home / "b.png", [*models, ("c", Transfers(first[:, 0], NAMES, first, False))], CLASSES, "t")


def test_of_a_model_the_run_that_reconstructs_best_stands_for_it() -> None:
    write("two", noise=90)
    write("eight", noise=10)
    write("gan", noise=50, searched=True)
    Path("outputs/samples/plain").mkdir()
    runs = [("two", "cvae"), ("plain", "vae"), ("eight", "cvae"), ("gan", "cgan")]
    (caption,) = stage.draw(Path(), "digits", runs)
    assert Path("digits.png").is_file() and caption["file"] == "digits.png"
    assert caption["title"] == "Style transfer on digits: eight, gan"
    assert stage.draw(Path(), "digits", runs[:3]) == [], "one model has nothing beside it"


def test_what_cannot_be_set_side_by_side_is_named() -> None:
    write("eight", noise=10)
    with pytest.raises(AtlasError, match=r"outputs/samples/gan is missing.*sample@gan"):
        stage.draw(Path(), "digits", [("eight", "cvae"), ("gan", "cgan")])
    write("gan", noise=10, originals=ORIGINALS[::-1])
    with pytest.raises(AtlasError, match="digits: the transfers must be of the same images"):
        stage.draw(Path(), "digits", [("eight", "cvae"), ("gan", "cgan")])
    Path("outputs/samples/gan/transfer.npz").write_bytes(b"PK")
    with pytest.raises(AtlasError, match=r"gan/transfer\.npz is damaged.*--force sample@gan"):
        stage.draw(Path(), "digits", [("eight", "cvae"), ("gan", "cgan")])


def test_the_stage_writes_a_sheet_for_each_data_set_that_has_two_models(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (home / "params.yaml").write_bytes((Path(stage.__file__).parents[1] / "params.yaml").read_bytes())
    for number, key in enumerate(stage.settings_file.load(home / "params.yaml").runs):
        (home / "outputs" / "samples" / key).mkdir(parents=True)
        if "cvae" in key:
            write(key, noise=20, seed=number)
    monkeypatch.setattr("sys.argv", ["side_by_side.py"])
    stage.main()
    # Of the digits, one model alone.
    assert capsys.readouterr().out == "outputs/side_by_side: 2 sheets\n"
    captions = json.loads(Path("outputs/side_by_side/captions.json").read_text())
    assert [caption["file"] for caption in captions] == ["mnist.png", "cifar10.png"]
