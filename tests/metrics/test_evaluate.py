"""Evaluation protocol, with models whose metrics are known beforehand."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from tests.conftest import PARAMS
from tests.metrics.brightest_pixel import BrightestPixel
from torch import Tensor

from atlas.core.budgets import EvaluateBudget
from atlas.core.datasets import Split, to_unit
from atlas.core.latent import BATCH_SIZE
from atlas.core.model import Bound, Model
from atlas.core.schema import EvaluationSettings, InversionSettings
from atlas.metrics.classifier import ROTATIONS, Judge, classify
from atlas.metrics.evaluate import Evaluation, subset
from atlas.metrics.likelihood import binarize
from atlas.metrics.registry import METRICS, is_registered

Build = Callable[..., Model]
Noise = Callable[..., Split]
SETTINGS = EvaluationSettings(**PARAMS["evaluation"])
INVERSION = InversionSettings(steps=60, prior_weight=0.01)
BUDGET = EvaluateBudget(images=None, importance_samples=10, inversions=20)


class Painter(Model):
    """A model that paints the label it is asked for (or, if it is deaf, always the first), over a little noise."""

    def __init__(self, conditional: bool, deaf: bool) -> None:
        super().__init__((1, 8, 8), 10, 64)
        self.conditional = conditional
        self.deaf = deaf

    def decode(self, codes: Tensor, labels: Tensor) -> Tensor:
        images = 0.2 * codes.sigmoid().view(-1, 1, 8, 8)
        images[torch.arange(len(codes)), 0, 0, labels * (not self.deaf) % 8] = 1.0
        images[:, 0, 1, :2] = 0.0
        high = labels * (not self.deaf) >= 8
        images[high, 0, 0] = 0.0
        images[high, 0, 1, (labels * (not self.deaf))[high] - 8] = 1.0
        return images


class Perfect(Painter):
    """An autoencoder that forgets nothing, and whose bound is known: rate 3, distortion the label."""

    pixels = "bytes"

    def encode(self, images: Tensor, labels: Tensor) -> Tensor:
        return images.flatten(1)

    def decode(self, codes: Tensor, labels: Tensor) -> Tensor:
        return codes.view(-1, 1, 8, 8)

    def elbo(self, images: Tensor, labels: Tensor) -> Bound:
        return Bound(torch.full((len(labels),), 3.0), labels.float())


def _evaluation(
    model: Model, judge: Judge, test: Split, training: Split, unseen: Split, seed: int = 0,
    settings: EvaluationSettings = SETTINGS, inversion: InversionSettings = INVERSION,
) -> Evaluation:  # fmt: skip
    features, floor = (classify(judge, to_unit(split.images))[0] for split in (test, unseen))
    generator = torch.Generator().manual_seed(seed)
    return Evaluation(
        model.eval(), judge, test, training, features, floor, True, settings, BUDGET, generator, inversion
    )


def _evaluate(model: Model, judge: Judge, noise: Noise, count: int = 100, seed: int = 0) -> dict[str, float | int]:
    splits = noise(count, model.shape), noise(count + 20, model.shape, seed=1), noise(count, model.shape, seed=2)
    metrics, per_image = _evaluation(model, judge, *splits, seed=seed).run()
    for name, values in per_image.items():
        assert len(values) == metrics[f"{name}_n"] and values.mean().item() == pytest.approx(metrics[name])
    return metrics


@pytest.mark.parametrize(("deaf", "accuracy"), [(False, 1.0), (True, 0.1)])
def test_label_accuracy_is_how_often_the_asked_label_is_painted(noise: Noise, deaf: bool, accuracy: float) -> None:
    metrics = _evaluate(Painter(True, deaf), BrightestPixel(), noise)
    assert metrics["label_accuracy"] == accuracy and metrics["label_accuracy_n"] == 100


def test_a_model_that_can_only_sample_gets_what_applies_to_samples(noise: Noise) -> None:
    metrics = _evaluate(Painter(False, True), BrightestPixel(), noise)
    expected = {"frechet", "frechet_floor", "kernel", "kernel_floor", "precision", "recall", "density", "coverage"}
    expected |= {"sharpness", "prior_confidence", "reconstruction_mse", "reconstruction_features"}
    assert {name for name in metrics if name in METRICS} == expected
    assert metrics["reconstruction_mse_n"] == 20, "its codes were searched for"


def test_a_perfect_autoencoder_has_no_error(noise: Noise) -> None:
    metrics = _evaluate(Perfect(False, False), BrightestPixel(), noise)
    assert metrics["reconstruction_mse"] == 0 and metrics["reconstruction_mse_n"] == 100
    assert metrics["reconstruction_features"] == 0


def test_the_bound_is_the_mean_of_its_parts_over_all_test_images(noise: Noise) -> None:
    """More images than a batch, so that the last batch is smaller."""
    count = BATCH_SIZE + 130
    metrics = _evaluate(Perfect(False, False), BrightestPixel(), noise, count)
    distortion = sum(label % 10 for label in range(count)) / count
    assert metrics["rate"] == 3 and metrics["distortion"] == pytest.approx(distortion)
    assert metrics["nelbo"] == pytest.approx(3 + distortion) and metrics["nelbo_n"] == count
    assert metrics["bits_per_dim"] == pytest.approx((3 + distortion) / 64 / math.log(2))


def test_reconstruction_error_is_per_pixel(noise: Noise) -> None:
    class Off(Perfect):
        def decode(self, codes: Tensor, labels: Tensor) -> Tensor:
            return codes.view(-1, 1, 8, 8) + 0.5

    assert _evaluate(Off(False, False), BrightestPixel(), noise)["reconstruction_mse"] == pytest.approx(0.25, rel=1e-5)


def test_a_model_that_copies_the_test_images_reaches_less_than_the_floor(noise: Noise) -> None:
    """And the floor compares unseen with test images: two samples of the same noise."""
    split = noise(100, (1, 8, 8))

    class Copier(Painter):
        def sample(self, labels: Tensor, generator: torch.Generator | None = None) -> Tensor:
            return to_unit(split.images)

    metrics = _evaluate(Copier(False, False), BrightestPixel(), noise)
    assert abs(metrics["frechet"]) < 1e-6 < metrics["frechet_floor"] < 1
    assert metrics["sharpness"] == pytest.approx(1) and metrics["coverage"] == metrics["recall"] == 1
    assert metrics["kernel"] < metrics["kernel_floor"]


def test_every_number_is_registered_and_comes_out_twice(make: Build, noise: Noise, variant: str) -> None:
    model, judge = make(variant).eval(), Judge((1, 16, 16), 10, 4)
    state = torch.get_rng_state()
    metrics = _evaluate(model, judge, noise)
    assert torch.equal(torch.get_rng_state(), state), "measuring drew from the global generator"
    assert metrics == _evaluate(model, judge, noise)
    assert all(map(is_registered, metrics)) and all(math.isfinite(value) for value in metrics.values())
    assert {"nelbo" in metrics, "nll" in metrics, "distortion" in metrics} == {model.can("elbo")}
    assert {"rate" in metrics, "active_units" in metrics} == {model.can("rates")}
    assert {"label_purity" in metrics, "mig" in metrics} == {model.can("encode")}
    assert {"label_accuracy" in metrics, "label_accuracy_worst" in metrics} == {model.conditional}
    for name in ("swap_accuracy", "style_leak", "style_leak_means"):
        assert (name in metrics) == (model.conditional and model.can("encode")), name
    for name in ("prior_gap", "fitted_gap", "aggregate_variance"):
        assert (name in metrics) == model.can("encode"), name
    assert {"estimator_variance_ratio" in metrics, "baseline_variance" in metrics} == {model.can("posterior")}
    assert ("class_accuracy" in metrics) == model.can("classify")
    assert ("bits_per_dim" in metrics) == (model.pixels == "bytes")
    assert ("grey_nelbo" in metrics) == (model.pixels == "grey")
    assert metrics["reconstruction_mse_n"] == (100 if model.can("encode") else 20)
    for name in metrics:
        if f"{name}_low" in metrics:
            assert metrics[f"{name}_low"] <= metrics[name] <= metrics[f"{name}_high"] and f"{name}_n" in metrics, name


def test_another_seed_draws_other_samples_and_the_same_floor(make: Build, noise: Noise) -> None:
    model, judge = make("vae"), Judge((1, 16, 16), 10, 4)
    metrics, other = (_evaluate(model, judge, noise, seed=seed) for seed in (0, 1))
    assert metrics["frechet"] != other["frechet"] and metrics["nll"] != other["nll"]
    for name in ("frechet_floor", "kernel_floor", "reconstruction_mse", "mig"):
        assert metrics[name] == other[name]


def test_likelihoods_of_grey_and_binary_pixels_are_of_the_same_binarization(noise: Noise) -> None:
    """The bound counts the pixels that are neither 0 nor 1; the grey one finds them all, the others none."""

    class Counter(Perfect):
        def __init__(self, pixels: Any) -> None:
            super().__init__(False, False)
            self.pixels = pixels
            self.seen: list[Tensor] = []

        def elbo(self, images: Tensor, labels: Tensor) -> Bound:
            self.seen.append(images)
            between = ((images > 0) & (images < 1)).flatten(1).sum(1)
            return Bound(torch.zeros(len(labels)), between.float())

    images = to_unit(noise(100, (1, 8, 8)).images)
    grey, binary, real = Counter("grey"), Counter("binary"), Counter("real")
    metrics = _evaluate(grey, BrightestPixel(), noise)
    assert metrics["nelbo"] == 0 < metrics["grey_nelbo"] and "bits_per_dim" not in metrics
    assert "grey_nelbo" not in _evaluate(binary, BrightestPixel(), noise, seed=5)
    assert torch.equal(grey.seen[0], binary.seen[0]) and torch.equal(grey.seen[0], binarize(images))
    assert torch.equal(grey.seen[1], images)
    assert _evaluate(real, BrightestPixel(), noise)["nelbo"] == metrics["grey_nelbo"]


def test_the_settings_say_how_many_images_a_metric_sees(make: Build, noise: Noise) -> None:
    changes = {"subset": 40, "nll_pixels": 256 * 30, "gradient_images": 7, "transfers": 20, "confident": 0.0}
    splits = noise(100, (1, 16, 16)), noise(120, (1, 16, 16), seed=1), noise(30, (1, 16, 16), seed=2)
    settings = SETTINGS.model_copy(update=changes)
    metrics, _ = _evaluation(make("cvae"), Judge((1, 16, 16), 10, 4), *splits, settings=settings).run()
    assert metrics["kernel_n"] == metrics["label_purity_n"] == metrics["coverage_n"] == metrics["prior_gap_n"] == 40
    assert metrics["style_leak_n"] == metrics["nll_n"] == 100 and metrics["kernel_floor_n"] == 30
    assert "frechet_floor" not in metrics, "30 images are fewer than the features"
    assert metrics["nll_gap_n"] == metrics["effective_samples_n"] == 30
    assert metrics["score_variance_n"] == 7 and metrics["swap_accuracy_n"] == 20
    assert metrics["nll_k"] == 10 and metrics["prior_confidence"] == 1
    model, judge = make("gan").eval(), Judge((1, 16, 16), 10, 4)
    errors = [
        _evaluation(model, judge, *splits, inversion=InversionSettings(steps=steps, prior_weight=0.01)).run()[0]
        for steps in (4, 40)
    ]
    assert errors[1]["reconstruction_mse"] < errors[0]["reconstruction_mse"]


def test_a_subset_is_always_the_same_and_not_the_first() -> None:
    assert torch.equal(subset(1000, 50), subset(1000, 50)) and len(subset(30, 50)) == 30
    assert len(subset(1000, 50).unique()) == 50 and subset(1000, 50).max() > 500


def test_an_autoencoder_has_no_bound(make: Build, noise: Noise) -> None:
    metrics = _evaluate(make("ae"), Judge((1, 16, 16), 10, 4), noise)
    assert not {"nelbo", "rate", "distortion", "bits_per_dim", "label_accuracy", "active_units"} & set(metrics)


def test_without_labels_what_needs_them_is_left_out(make: Build, noise: Noise) -> None:
    """The judge then tells rotations; distances and reconstructions are what they are."""
    test, training, unseen = (
        Split(split.images, torch.zeros_like(split.labels)) for split in (noise(100), noise(120), noise(90))
    )
    judge = Judge((1, 16, 16), 0, 4)
    assert judge(torch.rand(2, 1, 16, 16)).shape == (2, ROTATIONS)
    metrics, _ = _evaluation(make("vae", num_classes=0), judge, test, training, unseen).run()
    assert not {"label_accuracy", "prior_confidence", "label_purity", "swap_accuracy", "style_leak"} & metrics.keys()
    assert {"frechet", "kernel_floor", "coverage", "prior_gap", "reconstruction_features", "nll"} <= metrics.keys()


@pytest.mark.parametrize("count", [1, 2, 7, 12, 64])
def test_few_images_leave_out_what_needs_more(make: Build, noise: Noise, count: int) -> None:
    splits = noise(count), noise(count, seed=1), noise(count, seed=2)
    metrics, _ = _evaluation(make("cvae"), Judge((1, 16, 16), 10, 4), *splits).run()
    assert "nelbo" in metrics and "frechet" not in metrics and all(map(math.isfinite, metrics.values()))
    assert {"kernel" in metrics, "coverage" in metrics, "prior_gap" in metrics} == {count >= 12}


def test_a_model_that_predicts_the_class_is_not_told_it(make: Build, noise: Noise) -> None:
    """Its reconstructions are decoded with its own prediction, right or wrong."""
    model = make("ac_vae")
    decoded: list[Tensor] = []

    def decode(codes: Tensor, labels: Tensor) -> Tensor:
        decoded.append(labels)
        return type(model).decode(model, codes, labels)

    model.decode = decode  # type: ignore[method-assign]
    _evaluate(model, Judge((1, 16, 16), 10, 4), noise)
    predicted = model.classify(to_unit(noise(100).images)).argmax(1)
    assert torch.equal(decoded[0], predicted) and not torch.equal(predicted, noise(100).labels)


def test_the_prior_gap_is_that_of_codes_and_not_the_decoder_s_blur(make: Build, noise: Noise) -> None:
    """Codes that follow the prior have none, however little the decoder draws; codes elsewhere have one."""

    class Blurred(Painter):
        def __init__(self, mean: float, spread: float) -> None:
            super().__init__(False, True)
            self.mean, self.spread = mean, spread

        def encode(self, images: Tensor, labels: Tensor) -> Tensor:
            return torch.full((len(images), 64), self.mean)

        def sample_posterior(self, images: Tensor, labels: Tensor) -> Tensor:
            return self.encode(images, labels) + self.spread * torch.randn(len(images), 64)

        def decode(self, codes: Tensor, labels: Tensor) -> Tensor:
            return (0.1 * codes).sigmoid().view(-1, 1, 8, 8)

    right, wrong = (_evaluate(Blurred(*moments), BrightestPixel(), noise, 400) for moments in ((0, 1), (5, 0.3)))
    assert right["aggregate_variance"] == pytest.approx(1, abs=0.05) and wrong["aggregate_variance"] < 0.1
    assert right["prior_gap_low"] < 0 < right["prior_gap_high"] and right["kernel"] > 10 * abs(right["prior_gap"])
    assert wrong["prior_gap_low"] > 0 and abs(wrong["fitted_gap"]) < 0.05 * wrong["prior_gap"]
