"""Autoencoder: reconstruction and nothing else.

It shows what goes wrong without a prior: the codes of real images lie in no particular place, with holes between them.
"""

from typing import Literal

import torch
from torch import Tensor, nn

from atlas.core.model import Losses, Model, Shape
from atlas.core.schema import Fraction, LatentDim, Width
from atlas.nn.losses import bernoulli, squared_error
from atlas.nn.networks import DECODERS, ENCODERS, Network


class Autoencoder(Model):
    """Autoencoder: an encoder to a code and a decoder back, trained together by the reconstruction alone.

    `reconstruction`: cross-entropy of grey pixels, or of pixels drawn 0 or 1 anew each time (`binarized`, as a VAE with
    that likelihood sees them), or squared error.
    """

    has_prior = False

    def __init__(
        self,
        shape: Shape,
        num_classes: int,
        *,
        latent_dim: LatentDim,
        network: Network,
        reconstruction: Literal["cross_entropy", "binarized", "squared_error"],
        dropout: Fraction,
        width: Width,
    ) -> None:
        super().__init__(shape, num_classes, latent_dim)
        self.reconstruction = reconstruction
        self.encoder = ENCODERS[network](shape, latent_dim, 0, width, dropout)
        self.decoder = DECODERS[network](shape, latent_dim, width, dropout)

    def param_groups(self) -> dict[str, list[nn.Parameter]]:
        return {"autoencoder": list(self.parameters())}

    def losses(self, images: Tensor, labels: Tensor) -> Losses:
        if self.reconstruction == "binarized":
            images = torch.bernoulli(images)
        logits = self.decoder(self.encoder(images))
        if self.reconstruction == "squared_error":
            loss = squared_error(logits.sigmoid(), images).mean()
        else:
            loss = bernoulli(logits, images).mean()
        return Losses({"autoencoder": loss}, {"reconstruction": loss})

    def encode(self, images: Tensor, labels: Tensor) -> Tensor:
        return self.encoder(images)

    def decode(self, codes: Tensor, labels: Tensor) -> Tensor:
        return self.decoder(codes).sigmoid()
