"""The README's table and pictures."""

import json
from pathlib import Path

import pytest
from PIL import Image, ImageSequence
from scripts import readme
from tests.toy import ROOT

from atlas.core.files import AtlasError

METRICS = json.loads((ROOT / "results" / "metrics.json").read_text())


def test_the_readme_shows_the_committed_metrics() -> None:
    text = (ROOT / "README.md").read_text()
    assert readme.put_table(text, METRICS) == text, "make readme mends it"
    with pytest.raises(AtlasError, match="found no lines `<!-- table -->`"):
        readme.put_table("nothing", METRICS)


def test_the_flow_s_points_are_those_of_both_runs(tmp_path: Path) -> None:
    points = readme.flow_points(ROOT / "results" / "curves.csv")
    assert [epoch for epoch, *_ in points] == list(range(1, 13))
    assert points[-1][1] < points[-1][2]


@pytest.mark.parametrize(("limit", "counts"), [(10**9, {5}), (1, {2})])
def test_a_gif_has_fewer_frames_and_its_length(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int, counts: set[int]
) -> None:
    frames = [Image.new("L", (8, 8), 20 * index) for index in range(11)]
    durations = [100] * 10 + [2000]
    source, target = tmp_path / "source.gif", tmp_path / "target.gif"
    frames[0].save(source, save_all=True, append_images=frames[1:], duration=durations, loop=0)
    monkeypatch.setattr(readme, "GIF_BYTES", limit)
    readme.thin_gif(source, target)
    with Image.open(target) as gif:
        times = [frame.info["duration"] for frame in ImageSequence.Iterator(gif)]
    assert {len(times)} == counts and sum(times) == sum(durations) and times[-1] == 2000
