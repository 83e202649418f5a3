"""A folder of images as a data set: labels, splits, kinds of files, and everything that is refused in one line."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from atlas.core.datasets import Dataset
from atlas.core.files import AtlasError
from atlas.core.schema import FolderSettings
from atlas.data.download import download
from atlas.data.folder import read_folder

MIRROR = os.environ.get("ATLAS_MIRROR")


def write(
    root: Path, labels: dict[str, int], suffix: str = ".png", size: tuple[int, int] = (20, 16), **about: Any
) -> Path:
    """Write images whose every pixel says which label they have, and their number: {folder: how many}."""
    mode = about.pop("mode", "RGB")
    for number, (label, count) in enumerate(labels.items()):
        (root / label).mkdir(parents=True, exist_ok=True)
        for i in range(count):
            color = (10 * number + 5, i, 200)
            image = Image.new("RGB", size, color).convert(mode)
            image.save(root / label / f"image {i}é{suffix}", **about)
    return root


def read(tmp_path: Path, root: Path, **settings: Any) -> tuple[Dataset, str]:
    about = read_folder(
        "flowers", FolderSettings(source=str(root), **{"size": 16, **settings}), tmp_path / "data" / "flowers"
    )
    return Dataset.open(tmp_path / "data" / "flowers"), about


def pictures(dataset: Dataset, split: str) -> set[tuple[int, ...]]:
    """The colors of a split's images, with their labels."""
    loaded = dataset.split(split)
    return {(*image[:, 3, 3].tolist(), int(label)) for image, label in zip(loaded.images, loaded.labels, strict=True)}


def test_sub_folders_are_the_labels_in_sorted_order(tmp_path: Path) -> None:
    dataset, about = read(tmp_path, write(tmp_path / "my flowers", {"rose": 20, "Aster": 40, "tulip": 20}))
    assert dataset.classes == ["Aster", "rose", "tulip"] and dataset.shape == (3, 16, 16)
    assert dataset.counts == {"train": 64, "validation": 8, "test": 8}
    parts = [pictures(dataset, split) for split in ("train", "validation", "test")]
    assert len(set.union(*parts)) == 80 == sum(map(len, parts)), "every image in one split"
    assert {(color, label) for color, *_, label in set.union(*parts)} == {(5, 1), (15, 0), (25, 2)}
    for split in ("validation", "test"):
        assert np.bincount(dataset.split(split).labels).tolist() == [4, 2, 2], "of every label alike"
    assert len(set(dataset.split("train").labels[:16].tolist())) == 3, "the first images stand for all"
    assert about.endswith("3 labels; nothing passed over")


def test_the_splits_never_move(tmp_path: Path) -> None:
    root = write(tmp_path / "flowers", {"a": 30, "b": 30})
    files = {path.name: path.read_bytes() for path in read(tmp_path, root)[0].folder.iterdir()}
    again = read(tmp_path / "again", root)[0].folder
    assert {path.name: path.read_bytes() for path in again.iterdir()} == files


def test_a_folder_without_sub_folders_is_unlabelled(tmp_path: Path) -> None:
    dataset, about = read(tmp_path, write(tmp_path / "flowers", {".": 40}))
    assert not dataset.labelled and "no labels" in about
    one, _ = read(tmp_path, write(tmp_path / "one", {"all": 40}))
    assert not one.labelled and (one.split("train").labels == 0).all()


def test_folders_named_train_and_test_are_the_splits(tmp_path: Path) -> None:
    root = tmp_path / "flowers"
    write(root / "train", {"a": 20, "b": 20})
    write(root / "test", {"a": 3, "b": 2})
    dataset, _ = read(tmp_path, root)
    assert dataset.counts == {"train": 36, "validation": 4, "test": 5}
    write(root / "val", {"b": 6})
    dataset, _ = read(tmp_path, root)
    assert dataset.counts == {"train": 40, "validation": 6, "test": 5} and dataset.classes == ["a", "b"]
    (root / "val").rename(root / "Valid")
    assert read(tmp_path, root)[0].counts == {"train": 40, "validation": 6, "test": 5}
    (root / "cat").mkdir()
    with pytest.raises(
        AtlasError, match=r"found the folders Valid, cat, test, train in .*; allowed: train/, with test/ and"
    ):
        read(tmp_path, root)


def test_numbers_and_shares_cut_the_splits(tmp_path: Path) -> None:
    root = write(tmp_path / "flowers", {"a": 20, "b": 20})
    assert read(tmp_path, root, validation=5, test=0.25)[0].counts == {"train": 25, "validation": 5, "test": 10}
    for settings, message in (
        ({"test": 0.001}, "datasets.flowers.test: found 0.001, which is 0 of 40 images; allowed: 1 to 39"),
        ({"validation": 40}, "datasets.flowers.validation: found 40; allowed: 1 to 39"),
        ({"validation": 35, "test": 5}, "datasets.flowers.validation: found 35; allowed: 1 to 34, what else is left"),
    ):
        with pytest.raises(AtlasError) as error:
            read(tmp_path, root, **settings)
        assert message in str(error.value)


def test_a_label_of_too_few_images_stays_in_training(tmp_path: Path) -> None:
    dataset, about = read(tmp_path, write(tmp_path / "flowers", {"a": 60, "b": 2}))
    assert (dataset.split("train").labels == 1).sum() == 2 and "too few images to be in every split: b" in about


