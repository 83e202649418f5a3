"""Figures: what stands in the written PNG, pixel by pixel."""

import json
from collections.abc import Callable
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from PIL import Image

from atlas.show import charts, figures, sheets
from atlas.plotting.canvas import font, thinned, wrap
from atlas.plotting.units import unit

DIGITS = [str(number) for number in range(10)]
NAMES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def read(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        assert image.info == {}, "no metadata"
        return np.asarray(image.convert("RGB"))


def packed(pixels: np.ndarray) -> np.ndarray:
    """[H, W, 3] as one number a pixel."""
    return pixels.astype(np.int32) @ np.array([1 << 16, 1 << 8, 1], np.int32)


def find(page: np.ndarray, image: np.ndarray) -> tuple[int, int, int]:
    """The only place (top, left) and the factor at which `page` holds `image` [C, H, W], enlarged exactly."""
    paper, found = packed(page), []
    for scale in range(1, 9):
        channels = [np.kron(channel, np.ones((scale, scale), np.uint8)) for channel in image]
        cell = packed(np.stack(channels if len(channels) == 3 else channels * 3, axis=-1))
        height, width = cell.shape
        places = np.argwhere(paper[: len(paper) - height, : paper.shape[1] - width] == cell[0, 0])
        for y, x in np.random.default_rng(0).integers(0, cell.shape, (12, 2)):
            places = places[paper[places[:, 0] + y, places[:, 1] + x] == cell[y, x]]
        for top, left in places:
            if (paper[top : top + height, left : left + width] == cell).all():
                found.append((int(top), int(left), scale))
    assert len(found) == 1, f"found {len(found)} times"
    return found[0]


@pytest.mark.parametrize("channels", [1, 3])
def test_grid_holds_each_image_and_light_gaps(channels: int) -> None:
    images = noise(2, 3, channels, 5, 4)
    canvas = figures.grid(images, gap=2, scale=3)
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
        figures.grid(np.zeros((1, 1, 1, 4, 4)))
    with pytest.raises(ValueError, match=r"1 or 3"):
        figures.grid(noise(1, 1, 2, 4, 4))


@pytest.mark.parametrize("count", [1, 7, 13])
def test_each_reconstruction_stands_below_its_original(tmp_path: Path, count: int) -> None:
    originals, made = noise(count, 3, 8, 8, seed=1), noise(count, 3, 8, 8, seed=2)
    figures.reconstructions(tmp_path / "a.png", originals, made, "run: reconstructions")
    page = read(tmp_path / "a.png")
    places = [(find(page, one), find(page, other)) for one, other in zip(originals, made, strict=True)]
    for (top, left, scale), (below, same_left, same_scale) in places:
        assert (same_left, same_scale) == (left, scale)
        assert 8 * scale < below - top < 9 * scale + 8
    assert len({place[0][0] for place in places}) == (2 if count > 10 else 1)


def test_samples_have_one_row_a_label(tmp_path: Path) -> None:
    images = noise(4, 5, 3, 6, 6)
    figures.samples(tmp_path / "a.png", images, NAMES[:4], "run: samples")
    page = read(tmp_path / "a.png")
    places = np.array([[find(page, image)[:2] for image in row] for row in images])
    assert (places[:, :, 0] == places[:, :1, 0]).all() and (np.diff(places[:, 0, 0]) > 0).all()
    assert (places[:, :, 1] == places[:1, :, 1]).all() and (np.diff(places[0, :, 1]) > 0).all()
    assert (page[places[0, 0, 0] :, : places[0, 0, 1]] < 128).any(), "names at the left"


def test_unconditional_samples_are_nearly_square(tmp_path: Path) -> None:
    images = noise(1, 11, 1, 6, 6)
    figures.samples(tmp_path / "a.png", images, [""], "run: samples")
    page = read(tmp_path / "a.png")
    places = [find(page, image)[:2] for image in images[0]]
    assert len({top for top, _ in places}) == 3 and len({left for _, left in places}) == 4
    assert places == sorted(places)
    top, left = places[-1]
    assert (page[top:, left + (places[1][1] - places[0][1]) :] == 255).all(), "what the last row lacks is paper"


def test_map_rises_to_the_right_and_upwards(tmp_path: Path) -> None:
    n, ascending = 4, np.linspace(-1.5, 1.5, 4)
    images = noise(n, n, 1, 6, 6)
    figures.latent_map(tmp_path / "a.png", images, ascending, ascending[::-1], "run: map")
    page = read(tmp_path / "a.png")
    top, left, scale = find(page, images[0, 0])
    assert find(page, images[n - 1, 0]) == (top + (n - 1) * 7 * scale, left, scale), "row 0, the largest z2, on top"
    assert find(page, images[0, n - 1]) == (top, left + (n - 1) * 7 * scale, scale)
    for first, second in ((ascending[::-1], ascending[::-1]), (ascending, ascending)):
        with pytest.raises(ValueError, match="ascend"):
            figures.latent_map(tmp_path / "b.png", images, first, second, "run: map")
    assert not (tmp_path / "b.png").exists()


@pytest.mark.parametrize(("channels", "shown"), [(1, 8), (3, 5)])
def test_maps_of_all_labels_keep_the_corners(tmp_path: Path, channels: int, shown: int) -> None:
    images = noise(10, 9, 9, channels, 6, 6)
    figures.latent_maps(tmp_path / "a.png", images, DIGITS, "run: maps")
    page = read(tmp_path / "a.png")
    starts = [find(page, block[0, 0])[:2] for block in images]
    ends = [find(page, block[-1, -1])[:2] for block in images]
    scale = find(page, images[0, 0, 0])[2]
    assert starts == sorted(starts) and len({top for top, _ in starts}) == 2, "two rows of five"
    for start, end in zip(starts, ends, strict=True):
        assert np.subtract(end, start).tolist() == [(shown - 1) * 7 * scale] * 2


def test_photographs_on_the_maps_of_all_labels_are_enlarged(tmp_path: Path) -> None:
    images = noise(10, 5, 5, 3, 32, 32)
    figures.latent_maps(tmp_path / "a.png", images, DIGITS, "run: maps")
    assert find(read(tmp_path / "a.png"), images[0, 0, 0])[2] == 2


def test_style_transfer_has_styles_in_columns_and_classes_in_rows(tmp_path: Path) -> None:
    originals, transfers = noise(5, 1, 8, 8, seed=1), noise(5, 3, 1, 8, 8, seed=2)
    figures.style_transfer(tmp_path / "a.png", originals, ["7"] * 5, transfers, DIGITS[:3], "run: styles")
    page = read(tmp_path / "a.png")
    for style in range(5):
        top, left, scale = find(page, originals[style])
        places = [find(page, transfers[style, label]) for label in range(3)]
        assert {place[1] for place in places} == {left}
        assert top + 9 * scale < places[0][0] < places[1][0] < places[2][0]
        assert places[0][0] - top > places[1][0] - places[0][0], "a wider gap sets the originals apart"


def test_strips_keep_their_ends_apart(tmp_path: Path) -> None:
    images, before, after = noise(2, 3, 1, 8, 8, seed=1), noise(2, 1, 8, 8, seed=2), noise(2, 1, 8, 8, seed=3)
    figures.strips(tmp_path / "a.png", images, ["a", "b"], "run: strips", "", ["x", "", "", "", "y"], before, after)
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
    figures.reconstructions(tmp_path / "a.png", originals, made, "run", [texts] * 3, [False, True, False])
    page = read(tmp_path / "a.png")
    red = (page == sheets.WRONG).all(axis=-1)
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
    figures.arithmetic(tmp_path / "a.png", means, originals, ["0", "1", "2", "0"], moved, DIGITS[:3], "run")
    page = read(tmp_path / "a.png")
    heads = [find(page, image) for image in means]
    for row in range(4):
        places = [find(page, image) for image in moved[row]]
        assert [place[1] for place in places] == [head[1] for head in heads]
        assert {place[0] for place in places} == {find(page, originals[row])[0]}
        assert find(page, originals[row])[1] < places[0][1] and places[0][0] > heads[0][0]


def test_strips_and_long_words_are_not_cut_off(tmp_path: Path) -> None:
    images = noise(2, 3, 1, 8, 8)
    words = "a very long name of a row that goes on and on and has no end in sight"
    title = "run: " + "many words in a title, " * 12
    below = "from one end of the axis to the other, and so on without an end in sight"
    figures.strips(tmp_path / "a.png", images, [words, "b"], title, below, ["a long name of a column", "", "c"])
    page = read(tmp_path / "a.png")
    find(page, images[1, 2])
    for edge in (page[:5], page[-5:], page[:, :5], page[:, -5:]):
        assert (edge == 255).all()


def test_grey_sheets_are_stored_grey(tmp_path: Path) -> None:
    figures.samples(tmp_path / "a.png", noise(1, 4, 1, 6, 6), [""], "run")
    figures.samples(tmp_path / "b.png", noise(1, 4, 3, 6, 6), [""], "run")
    with Image.open(tmp_path / "a.png") as grey, Image.open(tmp_path / "b.png") as colour:
        assert (grey.mode, colour.mode) == ("L", "RGB")


def coloured(page: np.ndarray, colour: str) -> np.ndarray:
    """Rows and columns [N, 2] of the pixels within the axes that have about this colour, also where it is pale."""
    wanted = 255 - np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)])
    ink = 255.0 - page[70:815, 100:850]
    strength = np.linalg.norm(ink, axis=-1)
    alike = (ink @ wanted) / np.maximum(strength * np.linalg.norm(wanted), 1) > 0.999
    return np.argwhere(alike & (strength > 100))


