"""Multi-layer perceptrons, 784-500-500 on MNIST: what VAEs were first shown with."""

import math

from torch import Tensor

from atlas.nn.layers import Conditioned, dense, initialize, scaled_channels

UNITS = 500


class DenseEncoder(Conditioned):
    """Encoder: image, and label if conditional, to code and `num_extra_outputs` numbers; two layers of 500 * width."""

    def __init__(
        self,
        shape: tuple[int, int, int],
        latent_dim: int,
        num_extra_outputs: int = 0,
        width: float = 1.0,
        dropout: float = 0.0,
        cond_classes: int = 0,
    ) -> None:
        super().__init__(cond_classes)
        units = scaled_channels(UNITS, width)
        self.layers = dense([math.prod(shape) + cond_classes, units, units, latent_dim + num_extra_outputs], dropout)
        initialize(self)

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        """Images [N, C, H, W] in [0, 1], labels [N] (if conditional) to [N, latent_dim + num_extra_outputs]."""
        return self.layers(self.concat_label(images.flatten(1), labels)).float()


class DenseDecoder(Conditioned):
    """Decoder: code, and label if conditional, to `channels` outputs a pixel; two layers of 500 * width."""

    def __init__(
        self,
        shape: tuple[int, int, int],
        latent_dim: int,
        width: float = 1.0,
        dropout: float = 0.0,
        cond_classes: int = 0,
        channels: int | None = None,
    ) -> None:
        super().__init__(cond_classes)
        self.shape = (channels or shape[0], *shape[1:])
        units = scaled_channels(UNITS, width)
        self.layers = dense([latent_dim + cond_classes, units, units, math.prod(self.shape)], dropout)
        initialize(self)

    def forward(self, codes: Tensor, labels: Tensor | None = None) -> Tensor:
        """Codes [N, d], labels [N] or probabilities [N, cond_classes] (if conditional) to [N, channels, H, W]."""
        return self.layers(self.concat_label(codes, labels)).unflatten(1, self.shape).float()
