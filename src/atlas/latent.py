"""Walks through a model's latent space: codes to decode, as the figures and films show them."""

import numpy as np
import torch
from torch import Tensor

from atlas.models.base import Model

BATCH = 500


def map_axes(side: int, quantile: float, codes: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Return the values of the first and the second code dimension along the sides of a map, [side] each.

    The first ascends, the second descends, so that row by row they fill a picture whose axes rise rightwards and up.

    Args:
        quantile: the map runs from this quantile of N(0, 1) to one minus it, in equal steps of probability.
        codes: [N, d] of real images, where the model has no prior: the map then covers the region that they occupy,
            from their own quantile to one minus it, in equal steps.
    """
    if codes is None:
        values = torch.special.ndtri(torch.linspace(quantile, 1 - quantile, side, dtype=torch.float64)).float()
        return values, values.flip(0)
    ends = torch.quantile(codes, torch.tensor([quantile, 1 - quantile]), dim=0)
    second = min(1, codes.shape[1] - 1)
    first, last = (torch.linspace(float(ends[0, axis]), float(ends[1, axis]), side) for axis in (0, second))
    return first, last.flip(0)


def map_codes(first: Tensor, second: Tensor, latent_dim: int) -> Tensor:
    """Return codes [len(second) * len(first), latent_dim], row by row from second[0]; other dimensions are zero."""
    codes = torch.zeros(len(second), len(first), latent_dim)
    codes[..., 0] = first
    if latent_dim > 1:
        codes[..., 1] = second[:, None]
    return codes.flatten(0, 1)


def principal(codes: Tensor, count: int) -> tuple[Tensor, Tensor, float]:
    """Return the mean [d] of codes [N, d], their `count` largest principal components [d, count] and their share.

    Of each component the larger part of the squares lies on positive numbers, so that its direction is not a matter of
    chance; the share is that of the variance which they hold.
    """
    centre = codes.mean(0)
    variances, vectors = torch.linalg.eigh((codes - centre).T.double().cov())
    vectors = vectors[:, -count:].flip(1)
    signs = torch.sign((vectors * vectors.abs()).sum(0))
    return centre, (vectors * signs).float(), float(variances[-count:].sum() / variances.sum())


@torch.no_grad()
def decode_bytes(model: Model, codes: Tensor, labels: Tensor | int, device: torch.device) -> np.ndarray:
    """Return the images of codes [N, d] as uint8 [N, C, H, W] on the host.

    Args:
        labels: [N], or one for all.
    """
    if isinstance(labels, int):
        labels = torch.full((len(codes),), labels, dtype=torch.long)
    parts = zip(codes.split(BATCH), labels.split(BATCH), strict=True)
    return np.concatenate([to_bytes(model.decode(code.to(device), label.to(device))) for code, label in parts])


@torch.no_grad()
def encode_all(model: Model, images: Tensor, labels: Tensor) -> Tensor:
    """Return the codes [N, d], on the host, of images [N, C, H, W] in [0, 1]."""
    parts = zip(images.split(BATCH), labels.split(BATCH), strict=True)
    return torch.cat([model.encode(image, label).cpu() for image, label in parts])


def to_bytes(images: Tensor) -> np.ndarray:
    """Return images in [0, 1] as uint8 on the host, rounded."""
    return (images.clamp(0, 1) * 255).round().to(torch.uint8).cpu().numpy()
