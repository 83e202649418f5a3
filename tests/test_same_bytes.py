"""The same settings on the same machine give the same bytes, wherever the repository lies."""

import json
from pathlib import Path

from tests import toy
from tests.conftest import Done
from tests.toy import RUN, content, run, tracked


def test_two_clones_at_different_paths_make_the_same_bytes(done: Done, tmp_path: Path) -> None:
    """Every output of every stage, those that git keeps included."""
    other = toy.copy(tmp_path / "somewhere else" / "another-name")
    run(other, "dvc", "repro", variables=toy.guarded(tmp_path / "guard", tmp_path / "network"))
    names = tracked(done.folder)
    assert tracked(other) == names and len(names) > 40
    ours, theirs = content(done.folder, names), content(other, names)
    assert all(ours.values())
    assert [name for name in names if ours[name] != theirs[name]] == []
    results = run(done.folder, "git", "ls-files", "results").split()
    assert len(results) > 5 and content(other, results) == content(done.folder, results)
    # DVC's own record of all hashes: nothing that a stage reads depends on the clock or the place either.
    assert (other / "dvc.lock").read_bytes() == (done.folder / "dvc.lock").read_bytes()


def test_the_clock_is_written_where_no_stage_looks(done: Done) -> None:
    timing = done.folder / "outputs" / "timings" / f"{RUN}.json"
    assert json.loads(timing.read_text())["seconds"] > 0
    lock = (done.folder / "dvc.lock").read_text()
    assert "timings" not in lock and "timings" not in (done.folder / "dvc.yaml").read_text()
