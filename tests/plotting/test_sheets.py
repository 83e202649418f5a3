"""Sheets of images: what stands in the written PNG, pixel by pixel."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageColor
from tests.plotting.pixels import DIGITS, NAMES, find, noise, read

from atlas.plotting import sheets
from atlas.plotting.canvas import LETTERING

SPAN = np.linspace(-1.5, 1.5, 9)


@pytest.mark.parametrize("count", [1, 7, 13])
def test_each_reconstruction_stands_below_its_original(tmp_path: Path, count: int) -> None:
    originals, made = noise(count, 3, 8, 8, seed=1), noise(count, 3, 8, 8, seed=2)
    sheets.reconstructions(tmp_path / "a.png", originals, made, "run: reconstructions")
    page = read(tmp_path / "a.png")
    places = [(find(page, one), find(page, other)) for one, other in zip(originals, made, strict=True)]
    for (top, left, scale), (below, same_left, same_scale) in places:
        assert (same_left, same_scale) == (left, scale)
        assert 8 * scale < below - top < 9 * scale + 8
    assert len({place[0][0] for place in places}) == (2 if count > 10 else 1)


def test_image_rows_have_one_row_a_name(tmp_path: Path) -> None:
    images = noise(4, 5, 3, 6, 6)
    sheets.image_rows(tmp_path / "a.png", images, NAMES[:4], "run: samples")
    page = read(tmp_path / "a.png")
    places = np.array([[find(page, image)[:2] for image in row] for row in images])
    assert (places[:, :, 0] == places[:, :1, 0]).all() and (np.diff(places[:, 0, 0]) > 0).all()
    assert (places[:, :, 1] == places[:1, :, 1]).all() and (np.diff(places[0, :, 1]) > 0).all()
    assert (page[places[0, 0, 0] :, : places[0, 0, 1]] < 128).any(), "names at the left"


def test_map_rises_to_the_right_and_upwards(tmp_path: Path) -> None:
    n, ascending = 4, np.linspace(-1.5, 1.5, 4)
    images = noise(n, n, 1, 6, 6)
    sheets.latent_map(tmp_path / "a.png", images, ascending, ascending[::-1], "run: map")
    page = read(tmp_path / "a.png")
    top, left, scale = find(page, images[0, 0])
    assert find(page, images[n - 1, 0]) == (top + (n - 1) * 7 * scale, left, scale), "row 0, the largest z2, on top"
    assert find(page, images[0, n - 1]) == (top, left + (n - 1) * 7 * scale, scale)
    for first, second in ((ascending[::-1], ascending[::-1]), (ascending, ascending)):
        with pytest.raises(ValueError, match="ascend"):
            sheets.latent_map(tmp_path / "b.png", images, first, second, "run: map")
    assert not (tmp_path / "b.png").exists()


@pytest.mark.parametrize(("channels", "shown"), [(1, 8), (3, 5)])
def test_maps_of_all_labels_keep_the_corners(tmp_path: Path, channels: int, shown: int) -> None:
    images = noise(10, 9, 9, channels, 6, 6)
    sheets.latent_maps(tmp_path / "a.png", images, SPAN, SPAN[::-1], DIGITS, "run: maps")
    page = read(tmp_path / "a.png")
    starts = [find(page, block[0, 0])[:2] for block in images]
    ends = [find(page, block[-1, -1])[:2] for block in images]
    scale = find(page, images[0, 0, 0])[2]
    assert starts == sorted(starts) and len({top for top, _ in starts}) == 2, "two rows of five"
    for start, end in zip(starts, ends, strict=True):
        assert np.subtract(end, start).tolist() == [(shown - 1) * 7 * scale] * 2


def test_photographs_on_the_maps_of_all_labels_are_enlarged(tmp_path: Path) -> None:
    images = noise(10, 5, 5, 3, 32, 32)
    sheets.latent_maps(tmp_path / "a.png", images, SPAN, SPAN[::-1], DIGITS, "run: maps")
    assert find(read(tmp_path / "a.png"), images[0, 0, 0])[2] == 2


def test_style_transfer_has_styles_in_columns_and_classes_in_rows(tmp_path: Path) -> None:
    originals, transfers = noise(5, 1, 8, 8, seed=1), noise(5, 3, 1, 8, 8, seed=2)
    sheets.style_transfer(tmp_path / "a.png", originals, ["7"] * 5, transfers, DIGITS[:3], "run: styles")
    page = read(tmp_path / "a.png")
    for style in range(5):
        top, left, scale = find(page, originals[style])
        places = [find(page, transfers[style, label]) for label in range(3)]
        assert {place[1] for place in places} == {left}
        assert top + 9 * scale < places[0][0] < places[1][0] < places[2][0]
        assert places[0][0] - top > places[1][0] - places[0][0], "a wider gap sets the originals apart"


def test_image_rows_keep_their_ends_apart(tmp_path: Path) -> None:
    images, before, after = noise(2, 3, 1, 8, 8, seed=1), noise(2, 1, 8, 8, seed=2), noise(2, 1, 8, 8, seed=3)
    sheets.image_rows(tmp_path / "a.png", images, ["a", "b"], "run: strips", "", ["x", "", "", "", "y"], before, after)
    page = read(tmp_path / "a.png")
    for row in range(2):
        cells = [before[row], *images[row], after[row]]
        tops, lefts, scales = zip(*(find(page, cell) for cell in cells), strict=True)
        assert len(set(tops)) == 1 and len(set(scales)) == 1
        steps = np.diff(lefts)
        assert steps[1] == steps[2] == 9 * scales[0] and min(steps[0], steps[3]) > 10 * scales[0]


@pytest.mark.parametrize(("texts", "lines"), [(("7", "99 %"), 1), (("automobile", "99 %"), 2)])
def test_words_above_an_image_mark_what_is_wrong(tmp_path: Path, texts: tuple[str, str], lines: int) -> None:
    originals, made = noise(3, 1, 12, 12, seed=1), noise(3, 1, 12, 12, seed=2)
    sheets.reconstructions(tmp_path / "a.png", originals, made, "run", [texts] * 3, [False, True, False])
    page = read(tmp_path / "a.png")
    red = (page == ImageColor.getrgb(sheets.WRONG)).all(axis=-1)
    places = [find(page, image) for image in originals]
    width = 12 * places[0][2]
    for place, wrong in zip(places, (False, True, False), strict=True):
        top, left, _ = place
        over = slice(0, top), slice(left - 4, left + width + 4)
        assert red[over].any() == wrong
        ink = (page[over][26:].min(axis=-1) < 128).any(axis=1)
        assert np.diff(ink.astype(int)).clip(0).sum() == lines, "rows of text"


def test_arithmetic_has_images_in_rows_and_classes_in_columns(tmp_path: Path) -> None:
    means, originals, moved = noise(3, 1, 8, 8, seed=1), noise(4, 1, 8, 8, seed=2), noise(4, 3, 1, 8, 8, seed=3)
    sheets.label_arithmetic(tmp_path / "a.png", means, originals, ["0", "1", "2", "0"], moved, DIGITS[:3], "run")
    page = read(tmp_path / "a.png")
    heads = [find(page, image) for image in means]
    for row in range(4):
        places = [find(page, image) for image in moved[row]]
        assert [place[1] for place in places] == [head[1] for head in heads]
        assert {place[0] for place in places} == {find(page, originals[row])[0]}
        assert find(page, originals[row])[1] < places[0][1] and places[0][0] > heads[0][0]


def test_image_rows_and_long_words_are_not_cut_off(tmp_path: Path) -> None:
    images = noise(2, 3, 1, 8, 8)
    words = "a very long name of a row that goes on and on and has no end in sight"
    title = "run: " + "many words in a title, " * 12
    below = "from one end of the axis to the other, and so on without an end in sight"
    sheets.image_rows(tmp_path / "a.png", images, [words, "b"], title, below, ["a long name of a column", "", "c"])
    page = read(tmp_path / "a.png")
    find(page, images[1, 2])
    for edge in (page[:5], page[-5:], page[:, :5], page[:, -5:]):
        assert (edge == 255).all()


def test_gray_sheets_are_stored_gray(tmp_path: Path) -> None:
    sheets.image_rows(tmp_path / "a.png", noise(1, 4, 1, 6, 6), [""], "run")
    sheets.image_rows(tmp_path / "b.png", noise(1, 4, 3, 6, 6), [""], "run")
    with Image.open(tmp_path / "a.png") as gray, Image.open(tmp_path / "b.png") as color:
        assert (gray.mode, color.mode) == ("L", "RGB")


@pytest.mark.parametrize(("channels", "classes"), [(1, 10), (3, 10), (1, 3), (3, 1)])
def test_the_style_of_one_image_is_shown_in_every_label(tmp_path: Path, channels: int, classes: int) -> None:
    images, names = noise(classes + 2, channels, 28, 28), [f"automobile {label}" for label in range(classes)]
    sheets.style_transfer_sheet(tmp_path / "a.png", images[0], images[1], images[2:], names, 0, "a run · its style")
    page = read(tmp_path / "a.png")
    assert 480 <= page.shape[1] <= 1400
    positions = [find(page, image, range(1, 17)) for image in images]
    assert len({scale for _, _, scale in positions}) == 1
    assert positions[0][1] == positions[1][1] < min(left for _, left, _ in positions[2:]), "the image at the left"


SHEETS: dict[str, Callable[[Path], None]] = {
    "reconstructions": lambda path: sheets.reconstructions(path, noise(3, 1, 4, 4), noise(3, 1, 4, 4), "t"),
    "latent_map": lambda path: sheets.latent_map(path, noise(2, 2, 1, 4, 4), np.arange(2), -np.arange(2), "t"),
    "latent_maps": lambda path: sheets.latent_maps(path, noise(1, 3, 3, 1, 4, 4), SPAN, SPAN, [""], "t"),
    "style_transfer": lambda path: sheets.style_transfer(
        path, noise(2, 3, 4, 4), NAMES[:2], noise(2, 10, 3, 4, 4), NAMES, "t"
    ),
    "style_transfer_sheet": lambda path: sheets.style_transfer_sheet(
        path, noise(1, 4, 4), noise(1, 4, 4), noise(10, 1, 4, 4), NAMES, 3, "t"
    ),
    "image_rows": lambda path: sheets.image_rows(path, noise(2, 5, 1, 4, 4), ["", ""], "t"),
    "label_arithmetic": lambda path: sheets.label_arithmetic(
        path, noise(10, 1, 4, 4), noise(2, 1, 4, 4), ["0", "1"], noise(2, 10, 1, 4, 4), DIGITS, "t"
    ),
}


def test_a_sheet_tells_what_is_written_on_it_and_where_its_cells_are(tmp_path: Path) -> None:
    originals, transfers = noise(5, 1, 8, 8, seed=1), noise(5, 3, 1, 8, 8, seed=2)
    sheets.style_transfer(tmp_path / "a.png", originals, ["7"] * 5, transfers, DIGITS[:3], "run: styles")
    page = read(tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as image:
        lettering = json.loads(image.info[LETTERING])
    (left, top), (x, y, width, height) = lettering["corner"], lettering["image"]
    assert page[top - 1, left + width // 2].min() == 255 and lettering["size"] == [x + width, y + height]
    cell_width, cell_height, gap = lettering["cell"]
    cells = np.zeros((height, width), bool)
    for place, (start, down, columns, rows) in enumerate(lettering["blocks"]):
        assert (columns, rows) == (5, (1, 3)[place])
        for row in range(rows):
            for column in range(columns):
                at = down + row * (cell_height + gap), start + column * (cell_width + gap)
                image = originals[column] if place == 0 else transfers[column, row]
                assert find(page, image)[:2] == (at[0] + top, at[1] + left)
                cells[at[0] : at[0] + cell_height, at[1] : at[1] + cell_width] = True
    assert (page[top : top + height, left : left + width][~cells] >= 216).all(), "paper and gaps alone"
    texts = [label[2] for label in lettering["labels"]]
    assert texts == ["original", "0", "1", "2", *["7"] * 5]
    for text_x, text_y, _, anchor, size, bold, color in lettering["labels"]:
        assert 0 <= text_x <= x + width and 0 < text_y <= y + height and not bold and color == "#222222"
        # The ink of a name at the left ends where its anchor says, and stands on its baseline.
        if anchor[0] == "r":
            ink = page[round(text_y + top - y - size) : round(text_y + top - y) + 1, : left - 2].min(axis=-1) < 128
            assert abs(np.flatnonzero(ink.any(axis=0)).max() - (text_x + left - x)) < 4
            assert ink.any(axis=1)[-3:].any() and not ink[:1].any()


@pytest.mark.parametrize("name", SHEETS)
def test_same_images_same_bytes(tmp_path: Path, name: str) -> None:
    SHEETS[name](tmp_path / "a.png")
    SHEETS[name](tmp_path / "b.png")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert {path.name for path in tmp_path.iterdir()} == {"a.png", "b.png"}
    read(tmp_path / "a.png")
