"""Generative adversarial network (Goodfellow et al. 2014), plain or conditional (cGAN)."""

from typing import Literal

import torch
from torch import Tensor, nn

from atlas.core.model import Losses, Model, Shape
from atlas.core.schema import Fraction, LatentDim, Weight, Width
from atlas.nn.augment import augment
from atlas.nn.conv import LabelPath
from atlas.nn.losses import nll_fake, nll_real
from atlas.nn.networks import DISCRIMINATORS, GENERATORS


class GAN(Model):
    """GAN: a discriminator D learns to tell real images from those of a generator G, which learns to pass for real.

        non_saturating (Goodfellow et al. 2014)     D: -(log D(x) + log(1 - D(G(z)))) / 2      G: -log D(G(z))
        hinge (Lim and Ye 2017), of D's logit d     D: (relu(1 - d(x)) + relu(1 + d(G(z)))) / 2      G: -d(G(z))

    * `conditional`: the cGAN. G sees the label. D sees it as constant `maps` after its first block, or by `projection`
      (Miyato and Koyama 2018); or a `classifier` on D's features tells it (ACGAN, Odena et al. 2017). To both losses
      comes `class_weight` times its cross-entropy then: D's of real images, G's of its own.

    With `augmented` D sees images that are changed at random (`atlas.nn.augment`).
    There is no encoder: the code of an image is found by inversion (`atlas.core.latent.invert`).
    """

    def __init__(
        self,
        shape: Shape,
        num_classes: int,
        *,
        latent_dim: LatentDim,
        conditional: bool,
        label_path: LabelPath,
        class_weight: Weight,
        network: Literal["conv", "original"],
        adversarial_loss: Literal["non_saturating", "hinge"],
        spectral_norm: bool,
        dropout: Fraction,
        width: Width,
        discriminator_width: Width,
        augmented: bool,
    ) -> None:
        super().__init__(shape, num_classes, latent_dim)
        self.conditional = conditional
        self.hinge = adversarial_loss == "hinge"
        cond_classes = num_classes if conditional else 0
        self.generator = GENERATORS[network](shape, latent_dim, width, dropout, cond_classes)
        self.class_weight = class_weight
        self.augmented = augmented
        self.discriminator = DISCRIMINATORS[network](
            shape, width * discriminator_width, dropout, cond_classes, label_path, spectral_norm
        )

    def param_groups(self) -> dict[str, list[nn.Parameter]]:
        return {
            "generator": list(self.generator.parameters()),
            "discriminator": list(self.discriminator.parameters()),
        }

    def losses(self, images: Tensor, labels: Tensor) -> Losses:
        codes = torch.randn(len(images), self.latent_dim, device=images.device)
        seen = images, self.decode(codes, labels)
        (real_logits, real_features), (fake_logits, fake_features) = (
            self.discriminator(batch, labels) for batch in (augment(*seen) if self.augmented else seen)
        )
        if self.hinge:
            d_loss = 0.5 * ((1 - real_logits).relu() + (1 + fake_logits).relu()).mean()
            g_loss = -fake_logits.mean()
        else:
            d_loss = 0.5 * (nll_real(real_logits) + nll_fake(fake_logits)).mean()
            g_loss = nll_real(fake_logits).mean()
        class_losses = self.discriminator.class_losses(real_features, fake_features, labels)
        return Losses(
            {
                "generator": g_loss + self.class_weight * class_losses.get("fake_class_loss", 0),
                "discriminator": d_loss + self.class_weight * class_losses.get("real_class_loss", 0),
            },
            {
                "discriminator_loss": d_loss,
                "generator_loss": g_loss,
                "real_probability": real_logits.sigmoid().mean(),
                "fake_probability": fake_logits.sigmoid().mean(),
                **class_losses,
            },
            discriminator=d_loss,
        )

    def decode(self, codes: Tensor, labels: Tensor) -> Tensor:
        return self.generator(codes, labels).sigmoid()
