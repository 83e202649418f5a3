"""The conditional VAE/GAN (Larsen et al. 2016, with part 6 of the seed's networks and losses)."""

import torch
from torch import Tensor, nn

from atlas.models.base import Losses, Model, Shape
from atlas.models.registry import register
from atlas.nn import losses
from atlas.nn.networks import Decoder, Discriminator, Encoder

LIMIT = 2.0
"""Of the log-variance, as in the seed."""

FEATURE_LOSSES = ("cross_entropy", "squared_error")


@register("cvae_gan")
class CVAEGAN(Model):
    """A conditional VAE whose reconstructions are compared in the features of a discriminator, which also judges them.

        L_prior = KL(q(z|x,y) || p(z))
        L_llike = distance between D_l(x) and D_l(x~), over the root mean square of D_l(x) - D_l(x_p)
        L_gan   = (log D(x) + (log(1 - D(x~)) + log(1 - D(x_p))) / 2) / 2
        x~      = decoder(z, y), z ~ q(z|x,y);     x_p = decoder(z_p, y), z_p ~ N(0, I)

        encoder        learns from   L_prior + L_llike
        decoder        learns from   gamma * L_llike - L_gan, with -log D(fake) for log(1 - D(fake)) (non-saturating)
        discriminator  learns from   -L_gan

    The log-variance is bounded to [-LIMIT, LIMIT] as in the seed, there by clipping, here smoothly, since a clipped
    unit no longer learns.
    """

    conditional = True

    def __init__(
        self,
        shape: Shape,
        classes: int,
        *,
        latent_dim: int,
        gamma: float,
        feature_loss: str,
        dropout: float,
        width: float,
    ) -> None:
        super().__init__(shape, classes, latent_dim)
        if feature_loss not in FEATURE_LOSSES:
            raise ValueError(f"feature_loss: found {feature_loss!r}; allowed: {', '.join(FEATURE_LOSSES)}")
        self.gamma = gamma
        self.feature_distance = (
            losses.feature_cross_entropy if feature_loss == "cross_entropy" else losses.squared_error
        )
        self.encoder = Encoder(shape, 2 * latent_dim, width, dropout, classes)
        self.decoder = Decoder(shape, latent_dim, width, dropout, classes)
        self.discriminator = Discriminator(shape, width, dropout, classes)

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
        # Larsen's unit Gaussian, with what a random sample of the label is off by for the unit: the scale of the
        # features grows all through a training, and a fixed one makes the code collapse early or burst the prior late.
        unit = (real_features - sampled_features).detach().square().mean().sqrt().clamp(min=1e-6)
        llike = self.feature_distance(rebuilt_features / unit, real_features.detach() / unit).mean()
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
        )

    def encode(self, images: Tensor, labels: Tensor) -> Tensor:
        return self._posterior(images, labels)[0]

    def decode(self, codes: Tensor, labels: Tensor) -> Tensor:
        return self.decoder(codes, labels).sigmoid()

    def _posterior(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        mean, raw = self.encoder(images, labels).chunk(2, 1)
        return mean, LIMIT * torch.tanh(raw / LIMIT)
