"""Charts: where codes and curves lie in the written PNG."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from tests.plotting.pixels import NAMES, read

from atlas.plotting import charts
from atlas.plotting.canvas import font
from atlas.plotting.style import COLORS


def colored(page: np.ndarray, color: str) -> np.ndarray:
    """Rows and columns [N, 2] of the pixels within the axes that have about this color, also where it is pale."""
    wanted = 255 - np.array([int(color[i : i + 2], 16) for i in (1, 3, 5)])
    ink = 255.0 - page[70:815, 100:850]
    strength = np.linalg.norm(ink, axis=-1)
    similar = (ink @ wanted) / np.maximum(strength * np.linalg.norm(wanted), 1) > 0.999
    return np.argwhere(similar & (strength > 100))


@pytest.mark.parametrize("limits", [5.0, None])
def test_scatter_puts_codes_where_they_belong(tmp_path: Path, limits: float | None) -> None:
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(2, dtype=np.uint8), 200)
    codes = rng.normal(0, 0.3, (400, 6)) + np.array([[-3.0, 2.0], [3.0, -2.0]])[labels][:, [0, 1, 0, 0, 0, 0]]
    factor = 1 if limits else 40
    charts.latent_scatter(tmp_path / "a.png", codes * factor, labels, ["cat", "dog"], "run: codes", limits)
    page = read(tmp_path / "a.png")
    cats, dogs = (colored(page, COLORS[label]).mean(axis=0) for label in (0, 1))
    assert cats[0] < dogs[0] - 100, "larger z2 is higher"
    assert cats[1] < dogs[1] - 200, "larger z1 is further right"
    if limits:
        # 745 x 750 pixels hold most of an axis of ten units: three units are about 228 pixels.
        assert dogs[1] - cats[1] == pytest.approx(6 * 76, abs=15)
        assert dogs[0] - cats[0] == pytest.approx(4 * 76, abs=15)


def test_circles_show_the_prior(tmp_path: Path) -> None:
    codes = np.random.default_rng(0).normal(0, 0.01, (100, 2))
    for prior in (True, False):
        charts.latent_scatter(tmp_path / "a.png", codes, np.full(100, -1), [], "run: codes", 4.0, prior=prior)
        row = read(tmp_path / "a.png")[65:825, 95:855][380 - 20 : 380 + 20].min(axis=(0, 2)) < 150
        # 95 pixels a unit: the circles cross the middle at 1, 2 and 3 to either side.
        crossed = [bool(row[380 + 95 * side - 3 : 380 + 95 * side + 4].any()) for side in (-3, -2, -1, 1, 2, 3)]
        assert crossed == [prior] * 6


def test_labels_of_a_scatter_do_not_cover_each_other() -> None:
    texts = ["deer", "horse", "truck", "automobile"]
    places = charts._separate(np.array([[300.0, 300], [310, 300], [290, 302], [740, 900]]), texts, 30, 760)
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
    charts.latent_scatter(tmp_path / "a.png", codes, labels, ["cat", "dog", "bird"], "run: codes", 9.0)
    assert written == (["cat", "dog", "bird"] if named else [])


def test_a_heavy_svg_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(charts, "SVG_BYTES", 1000)
    charts.loss_curves(tmp_path / "a.png", [{"epoch": 1, "step": 5, "split": "train", "rate": 1.0}], "t")
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
    assert charts.curves(history) == {
        "rate": {"train": [(1, 1.5), (2, 2.5)], "validation": [(1, 1.6), (2, 2.6)]},
        "distortion": {"train": [(1, 200), (2, 150)], "validation": [(1, 210), (2, 160)]},
        "gan": {"train": [(1, 0.7), (2, 0.6)]},
    }
    charts.loss_curves(tmp_path / "a.png", history, "run: loss")
    page = read(tmp_path / "a.png")
    blue, red = np.array([0x44, 0x77, 0xAA]), np.array([0xCC, 0x33, 0x11])
    third = page.shape[1] // 3
    assert all((page[:, i * third : (i + 1) * third] == blue).all(axis=-1).any() for i in range(3)), "three panels"
    assert not (page[150:, 2 * third + 60 :] == red).all(axis=-1).any(), "no validation where there is none"


CODES, LABELS = np.random.default_rng(0).normal(0, 1, (50, 2)), np.arange(50) % 10
HISTORY = [{"epoch": 1, "step": 5, "split": "train", "rate": 1.0}]
VARIANCES = {
    "reparameterized_variance": 2.0,
    "baseline_variance": 40.0,
    "score_variance": 300.0,
    "score_variance_low": 250.0,
}
CHARTS: dict[str, tuple[Callable[[Path], None], bool]] = {
    "latent_scatter": (lambda path: charts.latent_scatter(path, CODES, LABELS, NAMES, "t"), True),
    "loss_curves": (lambda path: charts.loss_curves(path, HISTORY, "t"), True),
    "learning_curve_difference": (
        lambda path: charts.learning_curve_difference(path, "a", "b", [(1, 3, 4), (2, 2, 2.5)], "nelbo"), False,
    ),
    "gradient_variance_chart": (
        lambda path: charts.gradient_variance_chart(path, {"a": VARIANCES, "b": VARIANCES, "gan": {}}), False,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CHARTS)
def test_same_numbers_same_bytes(tmp_path: Path, name: str) -> None:
    draw, svg = CHARTS[name]
    draw(tmp_path / "a.png")
    draw(tmp_path / "b.png")
    suffixes = {".png", ".svg"} if svg else {".png"}
    assert {path.name for path in tmp_path.iterdir()} == {name + suffix for name in "ab" for suffix in suffixes}
    for suffix in suffixes:
        assert (tmp_path / f"a{suffix}").read_bytes() == (tmp_path / f"b{suffix}").read_bytes()
    read(tmp_path / "a.png")


def test_a_gradient_variance_chart_of_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no run has"):
        charts.gradient_variance_chart(tmp_path / "a.png", {"gan": {}})
