"""Variational autoencoder (Kingma and Welling 2014), conditional (CVAE), beta-VAE, VAE with a flow posterior (IAF)."""

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from atlas.core.model import Bound, Losses, Model, Shape
from atlas.core.schema import Count, Fraction, LatentDim, Weight, Width
from atlas.nn.layers import NEGATIVE_SLOPE
from atlas.nn.likelihood import Likelihood, LikelihoodName, Noise
from atlas.nn.losses import gaussian_kl
from atlas.nn.networks import DECODERS, ENCODERS, Network

MAX_LOG_VARIANCE = 2.0
"""Of q(z|x): a posterior much wider than the prior is of no use. For an image unlike all others the encoder
extrapolates: without a limit, standard deviations of up to 5 preceded a training's divergence."""
FLOW_GATE = 2.0
"""Added to the gate's logit, so that a fresh step changes the code little (Kingma et al. 2016 use 1 to 2)."""
FLOW_INIT_GAIN = 0.1
"""First weights of a masked network's last layer, as a share of Glorot's."""


class VAE(Model):
    """Variational autoencoder: the loss is -ELBO = distortion + rate, in nats per image.

        z0 = mean + sd * noise,  noise ~ N(0, I);   z = flow(z0, h)
        distortion = -log p(x|z)
        rate       = log q(z|x) - log p(z),  log q(z|x) = log N(z0; mean, sd^2) - sum log sigma of the flow
        loss       = distortion + beta * rate

    * `conditional`: the CVAE (Sohn et al. 2015). Encoder and decoder see the label, so the code can be the style alone.
    * `beta`: the beta-VAE (Higgins et al. 2017). It multiplies nats; with another value than 1 the loss is no bound.
    * `flow_steps`: steps of an inverse autoregressive flow (Kingma et al. 2016). Without any, z is z0 and the rate is
      the KL divergence of a Gaussian in closed form.
    """

    def __init__(
        self,
        shape: Shape,
        num_classes: int,
        *,
        latent_dim: LatentDim,
        conditional: bool,
        beta: Weight,
        flow_steps: Annotated[int, Field(ge=0, le=64)],
        flow_units: Count,
        flow_context: Count,
        network: Network,
        likelihood: LikelihoodName,
        noise: Noise,
        dropout: Fraction,
        width: Width,
    ) -> None:
        super().__init__(shape, num_classes, latent_dim)
        self.conditional = conditional
        self.beta = beta
        self.flow_context = flow_context if flow_steps else 0
        cond_classes = num_classes if conditional else 0
        self.likelihood = Likelihood(likelihood, shape[0], noise)
        self.pixels = self.likelihood.pixels
        outputs = latent_dim + self.flow_context  # log-variance and the context h, besides the mean
        self.encoder = ENCODERS[network](shape, latent_dim, outputs, width, dropout, cond_classes)
        self.decoder = DECODERS[network](shape, latent_dim, width, dropout, cond_classes, self.likelihood.num_outputs)
        self.flow = InverseAutoregressiveFlow(latent_dim, self.flow_context, flow_units, flow_steps)

    def param_groups(self) -> dict[str, list[nn.Parameter]]:
        return {"autoencoder": list(self.parameters())}

    def losses(self, images: Tensor, labels: Tensor) -> Losses:
        rate, distortion = (part.mean() for part in self.elbo(images, labels))
        loss = distortion + self.beta * self.warmed_up(rate)
        terms = {"nelbo": distortion + rate, "distortion": distortion, "rate": rate}
        return Losses({"autoencoder": loss}, terms if self.beta == 1 else {"loss": loss, **terms})

    def elbo(self, images: Tensor, labels: Tensor) -> Bound:
        images = self.likelihood.preprocess(images)
        codes, rates, _ = self._sample_posterior(images, labels)
        return Bound(rates.sum(1), self.likelihood(self.decoder(codes, labels), images))

    def log_weights(self, images: Tensor, labels: Tensor) -> Tensor:
        images = self.likelihood.preprocess(images)
        codes, _, log_ratio = self._sample_posterior(images, labels)
        return -self.likelihood(self.decoder(codes, labels), images) - log_ratio.sum(1)

    def rates(self, images: Tensor, labels: Tensor) -> Tensor:
        return self._sample_posterior(self.likelihood.preprocess(images), labels)[1]

    def log_joint(self, images: Tensor, labels: Tensor, codes: Tensor) -> Tensor:
        return -self.likelihood(self.decoder(codes, labels), images) - 0.5 * codes.square().sum(1)

    def posterior(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        return self._gaussian(images, labels)[:2]

    def can(self, ability: str) -> bool:
        # Behind a flow the posterior is no Gaussian.
        return super().can(ability) and not (ability == "posterior" and len(self.flow.steps))

    def encode(self, images: Tensor, labels: Tensor) -> Tensor:
        """Return the Gaussian's mean, taken through the flow (the mean behind a flow has no closed form)."""
        mean, _, context = self._gaussian(images, labels)
        return self.flow(mean, context)[0]

    def sample_posterior(self, images: Tensor, labels: Tensor) -> Tensor:
        return self._sample_posterior(self.likelihood.preprocess(images), labels)[0]

    def decode(self, codes: Tensor, labels: Tensor) -> Tensor:
        return self.likelihood.mean(self.decoder(codes, labels))

    def _gaussian(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return mean, log-variance [N, latent_dim] and the flow's context [N, flow_context]."""
        outputs = self.encoder(images, labels)
        mean, log_variance, context = outputs.split([self.latent_dim, self.latent_dim, self.flow_context], 1)
        return mean, log_variance.clamp(max=MAX_LOG_VARIANCE), context

    def _sample_posterior(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return one sample z of q(z|x), its rate, and log q(z|x) - log p(z) at z, dimension by dimension: [N, d] each.

        The rate is the Gaussian's KL divergence where there is no flow, else log q - log p itself.
        """
        mean, log_variance, context = self._gaussian(images, labels)
        noise = torch.randn_like(mean)
        codes, log_sigma = self.flow(mean + (0.5 * log_variance).exp() * noise, context)
        log_ratio = 0.5 * (codes**2 - noise**2 - log_variance) - log_sigma
        rates = log_ratio if len(self.flow.steps) else gaussian_kl(mean, log_variance)
        return codes, rates, log_ratio


class InverseAutoregressiveFlow(nn.Module):
    """Inverse autoregressive flow (Kingma et al. 2016): steps of z <- sigma z + (1 - sigma) m.

    sigma = sigmoid(s + FLOW_GATE), (m, s) = MADE(z, h). m_i and s_i see only the dimensions before i, so the Jacobian
    of a step is triangular with sigma on its diagonal. The order of dimensions is reversed between steps, and restored
    at the end.
    """

    def __init__(self, latent_dim: int, context: int, units: int, steps: int) -> None:
        super().__init__()
        self.steps = nn.ModuleList(MADE(latent_dim, context, units) for _ in range(steps))

    def forward(self, z: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        """Return the new z [N, d], and log sigma summed over the steps for each of its dimensions [N, d], nats.

        Summed over the dimensions too, the latter is log |det dz'/dz|.
        """
        log_sigma = torch.zeros_like(z)
        for index, step in enumerate(self.steps):
            if index:
                z, log_sigma = z.flip(1), log_sigma.flip(1)
            m, s = step(z, h)
            gate = s + FLOW_GATE
            sigma = gate.sigmoid()
            z = sigma * z + (1 - sigma) * m
            log_sigma = log_sigma + functional.logsigmoid(gate)
        if len(self.steps) and len(self.steps) % 2 == 0:
            z, log_sigma = z.flip(1), log_sigma.flip(1)
        return z, log_sigma


class MADE(nn.Module):
    """MADE (Germain et al. 2015): two numbers for each dimension of z, from the dimensions before it and a context h.

    Every hidden unit has a degree m and sees z_1..z_m; output i sees the units of degree below i. Degree 0 sees h only.
    """

    def __init__(self, latent_dim: int, context: int, units: int) -> None:
        super().__init__()
        # Fewer units than dimensions are spread over them: the last dimensions, too, see nearly all before them.
        index = torch.arange(units)
        degrees = index % latent_dim if units >= latent_dim else index * latent_dim // units
        dims = torch.arange(1, latent_dim + 1)
        self.first = MaskedLinear((degrees[:, None] >= dims[None, :]).float())
        self.context = nn.Linear(context, units, bias=False)
        self.second = MaskedLinear((degrees[:, None] >= degrees[None, :]).float())
        self.last = MaskedLinear((dims[:, None] > degrees[None, :]).float().repeat(2, 1))
        nn.init.xavier_uniform_(self.context.weight)
        with torch.no_grad():
            self.last.weight.mul_(FLOW_INIT_GAIN)

    def forward(self, z: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        """z [N, d], h [N, context] to m [N, d] and s [N, d], float32."""
        hidden = functional.leaky_relu(self.first(z) + self.context(h), NEGATIVE_SLOPE)
        hidden = functional.leaky_relu(self.second(hidden), NEGATIVE_SLOPE)
        m, s = self.last(hidden).float().chunk(2, 1)
        return m, s


class MaskedLinear(nn.Linear):
    """Masked linear layer: some weights are always zero."""

    mask: Tensor

    def __init__(self, mask: Tensor) -> None:
        """Take mask [outputs, inputs] of 0 and 1."""
        super().__init__(mask.shape[1], mask.shape[0])
        self.register_buffer("mask", mask, persistent=False)
        nn.init.xavier_uniform_(self.weight)
        nn.init.zeros_(self.bias)

    def forward(self, inputs: Tensor) -> Tensor:
        return functional.linear(inputs, self.weight * self.mask, self.bias)
