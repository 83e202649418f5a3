"""Distances and sharpness against closed forms, slow loops and torchmetrics."""

import math

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm
from torch import Tensor, nn
from torchmetrics.image.fid import FrechetInceptionDistance
from torchmetrics.image.kid import poly_mmd

from atlas.metrics.distances import (
    feature_distances,
    frechet_distance,
    frechet_interval,
    kernel_distance,
    kernel_interval,
    label_purity,
    laplacian_energies,
    prdc,
    prdc_intervals,
)


def _normal(*size: int, seed: int = 0) -> Tensor:
    return torch.randn(*size, generator=torch.Generator().manual_seed(seed))


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
    assert frechet_distance(real, fake) == pytest.approx(expected, rel=1e-8)
    assert frechet_distance(fake, real) == pytest.approx(expected, rel=1e-8), "it is a distance: symmetric"


def test_frechet_of_a_shift_alone_is_its_square() -> None:
    features = torch.randn(100, 5, generator=torch.Generator().manual_seed(0))
    assert frechet_distance(features, features + 3) == pytest.approx(5 * 3**2, rel=1e-6)


def test_frechet_of_the_same_features_is_zero() -> None:
    features = 30 * torch.randn(300, 64, generator=torch.Generator().manual_seed(0))
    assert abs(frechet_distance(features, features)) < 1e-6
    assert abs(frechet_distance(features, features[torch.randperm(300)])) < 1e-6


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
    assert frechet_distance(real, fake) == pytest.approx(distance.compute().item(), rel=1e-8)


@pytest.mark.parametrize(("real", "fake"), [(100, 99), (99, 100), (64, 64), (30, 30), (0, 0)])
def test_frechet_refuses_numbers_that_mean_nothing(real: int, fake: int) -> None:
    with pytest.raises(ValueError, match=f"more than the 64 features; found {real} and {fake}"):
        frechet_distance(torch.randn(real, 64), torch.randn(fake, 64))


@pytest.mark.parametrize("singular", [False, True])
def test_the_frechet_interval_is_as_wide_as_the_distance_varies(singular: bool) -> None:
    """Of new images each time; singular: features that the samples leave at zero, as blurred ones do."""
    scale = torch.tensor([0.5, 1.5, 1.0, 0.0 if singular else 0.8])
    values, widths = [], []
    for seed in range(200):
        pair = _normal(300, 4, seed=2 * seed), 0.4 + scale * _normal(300, 4, seed=2 * seed + 1)
        numbers = frechet_interval("frechet", *pair)
        assert numbers["frechet"] == frechet_distance(*pair) and numbers["frechet_n"] == 300
        values.append(numbers["frechet"])
        widths.append(numbers["frechet_high"] - numbers["frechet_low"])
    assert np.mean(widths) == pytest.approx(2 * 1.96 * np.std(values), rel=0.15)


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
    assert laplacian_energies(images).mean().item() == pytest.approx(sum(squares) / len(squares), rel=1e-5)
    assert laplacian_energies(torch.full((1, 2, 8, 8), 0.7)).item() == pytest.approx(0, abs=1e-10)


@pytest.mark.parametrize("channels", [1, 3])
def test_blur_is_less_sharp(channels: int) -> None:
    images = torch.rand(20, channels, 16, 16, generator=torch.Generator().manual_seed(0))
    energies = laplacian_energies(images)
    assert (laplacian_energies(nn.functional.avg_pool2d(images, 3, 1, 1)) < 0.5 * energies).all()
    torch.testing.assert_close(laplacian_energies(0.5 * images + 0.25), 0.25 * energies)
    assert len(energies) == 20 and energies[3].item() == pytest.approx(laplacian_energies(images[3:4]).item())


# --- the kernel distance --------------------------------------------------------------------------------------------


