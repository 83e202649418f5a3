"""Several DVC processes side by side: every run in one of them, and none left working when one fails."""

import subprocess
import sys
from pathlib import Path

import pytest

import parallel
from atlas import settings as settings_file
from atlas.errors import AtlasError

SETTINGS = settings_file.load(Path(__file__).parents[1] / "params.yaml")


@pytest.mark.parametrize("jobs", [1, 2, 5, 100])
def test_every_run_is_in_one_share_and_the_shares_are_even(jobs: int) -> None:
    groups = parallel.shares(SETTINGS, list(SETTINGS.runs), jobs)
    assert sorted(run for group in groups for run in group) == sorted(SETTINGS.runs)
    loads = [sum(parallel.cost(SETTINGS, run) for run in group) for group in groups]
    assert max(loads) - min(loads) <= max(parallel.cost(SETTINGS, run) for run in SETTINGS.runs)


def test_a_share_is_its_own_runs_stages_and_nothing_else() -> None:
    words = parallel.command(["mnist_vae_2"])
    assert words[:4] == ["dvc", "--wait-for-lock", "repro", "-s"]
    assert words[4:] == [f"{stage}@mnist_vae_2" for stage in ("train", "sample", "animate", "evaluate")]


def test_one_that_fails_stops_the_others_and_what_they_started() -> None:
    endless = [sys.executable, "-c", "import subprocess, sys; subprocess.run([sys.executable, '-c', 'input()'])"]
    others = subprocess.Popen(endless, stdin=subprocess.PIPE, start_new_session=True)
    failing = parallel.start([sys.executable, "-c", "raise SystemExit(3)"])
    with pytest.raises(AtlasError, match="a stage failed"):
        parallel.finish([others, failing])
    assert others.returncode is not None and others.returncode < 0
    parallel.finish([parallel.start([sys.executable, "-c", "pass"]) for _ in range(2)])


def test_threads_are_shared_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("ATLAS_THREADS", raising=False)
    script = f"import os; open({str(tmp_path / 'told')!r}, 'w').write(os.environ['ATLAS_THREADS'])"
    parallel.finish([parallel.start([sys.executable, "-c", script], threads=3)])
    assert (tmp_path / "told").read_text() == "3"
