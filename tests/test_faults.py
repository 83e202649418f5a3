"""Disks that fill up, processes that die, files that are lost or damaged: `dvc repro` mends it, and nothing is lost.

Each fault is done to a finished pipeline; afterwards every byte of every output must be what it was, with nothing left
that DVC or git would see, and nothing is computed again that DVC's cache still has.
"""

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

COMPARED = ("metrics.json", "table.csv", "claims.md", "curves.csv", "comparison.json")

WITHOUT_NETWORK: dict[str, str] = {}

Harm = Callable[[Path, random.Random], None]


@pytest.fixture(scope="module")
def clone(done: Done, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("faults")
    folder = toy.clone(done.folder, place / "clone")
    run(folder, "dvc", "pull")
    # As the pipeline was made: with a network, the gallery would hold the explorer's runtime.
    WITHOUT_NETWORK.update(toy.guarded(place / "guard", place / "network"))
    return folder


def repro(clone: Path) -> list[str]:
    """Run `dvc repro` and return the stages that it ran."""
    return stages_run(run(clone, "dvc", "repro", variables=WITHOUT_NETWORK))


def check_whole(clone: Path, done: Done) -> None:
    """All is as it was, and nothing lies beside it."""
    names = tracked(done.folder)
    kept = run(done.folder, "git", "ls-files", "results").split()
    expected = content(done.folder, [*names, *kept])
    found = content(clone, [*names, *kept])
    assert [name for name in expected if found[name] != expected[name]] == []
    there = {
        str(path.relative_to(clone))
        for top in ("data", "outputs")
        for path in (clone / top).rglob("*")
        if path.is_file()
    }
    # What a killed stage left half-written has a name that neither DVC nor git looks at.
    beside = {name for name in there - set(names) if not name.startswith("outputs/timings/") and ".part" not in name}
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


def flip(path: Path, chance: random.Random) -> None:
    held = bytearray(path.read_bytes())
    held[chance.randrange(len(held))] ^= 1 << chance.randrange(8)
    path.write_bytes(held)


def lengthen(path: Path, chance: random.Random) -> None:
    with path.open("ab") as file:
        file.write(b"\0")


def become_a_folder(path: Path, chance: random.Random) -> None:
    path.unlink()
    path.mkdir()


def litter(path: Path, chance: random.Random) -> None:
    (path.parent / f".{path.name}.part{chance.randrange(10**5)}").write_bytes(b"half")


HARMS: list[Harm] = [remove, remove_folder, truncate, flip, lengthen, become_a_folder, litter]


@pytest.mark.parametrize("seed", range(6))
def test_lost_and_damaged_outputs_come_back_from_the_cache(clone: Path, done: Done, seed: int) -> None:
    """Four at a time, in files of any stage."""
    chance = random.Random(seed)
    harms = chance.sample(HARMS, 4)
    for harm, name in zip(harms, chance.sample(tracked(clone), 4), strict=True):
        # (An earlier one of the four may have taken its folder away.)
        if (clone / name).is_file():
            harm(clone / name, chance)
    # What git keeps of `compare` has no copy in the cache: it is written anew.
    harms[0 if harms[0] is not remove_folder else 1](clone / "results" / chance.choice(COMPARED), chance)
    assert not [stage for stage in repro(clone) if "@" in stage], "the cache has it all"
    check_whole(clone, done)


@pytest.mark.parametrize("seed", range(3))
def test_what_the_cache_lost_too_is_made_again(clone: Path, done: Done, seed: int) -> None:
    """An output and its objects in the cache: gone, or cut short."""
    chance = random.Random(seed)
    stage, folder = chance.choice([("sample", "samples"), ("animate", "animations"), ("train", "models")])
    objects = clone / ".dvc" / "cache" / "files" / "md5"
    for path in sorted((clone / "outputs" / folder / RUN).iterdir()):
        digest = subprocess.run(["md5sum", path], capture_output=True, text=True, check=True).stdout.split()[0]
        held = objects / digest[:2] / digest[2:]
        held.chmod(0o644)
        if chance.random() < 0.5:
            held.unlink()
        else:
            truncate(held, chance)
    shutil.rmtree(clone / "outputs" / folder / RUN)
    assert f"{stage}@{RUN}" in repro(clone)
    check_whole(clone, done)


@pytest.mark.parametrize("name", ["dvc.lock", ".dvc/tmp", "outputs", "data"])
def test_what_dvc_knows_is_found_again_in_its_cache(clone: Path, done: Done, name: str) -> None:
    place = clone / name
    if place.is_dir():
        shutil.rmtree(place)
    else:
        place.unlink()
    again = [stage for stage in repro(clone) if stage.startswith("train")]
    # Who pulled has the outputs and not the record of who made them: without the lock it is trained again, to the same.
    assert not again or name == "dvc.lock"
    check_whole(clone, done)


# --- processes that die, disks that fill up ---------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(8))
def test_a_stage_killed_at_a_random_moment_is_done_again(clone: Path, done: Done, seed: int) -> None:
    chance = random.Random(seed)
    stage = [*STAGES, "compare", "export", "gallery"][seed]
    process = subprocess.Popen(
        ["dvc", "repro", "-f", "-s", stage],
        cwd=clone,
        env=toy.environment() | WITHOUT_NETWORK,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    time.sleep(chance.uniform(1, 8))
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    repro(clone)
    check_whole(clone, done)


@pytest.mark.parametrize("stage", [*STAGES, "export", "gallery", f"download@{DATASET}"])
def test_a_full_disk_is_one_clear_line(clone: Path, done: Done, stage: str) -> None:
    script, _, name = stage.partition("@")
    before = content(clone, tracked(clone))
    done_ = subprocess.run(
        ["python", f"src/{script}.py", *([name] if name else [])],
        cwd=clone,
        env=toy.environment() | WITHOUT_NETWORK,
        capture_output=True,
        text=True,
        check=False,
        timeout=toy.LIMIT,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (FULL, FULL)),
    )
    said = done_.stdout + done_.stderr
    assert done_.returncode != 0 and re.search("error: .* could not be (written|encoded): ", said), said
    assert "Traceback" not in said
    after = content(clone, tracked(clone))
    assert [name for name in before if after[name] not in (before[name], "")] == [], "nothing is half-written"
    repro(clone)
    check_whole(clone, done)
