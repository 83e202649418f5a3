"""A folder of images as a data set: sub-folders are the labels, as torchvision's ImageFolder reads them.

`train/`, `test/` and `val/` at its top are its splits; what is missing of them is cut from the training images by a
fixed draw that takes every label alike. The images of each split lie in a fixed random order, so that the first of them
stand for all.
"""

import os
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
from PIL import Image

from atlas.core.files import AtlasError, atomic_dir
from atlas.core.images import to_pixels
from atlas.core.schema import FolderSettings
from atlas.core.sizes import check_size
from atlas.data.splits import Part, Uint8, number, stratified, write

T = TypeVar("T")

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff")
SPLIT_NAMES = {"train": "train", "val": "validation", "valid": "validation", "validation": "validation", "test": "test"}
MAX_LABELS = 200
MIN_IMAGES = 10
GREY = ("1", "L", "LA", "I", "F")
"""Modes of grey images, or their beginnings."""
NAMED = 5
"""Files that an error names."""


@dataclass(frozen=True)
class Found:
    """What a folder holds, in the order of names; no image was opened."""

    root: Path
    classes: list[str]
    """Two or more, or none."""
    paths: list[Path]
    labels: Uint8
    splits: list[str]
    """Of each image: "train", "validation" or "test" where the folder says it, else ""."""
    ignored: Counter[str]
    """Files that are no images, or lie beside the folders of the labels, by their suffix."""

    def about(self) -> str:
        """Say how many files were passed over, and which."""
        kinds = ", ".join(f"{count} {suffix or 'without suffix'}" for suffix, count in self.ignored.most_common(NAMED))
        return f"passed over: {kinds}" if kinds else "nothing passed over"


class Header(NamedTuple):
    """What the first bytes of an image file say."""

    size: tuple[int, int]
    """Width and height, as stored."""
    mode: str
    grey: bool


def find(name: str, source: str) -> Found:
    """Find the images and labels of a folder.

    Raises:
        AtlasError: if there is no such folder, or what it holds is no data set, naming the setting and the folder.
    """
    key, root = f"datasets.{name}.source", Path(source)
    if not root.is_dir():
        raise AtlasError(
            f"{key}: there is no folder {source!r}; if DVC tracks it, `dvc pull` brings it; with the data of others "
            "and without their images, `dvc repro --allow-missing` goes on"
        )
    ignored: Counter[str] = Counter()
    folders = _folders(key, root)
    parts = {folder: SPLIT_NAMES[folder.lower()] for folder in folders if folder.lower() in SPLIT_NAMES}
    if parts and (len(parts) < len(folders) or "train" not in parts):
        raise AtlasError(
            f"{key}: found the folders {', '.join(folders[:NAMED])} in {root}; allowed: train/, with test/ and val/ or "
            "without, and no others; or folders of labels alone, of other names"
        )
    tops = {root / folder: split for folder, split in parts.items()} or {root: ""}
    ignored.update(_suffix(path) for path in _files(root) if parts)
    images = {top: _by_label(key, top, ignored) for top in tops}
    names = sorted({label for by_label in images.values() for label in by_label})
    if len(names) > MAX_LABELS:
        raise AtlasError(f"{key}: found {len(names)} folders of labels in {root}; allowed: up to {MAX_LABELS}")
    trained = [label for top, split in tops.items() for label in images[top] if split in ("", "train")]
    if missing := [label for label in names if label not in trained]:
        raise AtlasError(
            f"{key}: found no training images of {', '.join(missing[:NAMED])}; allowed: some of every label"
        )
    rows = [
        (path, names.index(label), split)
        for top, split in tops.items()
        for label, paths in images[top].items()
        for path in paths
    ]
    found = Found(
        root,
        names if len(names) > 1 else [],
        [path for path, _, _ in rows],
        np.array([label for _, label, _ in rows], np.uint8),
        [split for _, _, split in rows],
        ignored,
    )
    if len(rows) < MIN_IMAGES:
        raise AtlasError(
            f"{key}: found {len(rows)} image{'' if len(rows) == 1 else 's'} in {root} ({found.about()}); allowed: "
            f"{MIN_IMAGES} or more, {', '.join(SUFFIXES)}"
        )
    return found


