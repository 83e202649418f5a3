"""The judge and the protocol, with models whose right numbers are known beforehand."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from atlas.core.datasets import Split, to_unit
from atlas.metrics.registry import METRICS, known
from atlas.metrics.evaluate import BATCH, evaluate, subset
from atlas.metrics.classifier import Judge, augment, read
from atlas.metrics.likelihood import binarise
from atlas.core.model import Bound, Model, Shape

Build = Callable[..., Model]
Noise = Callable[..., Split]


# --- the judge ------------------------------------------------------------------------------------------------------


def test_the_judge_reads_any_shape_the_same_in_any_batch(shape: Shape) -> None:
    torch.manual_seed(0)
    judge = Judge(shape, 10, 8).train()
    images = torch.rand(7, *shape)
    features, labels = read(judge, images)
    assert features.shape == (7, judge.num_features) and labels.shape == (7,) and not judge.training
    torch.testing.assert_close(judge(images).argmax(1), labels)
    torch.testing.assert_close(read(judge, images, batch_size=2)[0], features)


def test_the_judge_can_learn() -> None:
    torch.manual_seed(0)
    labels = torch.arange(60) % 3
    images = 0.2 * torch.rand(60, 1, 12, 12)
    images[torch.arange(60), 0, 4 * labels + 1] += 0.8
    judge = Judge((1, 12, 12), 3, 8)
    optimiser = torch.optim.Adam(judge.parameters(), 0.01)
    for _ in range(60):
        optimiser.zero_grad()
        nn.functional.cross_entropy(judge(images), labels).backward()
        optimiser.step()
    assert torch.equal(read(judge, images)[1], labels)


def test_augmentation_shifts_a_batch_and_mirrors_half_of_it_and_nothing_else() -> None:
    images = torch.rand(40, 1, 9, 9, generator=torch.Generator().manual_seed(0))
    # With an empty border of two, a shift is a roll.
    images[:, :, :2] = images[:, :, -2:] = images[..., :2] = images[..., -2:] = 0
    found, mirrored = set(), 0
    for seed in range(30):
        shifted = augment(images, False, torch.Generator().manual_seed(seed))
        shifts = [(down, right) for down in range(-2, 3) for right in range(-2, 3)]
        (shift,) = [shift for shift in shifts if torch.equal(shifted, images.roll(shift, (2, 3)))]
        found.add(shift)
        changed = augment(images, True, torch.Generator().manual_seed(seed))
        same = (changed == shifted).flatten(1).all(1)
        assert (same | (changed == shifted.flip(3)).flatten(1).all(1)).all()
        mirrored += int((~same).sum())
    assert len(found) > 12 and 0.4 < mirrored / (30 * 40) < 0.6


# --- the protocol ---------------------------------------------------------------------------------------------------


class Reader(Judge):
    """A judge that needs no training: the label is the brightest of the first ten pixels."""

    num_features = 10

    def __init__(self) -> None:
        nn.Module.__init__(self)
        self.output = nn.Linear(10, 10, bias=False)
        nn.init.eye_(self.output.weight)

    def features(self, images: Tensor) -> Tensor:
        return images.flatten(1)[:, :10]


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


def _evaluate(model: Model, judge: Judge, noise: Noise, count: int = 100, seed: int = 0) -> dict[str, float | int]:
    splits = noise(count, model.shape), noise(count + 20, model.shape, seed=1)
    return evaluate(model.eval(), judge, *splits, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(("deaf", "accuracy"), [(False, 1.0), (True, 0.1)])
def test_label_accuracy_is_how_often_the_asked_label_is_painted(noise: Noise, deaf: bool, accuracy: float) -> None:
    found = _evaluate(Painter(True, deaf), Reader(), noise)
    assert found["label_accuracy"] == accuracy and found["label_accuracy_n"] == 100


def test_a_model_that_can_only_sample_gets_what_applies_to_samples(noise: Noise) -> None:
    found = _evaluate(Painter(False, True), Reader(), noise)
    expected = {"frechet", "frechet_floor", "kernel", "kernel_floor", "precision", "recall", "density", "coverage"}
    expected |= {"sharpness", "prior_confidence", "reconstruction_mse", "reconstruction_features"}
    assert {name for name in found if name in METRICS} == expected
    assert found["reconstruction_mse_n"] == 20, "its codes were searched for"


def test_a_perfect_autoencoder_has_no_error(noise: Noise) -> None:
    found = _evaluate(Perfect(False, False), Reader(), noise)
    assert found["reconstruction_mse"] == 0 and found["reconstruction_mse_n"] == 100
    assert found["reconstruction_features"] == 0


def test_the_bound_is_the_mean_of_its_parts_over_all_test_images(noise: Noise) -> None:
    """More images than a batch, so that the last batch is smaller."""
    count = BATCH + 130
    found = _evaluate(Perfect(False, False), Reader(), noise, count)
    distortion = sum(label % 10 for label in range(count)) / count
    assert found["rate"] == 3 and found["distortion"] == pytest.approx(distortion)
    assert found["nelbo"] == pytest.approx(3 + distortion) and found["nelbo_n"] == count
    assert found["bits_per_dim"] == pytest.approx((3 + distortion) / 64 / math.log(2))


def test_reconstruction_error_is_per_pixel(noise: Noise) -> None:
    class Off(Perfect):
        def decode(self, codes: Tensor, labels: Tensor) -> Tensor:
            return codes.view(-1, 1, 8, 8) + 0.5

    assert _evaluate(Off(False, False), Reader(), noise)["reconstruction_mse"] == pytest.approx(0.25, rel=1e-5)


def test_a_model_that_copies_the_test_images_reaches_less_than_the_floor(noise: Noise) -> None:
    """And the floor compares training with test images: two samples of the same noise."""
    split = noise(100, (1, 8, 8))

    class Copier(Painter):
        def sample(self, labels: Tensor, generator: torch.Generator | None = None) -> Tensor:
            return to_unit(split.images)

    found = _evaluate(Copier(False, False), Reader(), noise)
    assert abs(found["frechet"]) < 1e-6 < found["frechet_floor"] < 1
    assert found["sharpness"] == pytest.approx(1) and found["coverage"] == found["recall"] == 1
    assert found["kernel"] < found["kernel_floor"]


def test_every_number_is_in_the_catalogue_and_comes_out_twice(make: Build, noise: Noise, member: str) -> None:
    model, judge = make(member).eval(), Judge((1, 16, 16), 10, 4)
    state = torch.get_rng_state()
    found = _evaluate(model, judge, noise)
    assert torch.equal(torch.get_rng_state(), state), "measuring drew from the global generator"
    assert found == _evaluate(model, judge, noise)
    assert all(map(known, found)) and all(math.isfinite(value) for value in found.values())
    assert {"nelbo" in found, "nll" in found, "distortion" in found} == {model.can("elbo")}
    assert {"rate" in found, "active_units" in found} == {model.can("rates")}
    assert {"label_purity" in found, "mig" in found} == {model.can("encode")}
    assert {"label_accuracy" in found, "label_accuracy_worst" in found} == {model.conditional}
    assert {"swap_accuracy" in found, "style_leak" in found} == {model.conditional and model.can("encode")}
    assert ("class_accuracy" in found) == model.can("classify")
    assert ("bits_per_dim" in found) == (model.pixels == "bytes")
    assert ("grey_nelbo" in found) == (model.pixels == "grey")
    assert found["reconstruction_mse_n"] == (100 if model.can("encode") else 20)
    for name in found:
        if f"{name}_low" in found:
            assert found[f"{name}_low"] <= found[name] <= found[f"{name}_high"] and f"{name}_n" in found, name


def test_another_seed_draws_other_samples_and_the_same_floor(make: Build, noise: Noise) -> None:
    model, judge = make("vae"), Judge((1, 16, 16), 10, 4)
    found, other = (_evaluate(model, judge, noise, seed=seed) for seed in (0, 1))
    assert found["frechet"] != other["frechet"] and found["nll"] != other["nll"]
    for name in ("frechet_floor", "kernel_floor", "reconstruction_mse", "mig"):
        assert found[name] == other[name]


def test_likelihoods_of_grey_and_binary_pixels_are_of_the_same_binarisation(noise: Noise) -> None:
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
    found = _evaluate(grey, Reader(), noise)
    assert found["nelbo"] == 0 < found["grey_nelbo"] and "bits_per_dim" not in found
    assert "grey_nelbo" not in _evaluate(binary, Reader(), noise, seed=5)
    assert torch.equal(grey.seen[0], binary.seen[0]) and torch.equal(grey.seen[0], binarise(images))
    assert torch.equal(grey.seen[1], images)
    assert _evaluate(real, Reader(), noise)["nelbo"] == found["grey_nelbo"]


def test_a_subset_is_always_the_same_and_not_the_first() -> None:
    assert torch.equal(subset(1000, 50), subset(1000, 50)) and len(subset(30, 50)) == 30
    assert len(subset(1000, 50).unique()) == 50 and subset(1000, 50).max() > 500


def test_an_autoencoder_has_no_bound(make: Build, noise: Noise) -> None:
    found = _evaluate(make("ae"), Judge((1, 16, 16), 10, 4), noise)
    assert not {"nelbo", "rate", "distortion", "bits_per_dim", "label_accuracy", "active_units"} & set(found)


def test_too_few_training_images_for_the_floor_are_refused(noise: Noise) -> None:
    with pytest.raises(ValueError, match="the floor needs 100 training images, found 99"):
        evaluate(Painter(True, False), Reader(), noise(100, (1, 8, 8)), noise(99, (1, 8, 8)), torch.Generator())


def test_the_catalogue_is_complete() -> None:
    for name, measure in METRICS.items():
        fields: dict[str, Any] = measure._asdict()
        assert fields["name"] == name and fields["title"] and len(fields["description"]) > 20
        assert fields["better"] in ("lower", "higher", "") and 0 <= fields["digits"] <= 6
    assert 8 <= sum(measure.headline for measure in METRICS.values()) <= 12, "a table that fits a page"
    for name in ("nelbo", "kernel_low", "kernel_high", "nll_k", "reconstruction_mse_n", "frechet_floor"):
        assert known(name), name
    for name in ("elbo", "_n", "frechet_n_low", "kernel_", "nelbo_q"):
        assert not known(name), name
