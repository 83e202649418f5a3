"""Splits of a data set: fixed draws that take every label alike, and the files that hold them."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from atlas.core.datasets import SPLITS
from atlas.core.files import AtlasError, write_json

Uint8 = NDArray[np.uint8]
Part = tuple[Uint8, Uint8]
"""Images [N, C, H, W] and labels [N]."""


def number(path: str, part: float, total: int) -> int:
    """Number of images of a setting that is a number or a share of `total`, of which some must be left.

    Raises:
        AtlasError: if it takes none or all of them.
    """
    count = part if isinstance(part, int) else round(part * total)
    if not 1 <= count < total:
        share = "" if isinstance(part, int) else f", which is {count} of {total} images"
        raise AtlasError(
            f"{path}: found {part}{share}; allowed: 1 to {total - 1}, cut from the {total} training images, or a share"
        )
    return count


def stratified(labels: Uint8, count: int, seed: int = 0) -> NDArray[np.bool_]:
    """Stratified choice of `count` images, the same share of every class to within one, as a mask over `labels`."""
    shuffled = np.lexsort((np.random.default_rng(seed).random(len(labels)), labels))
    sizes = np.bincount(labels)
    starts = np.cumsum(sizes) - sizes
    # Each image's place within its shuffled class, as a fraction: the lowest `count` take every class equally deep.
    depth = (np.arange(len(labels)) - np.repeat(starts, sizes) + 0.5) / np.repeat(sizes, sizes)
    chosen = np.zeros(len(labels), dtype=np.bool_)
    chosen[shuffled[np.argsort(depth, kind="stable")[:count]]] = True
    return chosen


def write(
    folder: Path, name: str, classes: list[str], splits: Mapping[str, Part], framing: str, background: str
) -> None:
    """Write the arrays of each split and dataset.json, which says what they are, into an empty folder."""
    for split in SPLITS:
        for part, array in zip(("images", "labels"), splits[split], strict=True):
            np.save(folder / f"{split}_{part}.npy", np.ascontiguousarray(array))
    content = {
        "name": name,
        "shape": list(splits["test"][0].shape[1:]),
        "classes": classes,
        "counts": {split: len(splits[split][1]) for split in SPLITS},
        "framing": framing,
        "background": background,
    }
    write_json(folder / "dataset.json", content)
