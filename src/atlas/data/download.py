"""Official files to decoded arrays: fetch, verify, split, and write data/NAME/ whole or not at all.

The official test images are the test split, untouched. The validation split is cut from the official training images,
by the same draw every time, so that every model is chosen on the same images. `digits` has no official split: a
fixed fifth of its images is the test split.
"""

import shutil
import socket
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from ssl import SSLError
from typing import Any
from urllib.error import URLError

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from sklearn.datasets import load_digits
from torchvision.datasets import CIFAR10, MNIST
from torchvision.datasets.utils import calculate_md5

from atlas.core.files import AtlasError
from atlas.core.files import atomic_dir, write_json
from atlas.core.settings import known

Bytes = NDArray[np.uint8]

SPLIT_SEED = 0
SILENCE = 60.0
"""Seconds without a byte after which a host counts as dead; torchvision itself would wait for ever."""
NETWORK_ERRORS = (URLError, HTTPException, ConnectionError, TimeoutError, SSLError)


@dataclass(frozen=True)
class Official:
    """Decoded images, uint8 [N, C, H, W], and labels, uint8 [N], before the validation split is cut."""

    train_images: Bytes
    train_labels: Bytes
    test_images: Bytes
    test_labels: Bytes
    classes: list[str]


@dataclass(frozen=True)
class Source:
    """Where a dataset comes from: its training images, known before anything is fetched, and how to read it."""

    train: int
    read: Callable[[Path, Path | None], Official]
    """(empty working folder, mirror) -> the decoded dataset."""
    online: bool = True


def download(name: str, validation: int, folder: Path, mirror: Path | None) -> str:
    """Write the dataset `name` to `folder` (data/NAME), whole or not at all; the same bytes every time.

    Args:
        name: mnist, cifar10 or digits.
        validation: images cut from the training images, an equal share of every class as far as it goes.
        folder: where the arrays go; what a killed download of the same dataset left beside it is removed.
        mirror: a folder laid out as torchvision's root, copied from and never written to; None for the official hosts.

    Returns:
        Where the images came from, in words.

    Raises:
        AtlasError: on an unknown name, an impossible `validation`, a mirror's file that is missing or not the official
            one, hosts that cannot be reached, a download with the wrong checksum, or a folder that cannot be written.
    """
    source = SOURCES[known("dataset", name, SOURCES)]
    if not 1 <= validation < source.train:
        raise AtlasError(
            f"datasets.{name}.validation: found {validation}; allowed: 1 to {source.train - 1}, "
            f"cut from the {source.train} training images"
        )
    if mirror is not None and not mirror.is_dir():
        raise AtlasError(
            f"ATLAS_MIRROR: there is no folder '{mirror}'; name one laid out as torchvision's root, or unset it to "
            "download from the official hosts"
        )
    for leftover in folder.parent.glob(f".{folder.name}.part*"):
        shutil.rmtree(leftover, ignore_errors=True)
    try:
        with atomic_dir(folder) as aside:
            with tempfile.TemporaryDirectory(prefix=f".{folder.name}.part", dir=folder.parent) as work:
                official = source.read(Path(work), mirror)
            _write(aside, name, official, validation)
    except OSError as error:
        raise AtlasError(f"{folder} could not be written: {error.strerror or error}") from error
    if not source.online:
        return "scikit-learn"
    return f"the mirror {mirror}" if mirror else "the official hosts"


def stratified(labels: Bytes, count: int, seed: int = SPLIT_SEED) -> NDArray[np.bool_]:
    """Choose `count` images, of every class the same fraction to within one image; return a mask over `labels`."""
    shuffled = np.lexsort((np.random.default_rng(seed).random(len(labels)), labels))
    sizes = np.bincount(labels)
    starts = np.cumsum(sizes) - sizes
    # Each image's place within its shuffled class, as a fraction: the lowest `count` take every class equally deep.
    depth = (np.arange(len(labels)) - np.repeat(starts, sizes) + 0.5) / np.repeat(sizes, sizes)
    chosen = np.zeros(len(labels), dtype=np.bool_)
    chosen[shuffled[np.argsort(depth, kind="stable")[:count]]] = True
    return chosen


def _write(folder: Path, name: str, official: Official, validation: int) -> None:
    held_out = stratified(official.train_labels, validation)
    splits = {
        "train": (official.train_images[~held_out], official.train_labels[~held_out]),
        "validation": (official.train_images[held_out], official.train_labels[held_out]),
        "test": (official.test_images, official.test_labels),
    }
    for split, (images, labels) in splits.items():
        np.save(folder / f"{split}_images.npy", np.ascontiguousarray(images))
        np.save(folder / f"{split}_labels.npy", np.ascontiguousarray(labels))
    description = {
        "name": name,
        "shape": list(official.test_images.shape[1:]),
        "classes": official.classes,
        "counts": {split: len(labels) for split, (_, labels) in splits.items()},
    }
    write_json(folder / "dataset.json", description)


