"""Loss panel: axes that stand still, curves that grow, and the terms that are shown."""

from pathlib import Path

import numpy as np
import pytest
from tests.animation.digit_frames import LOSSES

from atlas.animation.loss_panel import LossPanel, load_losses
from atlas.core.files import AtlasError


@pytest.mark.parametrize(("height", "width"), [(210, 800), (400, 320)])
def test_axes_stand_still_and_curves_grow(height: int, width: int) -> None:
    panel = LossPanel(LOSSES, 120, height, width)
    # Of two points a curve: nothing before the first epoch's end, all at the last, and never less.
    for left, right, top, bottom in panel.boxes:
        inner = [panel.at(step)[top:bottom, left:right] for step in (0, 30, 59, 90, 120)]
        dark = [int((pixels.min(axis=-1) < 120).sum()) for pixels in inner]
        assert max(dark[:3]) - min(dark[:3]) <= 2 and dark[2] < dark[3] < dark[4]
        now = round((right - left) * 90 / 120)
        assert (inner[3][:, :now] == inner[4][:, :now]).all()
        assert (inner[3][:, now + 1 :] == inner[0][:, now + 1 :]).all()
    outside = np.ones((height, width), bool)
    for left, right, top, bottom in panel.boxes:
        outside[top - 5 : bottom + 5, left : right + 5] = False
    assert (panel.at(0)[outside] == panel.at(120)[outside]).all(), "axes and text stay"


def test_a_curve_lies_where_its_axes_say() -> None:
    panel = LossPanel({"rate": {"validation": [(0, 1.0), (100, 3.0)]}}, 100, 240, 300)
    ((left, right, top, bottom),) = panel.boxes
    column = panel.at(100).min(axis=-1)[top:bottom, (left + right) // 2]
    assert abs(int(column.argmin()) - (bottom - top) / 2) <= 2, "half way up at half of the steps"


def test_the_first_losses_are_read_and_other_files_refused(tmp_path: Path) -> None:
    path = tmp_path / "history.csv"
    columns = "real_probability,a,class_accuracy,b,c_paused,d_won,c,d,e"
    path.write_text(f"epoch,step,split,{columns}\n1,9,train,.5,1,.5,,0,.1,nan,4,1\n1,9,validation,.5,2,.5,3,0,,,5,\n")
    assert list(load_losses(path).items()) == [
        ("a", {"train": [(9, 1.0)], "validation": [(9, 2.0)]}),
        ("b", {"validation": [(9, 3.0)]}),
        ("d", {"train": [(9, 4.0)], "validation": [(9, 5.0)]}),
    ]
    for content in ("epoch,split,a\n1,train,2\n", "epoch,step,split,a\n1,1,train,x\n"):
        path.write_text(content)
        with pytest.raises(AtlasError, match=r"history\.csv is not a history"):
            load_losses(path)
