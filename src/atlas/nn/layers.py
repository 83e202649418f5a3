"""What all networks share: widths, labels, the first weights, dense layers."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from atlas.nn.dropout import Dropout

SLOPE = 0.3
"""Of the leaky ReLU, as in the seed."""
LOUDNESS = 4.0
"""A label's place among the features; the seed's is 1."""


def scaled(channels: int, width: float) -> int:
    """Return a channel count times the width, as a multiple of 8 (the vector units' grain), at least 8."""
    return max(8, round(channels * width / 8) * 8)


def check_shape(shape: tuple[int, int, int]) -> None:
    """Refuse images that cannot be halved twice."""
    if shape[1] % 4 or shape[2] % 4:
        raise ValueError(f"image sides must be multiples of 4, found {shape[1]} x {shape[2]}")


def one_hot(labels: Tensor, classes: int, loudness: float = LOUDNESS) -> Tensor:
    """Return labels int64 [N] as float [N, classes]: `loudness` for the label, 0 for the others.

    Labels may also come as probabilities [N, classes], which one-hot rows are a case of.
    """
    shares = labels if labels.is_floating_point() else nn.functional.one_hot(labels, classes).float()
    return loudness * shares


def initialise(module: nn.Module) -> None:
    """Draw weights uniformly after Glorot and Bengio 2010, biases zero, as the seed's framework does.

    PyTorch's own default is several times smaller a layer. Three layers on, the features of a fresh discriminator then
    hardly differ between images, and a VAE/GAN's encoder that is taught by them gives up its code at once.
    """
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.xavier_uniform_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


def dense(sizes: Sequence[int], dropout: float = 0.0) -> nn.Sequential:
    """Return linear layers between `sizes` with a leaky ReLU, and dropout if any, after all but the last."""
    layers: list[nn.Module] = []
    for before, after in pairwise(sizes[:-1]):
        layers += [nn.Linear(before, after), nn.LeakyReLU(SLOPE)]
        layers += [Dropout(dropout)] if dropout else []
    return nn.Sequential(*layers, nn.Linear(sizes[-2], sizes[-1]))


class Labelled(nn.Module):
    """A network that appends the label, if it is shown one, to a vector or to the channels of a picture."""

    def __init__(self, classes: int, loudness: float = LOUDNESS) -> None:
        super().__init__()
        self.classes = classes
        self.loudness = loudness

    def append(self, features: Tensor, labels: Tensor | None) -> Tensor:
        """Append to features [N, F] or [N, C, H, W]; a label becomes constant maps in the latter."""
        if not self.classes:
            return features
        assert labels is not None
        label = one_hot(labels, self.classes, self.loudness)
        if features.dim() == 4:
            label = label[:, :, None, None].expand(-1, -1, *features.shape[2:])
        return torch.cat([features, label], 1)
