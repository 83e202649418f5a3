"""The conditional GAN (Mirza and Osindero 2014; part 5 of the seed)."""

from atlas.models.adversarial import Adversarial
from atlas.models.registry import register


@register("cgan")
class CGAN(Adversarial):
    """The label is shown to the generator and the discriminator."""

    conditional = True
