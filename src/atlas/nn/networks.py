"""The choice of networks, by the word that params.yaml uses.

* `conv`: the seed's convolutions, with more where label and code meet;
* `seed`: the seed's, layer by layer;
* `mlp`: two dense layers of 500;
* `dct`: convolutions around a cosine transform, for a code of hundreds of frequencies.
"""

from functools import partial
from typing import Any

from torch import nn

from atlas.nn.convolutional import Decoder, Discriminator, Encoder
from atlas.nn.dct import DctDecoder, DctEncoder
from atlas.nn.multilayer import DenseDecoder, DenseEncoder

NETWORKS: dict[str, tuple[Any, Any]] = {
    "conv": (Encoder, Decoder),
    "seed": (partial(Encoder, exact=True), partial(Decoder, exact=True)),
    "mlp": (DenseEncoder, DenseDecoder),
    "dct": (DctEncoder, DctDecoder),
}
# A GAN's generator has no dense layers between label and pictures: with them it gave one image a label whatever the
# code, under every loss and optimiser that was tried (coverage 0.01 after two epochs of MNIST, against 0.75 after one).
GENERATORS: dict[str, Any] = {
    "conv": partial(Decoder, exact=True, batch_norm=True),
    "seed": partial(Decoder, exact=True),
}
DISCRIMINATORS: dict[str, Any] = {"conv": Discriminator, "seed": partial(Discriminator, exact=True)}


def encoder(
    kind: str,
    shape: tuple[int, int, int],
    latent_dim: int,
    others: int,
    width: float,
    dropout: float,
    classes: int = 0,
) -> nn.Module:
    """Return a network from images [N, C, H, W] in [0, 1], and labels [N] if `classes` is not 0, to numbers.

    They are [N, latent_dim + others]: the code or its mean, then its log-variances if any, then what else a model asks.
    """
    return _known(kind, NETWORKS)[0](shape, latent_dim, others, width, dropout, classes)


def decoder(
    kind: str,
    shape: tuple[int, int, int],
    latent_dim: int,
    width: float,
    dropout: float,
    classes: int = 0,
    channels: int | None = None,
) -> nn.Module:
    """Return a network from codes [N, d], and labels [N] or shares [N, classes], to [N, channels, H, W] logits."""
    return _known(kind, NETWORKS)[1](shape, latent_dim, width, dropout, classes, channels)


def generator(
    kind: str, shape: tuple[int, int, int], latent_dim: int, width: float, dropout: float, classes: int = 0
) -> nn.Module:
    """Return a GAN's network from codes [N, d], and labels [N] if `classes` is not 0, to [N, C, H, W] logits."""
    return _known(kind, GENERATORS)(shape, latent_dim, width, dropout, classes)


def discriminator(
    kind: str,
    shape: tuple[int, int, int],
    width: float,
    dropout: float,
    classes: int = 0,
    projection: bool = False,
    spectral: bool = False,
) -> nn.Module:
    """Return a network from images, and labels if `classes` is not 0, to logits [N] and features [N, F]."""
    return _known(kind, DISCRIMINATORS)(shape, width, dropout, classes, projection=projection, spectral=spectral)


def _known(kind: str, table: dict[str, Any]) -> Any:
    if kind not in table:
        raise ValueError(f"network: found {kind!r}; allowed: {', '.join(table)}")
    return table[kind]
