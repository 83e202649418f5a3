"""Generative adversarial network (Goodfellow et al. 2014), plain or conditional (cGAN)."""

from typing import Literal

import torch
from torch import Tensor, nn

from atlas.core.model import Losses, Model, Shape
from atlas.core.schema import Fraction, LatentDim, Width
from atlas.nn.losses import nll_fake, nll_real
from atlas.nn.networks import DISCRIMINATORS, GENERATORS, AdversarialNetwork


class GAN(Model):
    """GAN: a discriminator D learns to tell real images from those of a generator G, which learns to pass for real.

        non_saturating (Goodfellow et al. 2014)     D: -(log D(x) + log(1 - D(G(z)))) / 2      G: -log D(G(z))
        hinge (Lim and Ye 2017), of D's logit d     D: (relu(1 - d(x)) + relu(1 + d(G(z)))) / 2      G: -d(G(z))

    * `conditional`: the cGAN. Both networks see the label; D as constant `maps` after its first block, or by
      `projection` (Miyato and Koyama 2018).

    There is no encoder: the code of an image is found by inversion (`atlas.core.latent.invert`).
    """

    def __init__(
        self,
        shape: Shape,
        num_classes: int,
        *,
        latent_dim: LatentDim,
        conditional: bool,
        label_path: Literal["maps", "projection"],
        network: AdversarialNetwork,
        adversarial_loss: Literal["non_saturating", "hinge"],
        spectral_norm: bool,
        dropout: Fraction,
        width: Width,
    ) -> None:
        super().__init__(shape, num_classes, latent_dim)
        self.conditional = conditional
        self.hinge = adversarial_loss == "hinge"
        cond_classes = num_classes if conditional else 0
        self.generator = GENERATORS[network](shape, latent_dim, width, dropout, cond_classes)
        projection = label_path == "projection"
        self.discriminator = DISCRIMINATORS[network](shape, width, dropout, cond_classes, projection, spectral_norm)

    def param_groups(self) -> dict[str, list[nn.Parameter]]:
        return {
            "generator": list(self.generator.parameters()),
            "discriminator": list(self.discriminator.parameters()),
        }

    def losses(self, images: Tensor, labels: Tensor) -> Losses:
        codes = torch.randn(len(images), self.latent_dim, device=images.device)
        real_logits, _ = self.discriminator(images, labels)
        fake_logits, _ = self.discriminator(self.decode(codes, labels), labels)
        if self.hinge:
            d_loss = 0.5 * ((1 - real_logits).relu() + (1 + fake_logits).relu()).mean()
            g_loss = -fake_logits.mean()
        else:
            d_loss = 0.5 * (nll_real(real_logits) + nll_fake(fake_logits)).mean()
            g_loss = nll_real(fake_logits).mean()
        return Losses(
            {"generator": g_loss, "discriminator": d_loss},
            {
                "discriminator_loss": d_loss,
                "generator_loss": g_loss,
                "real_probability": real_logits.sigmoid().mean(),
                "fake_probability": fake_logits.sigmoid().mean(),
            },
            discriminator=d_loss,
        )

    def decode(self, codes: Tensor, labels: Tensor) -> Tensor:
        return self.generator(codes, labels).sigmoid()