@pytest.mark.parametrize("limits", [5.0, None])
def test_scatter_puts_codes_where_they_belong(tmp_path: Path, limits: float | None) -> None:
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(2, dtype=np.uint8), 200)
    codes = rng.normal(0, 0.3, (400, 6)) + np.array([[-3.0, 2.0], [3.0, -2.0]])[labels][:, [0, 1, 0, 0, 0, 0]]
    factor = 1 if limits else 40
    figures.latent_scatter(tmp_path / "a.png", codes * factor, labels, ["cat", "dog"], "run: codes", limits)
    page = read(tmp_path / "a.png")
    cats, dogs = (coloured(page, charts.COLOURS[label]).mean(axis=0) for label in (0, 1))
    assert cats[0] < dogs[0] - 100, "larger z2 is higher"
    assert cats[1] < dogs[1] - 200, "larger z1 is further right"
    if limits:
        # 745 x 750 pixels hold most of an axis of ten units: three units are about 228 pixels.
        assert dogs[1] - cats[1] == pytest.approx(6 * 76, abs=15)
        assert dogs[0] - cats[0] == pytest.approx(4 * 76, abs=15)


def test_labels_of_a_scatter_do_not_cover_each_other() -> None:
    texts = ["deer", "horse", "truck", "automobile"]
    places = charts._apart(np.array([[300.0, 300], [310, 300], [290, 302], [740, 900]]), texts, 30, 760)
    heights = np.sort(places[:3, 1])
    assert (np.diff(heights) > 29).all()
    assert places[3, 0] + font(30, bold=True).getlength("automobile") / 2 <= 760.01 and places[3, 1] <= 760


