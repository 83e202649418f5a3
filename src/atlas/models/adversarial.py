"""The generative adversarial network, conditional or not: what `gan` and `cgan` share."""

import torch
from torch import Tensor, nn

from atlas.models.base import Losses, Model, Shape
from atlas.nn import losses
from atlas.nn.networks import discriminator, generator

ADVERSARIES = ("non_saturating", "hinge")
LABEL_PATHS = ("maps", "projection")


class Adversarial(Model):
    """A generator G learns to pass a discriminator D, which learns to tell its images from real ones.

        non_saturating (Goodfellow et al. 2014)     D: -(log D(x) + log(1 - D(G(z)))) / 2      G: -log D(G(z))
        hinge (Lim and Ye 2017), of D's logit d     D: (relu(1 - d(x)) + relu(1 + d(G(z)))) / 2      G: -d(G(z))

    A conditional member shows the label to both; to D as constant `maps` after its first block, or by `projection`.
    There is no encoder: the code of an image has to be searched for (`atlas.inversion`).
    """

    def __init__(
        self,
        shape: Shape,
        classes: int,
        *,
        latent_dim: int,
        network: str,
        adversary: str,
        spectral_norm: bool,
        dropout: float,
        width: float,
        label_path: str = "maps",
    ) -> None:
        super().__init__(shape, classes, latent_dim)
        for name, value, allowed in (("adversary", adversary, ADVERSARIES), ("label_path", label_path, LABEL_PATHS)):
            if value not in allowed:
                raise ValueError(f"{name}: found {value!r}; allowed: {', '.join(allowed)}")
        shown = classes if self.conditional else 0
        self.hinge = adversary == "hinge"
        self.generator = generator(network, shape, latent_dim, width, dropout, shown)
        self.discriminator = discriminator(
            network, shape, width, dropout, shown, label_path == "projection", spectral_norm
        )

    def players(self) -> dict[str, list[nn.Parameter]]:
        return {
            "generator": list(self.generator.parameters()),
            "discriminator": list(self.discriminator.parameters()),
        }

    def losses(self, images: Tensor, labels: Tensor) -> Losses:
        codes = torch.randn(len(images), self.latent_dim, device=images.device)
        on_real = self.discriminator(images, labels)[0]
        on_fake = self.discriminator(self.decode(codes, labels), labels)[0]
        if self.hinge:
            adversary = 0.5 * ((1 - on_real).relu() + (1 + on_fake).relu()).mean()
            fool = -on_fake.mean()
        else:
            adversary = 0.5 * (losses.real(on_real) + losses.fake(on_fake)).mean()
            fool = losses.real(on_fake).mean()
        return Losses(
            {"generator": fool, "discriminator": adversary},
            {
                "adversary": adversary,
                "fool": fool,
                "real_probability": on_real.sigmoid().mean(),
                "fake_probability": on_fake.sigmoid().mean(),
            },
            gauge=adversary,
        )

    def decode(self, codes: Tensor, labels: Tensor) -> Tensor:
        return self.generator(codes, labels).sigmoid()
