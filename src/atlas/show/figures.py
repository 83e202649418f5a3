"""Every figure of a run: arrays in, PNG files out. One door to the sheets of images and to the charts."""

from atlas.show.charts import latent_scatter, loss_curves
from atlas.show.page import grid, write_captions
from atlas.show.sheets import (
    arithmetic,
    latent_map,
    latent_maps,
    reconstructions,
    samples,
    strips,
    style_transfer,
)

__all__ = [
    "arithmetic",
    "grid",
    "latent_map",
    "latent_maps",
    "latent_scatter",
    "loss_curves",
    "reconstructions",
    "samples",
    "strips",
    "style_transfer",
    "write_captions",
]
