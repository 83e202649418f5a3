"""Autoencoder: reconstruction and nothing else.

It shows what goes wrong without a prior: the codes of real images lie in no particular place, with holes between them.
"""

from typing import Literal

from torch import Tensor, nn

from atlas.core.model import Losses, Model, Shape
from atlas.core.schema import Fraction, LatentDim, Width
from atlas.nn.losses import bernoulli, squared_error
from atlas.nn.networks import DECODERS, ENCODERS, Network


class Autoencoder(Model):
    """Autoencoder: an encoder to a code and a decoder back, trained together by the reconstruction alone."""

    has_prior = False

    def __init__(
        self,
        shape: Shape,
        num_classes: int,
        *,
        latent_dim: LatentDim,
        network: Network,
        reconstruction: Literal["cross_entropy", "squared_error"],
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
        logits = self.decoder(self.encoder(images))
        if self.reconstruction == "cross_entropy":
            loss = bernoulli(logits, images).mean()
        else:
            loss = squared_error(logits.sigmoid(), images).mean()
        return Losses({"autoencoder": loss}, {"reconstruction": loss})

    def encode(self, images: Tensor, labels: Tensor) -> Tensor:
        return self.encoder(images)

    def decode(self, codes: Tensor, labels: Tensor) -> Tensor:
        return self.decoder(codes).sigmoid()
