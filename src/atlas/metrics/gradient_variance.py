"""Gradient variance of the bound by estimator, a claim of the original tutorial's VAE chapter.

Both estimate d/d(mean, log-variance) E[f(z)], z ~ q(z|x) = N(mean, variance), f(z) = log p(x, z) - log q(z|x), at the
posterior that the trained encoder gives:

    reparameterized   z = mean + std * noise;  d/d(...) f(z(noise))             (Kingma and Welling 2014, section 2.4)
    score function    f(z) * d/d(...) log q(z)                                  (Williams 1992; Ranganath et al. 2014)

They have the same mean and not the same variance.
"""

import torch
from torch import Tensor

from atlas.core.model import Model
from atlas.metrics.likelihood import posterior_seed


def gradients(
    model: Model, images: Tensor, labels: Tensor, mean: Tensor, log_variance: Tensor
) -> tuple[Tensor, Tensor]:
    """Gradients of both estimators at one shared draw a row: [N, 2 d] each, by the mean, then by the log-variance.

    Args:
        images: [N, C, H, W] that the model observes as they are; mean, log_variance: [N, d] of q(z|x).
    """
    with torch.enable_grad():
        parameters = torch.cat([mean, log_variance], 1).detach().requires_grad_()
        mean, log_variance = parameters.chunk(2, 1)
        codes = mean + (0.5 * log_variance).exp() * torch.randn_like(mean)
        bound = model.log_joint(images, labels, codes) - _log_gaussian(codes, mean, log_variance)
        (reparameterized,) = torch.autograd.grad(bound.sum(), parameters)
        # The same draw as a constant: what q's parameters do to f at a fixed code is zero on average, and left out.
        log_q = _log_gaussian(codes.detach(), *parameters.chunk(2, 1))
        (score,) = torch.autograd.grad((bound.detach() * log_q).sum(), parameters)
    return reparameterized, score


def gradient_variances(
    model: Model, images: Tensor, labels: Tensor, draws: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Gradient variance of both estimators over draws, unbiased, at the trained posterior, [N] an image each.

    The mean over all dimensions of mean and log-variance; first of the reparameterized estimator.

    Raises:
        ValueError: if there are fewer than two draws.
    """
    if draws < 2:
        raise ValueError(f"gradient draws: found {draws}; needed: at least 2")
    with posterior_seed(generator):
        mean, log_variance = (values.detach() for values in model.posterior(images, labels))
        # Welford's sums: a score function's gradients may be far larger than what they vary around.
        means = torch.zeros(2, len(images), 2 * mean.shape[1], dtype=torch.float64, device=images.device)
        squares = torch.zeros_like(means)
        for draw in range(1, draws + 1):
            values = torch.stack(gradients(model, images, labels, mean, log_variance)).double()
            deviations = values - means
            means += deviations / draw
            squares += deviations * (values - means)
    reparameterized, score = (squares / (draws - 1)).mean(2)
    return reparameterized, score


def _log_gaussian(codes: Tensor, mean: Tensor, log_variance: Tensor) -> Tensor:
    """Return log N(codes; mean, variance), [N], but for the constant of N(0, I)."""
    return -0.5 * ((codes - mean).square() * (-log_variance).exp() + log_variance).sum(1)