def headers(paths: Sequence[Path]) -> list[Header | str]:
    """Read the headers of image files; of a broken one, what is wrong."""

    def read(path: Path) -> Header | str:
        try:
            with Image.open(path) as image:
                colors = np.array(image.getpalette() or [0, 0, 0]).reshape(-1, 3) if image.mode == "P" else None
                grey = image.mode.startswith(GREY) if colors is None else bool((colors == colors[:, :1]).all())
                return Header(image.size, image.mode, grey)
        except Exception as error:  # Pillow's readers raise all kinds.
            return _reason(error)

    return _map(read, paths)


def decode(
    paths: Sequence[Path], shape: tuple[int, int, int], settings: FolderSettings
) -> tuple[Uint8, dict[Path, str]]:
    """Decode image files to uint8 [N, C, H, W], black in place of the broken ones; and what is wrong with those."""
    images = np.zeros((len(paths), *shape), np.uint8)
    broken = {}

    def read(index: int) -> None:
        try:
            with Image.open(paths[index]) as image:
                images[index] = to_pixels(image, shape, settings.fit, settings.background)
        except Exception as error:  # Pillow's readers raise all kinds.
            broken[paths[index]] = _reason(error)

    _map(read, range(len(paths)))
    return images, dict(sorted(broken.items()))


def image_shape(settings: FolderSettings, heads: Sequence[Header | str]) -> tuple[int, int, int]:
    """Return the shape (C, H, W) that the settings give these images: in color if one of them is."""
    color = any(isinstance(head, Header) and not head.grey for head in heads)
    return (settings.channels or (3 if color else 1), *check_size("size", settings.size))


def broken_line(name: str, broken: dict[Path, str], total: int) -> str:
    """Say which files are broken, a few by name."""
    named = ", ".join(f"{path} ({reason})" for path, reason in list(broken.items())[:NAMED])
    more = f" and {len(broken) - NAMED} more" if len(broken) > NAMED else ""
    return f"datasets.{name}.source: {len(broken)} of {total} image files are broken: {named}{more}"


def cut(name: str, settings: FolderSettings, found: Found, whole: np.ndarray) -> dict[str, np.ndarray]:
    """Return the indices of each split's images, in a fixed random order, of those that are `whole`.

    Test and validation images are cut from the training images unless the folder has them. A label of too few images
    for its share stays in the training images.

    Raises:
        AtlasError: if a split would be empty.
    """
    order = np.random.default_rng(0).permutation(len(found.paths))
    order = order[whole[order]]
    given = np.array(found.splits)[order]
    splits = {split: order[given == split] for split in ("validation", "test")}
    rest = order[(given == "") | (given == "train")]
    total = len(rest)
    for split in ("test", "validation"):
        if not len(splits[split]):
            count = number(f"datasets.{name}.{split}", getattr(settings, split), total)
            if count >= len(rest):
                raise AtlasError(
                    f"datasets.{name}.{split}: found {getattr(settings, split)}; allowed: 1 to {len(rest) - 1}, what "
                    "else is left of the training images"
                )
            chosen = stratified(found.labels[rest], count)
            splits[split], rest = rest[chosen], rest[~chosen]
    return {"train": rest, **splits}


