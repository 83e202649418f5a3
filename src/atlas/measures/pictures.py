"""Measures of pictures: functions of tensors of images or of a judge's features."""

import torch
from torch import Tensor
from torch.nn import functional


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


def laplacian_energy(images: Tensor) -> float:
    """Return the mean squared response of the 4-neighbour Laplacian over images [N, C, H, W]."""
    kernel = torch.tensor([[0.0, 1.0, 0.0], [1.0, -4.0, 1.0], [0.0, 1.0, 0.0]], device=images.device)
    channels = images.shape[1]
    response = functional.conv2d(images, kernel.expand(channels, 1, 3, 3), groups=channels)
    return response.double().square().mean().item()


def sharpness(samples: Tensor, real: Tensor) -> float:
    """Return the Laplacian energy of samples over that of real images, both [N, C, H, W] in [0, 1]."""
    return laplacian_energy(samples) / laplacian_energy(real)
