"""Canvas: grids to the pixel, captions, lines of text."""

import json
from pathlib import Path

import numpy as np
import pytest
from tests.plotting.pixels import noise

from atlas.plotting.canvas import font, grid, thinned, wrap, write_captions


@pytest.mark.parametrize("channels", [1, 3])
def test_grid_holds_each_image_and_light_gaps(channels: int) -> None:
    images = noise(2, 3, channels, 5, 4)
    canvas = grid(images, gap=2, scale=3)
    assert canvas.shape == (2 * 15 + 2, 3 * 12 + 2 * 2, 3)
    for row in range(2):
        for column in range(3):
            top, left = row * 17, column * 14
            for channel in range(3):
                source = images[row, column, channel if channels == 3 else 0]
                assert (canvas[top : top + 15 : 3, left : left + 12 : 3, channel] == source).all()
                assert (canvas[top + 2 : top + 15 : 3, left + 2 : left + 12 : 3, channel] == source).all()
    assert (canvas[15:17] > 200).all() and (canvas[:, 12:14] > 200).all()


def test_grid_refuses_other_arrays() -> None:
    with pytest.raises(ValueError, match="uint8"):
        grid(np.zeros((1, 1, 1, 4, 4)))
    with pytest.raises(ValueError, match=r"1 or 3"):
        grid(noise(1, 1, 2, 4, 4))


def test_captions_name_files_that_exist(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"")
    captions = [{"file": "a.png", "title": "Ä", "alt": "a picture"}]
    write_captions(tmp_path, captions)
    assert json.loads((tmp_path / "captions.json").read_text()) == captions
    with pytest.raises(ValueError, match=r"b\.png"):
        write_captions(tmp_path, [{"file": "b.png", "title": "b", "alt": "b"}])
    with pytest.raises(ValueError, match="alt"):
        write_captions(tmp_path, [{"file": "a.png", "title": "b", "alt": ""}])


def test_thinning_keeps_both_ends() -> None:
    assert thinned(7, 8) == list(range(7))
    assert thinned(15, 8) == [0, 2, 4, 6, 8, 10, 12, 14]
    assert thinned(100, 3) == [0, 50, 99] or thinned(100, 3) == [0, 49, 99]


def test_wrapping_keeps_every_word() -> None:
    text = "the quick brown fox jumps over the lazy dog"
    lines = wrap(text, 150, 18).split("\n")
    assert " ".join(lines) == text and len(lines) > 2
    assert all(font(18).getlength(line) <= 150 for line in lines)