def _slow_kernel(real: list[list[float]], fake: list[list[float]]) -> float:
    def k(a: list[float], b: list[float]) -> float:
        return (sum(x * y for x, y in zip(a, b, strict=True)) / len(a) + 1) ** 3

    count = len(real)
    others = [(i, j) for i in range(count) for j in range(count) if i != j]
    within = sum(k(real[i], real[j]) + k(fake[i], fake[j]) for i, j in others) / len(others)
    return within - 2 * sum(k(a, b) for a in real for b in fake) / count**2


def test_kernel_is_what_a_loop_and_torchmetrics_say() -> None:
    real, fake = _normal(12, 5).double(), 0.5 * _normal(12, 5, seed=1).double() + 0.3
    assert kernel_distance(real, fake) == pytest.approx(_slow_kernel(real.tolist(), fake.tolist()), rel=1e-10)
    assert kernel_distance(real, fake) == pytest.approx(poly_mmd(real, fake).item(), rel=1e-10)


def test_kernel_of_two_samples_of_the_same_is_zero_on_average_and_not_only_positive() -> None:
    values = [kernel_distance(_normal(50, 4, seed=2 * seed), _normal(50, 4, seed=2 * seed + 1)) for seed in range(40)]
    assert min(values) < 0 < max(values)
    assert abs(np.mean(values)) < 3 * np.std(values) / math.sqrt(len(values))


def test_the_kernel_interval_holds_the_distance_of_the_whole_as_often_as_it_says() -> None:
    """With features of one dimension the moments, and so the distance, are known: k = (ab + 1)^3."""
    mean, spread = 0.8, 0.7
    fake = [1.0, mean, mean**2 + spread**2, mean**3 + 3 * mean * spread**2]
    real = [1.0, 0.0, 1.0, 0.0]
    truth = sum(math.comb(3, i) * (fake[i] - real[i]) ** 2 for i in range(4))
    held = 0
    for seed in range(40):
        samples = _normal(100, 1, seed=2 * seed), mean + spread * _normal(100, 1, seed=2 * seed + 1)
        value, low, high = kernel_interval(*samples)
        assert low < value < high and value == kernel_distance(*samples)
        held += low < truth < high
    assert held >= 34


@pytest.mark.parametrize(("real", "fake"), [(1, 1), (5, 6), (0, 0)])
def test_kernel_refuses_numbers_that_mean_nothing(real: int, fake: int) -> None:
    with pytest.raises(ValueError, match=f"at least 2; found {real} and {fake}"):
        kernel_distance(_normal(real, 3), _normal(fake, 3))


# --- neighbors -----------------------------------------------------------------------------------------------------


def _slow_prdc(real: list[list[float]], fake: list[list[float]], nearest: int) -> tuple[float, float, float, float]:
    def reach(points: list[list[float]]) -> list[float]:
        found = []
        for i, point in enumerate(points):
            others = sorted(math.dist(point, other) for j, other in enumerate(points) if j != i)
            found.append(others[nearest - 1])
        return found

    real_reach, fake_reach = reach(real), reach(fake)
    inside = [[math.dist(r, f) < reach for f in fake] for r, reach in zip(real, real_reach, strict=True)]
    precision = sum(any(inside[i][j] for i in range(len(real))) for j in range(len(fake))) / len(fake)
    recall = sum(any(math.dist(r, f) < reach for f, reach in zip(fake, fake_reach, strict=True)) for r in real) / len(
        real
    )
    density = sum(map(sum, inside)) / nearest / len(fake)
    return precision, recall, density, sum(map(any, inside)) / len(real)


@pytest.mark.parametrize("nearest", [1, 3, 5])
def test_prdc_is_what_loops_say(nearest: int) -> None:
    real, fake = _normal(40, 3), 0.6 * _normal(40, 3, seed=1) + 0.4
    found = [values.mean().item() for values in prdc(real, fake, nearest).values()]
    assert found == pytest.approx(_slow_prdc(real.tolist(), fake.tolist(), nearest), abs=1e-12)


