"""Figure of the epochs: which of the training's frames it shows."""

from pathlib import Path

import numpy as np
import pytest
from tests.plotting.test_frames import write_frames

from atlas.figures.samples import epoch_images
from atlas.plotting.frames import load_frames


@pytest.mark.parametrize("kind", ["map", "samples"])
def test_a_row_an_epoch_each_of_another_code(tmp_path: Path, kind: str) -> None:
    frames = load_frames(write_frames(tmp_path / "frames.npz", kind=np.array(kind)))
    names, images = epoch_images(frames)
    assert names == ["0", "1", "2", "3"]
    cells = set()
    for row, frame in zip(images, [0, 2, 3, 4], strict=True):
        same = (frames.images[frame] == row[:, None, None]).all(axis=(0, 3, 4, 5))
        assert same.sum() == 1, "one code for all labels of a row"
        cells.add(tuple(np.argwhere(same)[0]))
    assert len(cells) > 1
