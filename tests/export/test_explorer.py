"""Files of the latent explorer and the stage that writes them."""

import base64
import json
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from tests.conftest import Build, Noise
from tests.saved import DIGITS, save_run

import export as stage
from atlas.core import settings as settings_file
from atlas.core.datasets import Split
from atlas.core.files import AtlasError
from atlas.export.explorer import (
    IMAGES_PER_LABEL,
    SCATTER_DIMENSIONS,
    calibration_inputs,
    draw_map,
    explorer_metadata,
    write_thumbnails,
)


@pytest.fixture
def home(make: Build, noise: Noise, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with two trained runs on noise, which is the working directory, and settings that name them."""
    data, test = tmp_path / "data" / "noise", noise(40)
    data.mkdir(parents=True)
    counts = dict.fromkeys(("train", "validation", "test"), 40)
    about = {"name": "noise", "shape": [1, 16, 16], "classes": DIGITS, "counts": counts}
    (data / "dataset.json").write_text(json.dumps(about))
    np.save(data / "test_images.npy", test.images.numpy())
    np.save(data / "test_labels.npy", test.labels.numpy().astype(np.uint8))
    runs = {}
    for variant in ("cvae", "gan"):
        key = f"noise_{variant}"
        save_run(tmp_path / "outputs" / "models" / key, variant, dataset="noise", latent_dim=3)
        runs[key] = SimpleNamespace(key=key, dataset="noise")
    settings = SimpleNamespace(
        runs=runs, run=runs.__getitem__, labels=lambda dataset, classes: list(range(len(classes)))
    )
    monkeypatch.setattr(settings_file, "load", lambda: settings)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_one_stage_exports_all_runs_or_those_that_are_named(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def export(*names: str) -> None:
        monkeypatch.setattr(sys, "argv", ["export.py", *names])
        stage.main()

    outputs = home / "outputs" / "onnx"
    old = outputs / "no_longer_a_run"
    old.mkdir(parents=True)
    export("noise_gan")
    assert [line.split(":")[0] for line in capsys.readouterr().out.splitlines()] == ["noise_gan", "outputs/onnx"]
    assert {path.name for path in outputs.iterdir()} == {"noise_gan", "noise.webp", "no_longer_a_run"}
    alone = (outputs / "noise_gan" / "decoder.onnx").read_bytes()

    export()
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("noise_cvae: decoder and encoder, ") and lines[0].endswith("(1 of 2)")
    assert lines[1].startswith("noise_gan: decoder and discriminator, ") and lines[1].endswith("(2 of 2)")
    assert {path.name for path in outputs.iterdir()} == {"noise_gan", "noise_cvae", "noise.webp"}
    files = {path.relative_to(outputs).as_posix() for path in outputs.glob("*/*")}
    both = ("decoder.onnx", "explorer.json", "map.webp")
    expected = {f"{run}/{name}" for run in ("noise_cvae", "noise_gan") for name in both}
    assert files == expected | {"noise_cvae/encoder.onnx", "noise_gan/discriminator.onnx"} and not old.exists()
    # The same bytes whatever was exported before it.
    assert (outputs / "noise_gan" / "decoder.onnx").read_bytes() == alone

    # An export that fails leaves what was there.
    before = {path: path.read_bytes() for path in outputs.rglob("*.*")}
    (home / "outputs" / "models" / "noise_gan" / "weights.safetensors").write_bytes(b"")
    with pytest.raises(AtlasError, match="train@noise_gan"):
        export()
    assert {path: path.read_bytes() for path in outputs.rglob("*.*")} == before
    assert [path.name for path in (home / "outputs").iterdir() if path.name.startswith(".")] == []


def test_metadata_hold_the_range_of_codes_and_test_images(make: Build, noise: Noise) -> None:
    model, test = make("cvae", latent_dim=3).eval(), noise(40)
    about = explorer_metadata(model, list(DIGITS), test)
    codes = model.encode(test.images.float() / 255, test.labels).detach()
    rates = model.rates(test.images.float() / 255, test.labels).mean(0)
    assert about["order"] == rates.argsort(descending=True).tolist()
    assert (about["center"], about["spread"]) == ([0.0] * 3, [1.0] * 3)
    assert [image["label"] for image in about["images"]] == [
        label for label in range(10) for _ in range(IMAGES_PER_LABEL)
    ]
    second = np.frombuffer(base64.b64decode(about["images"][1]["pixels"]), np.uint8).reshape(1, 16, 16)
    assert (second == test.images[10].numpy()).all()
    # Of each of these images the posterior's standard deviation, the most informative dimensions first.
    index = [int(i) for label in range(10) for i in torch.nonzero(test.labels == label)[:IMAGES_PER_LABEL, 0]]
    _, log_variance = model.posterior(test.images[index].float() / 255, test.labels[index])
    expected = (0.5 * log_variance).exp()[:, about["order"]].tolist()
    for image, spread in zip(about["images"], expected, strict=True):
        assert image["spread"] == pytest.approx(spread, rel=0.25), "of 200 draws"
    # The autoencoder has no prior to be centered on.
    model = make("ae", latent_dim=2).eval()
    alone, codes = explorer_metadata(model, ["a"], test), model.encode(test.images.float() / 255, test.labels).detach()
    assert alone["center"] == pytest.approx(codes.mean(0).tolist(), abs=1e-4)
    assert alone["spread"] == pytest.approx(codes.std(0).tolist(), abs=1e-4)
    assert "spread" not in alone["images"][0]


@pytest.mark.parametrize(("name", "size"), [("cvae", 1), ("cvae", 4), ("gan", 3), ("ae", 2)])
def test_the_drawn_map_lies_where_the_metadata_say(make: Build, noise: Noise, name: str, size: int) -> None:
    model = make(name, latent_dim=size).eval()
    about = explorer_metadata(model, list(DIGITS), noise(40))
    drawn = draw_map(model, about)
    labels, side = 10 if model.conditional else 1, about["side"]
    assert drawn.shape == (labels * side * 16, side * 16, 3)
    label, row, column = labels - 1, 2, 7
    code = torch.tensor([about["center"]])
    steps = torch.linspace(-about["reach"], about["reach"], side)
    first, *second = sorted(about["order"][:2])
    if about["plane"]:
        a, b, c = torch.tensor(about["plane"])
        code = (a + column / (side - 1) * (b - a) + (side - 1 - row) / (side - 1) * (c - a))[None]
        code *= size**0.5 / code.norm()
    else:
        code[0, first] += steps[column] * about["spread"][first]
        for axis in second:
            code[0, axis] += steps[side - 1 - row] * about["spread"][axis]
    expected = model.decode(code, torch.tensor([label])).detach().numpy()[0, 0] * 255
    top = (label * side + row) * 16
    assert np.abs(drawn[top : top + 16, column * 16 : column * 16 + 16, 0] - expected).max() <= 0.51


def test_of_many_labels_those_that_are_shown_have_images_and_blocks(make: Build, noise: Noise) -> None:
    model, test = make("cvae", latent_dim=2).eval(), noise(40)
    about = explorer_metadata(model, list(DIGITS), test, [3, 7])
    assert about["labels"] == [3, 7] and {image["label"] for image in about["images"]} == {3, 7}
    alone, whole = draw_map(model, about), draw_map(model, explorer_metadata(model, list(DIGITS), test))
    height = len(alone) // 2
    assert (alone[height:] == whole[7 * height : 8 * height]).all()
    # Without labels the first images stand for all.
    assert (
        len(explorer_metadata(make("vae", latent_dim=2).eval(), [], Split(test.images, test.labels * 0))["images"])
        == 20
    )


def test_scatter_holds_codes_to_a_byte_of_their_range_in_the_order_of_the_metadata(make: Build, noise: Noise) -> None:
    model, test = make("cvae", latent_dim=14).eval(), noise(40)
    about = explorer_metadata(model, list(DIGITS), test)
    scatter, codes = about["scatter"], model.encode(test.images.float() / 255, test.labels).detach().numpy()
    assert list(base64.b64decode(scatter["labels"])) == test.labels.tolist()
    steps = np.frombuffer(base64.b64decode(scatter["codes"]), np.uint8).reshape(40, SCATTER_DIMENSIONS)
    low, high = np.array(scatter["low"]), np.array(scatter["high"])
    restored = low + steps / 255 * (high - low)
    assert (np.abs(restored - codes[:, about["order"][:SCATTER_DIMENSIONS]]) <= (high - low) / 509 + 1e-4).all()
    assert explorer_metadata(make("gan", latent_dim=3), list(DIGITS), test)["scatter"] is None


@pytest.mark.parametrize("image", [(3, 16, 16), (1, 80, 48)])
def test_thumbnails_are_small_and_stand_in_the_order_of_the_test_images(image: tuple[int, ...], tmp_path: Path) -> None:
    grey = torch.arange(60, dtype=torch.uint8) * 4
    test = Split(grey[:, None, None, None].repeat(1, *image), torch.arange(60) % 10)
    write_thumbnails(test, tmp_path / "thumbnails.webp")
    rows, columns = (16, 16) if image[0] == 3 else (32, 19)
    with Image.open(tmp_path / "thumbnails.webp") as picture:
        assert picture.size == (50 * columns, 2 * rows)
        pixels = np.asarray(picture.convert("L"), float)
    middles = pixels[rows // 2 :: rows, columns // 2 :: columns].flatten()
    assert np.abs(middles[:60] - grey.numpy()).max() < 6 and middles[60:].max() < 6


def test_large_images_and_many_labels_make_no_larger_files(make: Build, noise: Noise) -> None:
    model, test = make("cvae", (3, 128, 128), 26, latent_dim=2).eval(), noise(30, (3, 128, 128))
    classes, labels = [str(label) for label in range(26)], [0, 3, 5, 6, 7, 8, 9, 12, 20, 25]
    metadata = explorer_metadata(model, classes, test, labels)
    assert metadata["labels"] == labels and {image["label"] for image in metadata["images"]} == {0, 3, 5, 6, 7, 8, 9}
    assert sum(len(image["pixels"]) for image in metadata["images"]) <= 4 / 3 * 1_000_000
    height, width, _ = draw_map(model, metadata).shape
    assert height == 10 * 128 * metadata["side"] <= 10_000 and width == 128 * metadata["side"]
    images, _ = calibration_inputs(model, "encoder", metadata, noise(200, (3, 128, 128)))
    assert len(images) == 62


def test_without_labels_the_first_test_images_are_taken(make: Build, noise: Noise) -> None:
    metadata = explorer_metadata(
        make("vae", num_classes=0).eval(), [], Split(noise(30).images, torch.zeros(30).long()), []
    )
    assert metadata["classes"] == [] and len(metadata["images"]) == 20
