"""The pictures taken during a training, for its animation."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from atlas.files import whole_file
from atlas.latent import decode_bytes, encode_all, map_axes, map_codes, principal
from atlas.models.base import Model

QUANTILE = 0.05
"""The map runs from this normal quantile to one minus it, as in the seed."""

HELD_OUT = 512
"""Images whose codes each frame holds."""

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


class Frame(NamedTuple):
    """What is taken of a model at one moment of its training."""

    images: np.ndarray
    """uint8 [labels, side, side, C, H, W]; the top row of a map has the largest second code."""
    codes: np.ndarray
    """float16 [N, latent_dim] of the held-out images; of a model that cannot encode, [0, latent_dim]."""


class Camera:
    """Draws the same codes, for every label, and finds the codes of the same images, whenever it is asked.

    Two-dimensional codes are drawn as a map over the normal quantiles (or, for a model without a prior, over the region
    that the codes of some real images occupy at that moment); larger codes as samples from the prior, since a map of
    two dimensions of many shows little.
    """

    def __init__(self, model: Model, side: int, images: Tensor, labels: Tensor, seed: int) -> None:
        """Take the pictures of `model`; `images` [N, C, H, W] in [0, 1] are held out from its training."""
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
    def take(self) -> Frame:
        """Return what the model draws and encodes now."""
        training = self.model.training
        self.model.eval()
        seen = torch.empty(0, self.model.latent_dim)
        if self.model.can("encode"):
            seen = encode_all(self.model, self.images, self.labels)
        codes = self._codes(None if self.model.has_prior else seen)
        pictures = [decode_bytes(self.model, codes, label, self.images.device) for label in range(self.rows)]
        self.model.train(training)
        images = np.stack(pictures).reshape(self.rows, self.side, self.side, *self.model.shape)
        return Frame(images, seen.half().numpy())

    def _codes(self, seen: Tensor | None) -> Tensor:
        if self.is_map:
            return map_codes(*map_axes(self.side, QUANTILE, seen), self.model.latent_dim)
        return self.draws if seen is None else seen.mean(0) + seen.std(0) * self.draws


def write_frames(
    path: Path,
    steps: list[int],
    frames: list[Frame],
    labels: np.ndarray,
    classes: list[str],
    kind: str,
    per_epoch: int,
) -> None:
    """Write what the animation and sample stages read; the same arrays give the same bytes.

    Args:
        steps: one a frame; labels: uint8 [N] of the images that were encoded; classes: every class's name; kind: "map"
            or "samples"; per_epoch: steps in an epoch.
    """
    positions = [plane.astype(np.float16) for plane in in_a_plane([frame.codes for frame in frames])]
    with whole_file(path) as aside:
        np.savez_compressed(
            aside,
            steps=np.array(steps),
            images=np.stack([frame.images for frame in frames]),
            labels=np.array(classes if frames[0].images.shape[0] > 1 else [""]),
            kind=np.array(kind),
            epoch_ends=np.array(epoch_ends(steps[-1], per_epoch)),
            codes=np.stack(positions),
            code_labels=labels[: len(positions[0])].astype(np.uint8),
        )


def in_a_plane(codes: list[np.ndarray]) -> list[np.ndarray]:
    """Return where codes [N, d] lie, [N, 2]: of two dimensions as they are, of more in the last ones' principal plane.

    The plane is the same for all: what moves in the film are the codes, not the view.
    """
    count, dimensions = codes[-1].shape
    if count == 0:
        return [code[:, :1].repeat(2, 1) for code in codes]
    if dimensions <= 2:
        return [np.pad(code, ((0, 0), (0, 2 - dimensions))) for code in codes]
    centre, directions, _ = principal(torch.from_numpy(codes[-1]).float(), 2)
    return [((torch.from_numpy(code).float() - centre) @ directions).numpy() for code in codes]
