"""The conditional VAE/GAN (part 6 of the seed, after Larsen et al. 2016)."""

from atlas.models.larsen import Larsen
from atlas.models.registry import register


@register("cvae_gan")
class CVAEGAN(Larsen):
    """The label is shown to the encoder, the decoder and the discriminator: the code is left to be the style."""

    conditional = True
