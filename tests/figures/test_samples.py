"""Figures of images: which figures each model gets, what class predictions and arithmetic of codes show."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tests.figures.linear import CLASSES, Classifying, Linear, run_figures
from tests.plotting.test_frames import write_frames

from atlas.core.datasets import Split, to_unit
from atlas.core.model import Model
from atlas.figures import samples
from atlas.plotting import charts, sheets
from sample import draw

Noise = Callable[..., Split]


def test_every_model_gets_the_figures_that_it_can_give(
    make: Callable[..., Model], noise: Noise, tmp_path: Path, variant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: dict[str, tuple] = {}

    def record(path: Path, *arguments: object) -> None:
        path.write_bytes(b"")
        drawn[path.name] = arguments

    for name in ("samples", "reconstructions", "latent_map", "latent_maps", "image_rows", "style_transfer"):
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
        expected |= {"map.png"} | ({"arithmetic.png"} if model.can("encode") else set())
    expected |= {"codes.png"} if model.can("encode") else set()
    expected |= {"class_predictions.png"} if model.can("classify") else set()
    assert set(drawn) == expected
    searched = {caption["file"] for caption in captions if "search" in caption["title"]}
    assert searched == (set() if model.can("encode") else {"reconstructions.png", "transfer.png"} & expected)
    images, rows = drawn["traversals.png"][:2]
    assert len(rows) == 2 and images.shape[:2] == (2, 3)
    assert all(name.endswith(" nats") for name in rows) == model.can("rates")


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
