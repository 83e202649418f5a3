"""Codes as the decoder sees them: drawn from the posterior, and how they spread."""

import torch
from torch import Tensor

from atlas.core.datasets import Split, to_unit
from atlas.core.latent import batch_size
from atlas.core.model import Model
from atlas.metrics.likelihood import posterior_seed


@torch.no_grad()
def sampled_codes(model: Model, split: Split, generator: torch.Generator) -> Tensor:
    """Codes [N, d], one of each image, drawn from q(z|x); of an encoder without noise, the codes themselves."""
    size = batch_size(model.shape)
    batches = zip(split.images.split(size), split.labels.split(size), strict=True)
    with posterior_seed(generator):
        return torch.cat([model.sample_posterior(to_unit(images), labels) for images, labels in batches])


def aggregate_variances(codes: Tensor) -> Tensor:
    """Aggregate variance of sampled codes [N, d]: each code's share in the variance of all, [N], mean over dimensions.

    Their mean is 1 where the codes of all images together follow N(0, I).
    """
    return (codes - codes.mean(0)).double().square().mean(1)
