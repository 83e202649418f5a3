"""Frames of a training: what frames.npz holds, checked as it is read."""

from dataclasses import dataclass, fields
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from atlas.core.files import AtlasError, require
from atlas.plotting.canvas import Array


@dataclass(frozen=True)
class Frames:
    """What frames.npz holds: F frames of L labels."""

    steps: Array
    """int64 [F], ascending."""
    images: Array
    """uint8 [F, L, n, n, C, H, W], row 0 at the top."""
    labels: list[str]
    """Class names, or one empty name if the model is unconditional."""
    kind: str
    """"map" (over a latent space of two dimensions) or "samples" (of n * n fixed codes)."""
    epoch_ends: Array
    """int64 [E], the steps at which epochs end, the first epoch's first."""
    codes: Array
    """float16 [F, N, 2], where the codes of N validation images lie in one plane; N is 0 without an encoder."""
    code_labels: Array
    """uint8 [N], the classes of `codes`."""


def load_frames(path: Path) -> Frames:
    """Read and check outputs/models/RUN/frames.npz.

    Raises:
        AtlasError: if the file is missing, unreadable or not what `Frames` describes.
    """
    stage = f"train@{path.parent.name}"
    try:
        with np.load(require(path, stage), allow_pickle=False) as content:
            arrays = {field.name: content[field.name] for field in fields(Frames)}
    except (OSError, ValueError, KeyError, EOFError, BadZipFile) as error:
        raise AtlasError(f"{path} is damaged ({error}); run `dvc repro --force {stage}`") from None
    steps, images, labels, kind, epoch_ends, codes, code_labels = arrays.values()
    # Where an array has another number of dimensions, its own check below fails.
    count, rows, side, _, *image = images.shape if images.ndim == 7 else [0] * 7
    points = codes.shape[1] if codes.ndim == 3 else 0
    layout: dict[str, tuple[type[np.generic], list[int]]] = {
        "images": (np.uint8, [count, rows, side, side, *image]),
        "steps": (np.integer, [count]),
        "labels": (np.str_, [rows]),
        "codes": (np.float16, [count, points, 2]),
        "code_labels": (np.uint8, [points]),
    }
    problems = [
        f"{key} are {arrays[key].dtype} {list(arrays[key].shape)}, not {dtype.__name__} {shape}"
        for key, (dtype, shape) in layout.items()
        if not np.issubdtype(arrays[key].dtype, dtype) or list(arrays[key].shape) != shape
    ]
    if problems:
        problem = problems[0]
    elif 0 in images.shape or image[0] not in (1, 3):
        problem = f"images are {list(images.shape)}, not [frames, labels, n, n, 1 or 3, height, width]"
    elif (np.diff(steps) <= 0).any():
        problem = "steps are not ascending"
    elif not len(epoch_ends) or not np.isin([0, *epoch_ends], steps).all():
        problem = "there is no frame of every epoch's end"
    elif str(kind) not in ("map", "samples"):
        problem = f'kind is {str(kind)!r}, not "map" or "samples"'
    else:
        return Frames(steps, images, labels.tolist(), str(kind), epoch_ends, codes, code_labels)
    raise AtlasError(f"{path}: {problem}; run `dvc repro --force {stage}`")
