"""The pictures taken during a training, for its animation."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from atlas.latent import decode_bytes, map_axes, map_codes
from atlas.models.base import Model

QUANTILE = 0.05
"""The map runs from this normal quantile to one minus it, as in the seed."""


MOST_EPOCHS = 24
"""A sheet with a row an epoch has no more rows than this; of longer trainings evenly spaced epochs are shown."""


def schedule(steps: int, frames: int, per_epoch: int) -> list[int]:
    """Return the steps, counted from 0 for the untrained model, after which a picture is taken.

    Most happens early, so the gaps grow: quadratically, from 0 to the last step. Short trainings give fewer pictures.
    The ends of the epochs are among them, for the sheet of epochs.
    """
    wanted = np.round(steps * np.linspace(0, 1, frames) ** 2).astype(int)
    return sorted({*wanted.tolist(), *epoch_ends(steps, per_epoch)})


def epoch_ends(steps: int, per_epoch: int) -> list[int]:
    """Return the steps at which at most `MOST_EPOCHS` epochs end, evenly spaced, the last among them."""
    epochs = steps // per_epoch
    shown = np.unique(np.round(np.linspace(1, epochs, min(epochs, MOST_EPOCHS))).astype(int))
    return (shown * per_epoch).tolist()


class Camera:
    """Draws the same codes, for every label, whenever it is asked.

    Two-dimensional codes are drawn as a map over the normal quantiles (or, for a model without a prior, over the region
    that the codes of some real images occupy at that moment); larger codes as samples from the prior, since a map of
    two dimensions of many shows little.
    """

    def __init__(self, model: Model, side: int, images: Tensor, labels: Tensor, seed: int) -> None:
        """Take the pictures of `model`; `images` [N, C, H, W] in [0, 1] are real ones, used where there is no prior."""
        self.model = model
        self.side = side
        self.images, self.labels = images, labels
        self.is_map = model.latent_dim == 2
        self.rows = model.classes if model.conditional else 1
        generator = torch.Generator().manual_seed(seed)
        self.draws = torch.randn(side * side, model.latent_dim, generator=generator)

    @property
    def kind(self) -> str:
        return "map" if self.is_map else "samples"

    @torch.no_grad()
    def take(self) -> np.ndarray:
        """Return uint8 [labels, side, side, C, H, W]; the top row of a map has the largest second code."""
        training = self.model.training
        self.model.eval()
        codes = self._codes()
        pictures = [decode_bytes(self.model, codes, label, self.images.device) for label in range(self.rows)]
        self.model.train(training)
        return np.stack(pictures).reshape(self.rows, self.side, self.side, *self.model.shape)

    def _codes(self) -> Tensor:
        seen = None if self.model.has_prior else self.model.encode(self.images, self.labels).cpu()
        if self.is_map:
            return map_codes(*map_axes(self.side, QUANTILE, seen), self.model.latent_dim)
        return self.draws if seen is None else seen.mean(0) + seen.std(0) * self.draws


def write_frames(
    path: Path, steps: list[int], pictures: list[np.ndarray], classes: list[str], kind: str, per_epoch: int
) -> None:
    """Write what the animation and sample stages read; the same arrays give the same bytes.

    Args:
        steps: one a picture; pictures: uint8 [labels, side, side, C, H, W] each; classes: every class's name; kind:
            "map" or "samples"; per_epoch: steps in an epoch.
    """
    np.savez_compressed(
        path,
        steps=np.array(steps),
        images=np.stack(pictures),
        labels=np.array(classes if pictures[0].shape[0] > 1 else [""]),
        kind=np.array(kind),
        epoch_ends=np.array(epoch_ends(steps[-1], per_epoch)),
    )
