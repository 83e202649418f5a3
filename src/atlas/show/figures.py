"""Every figure of a run: arrays in, PNG files out. One door to the sheets of images and to the charts."""

from atlas.show.charts import latent_scatter, loss_curves
from atlas.show.page import grid, write_captions
from atlas.show.sheets import (
    interpolations,
    latent_map,
    latent_maps,
    reconstructions,
    samples,
    style_transfer,
    traversals,
)

__all__ = [
    "grid",
    "interpolations",
    "latent_map",
    "latent_maps",
    "latent_scatter",
    "loss_curves",
    "reconstructions",
    "samples",
    "style_transfer",
    "traversals",
    "write_captions",
]
