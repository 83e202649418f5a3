"""Networks by the name that params.yaml uses.

* `conv`: the original tutorials' convolutions, with more layers where label and code meet;
* `original`: the tutorials', layer by layer;
* `mlp`: two dense layers of 500;
* `dct`: convolutions around a discrete cosine transform, for a code of hundreds of frequencies.
"""

from functools import partial
from typing import Any, Literal

from torch import nn

from atlas.nn.conv import Decoder, Discriminator, Encoder
from atlas.nn.dct import DctDecoder, DctEncoder
from atlas.nn.mlp import DenseDecoder, DenseEncoder

Network = Literal["conv", "original", "mlp", "dct"]
AdversarialNetwork = Literal["conv", "original"]
"""Of models with a discriminator."""

ENCODERS: dict[Network, Any] = {
    "conv": Encoder,
    "original": partial(Encoder, original=True),
    "mlp": DenseEncoder,
    "dct": DctEncoder,
}
DECODERS: dict[Network, Any] = {
    "conv": Decoder,
    "original": partial(Decoder, original=True),
    "mlp": DenseDecoder,
    "dct": DctDecoder,
}
# A GAN's generator has no dense layers between label and feature maps: with them it gave one image a label whatever the
# code, under every loss and optimizer that was tried (coverage 0.01 after two epochs of MNIST, against 0.75 after one).
GENERATORS: dict[AdversarialNetwork, Any] = {
    "conv": partial(Decoder, original=True, batch_norm=True),
    "original": partial(Decoder, original=True),
}
DISCRIMINATORS: dict[AdversarialNetwork, Any] = {
    "conv": Discriminator,
    "original": partial(Discriminator, original=True),
}


def encoder(
    network: Network,
    shape: tuple[int, int, int],
    latent_dim: int,
    num_extra_outputs: int,
    width: float,
    dropout: float,
    cond_classes: int = 0,
) -> nn.Module:
    """Encoder from images [N, C, H, W] in [0, 1], and labels [N] if `cond_classes` is not 0.

    It returns [N, latent_dim + num_extra_outputs]: the code or its mean, then its log-variances and whatever else.
    """
    return ENCODERS[network](shape, latent_dim, num_extra_outputs, width, dropout, cond_classes)


def decoder(
    network: Network,
    shape: tuple[int, int, int],
    latent_dim: int,
    width: float,
    dropout: float,
    cond_classes: int = 0,
    channels: int | None = None,
) -> nn.Module:
    """Decoder from codes [N, d], and labels [N] or probabilities [N, cond_classes], to logits [N, channels, H, W]."""
    return DECODERS[network](shape, latent_dim, width, dropout, cond_classes, channels)


def generator(
    network: AdversarialNetwork,
    shape: tuple[int, int, int],
    latent_dim: int,
    width: float,
    dropout: float,
    cond_classes: int = 0,
) -> nn.Module:
    """Generator from codes [N, d], and labels [N] if `cond_classes` is not 0, to logits [N, C, H, W]."""
    return GENERATORS[network](shape, latent_dim, width, dropout, cond_classes)


def discriminator(
    network: AdversarialNetwork,
    shape: tuple[int, int, int],
    width: float,
    dropout: float,
    cond_classes: int = 0,
    projection: bool = False,
    spectral_norm: bool = False,
) -> nn.Module:
    """Discriminator from images, and labels if `cond_classes` is not 0, to logits [N] and features [N, F]."""
    return DISCRIMINATORS[network](
        shape, width, dropout, cond_classes, projection=projection, spectral_norm=spectral_norm
    )
