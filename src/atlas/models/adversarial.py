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
        r1: float = 0.0,
        seek: float = 0.0,
    ) -> None:
        self_r1, self_seek = r1, seek
        super().__init__(shape, classes, latent_dim)
        for name, value, allowed in (("adversary", adversary, ADVERSARIES), ("label_path", label_path, LABEL_PATHS)):
            if value not in allowed:
                raise ValueError(f"{name}: found {value!r}; allowed: {', '.join(allowed)}")
        shown = classes if self.conditional else 0
        self.r1, self.seek = self_r1, self_seek
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
        penalty = 0.0
        if self.r1 and torch.is_grad_enabled():
            images = images.requires_grad_()
        on_real = self.discriminator(images, labels)[0]
        if self.r1 and torch.is_grad_enabled():
            (slope,) = torch.autograd.grad(on_real.sum(), images, create_graph=True)
            penalty = 0.5 * self.r1 * slope.square().flatten(1).sum(1).mean()
        if self.seek:
            half = len(labels) // 2
            labels = torch.cat([labels[:half], labels[: len(labels) - half]])
        drawn = self.decode(codes, labels)
        on_fake = self.discriminator(drawn, labels)[0]
        variety = 0.0
        if self.seek:
            near = (drawn[:half] - drawn[half : 2 * half]).abs().flatten(1).mean(1)
            far = (codes[:half] - codes[half : 2 * half]).abs().mean(1)
            variety = self.seek * (far / (near + 1e-5)).mean()
        if self.hinge:
            adversary = 0.5 * ((1 - on_real).relu() + (1 + on_fake).relu()).mean()
            fool = -on_fake.mean()
        else:
            adversary = 0.5 * (losses.real(on_real) + losses.fake(on_fake)).mean()
            fool = losses.real(on_fake).mean()
        return Losses(
            {"generator": fool + variety, "discriminator": adversary + penalty},
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
