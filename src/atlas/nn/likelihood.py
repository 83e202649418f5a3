"""Likelihoods p(x|z): from the decoder's outputs to nats per image, and to the mean image."""

import math
from typing import Literal

import torch
from torch import Tensor, nn

from atlas.nn import losses

LikelihoodName = Literal["bernoulli", "binarized", "gaussian", "discretized_logistic"]
Noise = Literal["fixed", "learned", "pixel"]
FIXED_SCALE = 0.1
"""Of `noise: fixed`, in pixels of [0, 1]."""
MIN_LOG_SCALE = -6.0
"""A third of an 8-bit step. A smaller scale cannot improve the likelihood of rounded pixels."""


class Likelihood(nn.Module):
    """Likelihood p(x|z), pixel by pixel, around sigmoid(logits).

    * `bernoulli`: on grey values a cross-entropy, not a likelihood (see `losses.bernoulli`);
    * `binarized`: the same on pixels that are set to 1 with the probability of their grey value, anew each time they
      are seen, which is a likelihood (Burda et al. 2016: dynamic binarization);
    * `gaussian`: a density of pixels in [0, 1];
    * `discretized_logistic`: a probability of 8-bit pixels, comparable in bits per dimension.

    The last two have a scale: `fixed`, `learned` (one a channel), or told by the decoder for each `pixel`. In the last
    case the colors of a pixel depend on each other (Salimans et al. 2017, PixelCNN++): the mean of green is shifted in
    proportion to how far red is from its mean, that of blue by red and green, by factors that the decoder tells too.
    The mean image has no such shift.
    """

    def __init__(self, kind: LikelihoodName, channels: int, noise: Noise = "learned") -> None:
        super().__init__()
        self.kind = kind
        self.channels = channels
        scaled = kind in ("gaussian", "discretized_logistic")
        self.per_pixel = scaled and noise == "pixel"
        self.colors_depend = self.per_pixel and channels == 3
        if scaled and noise == "fixed":
            self.register_buffer("log_scale", torch.full((channels, 1, 1), math.log(FIXED_SCALE)))
        elif scaled:
            self.log_scale = nn.Parameter(torch.full((channels, 1, 1), -2.0))

    @property
    def num_outputs(self) -> int:
        """Channels that the decoder must output."""
        return (1 + self.per_pixel + self.colors_depend) * self.channels

    @property
    def pixels(self) -> Literal["grey", "binary", "bytes", "real"]:
        """See `Model.pixels`."""
        kinds: dict[str, Literal["grey", "binary", "bytes", "real"]]
        kinds = {"bernoulli": "grey", "binarized": "binary", "gaussian": "real", "discretized_logistic": "bytes"}
        return kinds[self.kind]

    def preprocess(self, images: Tensor) -> Tensor:
        """Return images [N, C, H, W] in [0, 1] as the model is to see them; for `binarized` drawn anew.

        Pixels that are 0 or 1 already stay as they are.
        """
        return torch.bernoulli(images) if self.kind == "binarized" else images

    def mean(self, outputs: Tensor) -> Tensor:
        """Return the mean image [N, C, H, W] in [0, 1] of the decoder's outputs."""
        return outputs[:, : self.channels].sigmoid()

    def forward(self, outputs: Tensor, images: Tensor) -> Tensor:
        """Return the distortion -log p(x|z), [N] nats, of images [N, C, H, W] in [0, 1]."""
        if self.kind in ("bernoulli", "binarized"):
            return losses.bernoulli(outputs, images)
        log_scale: Tensor = self.log_scale
        mean = self.mean(outputs)
        if self.per_pixel:
            log_scale = (log_scale + outputs[:, self.channels : 2 * self.channels]).clamp(min=MIN_LOG_SCALE)
        if self.colors_depend:
            red, green, _ = (images - mean).split(1, 1)
            from_red, blue_from_red, blue_from_green = outputs[:, 2 * self.channels :].split(1, 1)
            shift = [torch.zeros_like(red), from_red * red, blue_from_red * red + blue_from_green * green]
            mean = mean + torch.cat(shift, 1)
        density = losses.gaussian if self.kind == "gaussian" else losses.discretized_logistic
        return density(mean, images, log_scale)
