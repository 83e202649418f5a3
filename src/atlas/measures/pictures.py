"""Measures of pictures: functions of tensors of images or of a judge's features."""

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchmetrics.image.fid import FrechetInceptionDistance


class _Given(nn.Module):
    """Features that are there already, in the place of the network that torchmetrics would run."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.num_features = count

    def forward(self, features: Tensor) -> Tensor:
        return features


def frechet(real: Tensor, fake: Tensor) -> float:
    """Return the Frechet distance between Gaussians fitted to features [N, F] (Heusel et al. 2017; torchmetrics).

    Raises:
        ValueError: if the two have not the same number of rows, or fewer than features: the covariance is then singular
            and the number means nothing.
    """
    if len(real) != len(fake) or len(real) <= real.shape[1]:
        raise ValueError(
            f"needs equal numbers of images, more than the {real.shape[1]} features; found {len(real)} and {len(fake)}"
        )
    distance = FrechetInceptionDistance(_Given(real.shape[1]), normalize=True).set_dtype(torch.float64)
    distance.update(real.double().cpu(), real=True)
    distance.update(fake.double().cpu(), real=False)
    return distance.compute().item()


def laplacian_energy(images: Tensor) -> float:
    """Return the mean squared response of the 4-neighbour Laplacian over images [N, C, H, W]."""
    kernel = torch.tensor([[0.0, 1.0, 0.0], [1.0, -4.0, 1.0], [0.0, 1.0, 0.0]], device=images.device)
    channels = images.shape[1]
    response = functional.conv2d(images, kernel.expand(channels, 1, 3, 3), groups=channels)
    return response.double().square().mean().item()


def sharpness(samples: Tensor, real: Tensor) -> float:
    """Return the Laplacian energy of samples over that of real images, both [N, C, H, W] in [0, 1]."""
    return laplacian_energy(samples) / laplacian_energy(real)
