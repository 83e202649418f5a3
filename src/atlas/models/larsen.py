"""The VAE/GAN of Larsen et al. 2016, conditional or not: what `vae_gan` and `cvae_gan` share."""

import torch
from torch import Tensor, nn

from atlas.models.base import Losses, Model, Shape
from atlas.nn import losses, processes
from atlas.nn.networks import decoder, discriminator, encoder

LIMIT = 2.0
"""Of the log-variance, as in the seed."""

FEATURE_LOSSES = ("cross_entropy", "squared_error")


class Larsen(Model):
    """A VAE whose reconstructions are compared in the features of a discriminator, which also judges them.

        L_prior = KL(q(z|x) || p(z))
        L_llike = distance between D_l(x) and D_l(x~)
        L_gan   = (log D(x) + (log(1 - D(x~)) + log(1 - D(x_p))) / 2) / 2
        x~      = decoder(z), z ~ q(z|x);     x_p = decoder(z_p), z_p ~ N(0, I)

        encoder        learns from   L_prior + L_llike
        decoder        learns from   gamma * L_llike - L_gan, with -log D(fake) for log(1 - D(fake)) (non-saturating)
        discriminator  learns from   -L_gan

    The distance is half the squared error, over the root mean square of D_l(x) - D_l(x_p); or, as in the seed, the
    cross-entropy of sigmoid(D_l(x)) against the logits D_l(x~). The log-variance is bounded to [-LIMIT, LIMIT] as in
    the seed, there by clipping, here smoothly, since a clipped unit no longer learns. A conditional member shows the
    label to all three networks.
    """

    def __init__(
        self,
        shape: Shape,
        classes: int,
        *,
        latent_dim: int,
        network: str,
        gamma: float,
        feature_loss: str,
        dropout: float,
        width: float,
    ) -> None:
        super().__init__(shape, classes, latent_dim)
        if feature_loss not in FEATURE_LOSSES:
            raise ValueError(f"feature_loss: found {feature_loss!r}; allowed: {', '.join(FEATURE_LOSSES)}")
        self.gamma = gamma
        self.crossed = feature_loss == "cross_entropy"
        shown = classes if self.conditional else 0
        self.encoder = encoder(network, shape, latent_dim, latent_dim, width, dropout, shown)
        self.decoder = decoder(network, shape, latent_dim, width, dropout, shown)
        self.discriminator = discriminator(network, shape, width, dropout, shown)

    def players(self) -> dict[str, list[nn.Parameter]]:
        return {
            "encoder": list(self.encoder.parameters()),
            "decoder": list(self.decoder.parameters()),
            "discriminator": list(self.discriminator.parameters()),
        }

    def losses(self, images: Tensor, labels: Tensor) -> Losses:
        mean, log_variance = self._posterior(images, labels)
        codes = mean + (0.5 * log_variance).exp() * torch.randn_like(mean)
        # Three passes, not one over a joined batch: a player's gradient then runs back only through what it needs.
        rebuilt, sampled = self.decode(codes, labels), self.decode(torch.randn_like(codes), labels)
        on_real, real_features = self.discriminator(images, labels)
        on_rebuilt, rebuilt_features = self.discriminator(rebuilt, labels)
        on_sampled, sampled_features = self.discriminator(sampled, labels)
        on_fake = torch.cat([on_rebuilt, on_sampled])
        prior = losses.gaussian_rate(mean, log_variance).sum(1).mean()
        llike = self._distance(rebuilt_features, real_features.detach(), sampled_features.detach())
        adversary = 0.5 * (losses.real(on_real).mean() + losses.fake(on_fake).mean())
        fool = 0.5 * losses.real(on_fake).mean()
        return Losses(
            {
                "encoder": prior + llike,
                "decoder": self.gamma * llike + fool,
                "discriminator": adversary,
            },
            {
                "rate": prior,
                "feature_distance": llike,
                "adversary": adversary,
                "real_probability": on_real.sigmoid().mean(),
                "fake_probability": on_fake.sigmoid().mean(),
            },
            gauge=adversary,
        )

    def rates(self, images: Tensor, labels: Tensor) -> Tensor:
        return losses.gaussian_rate(*self._posterior(images, labels))

    def encode(self, images: Tensor, labels: Tensor) -> Tensor:
        return self._posterior(images, labels)[0]

    def decode(self, codes: Tensor, labels: Tensor) -> Tensor:
        return self.decoder(codes, labels).sigmoid()

    def _distance(self, rebuilt: Tensor, real: Tensor, sampled: Tensor) -> Tensor:
        if self.crossed:
            return losses.feature_cross_entropy(rebuilt, real).mean()
        # Larsen's unit Gaussian, with what a random sample of the label is off by for the unit: the scale of the
        # features grows all through a training, and a fixed one makes the code collapse early or burst the prior late.
        unit = processes.mean((real - sampled).square().mean()).sqrt().clamp(min=1e-6)
        return losses.squared_error(rebuilt / unit, real / unit).mean()

    def _posterior(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        mean, raw = self.encoder(images, labels).chunk(2, 1)
        return mean, LIMIT * torch.tanh(raw / LIMIT)