def read_folder(name: str, settings: FolderSettings, folder: Path) -> str:
    """Read a folder of images and write it to `folder` (data/NAME), whole or not at all; the same bytes every time.

    Returns:
        Where the images came from and what was left out, in words.

    Raises:
        AtlasError: if the folder is no data set, an image is broken (unless `broken: skip`), or a split would be empty.
    """
    found = find(name, settings.source)
    shape = image_shape(settings, headers(found.paths) if settings.channels is None else [])
    images, broken = decode(found.paths, shape, settings)
    if broken and settings.broken == "stop":
        line = broken_line(name, broken, len(found.paths))
        raise AtlasError(f"{line}; mend or delete them, or leave them out by datasets.{name}.broken: skip")
    whole = np.array([path not in broken for path in found.paths])
    if empty := [label for i, label in enumerate(found.classes) if not (found.labels[whole] == i).any()]:
        raise AtlasError(f"datasets.{name}.source: all images of {', '.join(empty[:NAMED])} are broken")
    splits = cut(name, settings, found, whole)
    labels = found.labels if found.classes else np.zeros_like(found.labels)
    parts: dict[str, Part] = {split: (images[indices], labels[indices]) for split, indices in splits.items()}
    with atomic_dir(folder) as tmp:
        write(tmp, name, found.classes, parts, settings.fit, settings.background)
    notes = [f"{found.root}, {len(found.classes) or 'no'} labels", found.about()]
    notes += [f"{len(broken)} broken images left out"] if broken else []
    return "; ".join(notes + thin(found, splits))


def thin(found: Found, splits: dict[str, np.ndarray]) -> list[str]:
    """Say which labels are in the training images alone, having too few images."""
    counts = np.array([np.bincount(found.labels[splits[split]], minlength=256) for split in ("validation", "test")])
    alone = [label for i, label in enumerate(found.classes) if not counts[:, i].all()]
    names = ", ".join(alone[:NAMED]) + (f" and {len(alone) - NAMED} more" if len(alone) > NAMED else "")
    return [f"too few images to be in every split: {names}"] if alone else []


def _by_label(key: str, top: Path, ignored: Counter[str]) -> dict[str, list[Path]]:
    """Return the images of each label's folder, or, where there are none, those of the folder itself as label ""."""
    folders = _folders(key, top)
    if not folders:
        images = _images(_files(top), ignored)
        return {"": images} if images else {}
    ignored.update(_suffix(path) for path in _files(top))
    by_label = {label: _images(_below(top / label), ignored) for label in folders}
    if empty := [label for label, images in by_label.items() if not images]:
        raise AtlasError(
            f"{key}: found no image in {', '.join(str(top / label) for label in empty[:NAMED])}; allowed: one or more "
            f"in every label's folder, {', '.join(SUFFIXES)}"
        )
    return by_label


def _images(paths: list[Path], ignored: Counter[str]) -> list[Path]:
    """Return those that are images by their name, in its order."""
    ignored.update(_suffix(path) for path in paths if path.suffix.lower() not in SUFFIXES)
    return sorted(path for path in paths if path.suffix.lower() in SUFFIXES)


def _folders(key: str, top: Path) -> list[str]:
    names = sorted(path.name for path in top.iterdir() if path.is_dir() and not path.name.startswith((".", "__")))
    for name, following in pairwise(sorted(names, key=str.casefold)):
        if name.casefold() == following.casefold():
            raise AtlasError(
                f"{key}: found {name} and {following} in {top}; allowed: names that differ in more than case"
            )
    return names


def _files(top: Path) -> list[Path]:
    return [path for path in top.iterdir() if path.is_file() and not path.name.startswith(".")]


def _below(top: Path) -> list[Path]:
    """Return the files of a folder and of those inside it, none of them hidden."""
    files = []
    for place, folders, names in os.walk(top, followlinks=True):
        folders[:] = [folder for folder in folders if not folder.startswith((".", "__"))]
        files += [Path(place) / name for name in names if not name.startswith(".")]
    return files


def _suffix(path: Path) -> str:
    return path.suffix.lower()


def _reason(error: Exception) -> str:
    text = " ".join(str(error).split())
    return "no image" if text.startswith("cannot identify image file") else f"{text or type(error).__name__:.60}"


def _map(function: Callable[[T], Any], items: Iterable[T]) -> list[Any]:
    """Call a function of every item, on all cores: Pillow decodes outside Python's lock."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(function, items))
