"""Multi-layer perceptrons, 784-500-500 on MNIST: what VAEs were first shown with."""

import math

from torch import Tensor

from atlas.nn.layers import Labelled, dense, initialise, scaled

UNITS = 500


class DenseEncoder(Labelled):
    """Image, and label if conditional, through two layers of 500 (times `width`) to a code and `others`."""

    def __init__(
        self,
        shape: tuple[int, int, int],
        latent_dim: int,
        others: int = 0,
        width: float = 1.0,
        dropout: float = 0.0,
        classes: int = 0,
    ) -> None:
        super().__init__(classes)
        units = scaled(UNITS, width)
        self.layers = dense([math.prod(shape) + classes, units, units, latent_dim + others], dropout)
        initialise(self)

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        """Images [N, C, H, W] in [0, 1], labels [N] (ignored when unconditional) to [N, latent_dim + others]."""
        return self.layers(self.append(images.flatten(1), labels)).float()


class DenseDecoder(Labelled):
    """Code, and label if conditional, through two layers of 500 (times `width`) to `channels` outputs a pixel."""

    def __init__(
        self,
        shape: tuple[int, int, int],
        latent_dim: int,
        width: float = 1.0,
        dropout: float = 0.0,
        classes: int = 0,
        channels: int | None = None,
    ) -> None:
        super().__init__(classes)
        self.shape = (channels or shape[0], *shape[1:])
        units = scaled(UNITS, width)
        self.layers = dense([latent_dim + classes, units, units, math.prod(self.shape)], dropout)
        initialise(self)

    def forward(self, codes: Tensor, labels: Tensor | None = None) -> Tensor:
        """Codes [N, d], labels [N] or shares [N, classes] (ignored when unconditional) to [N, channels, H, W]."""
        return self.layers(self.append(codes, labels)).unflatten(1, self.shape).float()
