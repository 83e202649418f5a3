"""The code of an image by search, where a model has a decoder and no encoder."""

import torch
from torch import Tensor

from atlas.models.base import Model

STARTS = 4
"""Codes from which each image's search starts; the best end is kept, for the way down has false bottoms."""
RATE = 0.1


def invert(model: Model, images: Tensor, labels: Tensor, steps: int, seed: int = 0) -> Tensor:
    """Return codes [N, latent_dim] whose decodings come near images [N, C, H, W] in [0, 1].

    Gradient descent (Adam, `steps` steps) on half the summed squared error plus |z|^2 / 2, from `STARTS` draws from
    N(0, I): the most probable code under unit Gaussian noise on the pixels (Creswell and Bharath 2018 search the same
    way). The model does not change. The same seed gives the same codes.
    """
    count, device = len(images), images.device
    draws = torch.randn(STARTS, count, model.latent_dim, generator=torch.Generator().manual_seed(seed))
    codes = draws.flatten(0, 1).to(device).requires_grad_()
    targets, shown = images.repeat(STARTS, 1, 1, 1), labels.repeat(STARTS)
    optimiser = torch.optim.Adam([codes], RATE)
    training = model.training
    model.eval()
    for step in range(steps):
        optimiser.param_groups[0]["lr"] = RATE * (1 - step / steps)
        with torch.enable_grad():
            loss = _loss(model, codes, targets, shown).sum()
        (codes.grad,) = torch.autograd.grad(loss, [codes])
        optimiser.step()
    with torch.no_grad():
        ends = _loss(model, codes, targets, shown).unflatten(0, (STARTS, count))
    model.train(training)
    best = ends.argmin(0)
    return codes.detach().unflatten(0, (STARTS, count))[best, torch.arange(count, device=device)]


def _loss(model: Model, codes: Tensor, images: Tensor, labels: Tensor) -> Tensor:
    error = (model.decode(codes, labels) - images).square().flatten(1).sum(1)
    return 0.5 * (error + codes.square().sum(1))
