"""A data set's folder as small archives, and back: images as lossless sheets, half the size of the arrays."""

import hashlib
import io
import json
import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from atlas.away.parcels import Item, Packed, check, pack
from atlas.datasets import SPLITS, Dataset
from atlas.errors import AtlasError
from atlas.files import whole_folder

SIDE = 64
"""Images along the side of a sheet."""
ALLOWED = re.compile(r"dataset\.json|[a-z]+_labels\.npy|[a-z]+_images_\d{3}\.webp")
Bytes = NDArray[np.uint8]


def split(folder: Path, target: Path, most: int) -> Packed:
    """Write data/NAME as archives NAME_1.zip, NAME_2.zip, ... of at most `most` bytes into `target`."""
    dataset = Dataset.open(folder)
    if dataset.shape[0] not in (1, 3):
        raise AtlasError(f"{folder}: images of {dataset.shape[0]} channels; allowed: 1 or 3")
    arrays = {f"{part}_images.npy": dataset.split(part).images.numpy() for part in SPLITS}
    about = {
        "kind": "data",
        "dataset": folder.name,
        "arrays": {name: {"images": len(array), "sha256": _hash(array)} for name, array in arrays.items()},
        "shape": list(dataset.shape),
    }

    def items() -> Iterator[Item]:
        for file in sorted(folder.iterdir()):
            if file.name not in arrays:
                yield Item(file.name, file.read_bytes)
        for name, array in arrays.items():
            for number, start in enumerate(range(0, len(array), SIDE * SIDE)):
                part = array[start : start + SIDE * SIDE]
                yield Item(f"{name.removesuffix('.npy')}_{number:03d}.webp", partial(to_sheet, part))

    packed = pack(items(), about, target / folder.name, most, 99)
    if packed.left:
        raise AtlasError(f"--most: no archive has room for {packed.left[0]}; allowed: more MiB")
    return packed


def join(archives: list[Path], data: Path) -> str:
    """Write data/NAME from all its archives, whole or not at all, and return the name.

    Raises:
        AtlasError: if an archive is damaged, or some are missing or of another data set.
    """
    parcels = [check(path, ALLOWED) for path in archives]
    about = [{key: value for key, value in parcel.manifest.items() if key != "files"} for parcel in parcels]
    if any(one != about[0] for one in about) or about[0].get("kind") != "data":
        raise AtlasError(f"{', '.join(map(str, archives))}: not archives of one data set")
    name, shape = str(about[0]["dataset"]), tuple(about[0]["shape"])
    if not re.fullmatch(r"[a-z0-9_]+", name):
        raise AtlasError(f"{archives[0]}: found the data set {name!r:.50}")
    found = {file: content for parcel in parcels for file, content in parcel.files()}
    with whole_folder(data / name) as aside:
        for file in [file for file in found if not file.endswith(".webp")]:
            (aside / file).write_bytes(found[file])
        for file, array in about[0]["arrays"].items():
            np.save(aside / file, _gather(archives, file, array, shape, found))
    return name


def _gather(archives: list[Path], file: str, about: dict[str, Any], shape: tuple[int, ...], found: dict) -> Bytes:
    stem, count = file.removesuffix(".npy"), int(about["images"])
    sheets = [f"{stem}_{number:03d}.webp" for number in range(-(-count // SIDE**2))]
    missing = [sheet for sheet in sheets if sheet not in found]
    if missing:
        raise AtlasError(
            f"{missing[0]} is in none of {', '.join(map(str, archives))}: name all archives of the data set"
        )
    array = np.concatenate([from_sheet(found[sheet], (shape[0], shape[1], shape[2])) for sheet in sheets])[:count]
    if _hash(array) != about["sha256"]:
        raise AtlasError(f"{file}: the images are not those that were split; is Pillow's WebP support whole?")
    return array


def to_sheet(images: Bytes) -> bytes:
    """Return uint8 images [N, C, H, W], C 1 or 3, as one lossless WebP picture, row by row, the rest black."""
    count, channels, height, width = images.shape
    rows = -(-count // SIDE)
    full = np.zeros((rows * SIDE, channels, height, width), np.uint8)
    full[:count] = images
    sheet = full.reshape(rows, SIDE, channels, height, width).transpose(0, 3, 1, 4, 2)
    picture = np.broadcast_to(sheet.reshape(rows * height, SIDE * width, channels), (rows * height, SIDE * width, 3))
    content = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(picture)).save(
        content, "WEBP", lossless=True, method=0, quality=50, exact=True
    )
    return content.getvalue()


def from_sheet(content: bytes, shape: tuple[int, int, int]) -> Bytes:
    """Return the images of a sheet, uint8 [N, C, H, W] with N a multiple of `SIDE`."""
    channels, height, width = shape
    with Image.open(io.BytesIO(content), formats=["WEBP"]) as picture:
        sheet = np.asarray(picture.convert("RGB"))[:, :, :channels]
    rows = len(sheet) // height
    return np.ascontiguousarray(sheet.reshape(rows, height, SIDE, width, channels).transpose(0, 2, 4, 1, 3)).reshape(
        rows * SIDE, channels, height, width
    )


def _hash(array: Bytes) -> str:
    return hashlib.sha256(json.dumps(array.shape).encode() + np.ascontiguousarray(array).tobytes()).hexdigest()
