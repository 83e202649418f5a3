"""Files to tensors to batches, on a small dataset written by hand."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.conftest import WriteDataset

from atlas.core.datasets import SPLITS, Dataset, epoch_batches, to_unit
from atlas.core.files import AtlasError

COUNTS = {"train": 12, "validation": 5, "test": 7}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A dataset of 2x3x4 images whose every pixel says which image of which split it belongs to."""
    folder = tmp_path / "data" / "tiny"
    folder.mkdir(parents=True)
    for number, (split, count) in enumerate(COUNTS.items()):
        values = (100 * number + np.arange(count)).astype(np.uint8)
        np.save(folder / f"{split}_images.npy", np.broadcast_to(values[:, None, None, None], (count, 2, 3, 4)))
        np.save(folder / f"{split}_labels.npy", np.arange(count, dtype=np.uint8) % 3)
    _describe(folder)
    return folder


def _describe(folder: Path, **changes: object) -> None:
    content = {"name": "tiny", "shape": [2, 3, 4], "classes": ["a", "b", "c"], "counts": COUNTS}
    (folder / "dataset.json").write_text(json.dumps({**content, **changes}))


def test_a_dataset_says_what_it_holds(folder: Path) -> None:
    dataset = Dataset.open(folder)
    assert (dataset.name, dataset.shape, dataset.classes) == ("tiny", (2, 3, 4), ["a", "b", "c"])
    assert dataset.counts == COUNTS


def test_each_split_holds_its_own_images_in_order(folder: Path) -> None:
    dataset = Dataset.open(folder)
    for number, split in enumerate(SPLITS):
        loaded = dataset.split(split)
        assert len(loaded) == COUNTS[split]
        assert loaded.images.dtype == torch.uint8 and loaded.labels.dtype == torch.int64
        assert loaded.images.shape == (COUNTS[split], 2, 3, 4)
        for i in range(len(loaded)):
            assert (loaded.images[i] == 100 * number + i).all() and loaded.labels[i] == i % 3


def test_a_limit_takes_the_first_images(folder: Path) -> None:
    dataset = Dataset.open(folder)
    whole, part = dataset.split("train"), dataset.split("train", limit=4)
    assert len(part) == 4
    assert torch.equal(part.images, whole.images[:4]) and torch.equal(part.labels, whole.labels[:4])
    assert len(dataset.split("train", limit=12)) == len(dataset.split("train", limit=13)) == 12


def test_a_split_goes_to_the_device_asked_for(folder: Path) -> None:
    loaded = Dataset.open(folder).split("test", device="meta")
    assert loaded.images.device.type == loaded.labels.device.type == "meta"


def test_writing_to_a_split_leaves_the_file_alone(folder: Path) -> None:
    before = (folder / "train_images.npy").read_bytes()
    Dataset.open(folder).split("train").images.zero_()
    assert (folder / "train_images.npy").read_bytes() == before


def test_an_unknown_split_names_those_there_are(folder: Path) -> None:
    with pytest.raises(AtlasError, match="'valid'; there are: train, validation, test"):
        Dataset.open(folder).split("valid")


def test_a_dataset_that_was_not_downloaded_names_the_stage(tmp_path: Path) -> None:
    with pytest.raises(AtlasError, match="dvc repro download@mnist"):
        Dataset.open(tmp_path / "mnist")


def test_a_missing_file_names_the_stage(folder: Path) -> None:
    (folder / "test_labels.npy").unlink()
    with pytest.raises(AtlasError, match=r"test_labels\.npy is missing.*dvc repro download@tiny"):
        Dataset.open(folder).split("test")


@pytest.mark.parametrize(
    "changes",
    [
        {"shape": [2, 3]},
        {"shape": [2, 3, 4.5]},
        {"shape": "image"},
        {"counts": {"train": 12}},
        {"counts": {**COUNTS, "test": 0}},
        {"counts": 24},
        {"classes": None},
    ],
)
def test_a_broken_description_is_refused(folder: Path, changes: dict[str, object]) -> None:
    _describe(folder, **changes)
    with pytest.raises(AtlasError, match=r"dataset\.json is not what the download wrote.*dvc repro download@tiny"):
        Dataset.open(folder)


