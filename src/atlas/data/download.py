"""Download of a data set: official files fetched, verified, decoded, split and written to data/NAME/.

The official test images are the test split, untouched. The validation split is cut from the official training images,
by the same draw every time, so that every model is chosen on the same images. `digits` has no official split: a
fixed fifth of its images is the test split.
"""

import shutil
import socket
import tempfile
from collections.abc import Callable
from functools import partial
from http.client import HTTPException
from pathlib import Path
from ssl import SSLError
from typing import Any, NamedTuple
from urllib.error import URLError

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from sklearn.datasets import load_digits
from torchvision.datasets import CIFAR10, CIFAR100, KMNIST, MNIST, SVHN, USPS, FashionMNIST
from torchvision.datasets.utils import calculate_md5

from atlas.core.files import AtlasError, atomic_dir
from atlas.core.schema import require_known
from atlas.data.splits import Part, Uint8, number, stratified, write

TIMEOUT = 60.0
"""Seconds without a byte after which a download fails; torchvision itself would wait for ever."""

Decoded = tuple[Part, Part, list[str]]
"""Official training images (before the validation split is cut), test images and class names."""


def download(name: str, validation: float, folder: Path, mirror: Path | None) -> str:
    """Download the data set `name` to `folder` (data/NAME), whole or not at all; the same bytes every time.

    Args:
        name: one of `SOURCES`.
        validation: images cut from the training images, a number or a share; of every class alike, as far as it goes.
        folder: where the arrays go; what a killed download of the same dataset left beside it is removed.
        mirror: a folder laid out as torchvision's root, copied from and never written to; None for the official hosts.

    Returns:
        Where the images came from, in words.

    Raises:
        AtlasError: on an unknown name, an impossible `validation`, a mirror's file that is missing or not the official
            one, hosts that cannot be reached, a download with the wrong checksum, or a folder that cannot be written.
    """
    source = SOURCES[require_known("dataset", name, SOURCES)]
    number(f"datasets.{name}.validation", validation, source.num_train)
    if mirror is not None and not mirror.is_dir():
        raise AtlasError(
            f"ATLAS_MIRROR: there is no folder '{mirror}'; name one laid out as torchvision's root, or unset it to "
            "download from the official hosts"
        )
    with atomic_dir(folder) as tmp:
        # Inside: atomic_dir has made the parent folder, and next time clears away what a killed download left here.
        with tempfile.TemporaryDirectory(prefix=f".{folder.name}.part", dir=folder.parent) as work:
            train, test, classes = source.read(Path(work), mirror)
        held_out = stratified(train[1], number(f"datasets.{name}.validation", validation, len(train[1])))
        splits: dict[str, Part] = {
            "train": (train[0][~held_out], train[1][~held_out]),
            "validation": (train[0][held_out], train[1][held_out]),
            "test": test,
        }
        write(tmp, name, classes, splits, source.framing, source.background)
    if source.read is _digits:
        return "scikit-learn"
    return f"the mirror {mirror}" if mirror else "the official hosts"


def _files(kind: Any, mirror: Path | None) -> list[tuple[str, str]]:
    """Return the official files of a class of torchvision's: (path below its root, MD5)."""
    if issubclass(kind, MNIST):
        return [(f"{kind.__name__}/raw/{file}", md5) for file, md5 in kind.resources]
    if not issubclass(kind, CIFAR10):
        return [(file, md5) for _, file, md5 in (kind.split_list[split] for split in ("train", "test"))]
    batches = [*kind.train_list, *kind.test_list, (kind.meta["filename"], kind.meta["md5"])]
    files = [(f"{kind.base_folder}/{file}", md5) for file, md5 in batches]
    archive = (kind.filename, kind.tgz_md5)
    if mirror is None or ((mirror / archive[0]).is_file() and not all((mirror / file).is_file() for file, _ in files)):
        return [archive]
    return files


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


def _torchvision(kind: Any, work: Path, mirror: Path | None) -> Decoded:
    """Read torchvision's data set of that class, from files that were verified."""
    files = _files(kind, mirror)
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
        choices = [{"split": split} if kind is SVHN else {"train": split == "train"} for split in ("train", "test")]
        train, test = (kind(work, **choice, download=True) for choice in choices)
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
    # MNIST's first class is "0 - zero" there; some digits have no names.
    names = getattr(train, "classes", [str(digit) for digit in range(10)])
    return _part(train), _part(test), [name.partition(" - ")[0] for name in names]


def _part(split: Any) -> Part:
    images = np.asarray(split.data)
    labels = np.asarray(split.labels if isinstance(split, SVHN) else split.targets, dtype=np.uint8)
    if isinstance(split, CIFAR10):
        images = images.transpose(0, 3, 1, 2)
    return images.reshape(len(images), -1, *images.shape[-2:]), labels


class Source(NamedTuple):
    """What is known of a data set before anything is fetched, and what reads it."""

    num_train: int
    """Official training images."""
    read: Callable[[Path, Path | None], Decoded]
    """(empty working folder, mirror) -> the decoded data set."""
    shape: tuple[int, int, int]
    """Channels, height, width."""
    framing: str = "crop"
    background: str = "#ffffff"


GRAY, COLOR = (1, 28, 28), (3, 32, 32)
SOURCES: dict[str, Source] = {
    "mnist": Source(60_000, partial(_torchvision, MNIST), GRAY, "digit"),
    "fashion_mnist": Source(60_000, partial(_torchvision, FashionMNIST), GRAY, "pad", "#000000"),
    "kmnist": Source(60_000, partial(_torchvision, KMNIST), GRAY, "digit"),
    "usps": Source(7_291, partial(_torchvision, USPS), (1, 16, 16), "digit"),
    "cifar10": Source(50_000, partial(_torchvision, CIFAR10), COLOR),
    "cifar100": Source(50_000, partial(_torchvision, CIFAR100), COLOR),
    "svhn": Source(73_257, partial(_torchvision, SVHN), COLOR),
    "digits": Source(1_797 - 1_797 // 5, _digits, GRAY, "digit"),
}
"""Every data set that is downloaded by its name."""
