"""Snapshots of a model during its training, for its animation."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from atlas.core.datasets import Split, to_unit
from atlas.core.files import atomic_write
from atlas.core.latent import decode_uint8, encode_dataset, map_axes, map_codes, pca
from atlas.core.model import Model
from atlas.core.schema import SnapshotSettings, shown_labels


class Snapshot(NamedTuple):
    """What a model decodes and encodes at one moment of its training."""

    images: np.ndarray
    """uint8 [labels, side, side, C, H, W]; the top row of a map has the largest second code."""
    codes: np.ndarray
    """float16 [N, latent_dim] of validation images; of a model that cannot encode, [0, latent_dim]."""


def snapshot_steps(
    steps: int, count: int, steps_per_epoch: int, max_epochs: int, schedule: Sequence[Sequence[int]] | None = None
) -> list[int]:
    """Return the steps after which a snapshot is taken, counted from 0 for the untrained model.

    Most happens early, so the gaps grow: quadratically, from 0 to the last step. Short trainings give fewer snapshots.
    The ends of at most `max_epochs` epochs are among them, for the figure with a row an epoch.

    Args:
        schedule: instead of `count` of them, one every first number of steps up to the second number, pair after pair.
    """
    spaced = np.round(steps * np.linspace(0, 1, count) ** 2).astype(int).tolist()
    if schedule:
        starts = [0, *(until for _, until in schedule)]
        spaced = [0]
        for start, (every, until) in zip(starts, schedule, strict=False):
            spaced += range(start + every, min(until, steps) + 1, every)
    return sorted({*spaced, *epoch_ends(steps, steps_per_epoch, max_epochs)})


def epoch_ends(steps: int, steps_per_epoch: int, max_epochs: int) -> list[int]:
    """Return the steps at which at most `max_epochs` epochs end, evenly spaced, the last among them."""
    epochs = steps // steps_per_epoch
    chosen = np.unique(np.round(np.linspace(1, epochs, min(epochs, max_epochs))).astype(int))
    return (chosen * steps_per_epoch).tolist()


class SnapshotRecorder:
    """Records snapshots: always of the same codes, for the same labels, and of the same validation images.

    Two-dimensional codes are decoded as a map over the normal quantiles (of a model without a prior: over the region
    that the codes of real images occupy at that moment). Larger codes are samples from the prior, since a map of two
    dimensions of many shows little, unless the map is asked for: then the other dimensions are zero (at their mean).
    """

    def __init__(
        self,
        model: Model,
        side: int,
        validation: Split,
        settings: SnapshotSettings,
        seed: int,
        labels: Sequence[int] | None = None,
        as_map: bool = False,
    ) -> None:
        """Record `side` x `side` images a label, or as many as `frame_bytes` allows; by default of `shown_labels`."""
        self.model = model
        names = [str(label) for label in range(model.num_classes)]
        self.labels = [0] if not model.conditional else list(labels or shown_labels("", None, names))
        self.side = max(1, min(side, math.isqrt(settings.frame_bytes // (len(self.labels) * math.prod(model.shape)))))
        self.as_map = as_map or model.latent_dim == 2
        self.quantile = settings.map_quantile
        self.images = to_unit(validation.images[: settings.codes])
        self.image_labels = validation.labels[: settings.codes]
        generator = torch.Generator().manual_seed(seed)
        self.draws = torch.randn(self.side * self.side, model.latent_dim, generator=generator)

    @torch.no_grad()
    def record(self) -> Snapshot:
        """Return the model's snapshot now."""
        training = self.model.training
        self.model.eval()
        encoded = torch.empty(0, self.model.latent_dim)
        if self.model.can("encode"):
            encoded = encode_dataset(self.model, self.images, self.image_labels)
        codes = self._codes(None if self.model.has_prior else encoded)
        images = [decode_uint8(self.model, codes, label, self.images.device) for label in self.labels]
        self.model.train(training)
        grid = np.stack(images).reshape(len(self.labels), self.side, self.side, *self.model.shape)
        return Snapshot(grid, encoded.half().numpy())

    def _codes(self, encoded: Tensor | None) -> Tensor:
        if self.as_map:
            codes = map_codes(*map_axes(self.side, self.quantile, encoded), self.model.latent_dim)
            if encoded is not None:
                codes[:, 2:] = encoded.mean(0)[2:]
            return codes
        return self.draws if encoded is None else encoded.mean(0) + encoded.std(0) * self.draws


def write_snapshots(
    path: Path,
    steps: list[int],
    snapshots: list[Snapshot],
    epochs: list[int],
    labels: np.ndarray,
    names: Sequence[str],
    as_map: bool = False,
) -> None:
    """Write the .npz that stages animate and sample read; the same arrays give the same bytes.

    Args:
        steps: one a snapshot.
        epochs: the steps at which epochs end.
        labels: [N] of the validation images.
        names: of the labels that the snapshots show; one empty name if the model is unconditional.
        as_map: as the recorder was told.
    """
    codes = [snapshot.codes for snapshot in snapshots]
    positions = [position.astype(np.float16) for position in project(codes)]
    with atomic_write(path) as tmp:
        np.savez_compressed(
            tmp,
            steps=np.array(steps),
            images=np.stack([snapshot.images for snapshot in snapshots]),
            labels=np.array(names),
            kind=np.array("map" if as_map or codes[0].shape[1] == 2 else "samples"),
            epoch_ends=np.array(epochs),
            codes=np.stack(positions),
            code_labels=labels[: len(positions[0])].astype(np.uint8),
        )


def project(codes: list[np.ndarray]) -> list[np.ndarray]:
    """Return codes [N, d] in a plane, [N, 2]: two dimensions as they are, more on the last codes' principal components.

    The plane is the same for all: what moves in the animation are the codes, not the view.
    """
    count, dimensions = codes[-1].shape
    if count == 0:
        return [code[:, :1].repeat(2, 1) for code in codes]
    if dimensions <= 2:
        return [np.pad(code, ((0, 0), (0, 2 - dimensions))) for code in codes]
    center, directions, _ = pca(torch.from_numpy(codes[-1]).float(), 2)
    return [((torch.from_numpy(code).float() - center) @ directions).numpy() for code in codes]
