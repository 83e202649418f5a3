"""Likelihood: how many nats a model needs for a test image, and how many of its code's dimensions it uses.

All images are float [N, C, H, W] in [0, 1]; all results are nats per image, in float64.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from atlas.core.latent import batch_size
from atlas.core.model import Bound, Model

ACTIVE = 0.01
"""The least variance of a dimension in use (Burda et al. 2016, section 5.1)."""


@contextmanager
def posterior_seed(generator: torch.Generator) -> Iterator[None]:
    """Seed the global generator, from which models draw their posterior samples, and put it back afterwards."""
    with torch.random.fork_rng():
        torch.manual_seed(int(torch.randint(2**31, (1,), generator=generator)))
        yield


def binarize(images: Tensor, seed: int = 0) -> Tensor:
    """Binarization: each pixel 1 with the probability of its grey value, else 0, drawn once for all models.

    Drawn on the CPU, image by image in order: the same test set on every device, of which a part is a part.
    """
    uniform = torch.rand(images.shape, generator=torch.Generator().manual_seed(seed))
    return (uniform.to(images.device) < images).to(images.dtype)


@torch.no_grad()
def elbo(model: Model, images: Tensor, labels: Tensor, generator: torch.Generator) -> Bound:
    """Rate and distortion [N] at one posterior sample an image; their sum is -ELBO (Kingma and Welling 2014)."""
    with posterior_seed(generator):
        bounds = [model.elbo(*batch) for batch in _batches(images, labels)]
    return Bound(*(torch.cat(values).double() for values in zip(*bounds, strict=True)))


@torch.no_grad()
def rates(model: Model, images: Tensor, labels: Tensor, generator: torch.Generator) -> Tensor:
    """Rate of each image's code, [N], of a model that has no bound."""
    with posterior_seed(generator):
        return torch.cat([model.rates(*batch).double().sum(1) for batch in _batches(images, labels)])


@torch.no_grad()
def importance_weighted(
    model: Model, images: Tensor, labels: Tensor, samples: int, generator: torch.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """Importance-weighted bound: -log of the mean of w, the mean of -log w, and the effective samples, [N] each.

    w = p(x, z) / q(z|x), over `samples` codes. The first is the bound on -log p(x) (Burda et al. 2016, equation 8): it
    falls towards it as samples grow. The second is -ELBO at the same codes; the first is never above it. The third is
    (sum w)^2 / sum w^2 (Kong 1992): near 1, one code alone is the sum, and the bound still falls with their number.

    Raises:
        ValueError: if `samples` is not positive.
    """
    if samples < 1:
        raise ValueError(f"importance samples: found {samples}; needed: at least 1")
    bounds, nelbos, effective = [], [], []
    with posterior_seed(generator):
        for batch in _batches(images, labels):
            log_sum = torch.full((len(batch[1]),), -torch.inf, dtype=torch.float64, device=images.device)
            log_squares, total = log_sum.clone(), torch.zeros_like(log_sum)
            for _ in range(samples):
                log_weight = model.log_weights(*batch).double()
                log_sum = torch.logaddexp(log_sum, log_weight)
                log_squares = torch.logaddexp(log_squares, 2 * log_weight)
                total += log_weight
            bounds.append(math.log(samples) - log_sum)
            nelbos.append(-total / samples)
            effective.append((2 * log_sum - log_squares).exp())
    return torch.cat(bounds), torch.cat(nelbos), torch.cat(effective)


def active_units(codes: Tensor) -> int:
    """Active units: how many dimensions of codes [N, d] vary by more than `ACTIVE` between images.

    Raises:
        ValueError: if there are fewer than two codes.
    """
    if len(codes) < 2:
        raise ValueError(f"active units: needs at least 2 codes; found {len(codes)}")
    return int((codes.double().var(0) > ACTIVE).sum())


def _batches(images: Tensor, labels: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    _, channels, height, width = images.shape
    size = batch_size((channels, height, width))
    return zip(images.split(size), labels.split(size), strict=True)
