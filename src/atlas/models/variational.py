"""The Gaussian variational autoencoder, conditional or not: what `vae` and `cvae` share."""

import torch
from torch import Tensor, nn

from atlas.models.base import Bound, Losses, Model, Shape
from atlas.nn import losses
from atlas.nn.likelihood import Likelihood
from atlas.nn.networks import Decoder, Encoder


class Variational(Model):
    """q(z|x) = N(mean, diag variance), p(z) = N(0, I); the loss is distortion + rate (Kingma and Welling 2014).

    A conditional member also shows the label to the encoder and the decoder, so that the code is free to be the style.
    """

    def __init__(
        self, shape: Shape, classes: int, *, latent_dim: int, likelihood: str, dropout: float, width: float
    ) -> None:
        super().__init__(shape, classes, latent_dim)
        shown = classes if self.conditional else 0
        self.encoder = Encoder(shape, 2 * latent_dim, width, dropout, shown)
        self.decoder = Decoder(shape, latent_dim, width, dropout, shown)
        self.likelihood = Likelihood(likelihood, shape[0])
        self.discrete = self.likelihood.discrete

    def players(self) -> dict[str, list[nn.Parameter]]:
        return {"autoencoder": list(self.parameters())}

    def elbo(self, images: Tensor, labels: Tensor) -> Bound:
        mean, log_variance = self.encoder(images, labels).chunk(2, 1)
        codes = mean + (0.5 * log_variance).exp() * torch.randn_like(mean)
        distortion = self.likelihood(self.decoder(codes, labels), images)
        return Bound(losses.gaussian_rate(mean, log_variance).sum(1), distortion)

    def losses(self, images: Tensor, labels: Tensor) -> Losses:
        bound = self.elbo(images, labels)
        rate, distortion = bound.rate.mean(), bound.distortion.mean()
        loss = distortion + rate
        return Losses({"autoencoder": loss}, {"nelbo": loss, "distortion": distortion, "rate": rate})

    def encode(self, images: Tensor, labels: Tensor) -> Tensor:
        return self.encoder(images, labels).chunk(2, 1)[0]

    def decode(self, codes: Tensor, labels: Tensor) -> Tensor:
        return self.decoder(codes, labels).sigmoid()
