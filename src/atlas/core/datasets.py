"""Files to tensors on the device, and the batches drawn from them.

A split is one uint8 tensor on the device: no worker processes, no loader. A batch is `split.images[indices]`.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from atlas.core.files import AtlasError, require

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class Split:
    """Images, uint8 [N, C, H, W], and their labels, int64 [N], on one device."""

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class Dataset:
    """A folder that the download stage wrote: what it holds, and its splits on demand."""

    name: str
    shape: tuple[int, int, int]
    """(channels, height, width)."""
    classes: list[str]
    """Names of the labels: two or more, or none where the images are unlabelled. Their labels are then all 0."""
    counts: dict[str, int]
    """Images in each split."""
    framing: str
    """How an image of another size was, or would be, brought to the shape: digit, crop, pad or stretch."""
    background: str
    """Color under transparent pixels and around padded images, "#rrggbb"."""
    folder: Path

    @property
    def labelled(self) -> bool:
        """Do the images have labels?"""
        return bool(self.classes)

    @classmethod
    def open(cls, folder: Path) -> "Dataset":
        """Read what the dataset in `folder` (data/NAME) holds; no image is read yet.

        Raises:
            AtlasError: if dataset.json is missing or not what the download stage writes.
        """
        path = require(folder / "dataset.json", f"download@{folder.name}")
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            channels, height, width = (_positive(size) for size in content["shape"])
            counts = {split: _positive(content["counts"][split]) for split in SPLITS}
            classes = [str(name) for name in content["classes"]]
            framing, background = content.get("framing", "crop"), content.get("background", "#ffffff")
            return cls(str(content["name"]), (channels, height, width), classes, counts, framing, background, folder)
        except (OSError, KeyError, TypeError, ValueError) as error:
            raise _changed(path, f"{type(error).__name__}: {error}") from None

    def split(self, name: str, device: torch.device | str = "cpu", limit: int | None = None) -> Split:
        """Return the train, validation or test split, or at most its first `limit` images, on `device`.

        Raises:
            AtlasError: if its files disagree with dataset.json.
        """
        if name not in self.counts:
            raise AtlasError(f"{self.folder} has no split '{name}'; there are: {', '.join(self.counts)}")
        count = self.counts[name]
        images = self._array(f"{name}_images.npy", (count, *self.shape))
        labels = self._array(f"{name}_labels.npy", (count,))
        if labels.max() >= max(1, len(self.classes)):
            raise _changed(
                self.folder / f"{name}_labels.npy", f"label {labels.max()}, but {len(self.classes)} class names"
            )
        return Split(
            # The copies take the part that is wanted off the disk; the rest of a mapped file is never read.
            images=torch.from_numpy(np.array(images[:limit])).to(device),
            labels=torch.from_numpy(np.array(labels[:limit], dtype=np.int64)).to(device),
        )

    def _array(self, file: str, shape: tuple[int, ...]) -> NDArray[np.uint8]:
        path = require(self.folder / file, f"download@{self.folder.name}")
        try:
            # Unlike np.load, this reads nothing but a .npy of plain numbers.
            array = np.lib.format.open_memmap(path, mode="r")
        except (OSError, ValueError) as error:
            raise _changed(path, str(error)) from None
        if array.dtype != np.uint8 or array.shape != shape:
            raise _changed(path, f"{array.dtype} {list(array.shape)}, but dataset.json says uint8 {list(shape)}")
        return array


def to_unit(images: Tensor) -> Tensor:
    """Bring uint8 images of any shape to float32 pixels in [0, 1].

    Raises:
        TypeError: if the images are not uint8, as when they were brought to [0, 1] before.
    """
    if images.dtype != torch.uint8:
        raise TypeError(f"images of type torch.uint8 are needed, not {images.dtype}")
    return images.to(torch.float32).div_(255)


def epoch_batches(count: int, batch_size: int, seed: int, epoch: int) -> Iterator[Tensor]:
    """Cut a random order of `count` images into batches of indices, int64 [batch_size], on the CPU.

    The order hangs on (seed, epoch) alone, so a resumed training sees the batches it would have seen. An incomplete
    last batch is left out.

    Raises:
        AtlasError: if there are fewer images than one batch needs.
    """
    if count < batch_size:
        raise AtlasError(f"batch_size: found {batch_size}; allowed: at most {count}, the number of images to train on")
    order = torch.from_numpy(np.random.default_rng((seed, epoch)).permutation(count))
    return iter(order[: count - count % batch_size].split(batch_size))


def _positive(value: Any) -> int:
    if not isinstance(value, int) or value < 1:
        raise ValueError(f"found {value!r}; allowed: a positive whole number")
    return value


def _changed(path: Path, problem: str) -> AtlasError:
    stage = f"download@{path.parent.name}"
    return AtlasError(f"{path} is not what the download wrote ({problem}); run `dvc repro {stage}` to write it again")