@pytest.mark.parametrize(
    ("suffix", "mode", "channels"),
    [(".png", "RGB", 3), (".JPG", "RGB", 3), (".webp", "RGB", 3), (".bmp", "RGB", 3), (".gif", "P", 3),
     (".tiff", "CMYK", 3), (".png", "RGBA", 3), (".png", "L", 1), (".jpeg", "L", 1), (".png", "LA", 1),
     (".png", "I;16", 1), (".png", "1", 1)],
)  # fmt: skip
def test_channels_are_what_the_images_are(tmp_path: Path, suffix: str, mode: str, channels: int) -> None:
    root = write(tmp_path / "flowers", {"a": 10}, suffix, mode=mode)
    assert read(tmp_path, root, size=[16, 20])[0].shape == (channels, 16, 20)
    assert read(tmp_path, root, channels=3)[0].shape == (3, 16, 16)
    assert read(tmp_path, root, channels=1)[0].shape == (1, 16, 16)


def test_what_is_no_image_is_passed_over(tmp_path: Path) -> None:
    root = write(tmp_path / "flowers", {"a": 10, "b": 10})
    for name in (".hidden.png", "a/.DS_Store", "a/Thumbs.db", "a/notes.txt", "b/photo.heic", "cover.png"):
        (root / name).write_bytes(b"none")
    write(root / ".git", {"x": 3})
    write(root / "b" / "more", {"deep": 2})
    dataset, about = read(tmp_path, root)
    assert sum(dataset.counts.values()) == 22 and dataset.classes == ["a", "b"]
    assert about.split("; ")[1] == "passed over: 1 .png, 1 .db, 1 .txt, 1 .heic"


def test_broken_images_are_named_or_left_out(tmp_path: Path) -> None:
    root = write(tmp_path / "flowers", {"a": 20, "b": 20})
    whole = (root / "a" / "image 3é.png").read_bytes()
    for i in range(7):
        (root / "a" / f"image {i}é.png").write_bytes(b"text" if i % 2 else whole[: len(whole) // 2])
    with pytest.raises(AtlasError) as error:
        read(tmp_path, root)
    message = str(error.value)
    assert message.startswith("datasets.flowers.source: 7 of 40 image files are broken: ") and "\n" not in message
    assert "image 0é.png (" in message and "image 1é.png (no image)" in message and " and 2 more; mend" in message
    dataset, about = read(tmp_path, root, broken="skip")
    assert sum(dataset.counts.values()) == 33 and about.endswith("7 broken images left out")
    for i in range(20):
        (root / "a" / f"image {i}é.png").write_bytes(b"text")
    with pytest.raises(AtlasError, match="all images of a are broken"):
        read(tmp_path, root, broken="skip")


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (None, "there is no folder '.*'; if DVC tracks it, `dvc pull` brings it"),
        ({}, r"found 0 images in .* \(nothing passed over\); allowed: 10 or more, .png, "),
        ({".": 1}, r"found 1 image in "),
        ({"a": 20, "b": 0}, "found no image in .*/b; allowed: one or more in every label's folder"),
        ({"rose": 10, "Rose": 10}, "found Rose and rose in .*; allowed: names that differ in more than case"),
        ({f"label {i}": 1 for i in range(201)}, "found 201 folders of labels in .*; allowed: up to 200"),
        ({"train/a": 9, "test/a": 1, "test/b": 3}, "found no training images of b; allowed: some of every label"),
    ],
    ids=str,
)
def test_what_is_no_data_set_is_refused(tmp_path: Path, labels: dict[str, int] | None, message: str) -> None:
    root = tmp_path / "flowers"
    if labels is not None:
        root.mkdir()
        write(root, labels)
    with pytest.raises(AtlasError, match=f"^datasets.flowers.source: {message}") as error:
        read(tmp_path, root)
    assert "\n" not in str(error.value) and not (tmp_path / "data").exists()


@pytest.mark.skipif(not MIRROR, reason="set ATLAS_MIRROR to a folder of the official files to run this")
def test_cifar10_as_a_folder_gives_the_arrays_of_the_official_files(tmp_path: Path) -> None:
    assert MIRROR
    download("cifar10", 5000, tmp_path / "cifar10", Path(MIRROR))
    official = Dataset.open(tmp_path / "cifar10")
    for split, folder, count in (("train", "train", 400), ("validation", "val", 100), ("test", "test", 100)):
        part = official.split(split, limit=count)
        for i, (image, label) in enumerate(zip(part.images.numpy(), part.labels, strict=True)):
            path = tmp_path / "images" / folder / official.classes[label] / f"{i:05d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image.transpose(1, 2, 0)).save(path)
    dataset, _ = read(tmp_path, tmp_path / "images", size=32)
    assert dataset.classes == official.classes and dataset.shape == official.shape
    for split, count in (("train", 400), ("validation", 100), ("test", 100)):
        ours, theirs = (
            sorted(
                image.tobytes() + bytes([label]) for image, label in zip(part.images.numpy(), part.labels, strict=True)
            )
            for part in (dataset.split(split), official.split(split, limit=count))
        )
        assert ours == theirs
