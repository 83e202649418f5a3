"""VAE/GAN (Larsen et al. 2016), plain or conditional (CVAE/GAN)."""

from typing import Literal

import torch
from torch import Tensor, nn

from atlas.core.model import Losses, Model, Shape
from atlas.core.schema import Fraction, LatentDim, Positive, Weight, Width
from atlas.nn.augment import augment
from atlas.nn.conv import LabelPath
from atlas.nn.losses import feature_cross_entropy, gaussian_kl, nll_fake, nll_real, squared_error
from atlas.nn.networks import DECODERS, DISCRIMINATORS, ENCODERS, GENERATORS, AdversarialNetwork

ORIGINAL_BOUND = 2.0
"""Of half the log-variance where the original tutorial samples, and of the log-variance in its KL divergence."""


class VAEGAN(Model):
    """VAE/GAN: a VAE whose reconstructions are compared in the features of a discriminator, which also judges them.

        x~ = decoder(z), z ~ q(z|x);     x_p = decoder(z_p), z_p ~ N(0, I)
        L_prior = KL(q(z|x) || p(z))
        L_llike = distance between D_l(x) and D_l(x~), + pixel_weight * |x - x~|^2 / 2
        L_gan   = (w_real log D(x) + (w_rec log(1 - D(x~)) + w_prior log(1 - D(x_p))) / 2) / 2

        encoder        learns from   L_prior + L_llike
        decoder        learns from   gamma * L_llike + L_gan, or with -log D(fake) for log(1 - D(fake))
        discriminator  learns from   -L_gan

    * `conditional`: the CVAE/GAN. Encoder and decoder see the label, so the code is left to be the style. So does D, as
      `maps` or by `projection`; or a `classifier` on its features tells the label (ACGAN, Odena et al. 2017). Then D's
      loss has `class_weight` times its cross-entropy on real images besides, the decoder's that on generated ones.
    * `batch_norm`: the decoder is a GAN's generator, normalized over the batch; else a VAE's decoder.
    * `pixel_weight`: Larsen's is 0. It keeps layout and colors of photographs.
    * `augmented`: D sees images that are changed at random (`atlas.nn.augment`), x, x~ and x_p in the same way.
    * `feature_loss`: half the squared error over the root mean square of D_l(x) - D_l(x_p); or, as in the original
      tutorial, the cross-entropy of sigmoid(D_l(x)) against the logits D_l(x~).
    * `adversarial_loss` of the decoder: the second of the two forms above, `non_saturating` (Goodfellow et al. 2014);
      or the first, `saturating` (the original tutorial and Larsen).
    * `gan_weights`: w above. Larsen's are all 1; the tutorial's (1/4, 1/4 and 2/4 of L_gan) 0.5, 1 and 2.
    * `log_variance_bound`: a number bounds it smoothly, since a clipped unit no longer learns; `free` is Larsen's, and
      `original` the tutorial's: half of it is clipped to +-2 where it is sampled, and it to +-2 in L_prior alone.
    """

    fake_weights: Tensor

    def __init__(
        self,
        shape: Shape,
        num_classes: int,
        *,
        latent_dim: LatentDim,
        conditional: bool,
        network: AdversarialNetwork,
        batch_norm: bool,
        label_path: LabelPath,
        class_weight: Weight,
        gamma: Weight,
        pixel_weight: Weight,
        feature_loss: Literal["squared_error", "cross_entropy"],
        adversarial_loss: Literal["non_saturating", "saturating"],
        gan_weights: dict[str, Weight],
        log_variance_bound: Positive | Literal["free", "original"],
        dropout: Fraction,
        width: Width,
        discriminator_width: Width,
        augmented: bool,
    ) -> None:
        super().__init__(shape, num_classes, latent_dim)
        self.conditional = conditional
        self.class_weight = class_weight
        self.gamma = gamma
        self.pixel_weight = pixel_weight
        self.use_cross_entropy = feature_loss == "cross_entropy"
        self.saturating = adversarial_loss == "saturating"
        self.log_variance_bound = log_variance_bound
        self.augmented = augmented
        if set(gan_weights) != {"real", "reconstruction", "prior"}:
            raise ValueError(f"gan_weights: found {', '.join(gan_weights)}; allowed: real, reconstruction and prior")
        self.real_weight = gan_weights["real"]
        fake_weights = torch.tensor([[gan_weights["reconstruction"]], [gan_weights["prior"]]]).float()
        self.register_buffer("fake_weights", fake_weights, persistent=False)
        cond_classes = num_classes if conditional else 0
        self.encoder = ENCODERS[network](shape, latent_dim, latent_dim, width, dropout, cond_classes)
        self.batch_norm = batch_norm
        decoders = GENERATORS if batch_norm else DECODERS
        self.decoder = decoders[network](shape, latent_dim, width, dropout, cond_classes)
        self.discriminator = DISCRIMINATORS[network](
            shape, width * discriminator_width, dropout, cond_classes, label_path
        )

    def param_groups(self) -> dict[str, list[nn.Parameter]]:
        return {
            "encoder": list(self.encoder.parameters()),
            "decoder": list(self.decoder.parameters()),
            "discriminator": list(self.discriminator.parameters()),
        }

    def losses(self, images: Tensor, labels: Tensor) -> Losses:
        mean, log_variance, log_scale = self._posterior(images, labels)
        codes = mean + log_scale.exp() * torch.randn_like(mean)
        prior_codes = torch.randn_like(codes)
        if self.batch_norm:  # one batch: normalized apart, each would look as neither does after the training
            both = self.decode(torch.cat([codes, prior_codes]), labels.repeat(2))
            reconstruction, prior_sample = both.chunk(2)
        else:
            reconstruction, prior_sample = self.decode(codes, labels), self.decode(prior_codes, labels)
        seen = images, reconstruction, prior_sample
        # Three passes, not one over a joined batch: a group's gradient then runs back only through what it needs.
        (
            (real_logits, real_features),
            (reconstruction_logits, reconstruction_features),
            (prior_logits, prior_features),
        ) = (self.discriminator(batch, labels) for batch in (augment(*seen) if self.augmented else seen))
        fake_logits = torch.stack([reconstruction_logits, prior_logits])

        fake_features = torch.cat([reconstruction_features, prior_features])
        class_losses = self.discriminator.class_losses(real_features, fake_features, labels)
        kl = gaussian_kl(mean, log_variance).sum(1).mean()
        feature_loss = self._feature_loss(reconstruction_features, real_features.detach(), prior_features.detach())
        distance = feature_loss + self.pixel_weight * squared_error(reconstruction, images).mean()
        nll = self.fake_weights * nll_fake(fake_logits)
        d_loss = 0.5 * (self.real_weight * nll_real(real_logits).mean() + nll.mean())
        g_loss = 0.5 * (-nll if self.saturating else self.fake_weights * nll_real(fake_logits)).mean()
        return Losses(
            {
                "encoder": self.warmed_up(kl) + distance,
                "decoder": self.gamma * distance + g_loss + self.class_weight * class_losses.get("fake_class_loss", 0),
                "discriminator": d_loss + self.class_weight * class_losses.get("real_class_loss", 0),
            },
            {
                "rate": kl,
                "feature_loss": feature_loss,
                "discriminator_loss": d_loss,
                "real_probability": real_logits.sigmoid().mean(),
                "fake_probability": fake_logits.sigmoid().mean(),
                **class_losses,
            },
            discriminator=d_loss,
        )

    def rates(self, images: Tensor, labels: Tensor) -> Tensor:
        return gaussian_kl(*self._posterior(images, labels)[:2])

    def encode(self, images: Tensor, labels: Tensor) -> Tensor:
        return self._posterior(images, labels)[0]

    def sample_posterior(self, images: Tensor, labels: Tensor) -> Tensor:
        mean, _, log_scale = self._posterior(images, labels)
        return mean + log_scale.exp() * torch.randn_like(mean)

    def decode(self, codes: Tensor, labels: Tensor) -> Tensor:
        return self.decoder(codes, labels).sigmoid()

    def _feature_loss(self, reconstruction: Tensor, real: Tensor, prior: Tensor) -> Tensor:
        """Return the mean distance between features [N, F] of reconstructions and of real images, in nats."""
        if self.use_cross_entropy:
            return feature_cross_entropy(reconstruction, real).mean()
        # Larsen's unit Gaussian, in units of how far a prior sample of the label is off: the features' scale grows all
        # through a training, and a fixed unit makes the code collapse early or leave the prior late.
        unit = (real - prior).square().mean().sqrt().clamp(min=1e-6)
        return squared_error(reconstruction / unit, real / unit).mean()

    def _posterior(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return q(z|x)'s mean and log-variance as L_prior sees them, and the log of the scale that is sampled with."""
        mean, raw = self.encoder(images, labels).chunk(2, 1)
        if self.log_variance_bound == "original":
            return mean, raw.clamp(-ORIGINAL_BOUND, ORIGINAL_BOUND), (0.5 * raw).clamp(-ORIGINAL_BOUND, ORIGINAL_BOUND)
        if self.log_variance_bound != "free":
            raw = self.log_variance_bound * torch.tanh(raw / self.log_variance_bound)
        return mean, raw, 0.5 * raw
