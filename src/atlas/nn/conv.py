"""Convolutional networks of the original tutorials, for images of 16 to 128 pixels a side, square or not.

They halve an image until its smaller side is 8 or less: twice up to 32 pixels, as the tutorials', three times up to 64
and four times up to 128, each time by one more convolution.

`width` multiplies every channel count; 1 is the original size. Images come as [N, C, H, W] in [0, 1]. What differs from
the original, so that a few epochs suffice (measured on samples of a conditional VAE, d = 8, on MNIST, by how often a
classifier reads the label that was asked for):

* where the label joins, two dense layers of `HIDDEN` units take the place of one of 64 or none, since a label and a
  style can only be told apart where they meet in something non-linear (57 to 74 % after three epochs with one such
  layer);
* a one-hot label is `LABEL_SCALE`, not 1: so it counts among hundreds of features from the first step on (84 to 94 %
  after one epoch);
* outputs are float32, whatever precision came before.

With `original` the first two are the original's.
"""

from typing import Literal

from torch import Tensor, nn

from atlas.nn.fast_conv import StridedConv2d, UpsampledConv2d
from atlas.nn.layers import (
    LABEL_SCALE,
    NEGATIVE_SLOPE,
    Conditioned,
    Dropout,
    check_shape,
    dense,
    initialize,
    one_hot,
    scaled_channels,
)

HIDDEN = 256
LabelPath = Literal["maps", "projection", "classifier"]
"""How a discriminator comes to know the label."""


class Encoder(Conditioned):
    """Encoder: image, and label if conditional, to a code and `num_extra_outputs` numbers.

    Conv 3x3/2, max-pool, conv 3x3, flatten, label concatenated, dense layers; dropout after each but the last.
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        latent_dim: int,
        num_extra_outputs: int = 0,
        width: float = 1.0,
        dropout: float = 0.0,
        cond_classes: int = 0,
        original: bool = False,
    ) -> None:
        super().__init__(cond_classes, 1.0 if original else LABEL_SCALE)
        times = check_shape(shape)
        first, second = scaled_channels(32, width), scaled_channels(64, width)
        self.features = nn.Sequential(
            nn.Conv2d(shape[0], first, 3, stride=2, padding=1),
            nn.LeakyReLU(NEGATIVE_SLOPE),
            Dropout(dropout),
            nn.MaxPool2d(2),
            nn.Conv2d(first, second, 3, padding=1),
            nn.LeakyReLU(NEGATIVE_SLOPE),
            Dropout(dropout),
            *[
                layer
                for _ in range(times - 2)
                for layer in (
                    nn.Conv2d(second, second, 3, stride=2, padding=1),
                    nn.LeakyReLU(NEGATIVE_SLOPE),
                    Dropout(dropout),
                )
            ],
            nn.Flatten(),
        )
        flat = second * (shape[1] >> times) * (shape[2] >> times) + cond_classes
        self.dense = dense(
            [flat, *([scaled_channels(64, width)] if original else [HIDDEN, HIDDEN]), latent_dim + num_extra_outputs],
            dropout,
        )
        initialize(self)

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        """Images [N, C, H, W] in [0, 1], labels [N] (if conditional) to [N, latent_dim + num_extra_outputs]."""
        return self.dense(self.concat_label(self.features(images), labels)).float()


class Decoder(Conditioned):
    """Decoder: code, and label if conditional, to `channels` outputs a pixel.

    Dense layers to a small picture, upsample, conv 5x5, conv 3x3, upsample, conv 5x5; dropout after the small picture
    and the first two convolutions. With `batch_norm` every picture inside is normalized over the batch (Ioffe and
    Szegedy 2015), without which a GAN's generator soon draws little else than one image (Radford et al. 2016).
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        latent_dim: int,
        width: float = 1.0,
        dropout: float = 0.0,
        cond_classes: int = 0,
        channels: int | None = None,
        original: bool = False,
        batch_norm: bool = False,
    ) -> None:
        super().__init__(cond_classes, 1.0 if original else LABEL_SCALE)
        times = check_shape(shape)
        self.base = (scaled_channels(128, width), shape[1] >> times, shape[2] >> times)
        second, third = scaled_channels(64, width), scaled_channels(32, width)
        flat = self.base[0] * self.base[1] * self.base[2]
        self.dense = dense([latent_dim + cond_classes, *([] if original else [HIDDEN, HIDDEN]), flat])
        norm = nn.BatchNorm2d if batch_norm else nn.Identity
        self.layers = nn.Sequential(
            norm(self.base[0]),
            nn.LeakyReLU(NEGATIVE_SLOPE),
            Dropout(dropout),
            *[
                layer
                for _ in range(times - 2)
                for layer in (
                    UpsampledConv2d(self.base[0], self.base[0], 5, bias=not batch_norm),
                    norm(self.base[0]),
                    nn.LeakyReLU(NEGATIVE_SLOPE),
                    Dropout(dropout),
                )
            ],
            UpsampledConv2d(self.base[0], second, 5, bias=not batch_norm),
            norm(second),
            nn.LeakyReLU(NEGATIVE_SLOPE),
            Dropout(dropout),
            nn.Conv2d(second, third, 3, padding=1, bias=not batch_norm),
            norm(third),
            nn.Sequential(nn.LeakyReLU(NEGATIVE_SLOPE), Dropout(dropout)),
            UpsampledConv2d(third, channels or shape[0], 5),
        )
        initialize(self)

    def forward(self, codes: Tensor, labels: Tensor | None = None) -> Tensor:
        """Codes [N, d], labels [N] or probabilities [N, cond_classes] (if conditional) to [N, channels, H, W]."""
        # Unflattened with channels last: the layout in which the convolutions that follow are fastest.
        channels, height, width = self.base
        flat = self.dense(self.concat_label(codes, labels))
        return self.layers(flat.unflatten(1, (height, width, channels)).permute(0, 3, 1, 2)).float()


