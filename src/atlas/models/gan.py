"""The generative adversarial network (Goodfellow et al. 2014)."""

from atlas.models.adversarial import Adversarial
from atlas.models.registry import register


@register("gan")
class GAN(Adversarial):
    """The label is shown to nobody."""
