"""The Gaussian variational autoencoder, conditional or not: what `vae`, `beta_vae`, `vae_iaf` and `cvae` share."""

import torch
from torch import Tensor, nn

from atlas.models.base import Bound, Losses, Model, Shape
from atlas.nn import losses
from atlas.nn.likelihood import Likelihood
from atlas.nn.networks import decoder, encoder


class Variational(Model):
    """q(z|x) = N(mean, diag variance), p(z) = N(0, I); the loss is distortion + rate (Kingma and Welling 2014).

    A conditional member also shows the label to the encoder and the decoder, so that the code is free to be the style.
    """

    def __init__(
        self,
        shape: Shape,
        classes: int,
        *,
        latent_dim: int,
        network: str,
        likelihood: str,
        noise: str,
        dropout: float,
        width: float,
        context: int = 0,
    ) -> None:
        """Build it; `context` is how many numbers the encoder gives besides mean and log-variance."""
        super().__init__(shape, classes, latent_dim)
        shown = classes if self.conditional else 0
        self.likelihood = Likelihood(likelihood, shape[0], noise)
        self.encoder = encoder(network, shape, latent_dim, latent_dim + context, width, dropout, shown)
        self.decoder = decoder(network, shape, latent_dim, width, dropout, shown, self.likelihood.outputs)
        self.pixels = self.likelihood.pixels

    def players(self) -> dict[str, list[nn.Parameter]]:
        return {"autoencoder": list(self.parameters())}

    def posterior(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_variance = self.encoder(images, labels).chunk(2, 1)
        return mean, log_variance

    def elbo(self, images: Tensor, labels: Tensor) -> Bound:
        images = self.likelihood.observe(images)
        mean, log_variance = self.posterior(images, labels)
        codes = mean + (0.5 * log_variance).exp() * torch.randn_like(mean)
        distortion = self.likelihood(self.decoder(codes, labels), images)
        return Bound(losses.gaussian_rate(mean, log_variance).sum(1), distortion)

    def log_weights(self, images: Tensor, labels: Tensor) -> Tensor:
        images = self.likelihood.observe(images)
        mean, log_variance = self.posterior(images, labels)
        noise = torch.randn_like(mean)
        codes = mean + (0.5 * log_variance).exp() * noise
        # log q(z|x) less the constant that log_joint leaves out too.
        return self.log_joint(images, labels, codes) + 0.5 * (noise**2 + log_variance).sum(1)

    def log_joint(self, images: Tensor, labels: Tensor, codes: Tensor) -> Tensor:
        return -self.likelihood(self.decoder(codes, labels), images) - 0.5 * codes.square().sum(1)

    def rates(self, images: Tensor, labels: Tensor) -> Tensor:
        return losses.gaussian_rate(*self.posterior(self.likelihood.observe(images), labels))

    def losses(self, images: Tensor, labels: Tensor) -> Losses:
        bound = self.elbo(images, labels)
        rate, distortion = bound.rate.mean(), bound.distortion.mean()
        loss = distortion + rate
        return Losses({"autoencoder": loss}, {"nelbo": loss, "distortion": distortion, "rate": rate})

    def encode(self, images: Tensor, labels: Tensor) -> Tensor:
        return self.posterior(images, labels)[0]

    def decode(self, codes: Tensor, labels: Tensor) -> Tensor:
        return self.likelihood.mean(self.decoder(codes, labels))