@pytest.mark.parametrize("text", ["", "[]", "{", "\N{SNOWMAN}"])
def test_a_description_that_is_no_mapping_is_refused(folder: Path, text: str) -> None:
    (folder / "dataset.json").write_bytes(text.encode("utf-16"))
    with pytest.raises(AtlasError, match=r"dataset\.json is not what the download wrote"):
        Dataset.open(folder)


def test_files_that_disagree_with_the_description_are_refused(folder: Path) -> None:
    _describe(folder, counts={**COUNTS, "train": 11})
    with pytest.raises(AtlasError, match=r"train_images\.npy .*uint8 \[12, 2, 3, 4\], .* says uint8 \[11, 2, 3, 4\]"):
        Dataset.open(folder).split("train")


def test_pixels_of_another_type_are_refused(folder: Path) -> None:
    np.save(folder / "train_images.npy", np.zeros((12, 2, 3, 4), np.float32))
    with pytest.raises(AtlasError, match=r"train_images\.npy .*float32"):
        Dataset.open(folder).split("train")


def test_labels_without_a_class_name_are_refused(folder: Path) -> None:
    np.save(folder / "train_labels.npy", np.full(12, 3, np.uint8))
    with pytest.raises(AtlasError, match=r"train_labels\.npy .*label 3, but 3 class names"):
        Dataset.open(folder).split("train")


@pytest.mark.parametrize("keep", [0, 40, 300])
def test_a_truncated_file_is_refused(folder: Path, keep: int) -> None:
    path = folder / "train_images.npy"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(AtlasError, match=r"train_images\.npy is not what the download wrote"):
        Dataset.open(folder).split("train")


def test_a_pickle_is_never_opened(folder: Path) -> None:
    np.save(folder / "train_labels.npy", np.array([print] * 12, dtype=object), allow_pickle=True)
    with pytest.raises(AtlasError, match=r"train_labels\.npy is not what the download wrote"):
        Dataset.open(folder).split("train")


def test_pixels_come_to_the_unit_interval_and_back() -> None:
    pixels = torch.arange(256, dtype=torch.uint8)
    unit = to_unit(pixels)
    assert unit.dtype == torch.float32 and unit.min() == 0 and unit.max() == 1
    assert torch.equal((unit * 255).round().to(torch.uint8), pixels)
    with pytest.raises(TypeError, match="uint8"):
        to_unit(unit)


def _order(count: int, batch_size: int, seed: int, epoch: int) -> list[int]:
    return torch.cat(list(epoch_batches(count, batch_size, seed, epoch))).tolist()


def test_an_epoch_sees_every_image_once() -> None:
    batches = list(epoch_batches(60, 12, seed=1, epoch=2))
    assert [len(batch) for batch in batches] == [12] * 5
    assert all(batch.dtype == torch.int64 and batch.device.type == "cpu" for batch in batches)
    assert sorted(torch.cat(batches).tolist()) == list(range(60))


def test_an_incomplete_last_batch_is_left_out() -> None:
    order = _order(65, 12, seed=1, epoch=2)
    assert len(order) == len(set(order)) == 60 and set(order) < set(range(65))
    assert len(_order(12, 12, seed=1, epoch=2)) == 12


def test_the_order_hangs_on_seed_and_epoch_alone() -> None:
    expected = _order(100, 10, seed=3, epoch=4)
    torch.manual_seed(0)
    np.random.seed(0)
    drawn = torch.rand(1)
    torch.manual_seed(0)
    assert _order(100, 10, seed=3, epoch=4) == expected
    assert torch.equal(torch.rand(1), drawn), "the batches must not draw from the global generator"
    orders = {tuple(_order(100, 10, seed, epoch)) for seed in range(5) for epoch in range(5)}
    assert len(orders) == 25
    assert expected != list(range(100))


def test_fewer_images_than_a_batch_are_refused_at_once() -> None:
    with pytest.raises(AtlasError, match="batch_size: found 128; allowed: at most 100"):
        epoch_batches(100, 128, seed=0, epoch=0)


def test_images_without_labels_have_label_zero(write_dataset: WriteDataset) -> None:
    dataset = Dataset.open(write_dataset(shape=(3, 16, 24), classes=0))
    assert not dataset.labelled and dataset.classes == [] and dataset.shape == (3, 16, 24)
    assert (dataset.split("test").labels == 0).all()
    assert Dataset.open(write_dataset("letters", classes=26)).labelled
