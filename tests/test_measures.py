"""The measures against closed forms, slow loops and models whose right numbers are known beforehand."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm
from torch import Tensor, nn
from torchmetrics.image.fid import FrechetInceptionDistance

from atlas.datasets import Split, to_unit
from atlas.measures.catalogue import MEASURES
from atlas.measures.evaluate import BATCH, evaluate
from atlas.measures.judge import Judge, augment, read
from atlas.measures.pictures import frechet, laplacian_energy, sharpness
from atlas.models.base import Bound, Model, Shape

Build = Callable[..., Model]
Noise = Callable[..., Split]


# --- the Frechet distance -------------------------------------------------------------------------------------------


def _with_moments(mean: np.ndarray, covariance: np.ndarray, count: int, seed: int) -> Tensor:
    """Return rows whose sample mean and covariance are these exactly."""
    draws = np.random.default_rng(seed).standard_normal((count, len(mean)))
    draws -= draws.mean(0)
    white = draws @ np.linalg.inv(np.linalg.cholesky(np.cov(draws, rowvar=False))).T
    return torch.from_numpy(white @ np.linalg.cholesky(covariance).T + mean)


def _covariance(size: int, seed: int, scale: float) -> np.ndarray:
    factor = np.random.default_rng(seed).standard_normal((size, size))
    return scale * (factor @ factor.T / size + 0.1 * np.eye(size))


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_frechet_is_the_closed_form_for_gaussians(scale: float) -> None:
    means = [scale**0.5 * np.random.default_rng(seed).standard_normal(12) for seed in (1, 2)]
    covariances = [_covariance(12, seed, scale) for seed in (3, 4)]
    root = sqrtm(covariances[0] @ covariances[1])
    expected = ((means[0] - means[1]) ** 2).sum() + np.trace(covariances[0] + covariances[1] - 2 * root.real)
    real, fake = (_with_moments(means[i], covariances[i], 200, 5 + i) for i in (0, 1))
    assert frechet(real, fake) == pytest.approx(expected, rel=1e-8)
    assert frechet(fake, real) == pytest.approx(expected, rel=1e-8), "it is a distance: symmetric"


def test_frechet_of_a_shift_alone_is_its_square() -> None:
    features = torch.randn(100, 5, generator=torch.Generator().manual_seed(0))
    assert frechet(features, features + 3) == pytest.approx(5 * 3**2, rel=1e-6)


def test_frechet_of_the_same_features_is_zero() -> None:
    features = 30 * torch.randn(300, 64, generator=torch.Generator().manual_seed(0))
    assert abs(frechet(features, features)) < 1e-6
    assert abs(frechet(features, features[torch.randperm(300)])) < 1e-6


def test_frechet_is_what_torchmetrics_says() -> None:
    class Given(nn.Module):
        num_features = 64

        def forward(self, features: Tensor) -> Tensor:
            return features

    generator = torch.Generator().manual_seed(0)
    real = torch.randn(500, 64, generator=generator)
    fake = 0.7 * torch.randn(500, 64, generator=generator) @ torch.randn(64, 64, generator=generator) / 8 + 0.1
    distance = FrechetInceptionDistance(Given(), normalize=True).set_dtype(torch.float64)
    distance.update(real.double(), real=True)
    distance.update(fake.double(), real=False)
    assert frechet(real, fake) == pytest.approx(distance.compute().item(), rel=1e-8)


@pytest.mark.parametrize(("real", "fake"), [(100, 99), (99, 100), (64, 64), (30, 30), (0, 0)])
def test_frechet_refuses_numbers_that_mean_nothing(real: int, fake: int) -> None:
    with pytest.raises(ValueError, match=f"more than the 64 features; found {real} and {fake}"):
        frechet(torch.randn(real, 64), torch.randn(fake, 64))


# --- sharpness ------------------------------------------------------------------------------------------------------


def test_laplacian_energy_is_what_a_loop_says() -> None:
    images = torch.rand(2, 3, 5, 6, generator=torch.Generator().manual_seed(0))
    squares = []
    for image in images.tolist():
        for channel in image:
            for y in range(1, 4):
                for x in range(1, 5):
                    around = channel[y - 1][x] + channel[y + 1][x] + channel[y][x - 1] + channel[y][x + 1]
                    squares.append((around - 4 * channel[y][x]) ** 2)
    assert laplacian_energy(images) == pytest.approx(sum(squares) / len(squares), rel=1e-5)
    assert laplacian_energy(torch.full((1, 2, 8, 8), 0.7)) == pytest.approx(0, abs=1e-10)


@pytest.mark.parametrize("channels", [1, 3])
def test_blur_is_less_sharp_and_noise_is_sharper(channels: int) -> None:
    images = torch.rand(20, channels, 16, 16, generator=torch.Generator().manual_seed(0))
    assert sharpness(images, images) == 1
    assert sharpness(nn.functional.avg_pool2d(images, 3, 1, 1), images) < 0.5
    assert sharpness(0.5 * images + 0.25, images) == pytest.approx(0.25, rel=1e-5)
    assert sharpness(images, nn.functional.avg_pool2d(images, 3, 1, 1)) > 2


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

    discrete = True

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
    expected = {"frechet", "frechet_n", "frechet_floor", "sharpness", "sharpness_n"}
    assert set(found) == expected


def test_a_perfect_autoencoder_has_no_error(noise: Noise) -> None:
    found = _evaluate(Perfect(False, False), Reader(), noise)
    assert found["reconstruction_mse"] == 0 and found["reconstruction_mse_n"] == 100


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
    assert abs(found["frechet"]) < 1e-6 < found["frechet_floor"] < 1 and found["sharpness"] == 1


def test_every_number_is_in_the_catalogue_and_comes_out_twice(make: Build, noise: Noise, member: str) -> None:
    shape = (1, 16, 16)
    torch.manual_seed(0)
    model, judge = make(member, shape), Judge(shape, 10, 4)
    state = torch.get_rng_state()
    found = _evaluate(model, judge, noise)
    assert torch.equal(torch.get_rng_state(), state), "measuring drew from the global generator"
    assert found == _evaluate(model, judge, noise)
    assert {name.removesuffix("_n") for name in found} <= set(MEASURES)
    assert all(math.isfinite(value) for value in found.values())
    assert all(found[name] == 100 for name in found if name.endswith("_n"))
    assert ("nelbo" in found) == ("rate" in found) == model.can("elbo")
    assert ("reconstruction_mse" in found) == model.can("encode")
    assert ("label_accuracy" in found) == model.conditional
    assert ("bits_per_dim" in found) == (model.pixels == "bytes")
    other = _evaluate(model, judge, noise, seed=1)
    assert other["frechet"] != found["frechet"] and other["frechet_floor"] == found["frechet_floor"]


def test_an_autoencoder_has_no_bound(make: Build, noise: Noise) -> None:
    found = _evaluate(make("ae"), Judge((1, 16, 16), 10, 4), noise)
    assert not {"nelbo", "rate", "distortion", "bits_per_dim", "label_accuracy"} & set(found)


def test_too_few_training_images_for_the_floor_are_refused(noise: Noise) -> None:
    with pytest.raises(ValueError, match="the floor needs 100 training images, found 99"):
        evaluate(Painter(True, False), Reader(), noise(100, (1, 8, 8)), noise(99, (1, 8, 8)), torch.Generator())


def test_the_catalogue_is_complete() -> None:
    for name, measure in MEASURES.items():
        fields: dict[str, Any] = measure._asdict()
        assert fields["name"] == name and fields["title"] and len(fields["description"]) > 20
        assert fields["better"] in ("lower", "higher", "") and 0 <= fields["digits"] <= 6
