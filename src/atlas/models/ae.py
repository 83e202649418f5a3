"""The plain autoencoder: reconstruction and nothing else.

It is here to show what goes wrong without a prior: its codes lie where they like, with holes between them.
"""

from torch import Tensor, nn

from atlas.models.base import Losses, Model, Shape
from atlas.models.registry import register
from atlas.nn import losses
from atlas.nn.networks import decoder, encoder

RECONSTRUCTION = ("cross_entropy", "squared_error")


@register("ae")
class Autoencoder(Model):
    """Encoder to a code, decoder back, taught together by the reconstruction alone."""

    has_prior = False

    def __init__(
        self,
        shape: Shape,
        classes: int,
        *,
        latent_dim: int,
        network: str,
        reconstruction: str,
        dropout: float,
        width: float,
    ) -> None:
        super().__init__(shape, classes, latent_dim)
        if reconstruction not in RECONSTRUCTION:
            raise ValueError(f"reconstruction: found {reconstruction!r}; allowed: {', '.join(RECONSTRUCTION)}")
        self.reconstruction = reconstruction
        self.encoder = encoder(network, shape, latent_dim, 0, width, dropout)
        self.decoder = decoder(network, shape, latent_dim, width, dropout)

    def players(self) -> dict[str, list[nn.Parameter]]:
        return {"autoencoder": list(self.parameters())}

    def losses(self, images: Tensor, labels: Tensor) -> Losses:
        logits = self.decoder(self.encoder(images))
        if self.reconstruction == "cross_entropy":
            loss = losses.bernoulli(logits, images).mean()
        else:
            loss = losses.squared_error(logits.sigmoid(), images).mean()
        return Losses({"autoencoder": loss}, {"reconstruction": loss})

    def encode(self, images: Tensor, labels: Tensor) -> Tensor:
        return self.encoder(images)

    def decode(self, codes: Tensor, labels: Tensor) -> Tensor:
        return self.decoder(codes).sigmoid()
