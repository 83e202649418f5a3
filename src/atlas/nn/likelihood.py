"""p(x|z): from the decoder's logits to nats per image, and to the image to show."""

import torch
from torch import Tensor, nn

from atlas.nn import losses

LIKELIHOODS = ("bernoulli", "gaussian", "discretized_logistic")


class Likelihood(nn.Module):
    """A pixel-wise likelihood around sigmoid(logits).

    `bernoulli` (on grey values a cross-entropy: see `losses.bernoulli`), `gaussian` (a density of pixels in [0, 1]) or
    `discretized_logistic` (a probability of 8-bit pixels, comparable in bits per dimension); the last two learn one
    scale a channel.
    """

    def __init__(self, kind: str, channels: int) -> None:
        super().__init__()
        if kind not in LIKELIHOODS:
            raise ValueError(f"likelihood: found {kind!r}; allowed: {', '.join(LIKELIHOODS)}")
        self.kind = kind
        if kind != "bernoulli":
            self.log_scale = nn.Parameter(torch.full((channels, 1, 1), -2.0))

    def forward(self, logits: Tensor, images: Tensor) -> Tensor:
        """Return the distortion -log p(x|z), [N] nats, of images [N, C, H, W] in [0, 1]."""
        if self.kind == "bernoulli":
            return losses.bernoulli(logits, images)
        density = losses.gaussian if self.kind == "gaussian" else losses.discretized_logistic
        return density(logits.sigmoid(), images, self.log_scale)

    @property
    def discrete(self) -> bool:
        """Is it a probability of 8-bit images, so that bits per dimension mean something?"""
        return self.kind == "discretized_logistic"
