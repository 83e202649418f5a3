"""Figures of images: which figures each model gets, what class predictions and arithmetic of codes show."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tests.conftest import Build, Noise
from tests.figures.linear import CLASSES, Classifying, Linear, run_figures
from tests.plotting.test_frames import write_frames

from atlas.core.datasets import Split, to_unit
from atlas.core.model import Model, Shape
from atlas.core.schema import shown_labels
from atlas.figures import samples
from atlas.plotting import charts, sheets
from sample import draw

WriteFrames = Callable[[Model, list[str]], Path]


@pytest.fixture
def write_frames_of(tmp_path: Path) -> WriteFrames:
    """write_frames_of(model, names): a folder with a training's history, and its snapshots of these labels."""

    def write(model: Model, names: list[str]) -> Path:
        folder = tmp_path / "model"
        folder.mkdir()
        (folder / "history.csv").write_text("epoch,step,split,rate\n1,60,train,3.5\n")
        write_frames(
            folder / "frames.npz",
            labels=np.array(names),
            images=np.zeros((5, len(names), 3, 3, *model.shape), np.uint8),
        )
        return folder

    return write


def test_every_model_gets_the_figures_that_it_can_give(
    make: Callable[..., Model], noise: Noise, tmp_path: Path, variant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: dict[str, tuple] = {}

    def record(path: Path, *arguments: object) -> None:
        path.write_bytes(b"")
        drawn[path.name] = arguments

    for name in ("reconstructions", "latent_map", "latent_maps", "image_rows", "style_transfer"):
        monkeypatch.setattr(sheets, name, record)
    monkeypatch.setattr(sheets, "label_arithmetic", record)
    monkeypatch.setattr(charts, "latent_scatter", record)
    monkeypatch.setattr(charts, "loss_curves", record)
    model = make(variant)
    write_frames(tmp_path / "frames.npz")
    (tmp_path / "history.csv").write_text("epoch,step,split,rate\n1,60,train,3.5\n")
    figures = run_figures(model, noise(30), tmp_path)
    draw(figures, tmp_path)
    figures.write_captions()
    captions = json.loads((tmp_path / "captions.json").read_text())
    assert [caption["file"] for caption in captions] == list(drawn)
    expected = {"losses.png", "samples.png", "reconstructions.png", "traversals.png", "interpolations.png"}
    if model.conditional:
        expected |= {"maps.png", "transfer.png", "epochs.png", *(f"map_{label}.png" for label in range(10))}
    else:
        expected |= {"map.png"} | ({"arithmetic.png", "samples_fitted.png"} if model.can("encode") else set())
    expected |= {"codes.png"} if model.can("encode") else set()
    expected |= {"codes_label.png"} if model.can("encode") and model.conditional else set()
    expected |= {"class_predictions.png"} if model.can("classify") else set()
    assert set(drawn) == expected
    searched = {caption["file"] for caption in captions if "search" in caption["title"]}
    assert searched == (set() if model.can("encode") else {"reconstructions.png", "transfer.png"} & expected)
    images, rows = drawn["traversals.png"][:2]
    assert len(rows) == 2 and images.shape[:2] == (2, 3)
    assert all(name.endswith(" nats") for name in rows) == model.can("rates")


@pytest.mark.parametrize(
    ("name", "classes", "size"),
    [
        ("vae", 0, (3, 128, 128)), ("gan", 0, (1, 48, 96)), ("vae", 2, (3, 128, 16)), ("cvae", 2, (1, 16, 16)),
        ("cvae", 100, (1, 16, 16)), ("cgan", 26, (3, 16, 16)), ("cvae", 26, (1, 48, 96)),
    ],
    ids=str,
)  # fmt: skip
def test_figures_of_any_images_and_labels(
    make: Build, noise: Noise, write_frames_of: WriteFrames, tmp_path: Path, name: str, classes: int, size: Shape
) -> None:
    names = [f"label {label}" for label in range(classes)]
    model, test = make(name, size, classes, latent_dim=3), noise(12, size)
    test = Split(test.images, torch.arange(12) * 7 % max(1, classes))
    shown = shown_labels("", None, names)
    figures = run_figures(model, test, tmp_path, names, shown, map_steps=4, traversal_steps=11)
    drawn = [names[label] for label in shown] if model.conditional else [""]
    draw(figures, write_frames_of(model, drawn))
    for caption in figures.captions:
        with Image.open(tmp_path / caption["file"]) as image:
            assert image.width <= 1900 and image.height <= 2700, (caption["file"], image.size)
        many = "10 of 100" if classes == 100 else "10 of 26"
        labels_in_it = {"samples.png", "maps.png", "transfer.png", "epochs.png", "codes.png"}
        assert (many in caption["title"]) == (classes > 10 and caption["file"] in labels_in_it), caption["title"]
    files = {caption["file"] for caption in figures.captions}
    assert ("arithmetic.png" in files) == (name == "vae" and classes > 1)
    assert len([file for file in files if file.startswith("map_")]) == (len(shown) if model.conditional else 0)


def test_figures_show_the_labels_asked_for(make: Build, noise: Noise, tmp_path: Path) -> None:
    figures = run_figures(make("cvae"), noise(40), tmp_path, shown=[2, 5], reconstructions=4)
    assert figures.labels == [2, 5] and figures.every_label == "2 of 10 labels"
    assert figures.names_of(figures.balanced(4)) == ["2", "5", "2", "5"]
    assert figures.places[:6].tolist() == [-1, -1, 0, -1, -1, 1]
    assert figures.names_of(figures.style_sources) == ["7", "7"], "sevens, whatever is shown"
    without = run_figures(make("vae", num_classes=0), noise(40), tmp_path, classes=[])
    assert without.balanced(4).tolist() == [0, 1, 2, 3] and without.names_of(without.balanced(1)) == [""]


def test_a_class_coded_models_images_are_decoded_with_the_predicted_label(noise: Noise, tmp_path: Path) -> None:
    figures = run_figures(Classifying(), noise(30, (1, 4, 4)), tmp_path)
    assert figures.labels_of(torch.arange(5)).tolist() == [1] * 5


def test_arithmetic_takes_the_own_mean_and_gives_the_other(
    noise: Noise, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[tuple] = []
    monkeypatch.setattr(sheets, "label_arithmetic", lambda *arguments: calls.append(arguments))
    test = noise(60, (1, 4, 4))
    samples.label_arithmetic(run_figures(Linear(), test, tmp_path, transfers=4))
    _, means, originals, names, moved, classes, _ = calls[0]
    pixels = to_unit(test.images).flatten(1)[:, :4].numpy()
    mean = np.stack([pixels[test.labels == label].mean(0) for label in range(10)])
    np.testing.assert_allclose(means.reshape(10, 16)[:, :4], 255 * mean, atol=0.6)
    assert classes == CLASSES and names == ["0", "1", "2", "3"]
    for row in range(4):
        expected = np.clip(pixels[row] + mean - mean[row], 0, 1)
        np.testing.assert_allclose(moved[row].reshape(10, 16)[:, :4], 255 * expected, atol=0.6)
        assert np.array_equal(moved[row, row].flatten()[:4], originals[row].flatten()[:4])


def test_class_predictions_have_their_probability_and_are_marked_where_wrong(
    noise: Noise, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[tuple] = []
    monkeypatch.setattr(sheets, "reconstructions", lambda *arguments: calls.append(arguments))
    figures = run_figures(Classifying(), noise(30, (1, 4, 4)), tmp_path, reconstructions=3)
    samples.class_predictions(figures)
    assert calls[0][4:] == ([("1", "75 %")] * 3, [True, False, True])
    assert "2 of 3 wrong" in figures.captions[0]["alt"]
