"""Distances between sets of images, computed in features of a classifier, and the sharpness of images."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from atlas.metrics.intervals import Numbers, bootstrap_counts, normal_interval, percentile_interval, share_interval

NEIGHBORS = 5
FEW = 2 * NEIGHBORS + 2
"""Fewer images than this are not compared: half of them would have too few neighbors."""
HALVES = 40
"""Random halves of the images from which the standard errors of `prdc` are taken."""

Array = NDArray[np.float64]


def frechet_distance(real: Tensor, fake: Tensor) -> float:
    """Frechet distance between Gaussians fitted to features [N, F] (Heusel et al. 2017).

    |m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^1/2), in float64; the trace of the root is the sum of the roots of the
    eigenvalues of C1 C2. torchmetrics ships the same, but takes longer to import than this takes to compute: a test
    compares the two.

    Raises:
        ValueError: if the two have not the same number of rows, or fewer than features: the covariance is then singular
            and the number means nothing.
    """
    _check_counts(real, fake, real.shape[1] + 1, f"more than the {real.shape[1]} features")
    real, fake = real.double().cpu(), fake.double().cpu()
    means = (real.mean(0) - fake.mean(0)).square().sum()
    real_covariance, fake_covariance = real.T.cov(), fake.T.cov()
    root = torch.linalg.eigvals(real_covariance @ fake_covariance).real.clamp(min=0).sqrt().sum()
    return (means + real_covariance.trace() + fake_covariance.trace() - 2 * root).item()


def frechet_interval(name: str, real: Tensor, fake: Tensor) -> Numbers:
    """`frechet_distance` with its interval, from its derivative by each image (the delta method; Rippl et al. 2016).

    By the first covariance the distance's derivative is I - T, T = C2^1/2 (C2^1/2 C1 C2^1/2)^-1/2 C2^1/2. The interval
    is of the distance at this number of images, which is too large by about the distance between two sets of real
    ones: that bias is in its middle, not in its width.
    """
    first, second = real.double().cpu(), fake.double().cpu()
    shift = first.mean(0) - second.mean(0)

    def influence(own: Tensor, other: Tensor, sign: int) -> Tensor:
        root = _root(other.T.cov(), 0.5)
        transport = root @ _root(root @ own.T.cov() @ root, -0.5) @ root
        deviations = own - own.mean(0)
        curved = deviations @ (torch.eye(own.shape[1], dtype=own.dtype) - transport)
        return 2 * sign * deviations @ shift + (curved * deviations).sum(1)

    variance = influence(first, second, 1).var() + influence(second, first, -1).var()
    numbers = normal_interval(name, frechet_distance(real, fake), float(variance / len(real)) ** 0.5, len(real))
    return numbers | {f"{name}_low": max(0.0, numbers[f"{name}_low"])}


def _root(matrix: Tensor, power: float) -> Tensor:
    """Return a power of a symmetric matrix without negative eigenvalues; of a singular one on its range alone."""
    values, vectors = torch.linalg.eigh(matrix)
    least = 1e-10 * float(values[-1].clamp(min=1e-300))
    return (vectors * torch.where(values > least, values.clamp(min=least) ** power, 0.0)) @ vectors.T


def kernel_distance(real: Tensor, fake: Tensor) -> float:
    """Kernel distance between features [N, F], squared and unbiased.

    MMD^2 with k(a, b) = (a.b / F + 1)^3 (Binkowski et al. 2018), no pair of a point with itself (Gretton et al. 2012,
    lemma 6): zero on average where the two are alike, so it may come out negative.

    Raises:
        ValueError: if the two have not the same number of rows, or fewer than two.
    """
    once = np.ones((1, len(real)))
    return float(_mmd(real, fake, once, once)[0])


def kernel_interval(real: Tensor, fake: Tensor) -> tuple[float, float, float]:
    """`kernel_distance` and the ends of its interval.

    The bootstrap's, over the images of both, without the pairs that drawing one image twice would make.
    """
    value = kernel_distance(real, fake)
    resamples = (bootstrap_counts(len(real), seed).astype(np.float64) for seed in (0, 1))
    return value, *percentile_interval(_mmd(real, fake, *resamples))


def _mmd(real: Tensor, fake: Tensor, real_counts: Array, fake_counts: Array) -> Array:
    """Return MMD^2 in each of B resamples, [B], in which images count as often as the counts [B, N] say."""
    _check_counts(real, fake, 2)
    real, fake = real.double().cpu(), fake.double().cpu()

    def kernels(a: Tensor, b: Tensor) -> Tensor:
        return (a @ b.T / a.shape[1] + 1) ** 3

    def mean(features: Tensor, counts: Array) -> Array:
        pairs = counts.sum(1) ** 2 - (counts**2).sum(1)
        return ((counts @ kernels(features, features).fill_diagonal_(0).numpy()) * counts).sum(1) / pairs

    across = ((real_counts @ kernels(real, fake).numpy()) * fake_counts).sum(1)
    across /= real_counts.sum(1) * fake_counts.sum(1)
    return mean(real, real_counts) + mean(fake, fake_counts) - 2 * across


def prdc(real: Tensor, fake: Tensor, neighbors: int = NEIGHBORS) -> dict[str, Tensor]:
    """Precision, recall, density and coverage of features [N, F], one number a row each, [N]: its mean is the metric.

    The ball of a point reaches to the k-th nearest other point of its own kind, k being `neighbors`. Precision: does
    the fake lie in the ball of some real one? Recall: does the real one lie in the ball of some fake one? (Kynkaanniemi
    et al. 2019) Density: in how many real ones' balls the fake lies, over k; may pass 1. Coverage: does some fake one
    lie in the real one's ball? (Naeem et al. 2020)

    Raises:
        ValueError: if the two have not the same number of rows, or no more than `neighbors`.
    """
    _check_counts(real, fake, neighbors + 1, f"more than the {neighbors} neighbors")
    real, fake = real.double(), fake.double()
    real_reach, fake_reach = (_reach(torch.cdist(points, points), neighbors) for points in (real, fake))
    return _in_balls(torch.cdist(real, fake), real_reach, fake_reach, neighbors)


def prdc_intervals(real: Tensor, fake: Tensor, neighbors: int = NEIGHBORS) -> Numbers:
    """Precision, recall, density and coverage with their intervals; features [N, F], N at least twice `neighbors` + 2.

    The balls depend on the images as much as what lies in them does, so both are drawn anew: the standard error is the
    spread over random halves of both sets (the delete-half jackknife, Shao and Wu 1989).
    """
    count, half = len(real), len(real) // 2
    values = {name: float(rows.mean()) for name, rows in prdc(real, fake, neighbors).items()}
    generator = torch.Generator().manual_seed(0)
    spread: dict[str, list[float]] = {name: [] for name in values}
    across, reals, fakes = (torch.cdist(a.float(), b.float()) for a, b in ((real, fake), (real, real), (fake, fake)))
    for _ in range(HALVES):
        rows, columns = (torch.randperm(count, generator=generator)[:half].to(real.device) for _ in range(2))
        radii = _reach(_part(reals, rows, rows), neighbors), _reach(_part(fakes, columns, columns), neighbors)
        for name, inside in _in_balls(_part(across, rows, columns), *radii, neighbors).items():
            spread[name].append(float(inside.mean()))
    numbers: Numbers = {}
    for name, value in values.items():
        interval = normal_interval if name == "density" else share_interval
        numbers |= interval(name, value, float(np.std(spread[name])), count)
    return numbers | {"density_low": max(0.0, numbers["density_low"])}


def _part(matrix: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    return matrix.index_select(0, rows).index_select(1, columns)


def _reach(distances: Tensor, neighbors: int) -> Tensor:
    """Return the distance of each point [N] to its k-th nearest other one; distances: [N, N] between all of them."""
    return distances.fill_diagonal_(torch.inf).kthvalue(neighbors, 1).values


def _in_balls(distances: Tensor, real_reach: Tensor, fake_reach: Tensor, neighbors: int) -> dict[str, Tensor]:
    """Return what `prdc` returns, of the distances of real points [N] to fake ones [M] and of the balls' radii."""
    in_real_ball = distances < real_reach[:, None]
    in_fake_ball = distances < fake_reach
    return {
        "precision": in_real_ball.any(0).double(),
        "recall": in_fake_ball.any(1).double(),
        "density": in_real_ball.double().sum(0) / neighbors,
        "coverage": in_real_ball.any(1).double(),
    }