class Discriminator(Conditioned):
    """Discriminator: image, and label if conditional, to a logit (real or not) and the features of layer l.

    Conv 7x7/2, max-pool, label maps concatenated, conv 3x3, max-pool, conv 3x3 (layer l), dense; dropout after both
    max-poolings and after layer l, whose features are returned without it.

    * `label_path` maps: the label is concatenated as above.
    * `label_path` projection: the logit gains the inner product of the features with a vector of the label's own
      (Miyato and Koyama 2018).
    * `label_path` classifier: the logit knows no label. Another dense layer tells the label from the features, of real
      and of generated images (ACGAN, Odena et al. 2017): `class_losses`.
    * With `spectral_norm` each layer is divided by its largest singular value (Miyato et al. 2018).

    Pixels are brought to [-0.5, 0.5] first, unless `original`: without that no discriminator learned to tell generated
    color images from real ones, and the conditional VAE/GAN's samples of CIFAR-10 stayed further from the real images
    (Frechet distance 238 against 185 after one epoch).
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        width: float = 1.0,
        dropout: float = 0.0,
        cond_classes: int = 0,
        label_path: LabelPath = "maps",
        spectral_norm: bool = False,
        original: bool = False,
    ) -> None:
        super().__init__(cond_classes if label_path == "maps" else 0, 1.0 if original else LABEL_SCALE)
        times = check_shape(shape)
        first, second, last = scaled_channels(128, width), scaled_channels(64, width), 16
        self.first = nn.Sequential(
            StridedConv2d(shape[0], first, 7),
            nn.MaxPool2d(2),  # before the leaky ReLU: the same result from a quarter of the pixels
            nn.LeakyReLU(NEGATIVE_SLOPE),
            Dropout(dropout),
        )
        self.second = nn.Sequential(
            nn.Conv2d(first + self.cond_classes, second, 3, padding=1),
            nn.MaxPool2d(2, ceil_mode=True),
            nn.LeakyReLU(NEGATIVE_SLOPE),
            Dropout(dropout),
            *[
                layer
                for _ in range(times - 2)
                for layer in (
                    nn.Conv2d(second, second, 3, padding=1),
                    nn.MaxPool2d(2, ceil_mode=True),
                    nn.LeakyReLU(NEGATIVE_SLOPE),
                    Dropout(dropout),
                )
            ],
            nn.Conv2d(second, last, 3, padding=1),
        )
        flat = last * -(-shape[1] // 2 ** (times + 1)) * -(-shape[2] // 2 ** (times + 1))
        self.dropout = Dropout(dropout)
        self.output = nn.Linear(flat, 1)
        self.num_classes = cond_classes
        projection, classifier = (bool(cond_classes) and label_path == path for path in ("projection", "classifier"))
        self.projection = nn.Linear(cond_classes, flat, bias=False) if projection else None
        self.classifier = nn.Linear(flat, cond_classes) if classifier else None
        self.center = 0.0 if original else 0.5
        initialize(self)
        if spectral_norm:
            for layer in [layer for layer in self.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]:
                nn.utils.parametrizations.spectral_norm(layer)

    def forward(self, images: Tensor, labels: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Images [N, C, H, W] in [0, 1], labels [N] to logits [N] and features [N, F] of layer l."""
        features = self.second(self.concat_label(self.first(images - self.center), labels)).flatten(1)
        active = self.dropout(nn.functional.leaky_relu(features, NEGATIVE_SLOPE))
        logits = self.output(active).squeeze(1).float()
        if self.projection is not None:
            assert labels is not None
            logits = logits + (self.projection(one_hot(labels, self.num_classes, 1.0)) * active).sum(1).float()
        return logits, features.float()

    def class_losses(self, real: Tensor, fake: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Cross-entropies of labels [N] read from features of real [N, F] and generated images [k N, F], mean in nats.

        Without a classifier there are none.
        """
        if self.classifier is None:
            return {}
        classifier = self.classifier

        def cross_entropy(features: Tensor) -> Tensor:
            logits = classifier(nn.functional.leaky_relu(features, NEGATIVE_SLOPE)).float()
            return nn.functional.cross_entropy(logits, labels.repeat(len(features) // len(labels)))

        return {"real_class_loss": cross_entropy(real), "fake_class_loss": cross_entropy(fake)}
