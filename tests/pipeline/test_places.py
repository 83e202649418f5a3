"""Places where a checkout may lie: a folder of a larger repository, a Mac, a disk that tells no capitals apart."""

import re
import shutil
import subprocess
from collections import Counter
from pathlib import Path

import pytest
from tests import toy
from tests.toy import ROOT, RUN, run


def tracked_texts() -> dict[str, str]:
    names = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\n")
    kinds = (".py", ".md", ".yml", "Makefile")
    return {name: (ROOT / name).read_text() for name in names if name.endswith(kinds) and (ROOT / name).is_file()}


# None of these expressions matches itself.
NOT_ON_A_MAC = {
    "a function of Linux": r"sched_get[a]ffinity|/pr[o]c/|os\.getr[a]ndom",
    "an option of GNU's sed, grep, readlink, date, stat": r"sed -[i] |grep -\w*[P]|readlink -[f]|date -[d]|stat -[c]",
    "bash newer than 3.2": r"map[f]ile|read[a]rray|declare -[A]|&[>]>|\|[&] ",
}


@pytest.mark.parametrize("what", NOT_ON_A_MAC)
def test_a_mac_has_everything_that_is_used(what: str) -> None:
    lines = [line for text in tracked_texts().values() for line in text.splitlines()]
    assert [line for line in lines if re.search(NOT_ON_A_MAC[what], line)] == []


def test_a_signal_reaches_the_runs_also_where_the_shell_stays_between_two_makes() -> None:
    """As bash 3.2 does, macOS's: tried with it and with GNU make 3.81, whose stages outlived `make`."""
    recipes = [line for line in (ROOT / "Makefile").read_text().splitlines() if "$(MAKE)" in line]
    assert recipes and all("&& exec $(MAKE) " in line for line in recipes)


def test_no_two_files_differ_in_capitals_only() -> None:
    names = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert [name for name, count in Counter(names.lower().splitlines()).items() if count > 1] == []


@pytest.mark.slow
def test_a_folder_of_a_larger_repository(tmp_path: Path) -> None:
    """Everything works there, experiments included, and writes nothing outside it."""
    larger = tmp_path / "larger repository"
    folder = larger / "team" / "atlas"
    toy.copy(folder)
    shutil.rmtree(folder / ".git")
    (larger / "README.md").write_text("Not ours\n")
    run(larger, "git", "init", "-q")
    toy.commit(larger, "one")

    assert "up to date" not in run(folder, "make", "plan", "VENV=none")
    run(folder, "make", "repro", "VENV=none", f"RUNS={RUN}")
    run(folder, "dvc", "repro")
    toy.commit(larger, "done")
    assert "up to date" in run(folder, "make", "plan", "VENV=none")
    run(folder, "git", "config", "user.name", "a")
    run(folder, "git", "config", "user.email", "a@b.example")
    run(folder, "dvc", "exp", "run", "--temp", "-S", f"runs.{RUN}.latent_dim=3", "compare")
    run(folder, "dvc", "exp", "run", "--temp", "-S", f"+runs.{RUN}.seed=2", "compare")
    run(folder, "python", "scripts/experiments.py", "sweep", RUN, "latent_dim")
    run(folder, "python", "scripts/experiments.py", "seeds")
    changed = run(larger, "git", "status", "--porcelain", "--untracked-files=all").split("\n")
    assert {line[3:].removeprefix("team/atlas/") for line in changed if line} == {
        "results/seeds.json", "results/sweep.json", "results/sweep.md",
    }  # fmt: skip
