"""Layers that all networks share: channel counts, label conditioning, first weights, dense layers, dropout."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from atlas.core.sizes import halvings

NEGATIVE_SLOPE = 0.3
"""Of the leaky ReLU, as in the original tutorials."""
LABEL_SCALE = 4.0
"""Value of a one-hot label's 1 among the features; the original's is 1."""
DROPOUT_LEVELS = 256
"""Values of a random byte: on a CPU the dropout rate is rounded to a multiple of one over this."""


def scaled_channels(channels: int, width: float) -> int:
    """Return a channel count times the width, as a multiple of 8 (what vector units take at once), at least 8."""
    return max(8, round(channels * width / 8) * 8)


def check_shape(shape: tuple[int, int, int]) -> int:
    """Return how often the networks halve images of that shape; refuse what cannot be halved so often."""
    times = halvings(*shape[1:])
    if shape[1] % 2**times or shape[2] % 2**times:
        raise ValueError(f"image sides must be multiples of {2**times}, found {shape[1]} x {shape[2]}")
    return times


def one_hot(labels: Tensor, num_classes: int, scale: float = LABEL_SCALE) -> Tensor:
    """One-hot encoding of labels int64 [N] as float [N, num_classes]: `scale` for the label, 0 for the others.

    Labels may also be probabilities [N, num_classes], which are multiplied by `scale`.
    """
    probs = labels if labels.is_floating_point() else nn.functional.one_hot(labels, num_classes).float()
    return scale * probs


class Conditioned(nn.Module):
    """Label conditioning: a network that concatenates the one-hot label to a vector or to the channels of feature maps.

    With `cond_classes` 0 it is unconditional and ignores labels.
    """

    def __init__(self, cond_classes: int, label_scale: float = LABEL_SCALE) -> None:
        super().__init__()
        self.cond_classes = cond_classes
        self.label_scale = label_scale

    def concat_label(self, features: Tensor, labels: Tensor | None) -> Tensor:
        """Concatenate to features [N, F] or [N, C, H, W]; in the latter a label becomes constant maps."""
        if not self.cond_classes:
            return features
        assert labels is not None
        label = one_hot(labels, self.cond_classes, self.label_scale)
        if features.dim() == 4:
            label = label[:, :, None, None].expand(-1, -1, *features.shape[2:])
        return torch.cat([features, label], 1)


def initialize(module: nn.Module) -> None:
    """Glorot initialization (Glorot and Bengio 2010): uniform weights, zero biases, as in the tutorials' framework.

    PyTorch's own default is several times smaller a layer. Three layers on, the features of a fresh discriminator then
    hardly differ between images, and a VAE/GAN's encoder that learns from them gives up its code at once.
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
        layers += [nn.Linear(before, after), nn.LeakyReLU(NEGATIVE_SLOPE)]
        layers += [Dropout(dropout)] if dropout else []
    return nn.Sequential(*layers, nn.Linear(sizes[-2], sizes[-1]))


class Dropout(nn.Module):
    """Dropout (Srivastava et al. 2014): zero features with probability `rate` in training and scale up the others.

    PyTorch draws one random number a feature, one after another on a CPU: a fifth of the time of a VAE/GAN's step at
    the original size. Here a random word gives eight features a byte each. On other devices it is `nn.Dropout`.
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, features: Tensor) -> Tensor:
        """Features [N, ...] to the same shape, layout and type."""
        if not self.training or not self.rate:
            return features
        if features.device.type != "cpu":
            return nn.functional.dropout(features, self.rate)
        keep = max(1, DROPOUT_LEVELS - round(self.rate * DROPOUT_LEVELS))
        mask = (_bytes(features) < keep - DROPOUT_LEVELS // 2).to(features.dtype)
        return features * mask.mul_(DROPOUT_LEVELS / keep)

    def extra_repr(self) -> str:
        return f"rate={self.rate}"


def _bytes(features: Tensor) -> Tensor:
    """Return independent random numbers -128 to 127, int8 like `features` in shape and in layout."""
    words = torch.empty(len(features), -(-features[0].numel() // 8), dtype=torch.int64)
    # From the least number on, without an upper end: all 64 bits are random.
    words = words.random_(-(2**63), None)
    # An image's bytes in the order in which its features lie in memory, so that the two are read side by side.
    inner = torch.empty_like(features[:1], device="meta").stride()[1:]
    return words.view(torch.int8).as_strided(features.shape, (8 * words.shape[1], *inner))
