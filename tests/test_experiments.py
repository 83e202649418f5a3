"""DVC's experiments on this repository, by the README's commands, in a clone that a colleague has just pulled."""

import csv
import io
import json
import os
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests import toy
from tests.conftest import Done
from tests.toy import RUN, run, stages_run

PATIENCE = 600.0
"""Seconds that the queue may take for two experiments."""


@pytest.fixture(scope="module")
def clone(done: Done, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = toy.clone(done.folder, tmp_path_factory.mktemp("experiments") / "clone")
    run(folder, "dvc", "pull")
    yield folder
    # No worker outlives the tests, whatever became of them.
    for file in (folder / ".dvc/tmp/exps/celery").glob("*.pid"):
        try:
            os.killpg(int(file.read_text()), signal.SIGKILL)
        except (ProcessLookupError, PermissionError, ValueError):
            continue


def wait_for_queue(folder: Path, seconds: float = PATIENCE) -> str:
    """Wait until the queue is done; return its last status.

    Raises:
        AssertionError: after some time, or where an experiment failed, with what the queue and its workers wrote.
    """
    deadline = time.monotonic() + seconds
    while True:
        status = run(folder, "dvc", "queue", "status", limit=60)
        if not re.search("Queued|Running", status):
            break
        assert time.monotonic() < deadline, f"not done after {seconds} seconds\n{status}\n{logs(folder)}"
        time.sleep(1)
    assert "Failed" not in status, f"{status}\n{logs(folder)}"
    return status


def logs(folder: Path) -> str:
    """Return the end of each log that the queue's workers and tasks wrote."""
    files = sorted((folder / ".dvc/tmp/exps").rglob("*.out"))
    return "\n".join(f"--- {file.name}\n{file.read_text(errors='replace')[-3000:]}" for file in files)


def shown(folder: Path) -> dict[str, dict[str, Any]]:
    """Return {name: what `dvc exp show` tells of it}, the workspace and the commit with the experiments."""
    (workspace, head) = json.loads(run(folder, "dvc", "exp", "show", "--json"))
    found = {"workspace": workspace["data"], "head": head["data"]}
    for experiment in head["experiments"] or []:
        found[experiment["name"]] = experiment["revs"][0]["data"]
    return found


def size(about: dict[str, Any]) -> int:
    return about["params"]["params.yaml"]["data"]["runs"][RUN]["latent_dim"]


def nelbo(about: dict[str, Any]) -> float:
    return about["metrics"]["results/metrics.json"]["data"][RUN]["nelbo"]


def test_experiments_from_the_first_to_the_branch(clone: Path, done: Done, tmp_path: Path) -> None:
    """One story, since each step needs those before it; first of a user whom git does not know."""
    with pytest.raises(toy.Failed):
        run(clone, "git", "config", "user.name")
    said = run(clone, "dvc", "exp", "run", "-n", "three", "-S", f"runs.{RUN}.latent_dim=3", "compare")
    assert stages_run(said) == [f"train@{RUN}", f"evaluate@{RUN}", "compare"], "nothing else hangs on it"
    table = shown(clone)
    assert set(table) == {"workspace", "head", "three"}
    assert [size(table[name]) for name in ("workspace", "head", "three")] == [3, 2, 3]
    assert nelbo(table["workspace"]) == nelbo(table["three"]) != nelbo(table["head"])

    # The queue sets work aside as git's stash does, and so needs a name: DVC says so, and nothing is left behind.
    sweep = ("dvc", "exp", "run", "--queue", "-S", f"runs.{RUN}.latent_dim=4,5", "compare")
    with pytest.raises(toy.Failed, match="Git user name and email must be configured"):
        run(clone, *sweep)
    assert "No experiment tasks" in run(clone, "dvc", "queue", "status")
    run(clone, "git", "config", "user.name", "a")
    run(clone, "git", "config", "user.email", "a@b.example")

    # Two at a time, in copies: the workspace, put back to what was committed, does not change.
    run(clone, "git", "checkout", "-q", ".")
    run(clone, "dvc", "checkout", "-q")
    assert run(clone, *sweep).count("Queued experiment") == 2
    run(clone, "dvc", "queue", "start", "-j", "2", limit=60)
    assert wait_for_queue(clone).count("Success") == 2
    assert run(clone, "git", "status", "--porcelain") == ""
    assert toy.UP_TO_DATE in run(clone, "dvc", "status")

    table = shown(clone)
    named = {size(about): name for name, about in table.items() if name != "workspace"}
    assert set(named) == {2, 3, 4, 5} and size(table["workspace"]) == 2
    values = {number: nelbo(table[name]) for number, name in named.items()}
    assert len(set(values.values())) == 4 and nelbo(table["workspace"]) == values[2]
    rows = list(csv.DictReader(io.StringIO(run(clone, "dvc", "exp", "show", "--csv"))))
    sizes = {row["Experiment"]: row[f"runs.{RUN}.latent_dim"] for row in rows}
    assert sizes["three"] == "3" and sizes[named[4]] == "4" and sizes[named[5]] == "5"

    told = json.loads(run(clone, "dvc", "exp", "diff", "three", named[5], "--json"))
    assert told["params"]["params.yaml"] == {f"runs.{RUN}.latent_dim": {"old": 3, "new": 5, "diff": 2}}
    change = told["metrics"]["results/metrics.json"][f"{RUN}.nelbo"]
    assert (change["old"], change["new"]) == (values[3], values[5])

    # What the sweep gave, as the README shows it: of experiments that differ in nothing else.
    run(clone, "python", "src/sweep.py", RUN, "latent_dim")
    gathered = json.loads((clone / "results" / "sweep.json").read_text())
    assert {row["value"]: row["measures"]["nelbo"] for row in gathered["rows"]} == values
    lines = (clone / "results" / "sweep.md").read_text().splitlines()
    assert lines[0].startswith("| latent_dim | -ELBO ↓ |")
    assert [line.split(" | ")[:2] for line in lines[2:6]] == [
        [f"| {'**2**' if number == 2 else number}", f"{values[number]:.2f}"] for number in (2, 3, 4, 5)
    ]
    for name in ("sweep.json", "sweep.md"):
        (clone / "results" / name).unlink()

    run(clone, "dvc", "exp", "apply", named[4])
    assert nelbo(shown(clone)["workspace"]) == values[4]
    own = json.loads((clone / "outputs" / "metrics" / f"{RUN}.json").read_text())
    assert own["nelbo"] == values[4]
    run(clone, "git", "checkout", "-q", ".")

    run(clone, "dvc", "exp", "branch", "three", "wide")
    assert "latent_dim: 3" in run(clone, "git", "show", "wide:params.yaml")
    assert run(clone, "git", "rev-parse", "wide^") == run(clone, "git", "rev-parse", "HEAD")

    # A colleague has it after a push, with its model and its numbers, and trains nothing.
    run(clone, "dvc", "exp", "push", "origin", "three")
    fresh = toy.clone(done.folder, tmp_path / "fresh")
    run(fresh, "dvc", "exp", "pull", "origin", "three")
    run(fresh, "dvc", "exp", "apply", "three")
    own = json.loads((fresh / "outputs" / "metrics" / f"{RUN}.json").read_text())
    assert own["nelbo"] == values[3]
    assert stages_run(run(fresh, "dvc", "repro", "compare")) == []


def test_another_seed_is_an_experiment_that_compare_can_use(done: Done, tmp_path: Path) -> None:
    """The README's commands for other seeds, but one after the other."""
    clone = toy.clone(done.folder, tmp_path / "clone")
    run(clone, "dvc", "pull")
    own = json.loads((clone / "outputs" / "metrics" / f"{RUN}.json").read_text())
    said = run(clone, "dvc", "exp", "run", "-S", "seed=2", f"evaluate@{RUN}")
    assert stages_run(said) == [f"train@{RUN}", f"evaluate@{RUN}"]
    run(clone, "git", "checkout", "-q", ".")
    run(clone, "dvc", "checkout", "-q")
    run(clone, "python", "src/seeds.py")
    gathered = json.loads((clone / "results" / "seeds.json").read_text())[RUN]["seeds"]
    assert list(gathered) == ["2"] and gathered["2"].keys() == own.keys()
    assert gathered["2"]["nelbo"] != own["nelbo"] and gathered["2"]["frechet_floor"] == own["frechet_floor"]
    run(clone, "dvc", "repro", "compare")
    assert f"| {RUN} | 1, 2 |" in (clone / "results" / "seeds.md").read_text()


def test_a_command_that_does_not_end_is_no_endless_test(tmp_path: Path) -> None:
    with pytest.raises(toy.Failed, match="nothing within 1 seconds"):
        run(tmp_path, "sh", "-c", "sleep 1000 & sleep 1000", limit=1)
    # Nor is one that leaves a child behind which holds its output open, as a queue's worker may.
    child = int(run(tmp_path, "sh", "-c", "sleep 1000 & echo $!"))
    os.kill(child, signal.SIGKILL)


def test_a_sweep_that_was_not_made_is_one_clear_line(done: Done, tmp_path: Path) -> None:
    clone = toy.clone(done.folder, tmp_path / "clone")
    for words, line in (
        ((RUN, "gamma"), f"run {RUN}: unknown setting 'gamma'; allowed: batch_size, "),
        (("digits_cvae", "latent_dim"), "unknown run 'digits_cvae', did you mean 'digits_cvae_2'?"),
        ((RUN, "latent_dim"), "no experiment differs from dvc.lock in the latent_dim of digits_cvae_2 alone; run "),
    ):
        with pytest.raises(toy.Failed, match=re.escape(line)) as refusal:
            run(clone, "python", "src/sweep.py", *words)
        assert "Traceback" not in str(refusal.value)
