"""Figure of the epochs: which of the training's frames it shows."""

from pathlib import Path

import numpy as np
import pytest
from tests.plotting.test_frames import write_frames

from atlas.figures.samples import epoch_images
from atlas.plotting.frames import load_frames


@pytest.mark.parametrize(("kind", "cell"), [("map", 1), ("samples", 0)])
def test_a_row_an_epoch(tmp_path: Path, kind: str, cell: int) -> None:
    frames = load_frames(write_frames(tmp_path / "frames.npz", kind=np.array(kind)))
    names, images = epoch_images(frames)
    assert names == ["0", "1", "2", "3"]
    assert np.array_equal(images, frames.images[[0, 2, 3, 4]][:, :, cell, cell])
