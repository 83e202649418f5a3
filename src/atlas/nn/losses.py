"""Losses in nats per image: summed over pixels or dimensions, [N]. The caller takes the mean over the batch."""

import math

import torch
from torch import Tensor
from torch.nn import functional


def _per_image(values: Tensor) -> Tensor:
    return values.flatten(1).sum(1)


def bernoulli(logits: Tensor, images: Tensor) -> Tensor:
    """Cross-entropy between pixels and Bernoulli(sigmoid(logits)), [N] nats.

    On grey values it is a cross-entropy, not a likelihood: its least value is the pixels' own entropy, not zero.

    Args:
        logits: [N, C, H, W].
        images: [N, C, H, W] in [0, 1].
    """
    return _per_image(functional.binary_cross_entropy_with_logits(logits, images, reduction="none"))


def squared_error(means: Tensor, images: Tensor) -> Tensor:
    """Squared error, halved and summed, [N]: a unit Gaussian's negative log density less its constant."""
    return 0.5 * _per_image((means - images) ** 2)


def gaussian(means: Tensor, images: Tensor, log_scale: Tensor) -> Tensor:
    """Gaussian likelihood: -log N(images; means, exp(log_scale)^2), [N] nats (a density: it may be negative)."""
    z = (images - means) * torch.exp(-log_scale)
    return _per_image(0.5 * z**2 + log_scale + 0.5 * math.log(2 * math.pi))


def discretized_logistic(means: Tensor, images: Tensor, log_scale: Tensor, levels: int = 256) -> Tensor:
    """Discretized logistic likelihood: -log P(images), [N] nats, of a logistic integrated over each pixel's 8-bit bin.

    Kingma et al. 2016, "Improved variational inference with inverse autoregressive flow", section 4; the outermost bins
    reach to infinity, so that the probabilities of the 256 values sum to one.

    Args:
        means: [N, C, H, W], centers of the logistic, in units of pixels in [0, 1].
        images: [N, C, H, W], values k / 255.
        log_scale: broadcastable to `images`, log of the logistic's scale in the same units.
    """
    half = 0.5 / (levels - 1)
    inverse = torch.exp(-log_scale)
    upper = (images - means + half) * inverse
    lower = (images - means - half) * inverse
    # log(sigmoid(u) - sigmoid(l)) = logsigmoid(u) + logsigmoid(-l) + log(1 - exp(l - u)), with u > l: no cancellation,
    # and l - u known exactly, however wide the scale.
    width = torch.log(-torch.expm1(-2 * half * inverse))
    below, above = functional.logsigmoid(upper), functional.logsigmoid(-lower)
    inside = below + above + width
    log_probability = torch.where(images < half, below, torch.where(images > 1 - half, above, inside))
    return -_per_image(log_probability)


def gaussian_kl(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL divergence of N(mean, exp(log_variance)) from N(0, I), [N, d] nats (Kingma and Welling 2014, appendix B)."""
    return 0.5 * (mean**2 + log_variance.exp() - 1 - log_variance)


def feature_cross_entropy(features: Tensor, target: Tensor) -> Tensor:
    """Feature loss: cross-entropy of sigmoid(target) against logits `features`, [N] (original tutorial, part 6)."""
    return _per_image(functional.binary_cross_entropy_with_logits(features, target.sigmoid(), reduction="none"))


def nll_real(logits: Tensor) -> Tensor:
    """Negative log-likelihood of "real": -log D for D = sigmoid(logits), [N] nats."""
    return functional.softplus(-logits)


def nll_fake(logits: Tensor) -> Tensor:
    """Negative log-likelihood of "fake": -log(1 - D) for D = sigmoid(logits), [N] nats."""
    return functional.softplus(logits)
