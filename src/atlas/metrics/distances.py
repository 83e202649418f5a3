"""Measures of pictures: functions of tensors of images or of a judge's features."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from atlas.metrics.bootstrap import percentile_interval, bootstrap_counts


def frechet(real: Tensor, fake: Tensor) -> float:
    """Return the Frechet distance between Gaussians fitted to features [N, F] (Heusel et al. 2017).

    |m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^1/2), in float64; the trace of the root is the sum of the roots of the
    eigenvalues of C1 C2. torchmetrics ships the same, but takes longer to import than this takes to compute: a test
    compares the two.

    Raises:
        ValueError: if the two have not the same number of rows, or fewer than features: the covariance is then singular
            and the number means nothing.
    """
    if len(real) != len(fake) or len(real) <= real.shape[1]:
        raise ValueError(
            f"needs equal numbers of images, more than the {real.shape[1]} features; found {len(real)} and {len(fake)}"
        )
    real, fake = real.double().cpu(), fake.double().cpu()
    means = (real.mean(0) - fake.mean(0)).square().sum()
    first, second = real.T.cov(), fake.T.cov()
    root = torch.linalg.eigvals(first @ second).real.clamp(min=0).sqrt().sum()
    return (means + first.trace() + second.trace() - 2 * root).item()


def kernel(real: Tensor, fake: Tensor) -> float:
    """Return the unbiased squared kernel distance between features [N, F].

    MMD^2 with k(a, b) = (a.b / F + 1)^3 (Binkowski et al. 2018), no pair of a point with itself (Gretton et al. 2012,
    lemma 6): zero on average where the two are alike, so it may come out negative.

    Raises:
        ValueError: if the two have not the same number of rows, or fewer than two.
    """
    once = np.ones((1, len(real)))
    return float(_distance(*_products(real, fake), once, once)[0])


def kernel_interval(real: Tensor, fake: Tensor) -> tuple[float, float]:
    """Return the ends of the interval of `kernel`, and raise as it does.

    The bootstrap's, over the images of both, without the pairs that drawing one image twice would make.
    """
    products = _products(real, fake)
    first, second = (bootstrap_counts(len(real), seed).astype(np.float64) for seed in (0, 1))
    return percentile_interval(_distance(*products, first, second))


def _products(real: Tensor, fake: Tensor) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return the kernel of each pair of real ones, of fake ones and of one of each, [N, N]; 0 of one with itself."""
    if len(fake) != len(real) or len(real) < 2:
        raise ValueError(f"needs equal numbers of images, at least 2; found {len(real)} and {len(fake)}")
    real, fake = real.double().cpu(), fake.double().cpu()
    within_real, within_fake, across = (
        (a @ b.T / real.shape[1] + 1) ** 3 for a, b in ((real, real), (fake, fake), (real, fake))
    )
    return within_real.fill_diagonal_(0).numpy(), within_fake.fill_diagonal_(0).numpy(), across.numpy()


def _distance(
    within_real: NDArray[np.float64],
    within_fake: NDArray[np.float64],
    across: NDArray[np.float64],
    real: NDArray[np.float64],
    fake: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Return the distance in each of B resamples, in which images count as often as `real` and `fake` say, [B, N]."""

    def mean(products: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
        pairs = weights.sum(1) ** 2 - (weights**2).sum(1)
        return ((weights @ products) * weights).sum(1) / pairs

    crossed = ((real @ across) * fake).sum(1) / (real.sum(1) * fake.sum(1))
    return mean(within_real, real) + mean(within_fake, fake) - 2 * crossed


def feature_distances(real: Tensor, rebuilt: Tensor) -> Tensor:
    """Return how far features [N, F] of reconstructions lie from those of their images, [N], where 1 is as far as
    another image lies: Euclidean distances, over the mean of that between two of the images.

    Raises:
        ValueError: if the two have not the same number of rows, or fewer than two.
    """
    if len(real) != len(rebuilt) or len(real) < 2:
        raise ValueError(f"needs equal numbers of images, at least 2; found {len(real)} and {len(rebuilt)}")
    # Each image and the next: N pairs are enough for a mean.
    unit = (real - real.roll(1, 0)).double().norm(dim=1).mean()
    return (real - rebuilt).double().norm(dim=1) / unit


def laplacian_energies(images: Tensor) -> Tensor:
    """Return of each image [N, C, H, W] the mean squared response of the 4-neighbour Laplacian, [N]."""
    kernel = torch.tensor([[0.0, 1.0, 0.0], [1.0, -4.0, 1.0], [0.0, 1.0, 0.0]], device=images.device)
    channels = images.shape[1]
    response = functional.conv2d(images, kernel.expand(channels, 1, 3, 3), groups=channels)
    return response.double().square().flatten(1).mean(1)


def laplacian_energy(images: Tensor) -> float:
    """Return the mean squared response of the 4-neighbour Laplacian over images [N, C, H, W]."""
    return laplacian_energies(images).mean().item()


def sharpness(samples: Tensor, real: Tensor) -> float:
    """Return the Laplacian energy of samples over that of real images, both [N, C, H, W] in [0, 1]."""
    return laplacian_energy(samples) / laplacian_energy(real)
