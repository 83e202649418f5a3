"""Gradient variance of the bound by estimator, a claim of the original tutorial's VAE chapter.

Both estimate d/d(mean, log-variance) E[f(z)], z ~ q(z|x) = N(mean, variance), f(z) = log p(x, z) - log q(z|x), at the
posterior that the trained encoder gives:

    reparameterized   z = mean + std * noise;  d/d(...) f(z(noise))             (Kingma and Welling 2014, section 2.4)
    score function    f(z) * d/d(...) log q(z)                                  (Williams 1992; Ranganath et al. 2014)
    with a baseline   (f(z) - mean of f at the other draws) * d/d(...) log q(z) (Mnih and Rezende 2016)

They have the same mean and not the same variance. f is hundreds of nats away from zero, which the second multiplies by
noise: its variance is mostly that offset's. The third, with the leave-one-out mean, is the fair comparison.
"""

import torch
from torch import Tensor

from atlas.core.model import Model
from atlas.metrics.likelihood import posterior_seed


def gradients(
    model: Model, images: Tensor, labels: Tensor, mean: Tensor, log_variance: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients at one shared draw a row: the reparameterized one [N, 2 d], the score [N, 2 d] and f(z) [N].

    By the mean, then by the log-variance; the score-function estimate is the product of the last two.

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
        (score,) = torch.autograd.grad(log_q.sum(), parameters)
    return reparameterized, score, bound.detach()


def gradient_variances(
    model: Model, images: Tensor, labels: Tensor, draws: int, generator: torch.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradient variance of the three estimators over draws, unbiased, at the trained posterior, [N] an image each.

    The mean over all dimensions of mean and log-variance; of the reparameterized estimator, of the score function's,
    and of the same with the leave-one-out baseline.

    Raises:
        ValueError: if there are fewer than two draws.
    """
    if draws < 2:
        raise ValueError(f"gradient draws: found {draws}; needed: at least 2")
    with posterior_seed(generator):
        mean, log_variance = (values.detach() for values in model.posterior(images, labels))
        sums = torch.zeros(2, len(images), 2 * mean.shape[1], dtype=torch.float64, device=images.device)
        # Sums of f^i * score^j, from which both score-function estimators follow; of f less its first value, so that
        # little is lost where f is large.
        moments = {power: torch.zeros_like(sums[0]) for power in ((0, 1), (1, 1), (0, 2), (1, 2), (2, 2))}
        offset, total = torch.zeros((), dtype=torch.float64), torch.zeros((), dtype=torch.float64)
        for draw in range(draws):
            reparameterized, score, bound = (
                value.double() for value in gradients(model, images, labels, mean, log_variance)
            )
            sums += torch.stack([reparameterized, reparameterized.square()])
            offset = bound if draw == 0 else offset
            total = total + bound - offset
            for (i, j), moment in moments.items():
                moment += (bound - offset)[:, None] ** i * score**j

    def variance(baseline: Tensor) -> Tensor:
        """Return the variance of (f - offset - baseline) * score, [N]."""
        b = baseline[:, None]
        first = moments[1, 1] - b * moments[0, 1]
        second = moments[2, 2] - 2 * b * moments[1, 2] + b.square() * moments[0, 2]
        return ((second - first.square() / draws) / (draws - 1)).mean(1)

    plain = ((sums[1] - sums[0].square() / draws) / (draws - 1)).mean(1)
    # f less the mean of the others is draws / (draws - 1) times f less the mean of all.
    return plain, variance(-offset), variance(total / draws) * (draws / (draws - 1)) ** 2


def _log_gaussian(codes: Tensor, mean: Tensor, log_variance: Tensor) -> Tensor:
    """Return log N(codes; mean, variance), [N], but for the constant of N(0, I)."""
    return -0.5 * ((codes - mean).square() * (-log_variance).exp() + log_variance).sum(1)
