"""Networks by the name that params.yaml uses.

* `conv`: the original tutorials' convolutions, with more layers where label and code meet;
* `original`: the tutorials', layer by layer;
* `mlp`: two dense layers of 500;
* `dct`: convolutions around a discrete cosine transform, for a code of hundreds of frequencies.

    encoder = ENCODERS[network](shape, latent_dim, num_extra_outputs, width, dropout, cond_classes)
    decoder = DECODERS[network](shape, latent_dim, width, dropout, cond_classes, channels)
    generator = GENERATORS[network](shape, latent_dim, width, dropout, cond_classes)
    discriminator = DISCRIMINATORS[network](shape, width, dropout, cond_classes, label_path, spectral_norm)

An encoder returns [N, latent_dim + num_extra_outputs]: the code or its mean, then its log-variances and whatever else.
Decoder and generator return logits [N, channels, H, W], a discriminator logits [N] and features [N, F]. With
`cond_classes` above 0 a network also takes the label.
"""

from functools import partial
from typing import Any, Literal

from atlas.nn.conv import Decoder, Discriminator, Encoder
from atlas.nn.dct import DctDecoder, DctEncoder
from atlas.nn.mlp import DenseDecoder, DenseEncoder

Network = Literal["conv", "original", "mlp", "dct"]
AdversarialNetwork = Literal["conv", "original", "dct"]
"""Of models with a discriminator. `dct` is of encoders and VAE decoders; generators and discriminators are `conv`'s."""

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
# Generator of a GAN and decoder of a VAE/GAN. It has no dense layers between label and feature maps: with them a GAN
# gave one image a label whatever the code, under every loss and optimizer that was tried (coverage 0.01 after two
# epochs of MNIST, against 0.75 after one).
GENERATORS: dict[AdversarialNetwork, Any] = {
    "conv": partial(Decoder, original=True, batch_norm=True),
    "original": partial(Decoder, original=True),
    "dct": partial(Decoder, original=True, batch_norm=True),
}
DISCRIMINATORS: dict[AdversarialNetwork, Any] = {
    "conv": Discriminator,
    "original": partial(Discriminator, original=True),
    "dct": Discriminator,
}
