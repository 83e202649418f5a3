"""The beta-VAE (Higgins et al. 2017)."""

from typing import Any

from torch import Tensor

from atlas.models.base import Losses, Shape
from atlas.models.registry import register
from atlas.models.variational import Variational


@register("beta_vae")
class BetaVAE(Variational):
    """A VAE whose code costs `beta` times its rate: dimensions that carry little are given up, the rest tidied.

    beta multiplies nats: 1 is the VAE, and what the loss then adds up to is no bound on the likelihood any more.
    """

    def __init__(self, shape: Shape, classes: int, *, beta: float, **settings: Any) -> None:
        super().__init__(shape, classes, **settings)
        self.beta = beta

    def losses(self, images: Tensor, labels: Tensor) -> Losses:
        bound, terms = super().losses(images, labels)[:2]
        loss = terms["distortion"] + self.beta * terms["rate"]
        return Losses(dict.fromkeys(bound, loss), {"loss": loss, **terms})
