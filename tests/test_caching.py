"""What a stage reads is what dvc.yaml says that it reads: files, settings, and what is done again after an edit.

(That it lists just the files that it imports is in test_pipeline.)
"""

import json
import shutil
import sys
from pathlib import Path

import pytest
from dvc.repo import Repo
from tests import toy
from tests.conftest import Done
from tests.toy import DATASET, RUN, content

from atlas.core import settings as settings_file

STAGES = [
    f"download@{DATASET}",
    f"train_judge@{DATASET}",
    *(f"{stage}@{RUN}" for stage in ("train", "sample", "animate", "evaluate")),
    "compare",
    "export",
    "side_by_side",
    "gallery",
]
RECORDER = Path(__file__).with_name("recorder.py")
# Of the real repository: stages that gather all runs.
GATHERING = {"compare", "export", "side_by_side", "gallery"}


def lay_out(place: Path, done: Done, deps: list[str]) -> None:
    """Copy params.yaml and a stage's deps, and nothing else, to a place of their own."""
    for name in ("params.yaml", *deps):
        copied(done.folder / name, place / name)
    for package in (done.folder / "src").rglob("__init__.py"):
        # Those that say nothing are no deps.
        target = place / package.relative_to(done.folder)
        if not target.exists() and target.parent.exists():
            copied(package, target)


def files_of(place: Path, name: str) -> list[str]:
    """Return the names of a file, or of all files in a folder."""
    return sorted(str(file.relative_to(place)) for file in [place / name, *(place / name).rglob("*")] if file.is_file())


def copied(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target, dirs_exist_ok=True)
    else:
        shutil.copy(source, target)


@pytest.fixture(scope="module")
def declared(done: Done) -> dict[str, dict[str, list[str]]]:
    """{stage: what the toy copy's dvc.yaml resolves to: command, deps, params, outs}."""
    with Repo(str(done.folder)) as repo:
        found = {stage.name: stage for stage in repo.index.stages}
        assert set(found) == set(STAGES)
        return {
            name: {
                "command": stage.cmd.split()[1:],
                "deps": [dep.def_path for dep in stage.deps if dep.def_path != "params.yaml"],
                "params": [key for dep in stage.deps if dep.def_path == "params.yaml" for key in dep.params],
                "outs": [out.def_path for out in stage.outs],
            }
            for name, stage in found.items()
        }


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_needs_no_file_and_no_setting_but_those_it_declares(
    done: Done, declared: dict[str, dict[str, list[str]]], tmp_path: Path, stage: str
) -> None:
    """Alone with them it makes the same bytes; and it asks for each setting that it declares."""
    place, about = tmp_path / "alone", declared[stage]
    lay_out(place, done, about["deps"])
    variables = toy.guarded(tmp_path / "guard", tmp_path / "network")
    variables["PYTHONPATH"] += f":{place / 'src'}"
    log = tmp_path / "asked"
    toy.run(place, sys.executable, str(RECORDER), str(log), *about["command"], variables=variables)
    for name in about["outs"]:
        made, wanted = files_of(place, name), files_of(done.folder, name)
        assert made == wanted and content(place, made) == content(done.folder, made)
    asked, keys = json.loads(log.read_text()), about["params"]
    undeclared = [part for part in asked if not any(within(part, key) for key in keys)]
    unused = [key for key in keys if not any(within(part, key) or within(key, part) for part in asked)]
    assert (undeclared, unused) == ([], [])


def within(place: str, key: str) -> bool:
    """Is this place in params.yaml `key` or below it?"""
    return place == key or place.startswith(f"{key}.")


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_uses_every_result_that_it_declares(
    done: Done, declared: dict[str, dict[str, list[str]]], tmp_path: Path, stage: str
) -> None:
    """Without one of them it fails, or makes something else."""
    about = declared[stage]
    results = [name for name in about["deps"] if not name.startswith("src/")]
    for number, missing in enumerate(results):
        place = tmp_path / str(number)
        lay_out(place, done, about["deps"])
        gone = place / missing
        if gone.is_dir():
            shutil.rmtree(gone)
        else:
            gone.unlink()
        variables = toy.guarded(tmp_path / f"guard{number}", tmp_path / "network")
        try:
            toy.run(place, sys.executable, *about["command"], variables=variables)
        except toy.Failed:
            continue
        files = [file for name in about["outs"] for file in files_of(done.folder, name)]
        assert content(place, files) != content(done.folder, files), f"{missing} is not read"


# --- what is done again after an edit ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def real() -> dict[str, tuple[str, set[str], set[str]]]:
    """Of the real repository {stage: (its model, the files it hangs on, the settings it hangs on)}."""
    runs = settings_file.load(toy.ROOT / "params.yaml").runs
    with Repo(str(toy.ROOT)) as repo:
        return {
            stage.name: (
                runs[key].model if (key := stage.name.partition("@")[2]) in runs else "",
                {dep.def_path for dep in stage.deps},
                {key for dep in stage.deps if dep.def_path == "params.yaml" for key in dep.params},
            )
            for stage in repo.index.stages
        }


def test_editing_a_members_file_touches_its_runs_only(real: dict[str, tuple[str, set[str], set[str]]]) -> None:
    members = {model for model, _, _ in real.values() if model}
    assert len(members) == 10
    for member in members:
        touched = {name for name, (_, files, _) in real.items() if f"src/atlas/models/{member}.py" in files}
        wanted = {
            name
            for name, (model, _, _) in real.items()
            if model == member and name.split("@")[0] in ("train", "sample", "evaluate")
        }
        assert touched - GATHERING == wanted and len(wanted) >= 3


def test_a_figures_setting_and_its_code_retrain_nothing(real: dict[str, tuple[str, set[str], set[str]]]) -> None:
    for name, (_, files, keys) in real.items():
        if name.startswith(("download", "train")):
            assert not keys & {"sample", "animation"}, name
            assert not [file for file in files if file.startswith(("src/atlas/show", "src/atlas/album"))], name


def test_what_dvc_does_again(done: Done, tmp_path: Path) -> None:
    clone = toy.clone(done.folder, tmp_path / "clone")
    toy.run(clone, "dvc", "pull", "-q")
    edits = {
        # One run is there, a conditional VAE.
        "src/atlas/models/vae.py": {"export"},
        "src/atlas/models/cvae.py": {f"train@{RUN}", f"sample@{RUN}", f"evaluate@{RUN}", "export"},
        "src/atlas/album/space.py": {f"sample@{RUN}"},
        "src/atlas/measures/labels.py": {f"evaluate@{RUN}"},
        "src/atlas/show/drift.py": {f"animate@{RUN}", "gallery"},
    }
    for name, wanted in edits.items():
        before = (clone / name).read_text()
        (clone / name).write_text(before + "\n# An edit.\n")
        assert changed(clone) == wanted, name
        (clone / name).write_text(before)
    params = clone / "params.yaml"
    for old, new, stage in (("map_steps: 15", "map_steps: 11", "sample"), ("fps: 10", "fps: 12", "animate")):
        before = params.read_text()
        params.write_text(before.replace(old, new))
        assert params.read_text() != before and changed(clone) == {f"{stage}@{RUN}"}
        params.write_text(before)
    assert changed(clone) == set()


def changed(clone: Path) -> set[str]:
    """Return the stages of which DVC says that what they read or wrote is no longer what it was."""
    return set(json.loads(toy.run(clone, "dvc", "status", "--json")))
