"""How much the gradient of the bound varies, by the estimator that takes it: the claim of the seed texts' VAE chapter.

Both estimate d/d(mean, log-variance) E[f(z)], z ~ q(z|x) = N(mean, variance), f(z) = log p(x, z) - log q(z|x), at the
posterior that the trained encoder gives:

    reparameterised   z = mean + sd * noise;  d/d(...) f(z(noise))              (Kingma and Welling 2014, section 2.4)
    score function    f(z) * d/d(...) log q(z)                                  (Williams 1992; Ranganath et al. 2014)

They have the same mean and not the same variance.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from atlas.metrics.likelihood import posterior_seed
from atlas.core.model import Model


class Variances(NamedTuple):
    """Variance of one draw's gradient, the mean over all dimensions of mean and log-variance, [N] an image each."""

    reparameterised: Tensor
    score: Tensor


def gradients(
    model: Model, images: Tensor, labels: Tensor, mean: Tensor, log_variance: Tensor
) -> tuple[Tensor, Tensor]:
    """Return both estimators' gradients at one shared draw a row: [N, 2 d] each, first of the mean, then of the rest.

    Args:
        images: [N, C, H, W] that the model observes as they are; mean, log_variance: [N, d] of q(z|x).
    """
    with torch.enable_grad():
        at = torch.cat([mean, log_variance], 1).detach().requires_grad_()
        centre, spread = at.chunk(2, 1)
        codes = centre + (0.5 * spread).exp() * torch.randn_like(mean)
        bound = model.log_joint(images, labels, codes) - _log_gaussian(codes, centre, spread)
        (reparameterised,) = torch.autograd.grad(bound.sum(), at)
        # The same draw as a constant: what q's parameters do to f at a fixed code is zero on average, and left out.
        log_q = _log_gaussian(codes.detach(), *at.chunk(2, 1))
        (score,) = torch.autograd.grad((bound.detach() * log_q).sum(), at)
    return reparameterised, score


def gradient_variances(
    model: Model, images: Tensor, labels: Tensor, draws: int, generator: torch.Generator
) -> Variances:
    """Return how much both estimators' gradients vary from draw to draw, unbiased, at the trained posterior.

    Raises:
        ValueError: if there are fewer than two draws.
    """
    if draws < 2:
        raise ValueError(f"gradient draws: found {draws}; needed: at least 2")
    with posterior_seed(generator):
        mean, log_variance = (values.detach() for values in model.posterior(images, labels))
        # Welford's sums: a score function's gradients may be far larger than what they vary around.
        centres = torch.zeros(2, len(images), 2 * mean.shape[1], dtype=torch.float64, device=images.device)
        squares = torch.zeros_like(centres)
        for draw in range(1, draws + 1):
            found = torch.stack(gradients(model, images, labels, mean, log_variance)).double()
            before = found - centres
            centres += before / draw
            squares += before * (found - centres)
    return Variances(*(squares / (draws - 1)).mean(2))


def _log_gaussian(codes: Tensor, mean: Tensor, log_variance: Tensor) -> Tensor:
    """Return log N(codes; mean, variance), [N], but for the constant of N(0, I)."""
    return -0.5 * ((codes - mean).square() * (-log_variance).exp() + log_variance).sum(1)
