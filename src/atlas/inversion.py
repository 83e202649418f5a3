"""The code of an image by search, where a model has a decoder and no encoder."""

import torch
from torch import Tensor

from atlas.models.base import Model

STARTS = 4
"""Codes from which each image's search starts, for the way down has false bottoms."""
TRIAL = 0.25
"""The share of the steps after which only the best of an image's codes goes on: by then it mostly shows which."""
RATE = 0.1


def invert(model: Model, images: Tensor, labels: Tensor, steps: int, seed: int = 0) -> Tensor:
    """Return codes [N, latent_dim] whose decodings come near images [N, C, H, W] in [0, 1].

    Gradient descent (Adam, `steps` steps) on half the summed squared error plus |z|^2 / 2, from `STARTS` draws from
    N(0, I): the most probable code under unit Gaussian noise on the pixels (Creswell and Bharath 2018 search the same
    way). The model does not change. The same seed gives the same codes.
    """
    count, device = len(images), images.device
    draws = torch.randn(STARTS, count, model.latent_dim, generator=torch.Generator().manual_seed(seed))
    training = model.training
    model.eval()
    trial = int(TRIAL * steps)
    codes = draws.flatten(0, 1).to(device)
    targets, shown = images.repeat(STARTS, 1, 1, 1), labels.repeat(STARTS)
    codes = _descend(model, codes, targets, shown, range(trial), steps)
    with torch.no_grad():
        ends = _loss(model, codes, targets, shown).unflatten(0, (STARTS, count))
    codes = codes.unflatten(0, (STARTS, count))[ends.argmin(0), torch.arange(count, device=device)]
    codes = _descend(model, codes, images, labels, range(trial, steps), steps)
    model.train(training)
    return codes


def _descend(model: Model, codes: Tensor, images: Tensor, labels: Tensor, part: range, steps: int) -> Tensor:
    """Take the steps `part` of `steps`, over which the learning rate falls to nothing."""
    codes = codes.clone().requires_grad_()
    optimiser = torch.optim.Adam([codes], RATE)
    for step in part:
        optimiser.param_groups[0]["lr"] = RATE * (1 - step / steps)
        with torch.enable_grad():
            loss = _loss(model, codes, images, labels).sum()
        (codes.grad,) = torch.autograd.grad(loss, [codes])
        optimiser.step()
    return codes.detach()


def _loss(model: Model, codes: Tensor, images: Tensor, labels: Tensor) -> Tensor:
    error = (model.decode(codes, labels) - images).square().flatten(1).sum(1)
    return 0.5 * (error + codes.square().sum(1))
