"""The conditional variational autoencoder (Sohn et al. 2015; part 6 of the seed)."""

from atlas.models.registry import register
from atlas.models.variational import Variational


@register("cvae")
class CVAE(Variational):
    """The label is shown to the encoder and the decoder: the code is left to be the style."""

    conditional = True