def label_purity(codes: Tensor, labels: Tensor, neighbors: int = 2 * NEIGHBORS) -> Tensor:
    """Label purity: of each code [N, d] the share of its nearest other codes whose label is its own, [N].

    Raises:
        ValueError: if there are no more codes than neighbors.
    """
    if len(codes) <= neighbors:
        raise ValueError(f"label purity: needs more than {neighbors} codes; found {len(codes)}")
    distances = torch.cdist(codes.double(), codes.double()).fill_diagonal_(torch.inf)
    nearest = distances.topk(neighbors, largest=False).indices
    return (labels[nearest] == labels[:, None]).double().mean(1)


def feature_distances(real: Tensor, reconstructed: Tensor) -> Tensor:
    """Feature distance of each reconstruction from its image, [N], where 1 is as far as another image lies.

    Euclidean distances between features [N, F], over the mean distance between two of the images.

    Raises:
        ValueError: if the two have not the same number of rows, or fewer than two.
    """
    _check_counts(real, reconstructed, 2)
    # Each image and the next: N pairs are enough for a mean.
    unit = (real - real.roll(1, 0)).double().norm(dim=1).mean()
    return (real - reconstructed).double().norm(dim=1) / unit


def laplacian_energies(images: Tensor) -> Tensor:
    """Sharpness of each image [N, C, H, W]: the mean squared response of the 4-neighbor Laplacian, [N]."""
    around = images[..., :-2, 1:-1] + images[..., 2:, 1:-1] + images[..., 1:-1, :-2] + images[..., 1:-1, 2:]
    return (around - 4 * images[..., 1:-1, 1:-1]).square().flatten(1).mean(1, dtype=torch.float64)


def _check_counts(first: Tensor, second: Tensor, least: int, wanted: str = "at least 2") -> None:
    if len(first) != len(second) or len(first) < least:
        raise ValueError(f"needs equal numbers of images, {wanted}; found {len(first)} and {len(second)}")
