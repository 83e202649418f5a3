"""The VAE/GAN (Larsen et al. 2016)."""

from atlas.models.larsen import Larsen
from atlas.models.registry import register


@register("vae_gan")
class VAEGAN(Larsen):
    """The label is shown to nobody."""
