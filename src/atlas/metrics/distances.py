"""Distances between sets of images, computed in features of a classifier, and the sharpness of images."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from atlas.metrics.bootstrap import bootstrap_counts, percentile_interval

NEIGHBORS = 5

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
    distances = torch.cdist(real, fake)
    in_real_ball = distances < _nearest(real, neighbors).values[:, -1:]
    in_fake_ball = distances < _nearest(fake, neighbors).values[:, -1]
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
    nearest = _nearest(codes.double(), neighbors).indices
    return (labels[nearest] == labels[:, None]).double().mean(1)


def _nearest(points: Tensor, neighbors: int) -> torch.return_types.topk:
    """Return distances to, and indices of, the nearest other points of each of points [N, d], [N, neighbors] each."""
    return torch.cdist(points, points).fill_diagonal_(torch.inf).topk(neighbors, largest=False)


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
    laplacian = torch.tensor([[0.0, 1, 0], [1, -4, 1], [0, 1, 0]], device=images.device)
    channels = images.shape[1]
    response = functional.conv2d(images, laplacian.expand(channels, 1, 3, 3), groups=channels)
    return response.double().square().flatten(1).mean(1)


def _check_counts(first: Tensor, second: Tensor, least: int, wanted: str = "at least 2") -> None:
    if len(first) != len(second) or len(first) < least:
        raise ValueError(f"needs equal numbers of images, {wanted}; found {len(first)} and {len(second)}")