def test_sharp_and_varied_are_two_things() -> None:
    real = _normal(300, 2)
    narrow = prdc(real, 0.05 * _normal(300, 2, seed=1))
    assert narrow["precision"].mean() == 1 and narrow["recall"].mean() < 0.1 and narrow["coverage"].mean() < 0.2
    wide = prdc(real, 20 * _normal(300, 2, seed=1))
    assert wide["precision"].mean() < 0.1 and wide["recall"].mean() > 0.8 and wide["density"].mean() < 0.1
    same = prdc(real, _normal(300, 2, seed=1))
    assert same["coverage"].mean() > 0.9 and same["density"].mean() == pytest.approx(1, abs=0.15)
    apart = prdc(real, real + 100)
    assert [values.sum().item() for values in apart.values()] == [0, 0, 0, 0]


def test_the_intervals_of_prdc_are_as_wide_as_the_numbers_vary() -> None:
    """With the balls drawn anew as well: those of rows in fixed balls are 1.4 times too narrow or more."""
    names = ("precision", "density", "coverage")
    values: dict[str, list[float]] = {name: [] for name in names}
    widths: dict[str, list[float]] = {name: [] for name in names}
    fixed: dict[str, list[float]] = {name: [] for name in names}
    for seed in range(50):
        pair = _normal(200, 8, seed=2 * seed), 0.4 + 0.9 * _normal(200, 8, seed=2 * seed + 1)
        numbers, rows = prdc_intervals(*pair), prdc(*pair)
        for name in values:
            assert numbers[name] == pytest.approx(rows[name].mean().item())
            values[name].append(numbers[name])
            widths[name].append(numbers[f"{name}_high"] - numbers[f"{name}_low"])
            fixed[name].append(2 * 1.96 * rows[name].std().item() / math.sqrt(200))
    for name in ("precision", "density"):
        assert np.mean(widths[name]) == pytest.approx(2 * 1.96 * np.std(values[name]), rel=0.3), name
        assert 1.4 * np.mean(fixed[name]) < np.mean(widths[name]), name
    assert np.mean(widths["coverage"]) > 2 * 1.96 * np.std(values["coverage"])


@pytest.mark.parametrize(("real", "fake"), [(5, 5), (10, 9), (0, 0)])
def test_too_few_neighbors_are_refused(real: int, fake: int) -> None:
    with pytest.raises(ValueError, match=f"more than the 5 neighbors; found {real} and {fake}"):
        prdc(_normal(real, 3), _normal(fake, 3))


def test_label_purity_is_the_share_of_like_neighbors() -> None:
    labels = torch.arange(60) % 3
    corners = torch.tensor([[0.0, 0.0], [50.0, 0.0], [0.0, 50.0]])[labels]
    assert label_purity(corners + _normal(60, 2), labels).tolist() == [1.0] * 60
    noise = label_purity(_normal(600, 2), torch.arange(600) % 3)
    assert noise.mean().item() == pytest.approx(199 / 599, abs=0.03)
    line = torch.tensor([[0.0], [1.0], [3.0], [7.0]])
    assert label_purity(line, torch.tensor([0, 0, 1, 1]), neighbors=2).tolist() == [0.5, 0.5, 0.0, 0.5]
    with pytest.raises(ValueError, match="more than 10 codes; found 10"):
        label_purity(_normal(10, 2), torch.zeros(10))


def test_feature_distances_are_in_units_of_another_image() -> None:
    real = _normal(2000, 8)
    assert feature_distances(real, real).tolist() == [0.0] * 2000
    others = feature_distances(real, _normal(2000, 8, seed=1))
    assert others.mean().item() == pytest.approx(1, abs=0.02)
    pair = torch.tensor([[0.0, 0.0], [3.0, 4.0]])
    assert feature_distances(pair, pair + torch.tensor([0.0, 2.5])).tolist() == [0.5, 0.5]
    with pytest.raises(ValueError, match="found 3 and 2"):
        feature_distances(real[:3], real[:2])