def _mnist(work: Path, mirror: Path | None) -> Official:
    files = [(f"MNIST/raw/{file}", md5) for file, md5 in MNIST.resources]
    train, test = _verified(MNIST, files, work, mirror)
    return Official(
        train_images=train.data.numpy()[:, None],
        train_labels=train.targets.numpy().astype(np.uint8),
        test_images=test.data.numpy()[:, None],
        test_labels=test.targets.numpy().astype(np.uint8),
        classes=[str(digit) for digit in range(10)],
    )


def _cifar10(work: Path, mirror: Path | None) -> Official:
    batches = [*CIFAR10.train_list, *CIFAR10.test_list, (CIFAR10.meta["filename"], CIFAR10.meta["md5"])]
    files = [(f"{CIFAR10.base_folder}/{file}", md5) for file, md5 in batches]
    archive = (CIFAR10.filename, CIFAR10.tgz_md5)
    if mirror is None or ((mirror / archive[0]).is_file() and not all((mirror / file).is_file() for file, _ in files)):
        files = [archive]
    train, test = _verified(CIFAR10, files, work, mirror)
    return Official(
        train_images=train.data.transpose(0, 3, 1, 2),
        train_labels=np.array(train.targets, dtype=np.uint8),
        test_images=test.data.transpose(0, 3, 1, 2),
        test_labels=np.array(test.targets, dtype=np.uint8),
        classes=list(train.classes),
    )


def _digits(work: Path, mirror: Path | None) -> Official:
    """Bring scikit-learn's 8x8 digits to MNIST's looks: 20x20, centred on 28x28, strokes as sharp as they get."""
    digits = load_digits()
    images = np.stack([_enlarged(image) for image in digits.images])[:, None]
    labels = digits.target.astype(np.uint8)
    test = stratified(labels, len(labels) // 5)
    return Official(images[~test], labels[~test], images[test], labels[test], [str(name) for name in range(10)])


def _enlarged(digit: NDArray[np.float64]) -> Bytes:
    """Enlarge a digit of 8x8 values in 0..16 to uint8 [28, 28]."""
    small = Image.fromarray(np.round(np.pad(digit, 2) * (255 / 16)).astype(np.uint8))
    large = np.asarray(small.resize((30, 30), Image.Resampling.BICUBIC))[1:-1, 1:-1].astype(np.float64)
    # Enlarging blurs; more contrast about mid-grey makes strokes of it again.
    return np.clip(np.round(1.5 * (large - 127.5) + 127.5), 0, 255).astype(np.uint8)


def _verified(kind: Any, files: list[tuple[str, str]], work: Path, mirror: Path | None) -> tuple[Any, Any]:
    """Return torchvision's (train, test) datasets, made of `files`: (path below torchvision's root, MD5)."""
    if mirror is not None:
        for file, md5 in files:
            _copy(mirror / file, work / file, md5)
    try:
        with _impatient():
            return kind(work, train=True, download=True), kind(work, train=False, download=True)
    except (RuntimeError, *NETWORK_ERRORS) as error:
        # torchvision leaves what it got: a file there that is not the official one says what went wrong.
        for file, md5 in files:
            if (work / file).is_file() and (found := calculate_md5(work / file)) != md5:
                raise AtlasError(
                    f"the download of {Path(file).name} was cut short or altered: its MD5 is {found}, expected {md5}; "
                    "run the same command again"
                ) from error
        raise AtlasError(
            f"{kind.__name__} could not be downloaded: connect to the internet, or set ATLAS_MIRROR to a folder laid "
            "out as torchvision's root, or try the dataset that needs no network: `make repro RUNS=digits_cvae_2` "
            f"({' '.join(str(error).split())})"
        ) from error


def _copy(source: Path, target: Path, md5: str) -> None:
    """Copy a mirror's file and verify the copy, before torchvision would silently download a wrong one anew."""
    if not source.is_file():
        raise AtlasError(
            f"{source} is missing: ATLAS_MIRROR must hold the official files, laid out as torchvision's root"
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        shutil.copyfile(source, target)
    except OSError as error:
        raise AtlasError(f"{source} could not be copied to {target}: {error.strerror or error}") from error
    if (found := calculate_md5(target)) != md5:
        raise AtlasError(
            f"{source} is not the official file: its MD5 is {found}, expected {md5}; replace it, or unset "
            "ATLAS_MIRROR to download from the official hosts"
        )


@contextmanager
def _impatient() -> Iterator[None]:
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(SILENCE)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


SOURCES = {
    "mnist": Source(60_000, _mnist),
    "cifar10": Source(50_000, _cifar10),
    "digits": Source(1_797 - 1_797 // 5, _digits, online=False),
}
