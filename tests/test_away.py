"""Runs without DVC: stages as DVC reads them, interrupted and gone on with, packed, brought home; nothing damaged in."""

import json
import re
import shutil
import signal
import stat
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from atlas.away import data, home, parcels, stages
from atlas.away.luggage import ALLOWED, halved
from atlas.away.room import Room, room
from atlas.away.work import Work, Workers
from atlas.datasets import SPLITS, Dataset
from atlas.errors import AtlasError
from atlas.files import write_json
from atlas.jobs import PER_RUN

ROOT = Path(__file__).parents[1]
RUNS = ("digits_cvae_2", "digits_again")

# What the real scripts write, in no time. A file `slow` (or `broken`) in data/digits makes trainings last (or fail).
FAKE = """
import csv, json, sys, time
from pathlib import Path
import numpy as np
kind, name = Path(__file__).stem, sys.argv[1]
with open("calls", "a") as calls:
    calls.write(f"{kind}@{name}\\n")
if kind == "train":
    if Path("data/digits/broken").exists() and name == "digits_cvae_2":
        sys.exit("error: runs.digits_cvae_2: found nothing good")
    while Path("data/digits/slow").exists():
        print(f"{name}: step 10 of 100, epoch 1, nelbo 3, 90 s to go", flush=True)
        time.sleep(0.02)
def put(path, content):
    path = Path("outputs") / path
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
if kind in ("train", "train_judge"):
    from safetensors.numpy import save
    weights = save({"w": np.random.default_rng(0).random(4000, dtype=np.float32), "n": np.array([70000])})
if kind == "train_judge":
    put(f"judges/{name}/weights.safetensors", weights)
    put(f"judges/{name}/judge.json", {"test_accuracy": 0.98, "test_n": 359})
if kind == "train":
    put(f"models/{name}/weights.safetensors", weights)
    put(f"models/{name}/model.json", {"run": name})
    put(f"models/{name}/history.csv", b"epoch,step,split,nelbo\\n1,10,train,3.5\\n")
    put(f"timings/{name}.json", {"seconds": 1.0, "machine": "a machine"})
if kind == "sample":
    put(f"samples/{name}/samples.png", np.random.default_rng(1).bytes(3000))
if kind == "animate":
    put(f"animations/{name}/captions.json", {})
    put(f"animations/{name}/all.mp4", np.random.default_rng(2).bytes(9000))
    put(f"animations/{name}/all.gif", np.random.default_rng(3).bytes(20000))
if kind == "evaluate":
    put(f"metrics/{name}.json", {"reconstruction_mse": 0.25, "frechet": 1.5, "frechet_n": 359})
    path = Path("outputs/per_image") / f"{name}.npz"
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, reconstruction_mse=np.ones(3))
print(f"{name}: {kind} done")
"""


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout with the real dvc.yaml and library, stage scripts that take no time, and a little data."""
    root = tmp_path / "there"
    (root / "src").mkdir(parents=True)
    (root / "src" / "atlas").symlink_to(ROOT / "src" / "atlas")
    for name in ("away.py", "compare.py"):
        shutil.copyfile(ROOT / "src" / name, root / "src" / name)
    for name in ("train_judge", *PER_RUN):
        (root / "src" / f"{name}.py").write_text(FAKE)
    for name in ("dvc.yaml", "requirements.txt"):
        shutil.copyfile(ROOT / name, root / name)
    params = (ROOT / "params.yaml").read_text()
    (root / "params.yaml").write_text(
        params.replace("runs:\n", "runs:\n  digits_again: {dataset: digits, model: vae}\n", 1)
    )
    (root / "data" / "digits").mkdir(parents=True)
    (root / "data" / "digits" / "dataset.json").write_text("{}")
    monkeypatch.chdir(root)
    return root


def _work(here: Room, seconds: float = 60.0, jobs: int = 2) -> tuple[Work, list[str]]:
    said: list[str] = []
    return Workers(here, RUNS, jobs, time.monotonic() + seconds, said.append).work(), said


def _calls(here: Room) -> list[str]:
    path = here.folder / "calls"
    return sorted(path.read_text().split()) if path.exists() else []


def _away(*words: str, root: Path = Path()) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(root / "src" / "away.py"), *words], capture_output=True, text=True, check=False, cwd=root
    )


EVERYTHING = sorted(["train_judge@digits", *(f"{kind}@{run}" for kind in PER_RUN for run in RUNS)])


# --- the stages -----------------------------------------------------------------------------------------------------


def test_stages_are_those_that_dvc_reads(monkeypatch: pytest.MonkeyPatch, raw: dict[str, Any]) -> None:
    from dvc.repo import Repo

    with Repo(str(ROOT)) as repo:
        theirs = {stage.addressing: stage for stage in repo.index.stages}
        found = stages.read(ROOT / "dvc.yaml", raw, raw["runs"])
        assert {name for name in theirs if name.split("@")[0] in stages.KINDS} == set(found)
        for name, stage in found.items():
            other = theirs[name]
            assert other.cmd == " ".join(["python", *stage.words])
            assert {out.def_path for out in other.outs} == set(stage.outs)
            assert {dep.def_path for dep in other.deps if dep.def_path != "params.yaml"} == set(stage.deps)
            (params,) = [dep for dep in other.deps if dep.def_path == "params.yaml"]
            assert set(params.params) == set(stage.params)


def test_all_stages_are_done_once_each_after_what_it_needs(repository: Path) -> None:
    here = room(repository, "smoke", None)
    result, said = _work(here)
    assert sorted(result.done) == EVERYTHING == _calls(here) and not result.failed and not result.left
    for run in RUNS:
        order = [result.done.index(name) for name in (f"train@{run}", f"sample@{run}")]
        assert order == sorted(order) and result.done.index("train_judge@digits") < result.done.index(f"evaluate@{run}")
    assert any("sample@digits_again" in line and "sample done" in line for line in said)
    assert not (repository / "outputs").exists(), "what lies beside is left alone"
    again, _ = _work(here)
    assert not again.done and _calls(here) == EVERYTHING


@pytest.mark.parametrize(
    ("change", "redone"),
    [
        ("  map_steps: 15", {f"sample@{run}" for run in RUNS}),
        ("  digits_again: {dataset: digits", {f"{kind}@digits_again" for kind in PER_RUN}),
        ("src/evaluate.py", {f"evaluate@{run}" for run in RUNS}),
        ("data/digits/dataset.json", set(EVERYTHING)),
        ("outputs/samples/digits_again", {"sample@digits_again"}),
        ("src/compare.py", set()),
    ],
)
def test_only_what_hangs_on_a_change_is_done_again(repository: Path, change: str, redone: set[str]) -> None:
    here = room(repository, "smoke", None)
    _work(here)
    if change.startswith("outputs"):
        shutil.rmtree(here.folder / change)
    elif change.startswith(" "):
        text = (repository / "params.yaml").read_text()
        new = "  map_steps: 14" if "map" in change else "  digits_again: {latent_dim: 3, dataset: digits"
        (repository / "params.yaml").write_text(text.replace(change, new))
        here.furnish()
    else:
        with (repository / change).open("a") as file:
            file.write("\n")
    result, _ = _work(here)
    assert set(result.done) == redone and not result.failed


def test_a_run_that_fails_holds_up_no_other(repository: Path) -> None:
    (repository / "data" / "digits" / "broken").touch()
    here = room(repository, "smoke", None)
    result, said = _work(here)
    assert result.failed == {"train@digits_cvae_2": "error: runs.digits_cvae_2: found nothing good"}
    assert set(result.left) == {f"{kind}@digits_cvae_2" for kind in PER_RUN if kind != "train"}
    assert here.complete(RUNS) == ["digits_again"] and any("found nothing good" in line for line in said)
    done = _away("pack", *RUNS, "--scale", "smoke", "--minutes", "1", "--to", "out")
    assert done.returncode == 1 and "error: 1 stages failed" in done.stderr and "Traceback" not in done.stderr
    assert len(list(Path("out").glob("*.zip"))) == 1, "what is done comes home nevertheless"


# --- stopped in the middle ------------------------------------------------------------------------------------------


def test_it_stops_by_itself_and_goes_on(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("atlas.away.work.SAY_EVERY", 0.3)
    slow = repository / "data" / "digits" / "slow"
    here = room(repository, "smoke", None)
    slow.touch()
    workers = Workers(here, RUNS, 2, time.monotonic() + 3.0, said := [].append)  # type: ignore[func-returns-value]
    del said
    lines: list[str] = []
    workers.say = lines.append
    result = workers.work()
    assert {name for name in result.left if name.startswith("train@")} == {f"train@{run}" for run in RUNS}
    assert workers.to_go() is not None or any("s of trainings to go" in line for line in lines)
    assert any(re.search(r"0 of 2 runs done, \d+ s before it stops", line) for line in lines)
    assert result.done == ["train_judge@digits"]
    slow.unlink()
    # The data are what they were before: only the file that slows is gone, so the judge's mark is another.
    result, _ = _work(here)
    assert here.complete(RUNS) == list(RUNS) and not result.left


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_stopped_from_outside_nothing_done_is_lost(repository: Path, how: signal.Signals) -> None:
    here = room(repository, "smoke", None)
    slow = repository / "data" / "digits" / "slow"
    slow.touch()
    words = ["pack", *RUNS, "--scale", "smoke", "--minutes", "5", "--to", "out"]
    process = subprocess.Popen(
        [sys.executable, "src/away.py", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    end = time.monotonic() + 60
    while time.monotonic() < end and len([call for call in _calls(here) if call.startswith("train@")]) < 2:
        time.sleep(0.05)
    process.send_signal(how)
    _, complaint = process.communicate(timeout=30)
    assert process.returncode != 0 and "Traceback" not in complaint
    if how == signal.SIGKILL:
        done = _away(*words)
        assert "runs are being done there" in done.stderr, "its stages still are at work"
    (here.folder / "data" / "digits" / "slow").unlink()
    end = time.monotonic() + 30
    while time.monotonic() < end:
        done = _away(*words)
        if "runs are being done there" not in done.stderr:
            break
        time.sleep(0.2)
    assert done.returncode == 0, done.stderr
    assert here.complete(RUNS) == list(RUNS) and "2 of 2 runs done" in done.stdout
