"""The convolutional networks of the seed texts, for any image whose sides are multiples of four.

`width` multiplies every channel count; 1 is the seed's size. Images come as [N, C, H, W] in [0, 1]. What differs from
the seed, so that a few epochs suffice (measured on samples of a conditional VAE, d = 8, on MNIST: how often a judge
reads the label that was asked for):

* where the label joins, two dense layers of `HIDDEN` units take the place of one of 64 or none, since a label and a
  style can only be told apart where they meet in something non-linear (57 to 74 % after three epochs with one such
  layer);
* a one-hot label is `LOUDNESS`, not 1, in its place: among hundreds of features it is heard from the first step on
  (84 to 94 % after one epoch);
* outputs are float32, whatever precision came before.
"""

import torch
from torch import Tensor, nn

SLOPE = 0.3
HIDDEN = 256
LOUDNESS = 4.0


def scaled(channels: int, width: float) -> int:
    """Return a channel count times the width, as a multiple of 8 (the vector units' grain), at least 8."""
    return max(8, round(channels * width / 8) * 8)


def one_hot(labels: Tensor, classes: int) -> Tensor:
    """Return labels [N] as float [N, classes]: `LOUDNESS` for the label, 0 for the others."""
    return LOUDNESS * nn.functional.one_hot(labels, classes).float()


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


def _check_shape(shape: tuple[int, int, int]) -> None:
    if shape[1] % 4 or shape[2] % 4:
        raise ValueError(f"image sides must be multiples of 4, found {shape[1]} x {shape[2]}")


class Encoder(nn.Module):
    """Image, and label if conditional, to `outputs` numbers.

    Conv 3x3/2, dropout, max-pool, conv 3x3, flatten, label appended, two dense layers, dense.
    """

    def __init__(
        self, shape: tuple[int, int, int], outputs: int, width: float = 1.0, dropout: float = 0.0, classes: int = 0
    ) -> None:
        super().__init__()
        _check_shape(shape)
        self.classes = classes
        first, second = scaled(32, width), scaled(64, width)
        self.features = nn.Sequential(
            nn.Conv2d(shape[0], first, 3, stride=2, padding=1),
            nn.LeakyReLU(SLOPE),
            nn.Dropout(dropout),
            nn.MaxPool2d(2),
            nn.Conv2d(first, second, 3, padding=1),
            nn.LeakyReLU(SLOPE),
            nn.Dropout(dropout),
            nn.Flatten(),
        )
        self.dense = nn.Sequential(
            nn.Linear(second * (shape[1] // 4) * (shape[2] // 4) + classes, HIDDEN),
            nn.LeakyReLU(SLOPE),
            nn.Linear(HIDDEN, HIDDEN),
            nn.LeakyReLU(SLOPE),
            nn.Linear(HIDDEN, outputs),
        )
        initialise(self)

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        """Images [N, C, H, W] in [0, 1], labels [N] (ignored when unconditional) to [N, outputs]."""
        features = self.features(images)
        if self.classes:
            assert labels is not None
            features = torch.cat([features, one_hot(labels, self.classes)], 1)
        return self.dense(features).float()


class Decoder(nn.Module):
    """Code, and label if conditional, to one logit a pixel.

    Two dense layers, dense to a small picture, upsample, conv 5x5, conv 3x3, upsample, conv 5x5.
    """

    def __init__(
        self, shape: tuple[int, int, int], latent_dim: int, width: float = 1.0, dropout: float = 0.0, classes: int = 0
    ) -> None:
        super().__init__()
        _check_shape(shape)
        self.classes = classes
        self.base = (scaled(128, width), shape[1] // 4, shape[2] // 4)
        second, third = scaled(64, width), scaled(32, width)
        self.dense = nn.Sequential(
            nn.Linear(latent_dim + classes, HIDDEN),
            nn.LeakyReLU(SLOPE),
            nn.Linear(HIDDEN, HIDDEN),
            nn.LeakyReLU(SLOPE),
            nn.Linear(HIDDEN, self.base[0] * self.base[1] * self.base[2]),
        )
        self.layers = nn.Sequential(
            nn.LeakyReLU(SLOPE),
            nn.Dropout(dropout),
            nn.Upsample(scale_factor=2),
            nn.Conv2d(self.base[0], second, 5, padding=2),
            nn.LeakyReLU(SLOPE),
            nn.Dropout(dropout),
            nn.Conv2d(second, third, 3, padding=1),
            nn.LeakyReLU(SLOPE),
            nn.Upsample(scale_factor=2),
            nn.Conv2d(third, shape[0], 5, padding=2),
        )
        initialise(self)

    def forward(self, codes: Tensor, labels: Tensor | None = None) -> Tensor:
        """Codes [N, d], labels [N] (ignored when unconditional) to logits [N, C, H, W]."""
        if self.classes:
            assert labels is not None
            codes = torch.cat([codes, one_hot(labels, self.classes)], 1)
        # Unflattened with channels last: the layout in which the convolutions that follow are fastest.
        channels, height, width = self.base
        return self.layers(self.dense(codes).unflatten(1, (height, width, channels)).permute(0, 3, 1, 2)).float()


class Discriminator(nn.Module):
    """Image, and label if conditional, to a logit (real or not) and the features of layer l.

    Conv 7x7/2, max-pool, label maps appended, conv 3x3, max-pool, conv 3x3 (layer l), dense.
    """

    def __init__(self, shape: tuple[int, int, int], width: float = 1.0, dropout: float = 0.0, classes: int = 0) -> None:
        super().__init__()
        _check_shape(shape)
        self.classes = classes
        first, second, last = scaled(128, width), scaled(64, width), 16
        self.first = nn.Sequential(
            nn.Conv2d(shape[0], first, 7, stride=2, padding=3),
            nn.LeakyReLU(SLOPE),
            nn.Dropout(dropout),
            nn.MaxPool2d(2),
        )
        self.second = nn.Sequential(
            nn.Conv2d(first + classes, second, 3, padding=1),
            nn.LeakyReLU(SLOPE),
            nn.Dropout(dropout),
            nn.MaxPool2d(2, ceil_mode=True),
            nn.Conv2d(second, last, 3, padding=1),
        )
        side = [-(-length // 8) for length in shape[1:]]
        self.output = nn.Linear(last * side[0] * side[1], 1)
        initialise(self)

    def forward(self, images: Tensor, labels: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Images [N, C, H, W] in [0, 1], labels [N] to logits [N] and features [N, F] of layer l."""
        hidden = self.first(images)
        if self.classes:
            assert labels is not None
            maps = one_hot(labels, self.classes)[:, :, None, None].expand(-1, -1, *hidden.shape[2:])
            hidden = torch.cat([hidden, maps], 1)
        features = self.second(hidden).flatten(1)
        return self.output(nn.functional.leaky_relu(features, SLOPE)).squeeze(1).float(), features.float()
