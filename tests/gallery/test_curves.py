"""Training curves lie where their axes say."""

import pytest

from atlas.gallery.curves import HEIGHT, WIDTH, panels


def test_a_point_and_the_tick_of_its_value_coincide() -> None:
    terms = {"train": [(1.0, 30.0), (2.0, 20.0), (3.0, 10.0)], "validation": [(1.0, 30.0), (3.0, 14.0)]}
    (panel,) = panels({"a": {"loss": terms}, "b": {}})
    train, validation = panel.lines
    assert not panel.logarithmic and (train.split, validation.split) == ("train", "validation")
    assert len(validation.points) == 2 and "14 at epoch 3" in validation.text
    assert all(0 < x < WIDTH and 0 < y < HEIGHT for line in panel.lines for x, y in line.points)
    assert panel.x_ticks == [(x, str(epoch)) for epoch, (x, _) in enumerate(train.points, 1)]
    ticks = {float(text): y for y, text in panel.y_ticks}
    assert all(ticks[value] == y for (_, value), (_, y) in zip(terms["train"], train.points, strict=True))


def test_a_wide_range_gets_a_logarithmic_axis() -> None:
    (panel,) = panels({"a": {"loss": {"train": [(1.0, 1000.0), (2.0, 100.0), (3.0, 10.0)]}}})
    heights = [y for _, y in panel.lines[0].points]
    assert panel.logarithmic and heights[1] == pytest.approx((heights[0] + heights[2]) / 2, abs=0.11)
    assert {float(text): y for y, text in panel.y_ticks}[100.0] == heights[1]


def test_a_single_or_constant_value_has_axes_too() -> None:
    (panel,) = panels({"a": {"share": {"validation": [(1.0, 0.0)]}}})
    assert [text for _, text in panel.x_ticks] == ["1"] and len(panel.lines[0].points) == 1
    assert (panel.y_ticks[0][1], panel.y_ticks[-1][1]) == ("0", "1")
    (panel,) = panels({"a": {"loss": {"train": [(1.0, 5.0), (2.0, 5.0)]}}})
    assert "5" in [text for _, text in panel.y_ticks]