@pytest.mark.parametrize(("distance", "named"), [(3.0, True), (0.05, False)])
def test_names_stand_in_the_scatter_only_where_they_find_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, distance: float, named: bool
) -> None:
    written: list[str] = []
    text = Axes.text

    def write(self: Axes, x: float, y: float, words: str, **more: Any) -> object:
        written.append(words)
        return text(self, x, y, words, **more)

    monkeypatch.setattr(Axes, "text", write)
    labels = np.repeat(np.arange(3), 30)
    codes = np.random.default_rng(0).normal(0, 0.3, (90, 2)) + distance * labels[:, None]
    figures.latent_scatter(tmp_path / "a.png", codes, labels, ["cat", "dog", "bird"], "run: codes", 9.0)
    assert written == (["cat", "dog", "bird"] if named else [])


# Machado, Oliveira and Fernandes 2009, "A physiologically-based model for simulation of color vision deficiency",
# table 1, severity 1: what linear RGB becomes to a protanope, a deuteranope and a tritanope.
BLINDNESS = [
    [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
]


def lab(linear: np.ndarray) -> np.ndarray:
    """CIELAB of linear sRGB [3] in daylight."""
    xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]) @ linear.clip(0, 1)
    scaled = xyz / [0.9505, 1.0, 1.089]
    f = np.where(scaled > (6 / 29) ** 3, np.cbrt(scaled), scaled / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def test_ten_classes_can_be_told_apart_by_colour_blind_readers() -> None:
    assert len(charts.COLOURS) == len(charts.MARKS) == 10
    colours = np.array([to_rgb(colour) for colour in charts.COLOURS])
    linear = np.where(colours <= 0.04045, colours / 12.92, ((colours + 0.055) / 1.055) ** 2.4)
    for seen in (np.eye(3), *np.array(BLINDNESS)):
        shown = [lab(seen @ colour) for colour in linear]
        for one, other in combinations(range(10), 2):
            # Two is a difference just noticed side by side.
            least = 40 if charts.MARKS[one] == charts.MARKS[other] else 15
            assert np.linalg.norm(shown[one] - shown[other]) > least, (one, other)


def test_a_share_is_not_said_to_be_nats() -> None:
    shares = ("real_probability", "fake_probability", "discriminator_paused", "discriminator_won", "class_accuracy")
    assert not [term for term in shares if "nats" in unit(term)]
    assert {unit(term) for term in ("nelbo", "class_cross_entropy", "feature_distance")} == {"nats per image"}


def test_a_heavy_svg_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(charts, "SVG_BYTES", 1000)
    figures.loss_curves(tmp_path / "a.png", [{"epoch": 1, "step": 5, "split": "train", "rate": 1.0}], "t")
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


def test_curves_read_the_history_as_it_is_written(tmp_path: Path) -> None:
    header = ["epoch", "step", "split", "rate", "distortion", "gan", "unused"]
    rows = [
        ["1", "10", "train", "1.5", "200", "0.7", ""],
        ["1", "10", "validation", "1.6", "210", "", ""],
        ["2", "20", "train", "2.5", "150", "0.6", ""],
        ["2", "20", "validation", "2.6", "160", "", ""],
    ]
    history = [dict(zip(header, row, strict=True)) for row in rows]
    assert charts._series(history) == {
        "rate": {"train": [(1, 1.5), (2, 2.5)], "validation": [(1, 1.6), (2, 2.6)]},
        "distortion": {"train": [(1, 200), (2, 150)], "validation": [(1, 210), (2, 160)]},
        "gan": {"train": [(1, 0.7), (2, 0.6)]},
    }
    figures.loss_curves(tmp_path / "a.png", history, "run: loss")
    page = read(tmp_path / "a.png")
    blue, red = np.array([0x44, 0x77, 0xAA]), np.array([0xCC, 0x33, 0x11])
    third = page.shape[1] // 3
    assert all((page[:, i * third : (i + 1) * third] == blue).all(axis=-1).any() for i in range(3)), "three panels"
    assert not (page[150:, 2 * third + 60 :] == red).all(axis=-1).any(), "no validation where there is none"


def all_figures() -> dict[str, Callable[[Path], None]]:
    values = np.linspace(-1, 1, 3)
    codes, labels = np.random.default_rng(0).normal(0, 1, (50, 2)), np.arange(50) % 10
    history = [{"epoch": 1, "step": 5, "split": "train", "rate": 1.0}]
    return {
        "reconstructions": lambda p: figures.reconstructions(p, noise(3, 1, 4, 4), noise(3, 1, 4, 4), "t"),
        "samples": lambda p: figures.samples(p, noise(10, 2, 3, 4, 4), NAMES, "t"),
        "latent_map": lambda p: figures.latent_map(p, noise(3, 3, 1, 4, 4), values, values[::-1], "t"),
        "latent_maps": lambda p: figures.latent_maps(p, noise(1, 3, 3, 1, 4, 4), [""], "t"),
        "latent_scatter": lambda p: figures.latent_scatter(p, codes, labels, NAMES, "t"),
        "style_transfer": lambda p: figures.style_transfer(
            p, noise(2, 3, 4, 4), NAMES[:2], noise(2, 10, 3, 4, 4), NAMES, "t"
        ),
        "strips": lambda p: figures.strips(p, noise(2, 5, 1, 4, 4), ["", ""], "t"),
        "arithmetic": lambda p: figures.arithmetic(
            p, noise(10, 1, 4, 4), noise(2, 1, 4, 4), ["0", "1"], noise(2, 10, 1, 4, 4), DIGITS, "t"
        ),
        "loss_curves": lambda p: figures.loss_curves(p, history, "t"),
    }


@pytest.mark.parametrize("name", list(all_figures()))
def test_same_arrays_same_bytes(tmp_path: Path, name: str) -> None:
    draw = all_figures()[name]
    draw(tmp_path / "a.png")
    draw(tmp_path / "b.png")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    names = {"a.png", "b.png"}
    if name in ("latent_scatter", "loss_curves"):
        assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()
        names |= {"a.svg", "b.svg"}
    assert {path.name for path in tmp_path.iterdir()} == names
    read(tmp_path / "a.png")


def test_captions_name_files_that_exist(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"")
    captions = [{"file": "a.png", "title": "Ä", "alt": "a picture"}]
    figures.write_captions(tmp_path, captions)
    assert json.loads((tmp_path / "captions.json").read_text()) == captions
    with pytest.raises(ValueError, match=r"b\.png"):
        figures.write_captions(tmp_path, [{"file": "b.png", "title": "b", "alt": "b"}])
    with pytest.raises(ValueError, match="alt"):
        figures.write_captions(tmp_path, [{"file": "a.png", "title": "b", "alt": ""}])


def test_thinning_keeps_both_ends() -> None:
    assert thinned(7, 8) == list(range(7))
    assert thinned(15, 8) == [0, 2, 4, 6, 8, 10, 12, 14]
    assert thinned(100, 3) == [0, 50, 99] or thinned(100, 3) == [0, 49, 99]


def test_wrapping_keeps_every_word() -> None:
    text = "the quick brown fox jumps over the lazy dog"
    lines = wrap(text, 150, 18).split("\n")
    assert " ".join(lines) == text and len(lines) > 2
    assert all(font(18).getlength(line) <= 150 for line in lines)
