"""Download of a data set: official files fetched, verified, decoded, split and written to data/NAME/.

The official test images are the test split, untouched. The validation split is cut from the official training images,
by the same draw every time, so that every model is chosen on the same images. `digits` has no official split: a
fixed fifth of its images is the test split.
"""

import shutil
import socket
import tempfile
from collections.abc import Callable
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

from atlas.core.files import AtlasError, atomic_dir, write_json
from atlas.core.settings import require_known

Uint8 = NDArray[np.uint8]

TIMEOUT = 60.0
"""Seconds without a byte after which a download fails; torchvision itself would wait for ever."""

Part = tuple[Uint8, Uint8]
"""Images [N, C, H, W] and labels [N]."""
Decoded = tuple[Part, Part, list[str]]
"""Official training images (before the validation split is cut), test images and class names."""


def download(name: str, validation: int, folder: Path, mirror: Path | None) -> str:
    """Download the data set `name` to `folder` (data/NAME), whole or not at all; the same bytes every time.

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
    num_train, read = SOURCES[require_known("dataset", name, SOURCES)]
    if not 1 <= validation < num_train:
        raise AtlasError(
            f"datasets.{name}.validation: found {validation}; allowed: 1 to {num_train - 1}, "
            f"cut from the {num_train} training images"
        )
    if mirror is not None and not mirror.is_dir():
        raise AtlasError(
            f"ATLAS_MIRROR: there is no folder '{mirror}'; name one laid out as torchvision's root, or unset it to "
            "download from the official hosts"
        )
    with atomic_dir(folder) as tmp:
        # Inside: atomic_dir has made the parent folder, and next time clears away what a killed download left here.
        with tempfile.TemporaryDirectory(prefix=f".{folder.name}.part", dir=folder.parent) as work:
            train, test, classes = read(Path(work), mirror)
        held_out = stratified(train[1], validation)
        splits = {
            "train": [array[~held_out] for array in train],
            "validation": [array[held_out] for array in train],
            "test": test,
        }
        for split, arrays in splits.items():
            for part, array in zip(("images", "labels"), arrays, strict=True):
                np.save(tmp / f"{split}_{part}.npy", np.ascontiguousarray(array))
        counts = {split: len(labels) for split, (_, labels) in splits.items()}
        shape = list(test[0].shape[1:])
        content = {"name": name, "shape": shape, "classes": classes, "counts": counts}
        framing = "digit" if shape[0] == 1 else "crop"
        write_json(tmp / "dataset.json", {**content, "framing": framing, "background": "#ffffff"})
    if read is _digits:
        return "scikit-learn"
    return f"the mirror {mirror}" if mirror else "the official hosts"


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


def _mnist(work: Path, mirror: Path | None) -> Decoded:
    files = [(f"MNIST/raw/{file}", md5) for file, md5 in MNIST.resources]
    return _load_verified(MNIST, files, work, mirror)


def _cifar10(work: Path, mirror: Path | None) -> Decoded:
    batches = [*CIFAR10.train_list, *CIFAR10.test_list, (CIFAR10.meta["filename"], CIFAR10.meta["md5"])]
    files = [(f"{CIFAR10.base_folder}/{file}", md5) for file, md5 in batches]
    archive = (CIFAR10.filename, CIFAR10.tgz_md5)
    if mirror is None or ((mirror / archive[0]).is_file() and not all((mirror / file).is_file() for file, _ in files)):
        files = [archive]
    return _load_verified(CIFAR10, files, work, mirror)


def _digits(_work: Path, _mirror: Path | None) -> Decoded:
    """Read scikit-learn's 8x8 digits, made to look like MNIST's: 20x20, centered on 28x28, with sharp strokes."""
    digits = load_digits()
    images = np.stack([_enlarge(image) for image in digits.images])[:, None]
    labels = digits.target.astype(np.uint8)
    test = stratified(labels, len(labels) // 5)
    return (images[~test], labels[~test]), (images[test], labels[test]), [str(name) for name in digits.target_names]


def _enlarge(digit: NDArray[np.float64]) -> Uint8:
    """Enlarge a digit of 8x8 values in 0..16 to uint8 [28, 28]."""
    small = Image.fromarray(np.round(np.pad(digit, 2) * (255 / 16)).astype(np.uint8))
    large = np.asarray(small.resize((30, 30), Image.Resampling.BICUBIC))[1:-1, 1:-1].astype(np.float64)
    # Enlarging blurs; more contrast about mid-grey makes strokes of it again.
    return np.clip(np.round(1.5 * (large - 127.5) + 127.5), 0, 255).astype(np.uint8)


def _load_verified(kind: Any, files: list[tuple[str, str]], work: Path, mirror: Path | None) -> Decoded:
    """Load torchvision's dataset of that class, made of `files`: (path below torchvision's root, MD5)."""
    if mirror is not None:
        # A copy is verified before torchvision would silently download a wrong one anew.
        for file, md5 in files:
            source, target = mirror / file, work / file
            if not source.is_file():
                raise AtlasError(
                    f"{source} is missing: ATLAS_MIRROR must hold the official files, laid out as torchvision's root"
                )
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                shutil.copyfile(source, target)
            except OSError as error:
                raise AtlasError(f"{source} could not be copied to {target}: {error.strerror or error}") from error
            if (actual := calculate_md5(target)) != md5:
                raise AtlasError(
                    f"{source} is not the official file: its MD5 is {actual}, expected {md5}; replace it, or unset "
                    "ATLAS_MIRROR to download from the official hosts"
                )
    timeout = socket.getdefaulttimeout()
    # torchvision has no parameter for it.
    socket.setdefaulttimeout(TIMEOUT)
    try:
        train, test = (kind(work, train=train, download=True) for train in (True, False))
    except (RuntimeError, URLError, HTTPException, ConnectionError, TimeoutError, SSLError) as error:
        # torchvision leaves what it got: a file there that is not the official one says what went wrong.
        for file, md5 in files:
            if (work / file).is_file() and (actual := calculate_md5(work / file)) != md5:
                raise AtlasError(
                    f"the download of {Path(file).name} was cut short or altered: its MD5 is {actual}, expected {md5}; "
                    "run the same command again"
                ) from error
        raise AtlasError(
            f"{kind.__name__} could not be downloaded: connect to the internet, or set ATLAS_MIRROR to a folder laid "
            "out as torchvision's root, or try the dataset that needs no network: `make repro RUNS=digits_cvae_2` "
            f"({' '.join(str(error).split())})"
        ) from error
    finally:
        socket.setdefaulttimeout(timeout)
    # MNIST's first class is "0 - zero" there, and its images have no axis of channels.
    return _part(train), _part(test), [name.partition(" - ")[0] for name in train.classes]


def _part(split: Any) -> Part:
    images = np.asarray(split.data)
    return images.reshape(*images.shape[:3], -1).transpose(0, 3, 1, 2), np.asarray(split.targets, dtype=np.uint8)


SOURCES: dict[str, tuple[int, Callable[[Path, Path | None], Decoded]]] = {
    "mnist": (60_000, _mnist),
    "cifar10": (50_000, _cifar10),
    "digits": (1_797 - 1_797 // 5, _digits),
}
"""Of each data set, the number of official training images, known before anything is fetched, and what reads it:
(empty working folder, mirror) -> the decoded data set."""
