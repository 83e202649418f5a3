"""Faults: outputs that are lost or damaged, stages that are killed, disks that are full. `dvc repro` mends them all.

Each fault is done to a finished pipeline; afterwards every byte of every output must be what it was, with nothing left
that DVC or git would see, and nothing is computed again that DVC's cache still has. Single files that a full disk cuts
short are tested in tests/core/test_files.py.
"""

import hashlib
import os
import random
import re
import resource
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tests import toy
from tests.conftest import Done
from tests.toy import DATASET, RUN, content, run, stages_run, tracked

FULL = 1000
"""Bytes that a file may grow to on a full disk: less than any stage writes."""
STAGES = [f"train_judge@{DATASET}", *(f"{stage}@{RUN}" for stage in ("train", "sample", "animate", "evaluate"))]


def first_alone(first: object, *others: object) -> list[object]:
    """Return the cases of a test; all but the first are slow."""
    return [first, *(pytest.param(other, marks=pytest.mark.slow) for other in others)]


@pytest.fixture(scope="module")
def offline(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment in which the pipeline was made: with a network, the gallery would hold the explorer's runtime."""
    return toy.recorded(tmp_path_factory.mktemp("recorder") / "recorder")


@pytest.fixture(scope="module")
def clone(done: Done, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = toy.clone(done.folder, tmp_path_factory.mktemp("faults") / "clone")
    run(folder, "dvc", "pull")
    return folder


def check_whole(clone: Path, done: Done) -> None:
    """All is as it was, and nothing lies beside it."""
    names = tracked(done.folder)
    in_git = run(done.folder, "git", "ls-files", "results", "docs").split()
    expected, actual = content(done.folder, [*names, *in_git]), content(clone, [*names, *in_git])
    assert [name for name in expected if actual[name] != expected[name]] == []
    present = {
        str(path.relative_to(clone))
        for top in ("data", "outputs")
        for path in (clone / top).rglob("*")
        if path.is_file()
    }
    # What a killed stage left half-written has a name that neither DVC nor git looks at.
    beside = {name for name in present - set(names) if not name.startswith("outputs/timings/") and ".part" not in name}
    assert beside == set()
    assert run(clone, "git", "status", "--porcelain") == ""
    assert toy.UP_TO_DATE in run(clone, "dvc", "status")


# --- files that are lost or damaged -----------------------------------------------------------------------------------


def remove(path: Path, chance: random.Random) -> None:
    path.unlink()


def remove_folder(path: Path, chance: random.Random) -> None:
    shutil.rmtree(path.parent)


def truncate(path: Path, chance: random.Random) -> None:
    os.truncate(path, chance.randrange(path.stat().st_size))


def flip_bit(path: Path, chance: random.Random) -> None:
    held = bytearray(path.read_bytes())
    held[chance.randrange(len(held))] ^= 1 << chance.randrange(8)
    path.write_bytes(held)


def lengthen(path: Path, chance: random.Random) -> None:
    with path.open("ab") as file:
        file.write(b"\0")


def become_a_folder(path: Path, chance: random.Random) -> None:
    path.unlink()
    path.mkdir()


def leave_a_part(path: Path, chance: random.Random) -> None:
    (path.parent / f".{path.name}.part{chance.randrange(10**5)}").write_bytes(b"half")


HARMS: list[Callable[[Path, random.Random], None]] = [
    remove, remove_folder, truncate, flip_bit, lengthen, become_a_folder, leave_a_part,
]  # fmt: skip


@pytest.mark.parametrize("seed", first_alone(*range(4)))
def test_lost_and_damaged_outputs_come_back(clone: Path, done: Done, offline: dict[str, str], seed: int) -> None:
    """Each harm once, in files of any stage; and one stage's outputs are lost with their copies in the cache."""
    chance = random.Random(seed)
    folder = {"sample": "samples", "animate": "animations", "train": "models"}
    stage = ["sample", "train", "animate", "sample"][seed]
    lost = clone / "outputs" / folder[stage] / RUN
    objects = clone / ".dvc" / "cache" / "files" / "md5"
    for path in sorted(lost.iterdir()):
        digest = hashlib.md5(path.read_bytes()).hexdigest()
        cached = objects / digest[:2] / digest[2:]
        cached.chmod(0o644)
        if chance.random() < 0.5:
            cached.unlink()
        else:
            truncate(cached, chance)
    shutil.rmtree(lost)
    names = [name for name in tracked(done.folder) if not (clone / name).is_relative_to(lost)]
    for harm, name in zip(HARMS, chance.sample(names, len(HARMS)), strict=True):
        # (An earlier one may have taken its folder away.)
        if (clone / name).is_file():
            harm(clone / name, chance)
    # What git keeps of `compare` has no copy in the cache: it is written anew.
    flip_bit(clone / "results" / "metrics.json", chance)
    redone = stages_run(run(clone, "dvc", "repro", variables=offline))
    assert [name for name in redone if "@" in name] == [f"{stage}@{RUN}"], "the cache has the others"
    check_whole(clone, done)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["dvc.lock", ".dvc/tmp", "outputs", "data"])
def test_what_dvc_knows_is_restored_from_its_cache(clone: Path, done: Done, offline: dict[str, str], name: str) -> None:
    place = clone / name
    if place.is_dir():
        shutil.rmtree(place)
    else:
        place.unlink()
    redone = stages_run(run(clone, "dvc", "repro", variables=offline))
    # Who pulled has the outputs and not the record of who made them: without the lock it is trained again, to the same.
    assert name == "dvc.lock" or not [stage for stage in redone if stage.startswith("train")]
    check_whole(clone, done)


# --- processes that die, disks that are full --------------------------------------------------------------------------


@pytest.mark.parametrize("stage", first_alone(STAGES[1], STAGES[0], *STAGES[2:], "compare", "export", "gallery"))
def test_a_killed_stage_is_done_again(clone: Path, done: Done, offline: dict[str, str], stage: str) -> None:
    process = subprocess.Popen(
        ["dvc", "repro", "-f", "-s", stage],
        cwd=clone,
        env=toy.environment() | offline,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    time.sleep(random.Random(stage).uniform(3, 8))
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    run(clone, "dvc", "repro", variables=offline)
    check_whole(clone, done)


@pytest.mark.parametrize("stage", first_alone(f"download@{DATASET}", *STAGES, "export", "gallery"))
def test_a_full_disk_is_one_clear_line(clone: Path, done: Done, offline: dict[str, str], stage: str) -> None:
    script, _, name = stage.partition("@")
    names = tracked(done.folder)
    before = content(clone, names)
    process = subprocess.run(
        ["python", f"src/{script}.py", *([name] if name else [])],
        cwd=clone,
        env=toy.environment() | {"PATH": offline["PATH"], "RECORDER_LOG": offline["RECORDER_LOG"]},
        capture_output=True,
        text=True,
        check=False,
        timeout=toy.LIMIT,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (FULL, FULL)),
    )
    output = process.stdout + process.stderr
    assert process.returncode != 0 and re.search("error: .* could not be (written|encoded): ", output), output
    assert "Traceback" not in output
    after = content(clone, names)
    assert [name for name in before if after[name] not in (before[name], "")] == [], "nothing is half-written"
    run(clone, "dvc", "checkout", "-q", "-f")
    assert content(clone, names) == before
