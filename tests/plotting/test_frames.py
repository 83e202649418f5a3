"""Frames of a training: read as they were written, and other files refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from atlas.core.files import AtlasError
from atlas.plotting.frames import load_frames


def write_frames(path: Path, **changes: Any) -> Path:
    """frames.npz of a training of three epochs of 4 steps: 10 labels of 3 x 3 cells; None leaves an array out."""
    random = np.random.default_rng(0)
    arrays: dict[str, Any] = {
        "steps": np.array([0, 1, 4, 8, 12]),
        "images": random.integers(0, 256, (5, 10, 3, 3, 1, 4, 4), dtype=np.uint8),
        "labels": np.array([str(label) for label in range(10)]),
        "kind": np.array("map"),
        "epoch_ends": np.array([4, 8, 12]),
        "codes": random.normal(size=(5, 60, 2)).astype(np.float16),
        "code_labels": np.arange(60, dtype=np.uint8) % 10,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, **{key: value for key, value in {**arrays, **changes}.items() if value is not None})
    return path


def test_frames_are_read_as_written(tmp_path: Path) -> None:
    frames = load_frames(write_frames(tmp_path / "frames.npz"))
    with np.load(tmp_path / "frames.npz") as arrays:
        for name in ("steps", "images", "epoch_ends", "codes", "code_labels"):
            assert np.array_equal(getattr(frames, name), arrays[name])
    assert (frames.labels, frames.kind) == ([str(label) for label in range(10)], "map")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"images": None}, "images"),
        ({"images": np.zeros((5, 10, 3, 3, 1, 8, 8))}, "images are float64"),
        ({"images": np.zeros(5, np.uint8)}, r"images are uint8 \[5\]"),
        ({"images": np.zeros((5, 10, 3, 2, 1, 8, 8), np.uint8)}, r"\[5, 10, 3, 2, 1, 8, 8\]"),
        ({"images": np.zeros((5, 10, 3, 3, 2, 8, 8), np.uint8)}, "1 or 3"),
        ({"steps": np.arange(4)}, r"steps are int64 \[4\]"),
        ({"steps": np.array([0, 2, 1, 3, 4])}, "ascending"),
        ({"labels": np.array(["a", "b"])}, r"labels are .*\[2\]"),
        ({"labels": np.array([{}] * 10, dtype=object)}, "allow_pickle"),
        ({"kind": np.array("film")}, "'film'"),
        ({"epoch_ends": None}, "epoch_ends"),
        ({"epoch_ends": np.array([4, 9])}, "every epoch's end"),
        ({"codes": np.zeros((5, 60, 3), np.float16)}, r"codes are float16 \[5, 60, 3\]"),
        ({"codes": np.zeros((5, 60, 2))}, "codes are float64"),
        ({"codes": np.zeros((4, 60, 2), np.float16)}, r"\[4, 60, 2\]"),
        ({"code_labels": np.zeros(59, np.uint8)}, r"code_labels are uint8 \[59\]"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    path = write_frames(tmp_path / "mnist_cvae_2/frames.npz", **changes)
    with pytest.raises(AtlasError, match=message) as caught:
        load_frames(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)
    assert "run `dvc repro --force train@mnist_cvae_2`" in str(caught.value)


def test_a_missing_or_broken_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "mnist_cvae_2/frames.npz"
    with pytest.raises(AtlasError, match=r"missing.*train@mnist_cvae_2"):
        load_frames(path)
    path.parent.mkdir()
    for content in (b"", b"PK\x03\x04 cut short", b"words"):
        path.write_bytes(content)
        with pytest.raises(AtlasError, match="damaged"):
            load_frames(path)
