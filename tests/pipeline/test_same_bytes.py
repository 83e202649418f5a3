"""The same settings on the same machine give the same bytes, wherever the repository lies."""

import json
import shutil
from pathlib import Path

import pytest
from tests import toy
from tests.conftest import Done
from tests.toy import RUN, content, run, tracked


def test_a_training_and_its_animation_at_another_path_are_the_same_bytes(done: Done, tmp_path: Path) -> None:
    """Alone with what dvc.yaml lists, without DVC: a stage is a script that reads files and writes files."""
    other = tmp_path / "somewhere else"
    for name in ("src", "data"):
        shutil.copytree(done.folder / name, other / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(done.folder / "params.yaml", other)
    for stage in ("train", "animate"):
        run(other, "python", f"src/{stage}.py", RUN)
    names = [name for name in tracked(done.folder) if name.startswith((f"outputs/models/{RUN}", "outputs/animations/"))]
    assert len(names) > 8 and content(other, names) == content(done.folder, names)


@pytest.mark.slow
def test_two_clones_at_different_paths_make_the_same_bytes(done: Done, tmp_path: Path) -> None:
    """Every output of every stage, those that git keeps included."""
    other = toy.copy(tmp_path / "somewhere else" / "another-name")
    run(other, "dvc", "repro", variables=toy.recorded(tmp_path / "recorder"))
    names = tracked(done.folder)
    assert tracked(other) == names and len(names) > 40
    first, second = content(done.folder, names), content(other, names)
    assert all(first.values())
    assert [name for name in names if first[name] != second[name]] == []
    results = run(done.folder, "git", "ls-files", "results", "docs").split()
    assert len(results) > 5 and content(other, results) == content(done.folder, results)
    # DVC's own record of all hashes: nothing that a stage reads depends on the clock or the path either.
    assert (other / "dvc.lock").read_bytes() == (done.folder / "dvc.lock").read_bytes()


def test_the_clock_is_written_where_no_stage_looks(done: Done) -> None:
    timing = done.folder / "outputs" / "timings" / f"{RUN}.json"
    assert json.loads(timing.read_text())["seconds"] > 0
    lock = (done.folder / "dvc.lock").read_text()
    assert "timings" not in lock and "timings" not in (done.folder / "dvc.yaml").read_text()
