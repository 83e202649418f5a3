"""The variational autoencoder (Kingma and Welling 2014)."""

from atlas.models.registry import register
from atlas.models.variational import Variational


@register("vae")
class VAE(Variational):
    """The label is shown to nobody: one map for all classes."""
