"""The VAE with an inverse autoregressive flow for a posterior (Kingma et al. 2016)."""

from typing import Any

import torch
from torch import Tensor

from atlas.models.base import Bound, Model, Shape
from atlas.models.registry import register
from atlas.models.variational import Variational
from atlas.nn import losses
from atlas.nn.flows import InverseAutoregressiveFlow


@register("vae_iaf")
class VAEIAF(Variational):
    """q(z|x): the VAE's Gaussian, then `flow_steps` steps of an inverse autoregressive flow.

    The encoder also gives the flow's context h, `flow_context` numbers. log q loses the flow's log-determinant:

        z0 = mean + sd * noise;  z = flow(z0, h);  log q(z|x) = log N(z0; mean, sd^2) - sum log sigma

    With no step it is the VAE, bit for bit.
    """

    posterior = Model.posterior  # what the flow makes of the Gaussian is none

    def __init__(
        self,
        shape: Shape,
        classes: int,
        *,
        flow_steps: int,
        flow_units: int,
        flow_context: int,
        latent_dim: int,
        **settings: Any,
    ) -> None:
        self.context = flow_context if flow_steps else 0
        super().__init__(shape, classes, latent_dim=latent_dim, context=self.context, **settings)
        self.flow = InverseAutoregressiveFlow(latent_dim, self.context, flow_units, flow_steps)

    def elbo(self, images: Tensor, labels: Tensor) -> Bound:
        images = self.likelihood.observe(images)
        rates, codes = self._draw(images, labels)
        return Bound(rates.sum(1), self.likelihood(self.decoder(codes, labels), images))

    def log_weights(self, images: Tensor, labels: Tensor) -> Tensor:
        images = self.likelihood.observe(images)
        rates, codes = self._draw(images, labels, closed=False)
        return -self.likelihood(self.decoder(codes, labels), images) - rates.sum(1)

    def rates(self, images: Tensor, labels: Tensor) -> Tensor:
        return self._draw(self.likelihood.observe(images), labels)[0]

    def encode(self, images: Tensor, labels: Tensor) -> Tensor:
        """Return where the flow takes the Gaussian's mean: its own mean has no closed form."""
        mean, _, h = self._gaussian(images, labels)
        return self.flow(mean, h)[0]

    def _gaussian(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        size = self.latent_dim
        mean, log_variance, h = self.encoder(images, labels).split([size, size, self.context], 1)
        return mean, log_variance, h

    def _draw(self, images: Tensor, labels: Tensor, closed: bool = True) -> tuple[Tensor, Tensor]:
        """Return log q - log p at one posterior sample, dimension by dimension [N, d] nats, and the sample [N, d].

        Without a step to spoil it, the rate may be the Gaussian's own, in closed form.
        """
        mean, log_variance, h = self._gaussian(images, labels)
        noise = torch.randn_like(mean)
        codes = mean + (0.5 * log_variance).exp() * noise
        if closed and not len(self.flow.steps):
            return losses.gaussian_rate(mean, log_variance), codes
        codes, log_sigma = self.flow(codes, h)
        return 0.5 * (codes**2 - noise**2 - log_variance) - log_sigma, codes
