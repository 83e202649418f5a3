"""Latent maps, principal components, a fitted sampler, batched encoding and decoding, inversion by gradient descent."""

import numpy as np
import torch
from torch import Tensor

from atlas.core.datasets import to_unit
from atlas.core.model import Model, Shape
from atlas.core.schema import InversionSettings

BATCH_SIZE = 500
"""Images that are encoded, decoded or measured at a time: bounds the memory, changes no result that counts."""
BATCH_PIXELS = 500 * 32 * 32
"""The same in pixels, for larger images."""

RESTARTS = 4
"""Codes from which each image's inversion starts, since gradient descent ends in local minima."""
TRIAL_SHARE = 0.25
"""Share of the steps after which only the best of an image's codes goes on."""
INVERSION_RATE = 0.1
"""Adam's first learning rate."""


def batch_size(shape: Shape) -> int:
    """Return how many images of a shape (C, H, W) are worked on at a time: 500 of 32 x 32, 31 of 128 x 128."""
    return max(1, min(BATCH_SIZE, BATCH_PIXELS // (shape[1] * shape[2])))


def map_axes(side: int, quantile: float, codes: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Return the values of the first and the second code dimension along the sides of a latent map, [side] each.

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


def plane_codes(draws: Tensor, places: Tensor) -> Tensor:
    """Return codes [N, d] of places [N, 2] on the plane through three draws [3, d] from N(0, I).

    The draws lie at (0, 0), (1, 0) and (0, 1).
    They are brought to the length that nearly all codes of the prior have, sqrt(d): between two draws it is less.
    """
    codes = draws[0] + places @ (draws[1:] - draws[0])
    return codes / codes.norm(dim=1, keepdim=True) * draws.shape[1] ** 0.5


def pca(codes: Tensor, count: int) -> tuple[Tensor, Tensor, float]:
    """Return the mean [d] of codes [N, d], their `count` largest principal components [d, count] and their share.

    Of each component the larger part of the squares lies on positive numbers, so that its direction is not a matter of
    chance; the share is that of the variance which they hold.
    """
    center = codes.mean(0)
    variances, vectors = torch.linalg.eigh((codes - center).T.double().cov())
    vectors = vectors[:, -count:].flip(1)
    signs = torch.sign((vectors * vectors.abs()).sum(0))
    return center, (vectors * signs).float(), float(variances[-count:].sum() / variances.sum())


@torch.no_grad()
def decode_uint8(model: Model, codes: Tensor, labels: Tensor | int, device: torch.device) -> np.ndarray:
    """Return the images of codes [N, d] as uint8 [N, C, H, W] on the host.

    Args:
        labels: [N], or one for all.
    """
    if isinstance(labels, int):
        labels = torch.full((len(codes),), labels, dtype=torch.long)
    size = batch_size(model.shape)
    batches = zip(codes.split(size), labels.split(size), strict=True)
    return np.concatenate([to_uint8(model.decode(code.to(device), label.to(device))) for code, label in batches])


@torch.no_grad()
def encode_dataset(model: Model, images: Tensor, labels: Tensor) -> Tensor:
    """Return the codes [N, d], on the host, of images [N, C, H, W], uint8 or in [0, 1]."""
    size = batch_size(model.shape)
    batches = zip(images.split(size), labels.split(size), strict=True)
    # Batch by batch: as floats, all images of a large data set would not fit beside it.
    return torch.cat(
        [model.encode(to_unit(batch) if batch.dtype == torch.uint8 else batch, label).cpu() for batch, label in batches]
    )


def to_uint8(images: Tensor) -> np.ndarray:
    """Return images in [0, 1] as uint8 on the host, rounded."""
    return (images.clamp(0, 1) * 255).round().to(torch.uint8).cpu().numpy()


def invert(model: Model, images: Tensor, labels: Tensor, settings: InversionSettings, seed: int = 0) -> Tensor:
    """Inversion of a decoder: codes [N, latent_dim] whose decodings come near images [N, C, H, W] in [0, 1].

    Gradient descent (Adam) on half of the summed squared error plus `prior_weight` |z|^2, from `RESTARTS` draws from
    N(0, I). With a weight of one it finds the most probable code under unit Gaussian noise on the pixels (Creswell and
    Bharath 2018 search the same way); a smaller one finds what the decoder can draw. The model does not change. The
    same seed gives the same codes.
    """
    draws = torch.randn(RESTARTS, len(images), model.latent_dim, generator=torch.Generator().manual_seed(seed))
    training = model.training
    model.eval()
    size = -(-batch_size(model.shape) // RESTARTS)
    batches = zip(draws.split(size, 1), images.split(size), labels.split(size), strict=True)
    codes = torch.cat([_invert(model, *batch, settings) for batch in batches])
    model.train(training)
    return codes


def _invert(model: Model, draws: Tensor, images: Tensor, labels: Tensor, settings: InversionSettings) -> Tensor:
    """Return the codes that come of draws [RESTARTS, N, latent_dim]."""
    count, device, trial = len(images), images.device, int(TRIAL_SHARE * settings.steps)
    targets, target_labels = images.repeat(RESTARTS, 1, 1, 1), labels.repeat(RESTARTS)
    codes = _descend(model, draws.flatten(0, 1).to(device), targets, target_labels, range(trial), settings)
    with torch.no_grad():
        losses = _inversion_loss(model, codes, targets, target_labels, settings).unflatten(0, (RESTARTS, count))
    codes = codes.unflatten(0, (RESTARTS, count))[losses.argmin(0), torch.arange(count, device=device)]
    return _descend(model, codes, images, labels, range(trial, settings.steps), settings)


def _descend(
    model: Model, codes: Tensor, images: Tensor, labels: Tensor, part: range, settings: InversionSettings
) -> Tensor:
    """Take the steps `part` of all, over which the learning rate falls to zero."""
    codes = codes.clone().requires_grad_()
    optimizer = torch.optim.Adam([codes], INVERSION_RATE)
    for step in part:
        optimizer.param_groups[0]["lr"] = INVERSION_RATE * (1 - step / settings.steps)
        with torch.enable_grad():
            loss = _inversion_loss(model, codes, images, labels, settings).sum()
        (codes.grad,) = torch.autograd.grad(loss, [codes])
        optimizer.step()
    return codes.detach()


def _inversion_loss(model: Model, codes: Tensor, images: Tensor, labels: Tensor, settings: InversionSettings) -> Tensor:
    error = (model.decode(codes, labels) - images).square().flatten(1).sum(1)
    return 0.5 * (error + settings.prior_weight * codes.square().sum(1))


def fitted_gaussian(codes: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Draw `count` codes [count, d] from a Gaussian with the mean and the covariance of codes [N, d], N at least 2.

    As weighted sums of the codes, so that it works too where there are fewer of them than dimensions.
    """
    center = codes.mean(0)
    weights = torch.randn(count, len(codes), generator=generator).to(codes.device)
    return center + weights @ (codes - center) / (len(codes) - 1) ** 0.5
