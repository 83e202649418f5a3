"""Several DVC processes side by side: as many as asked for, and none left working when one fails."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

import parallel
from atlas.errors import AtlasError

STAMP = "import sys, time; open(sys.argv[1] + '/' + sys.argv[2], 'w').write(str(time.time()))"


def test_a_run_is_its_own_stages_and_nothing_else() -> None:
    words = parallel.command("mnist_vae_2")
    assert words[:4] == ["dvc", "--wait-for-lock", "repro", "-s"]
    assert words[4:] == [f"{stage}@mnist_vae_2" for stage in ("train", "sample", "animate", "evaluate")]


@pytest.mark.parametrize(
    ("said", "code", "expected"),
    [
        ('{"evaluate@b": [{"changed deps": {}}], "compare": []}', 0, ["b"]),
        ("{}", 0, []),
        ("", 1, ["a", "b"]),
    ],
)
def test_only_runs_with_something_to_do_are_begun(
    said: str, code: int, expected: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = subprocess.CompletedProcess(["dvc"], code, said, "")
    monkeypatch.setattr(parallel.subprocess, "run", lambda *_, **__: answer)
    assert parallel.outdated(["a", "b"]) == expected


@pytest.mark.parametrize("jobs", [1, 2, 3])
def test_all_is_done_by_so_many_at_a_time(jobs: int, tmp_path: Path) -> None:
    """Each writes when it begins and ends; what is open at once is counted afterwards."""
    script = f"{STAMP}; time.sleep(0.5); " + STAMP.replace("sys.argv[2]", "sys.argv[2] + '_end'")
    parallel.work([[sys.executable, "-c", script, str(tmp_path), str(number)] for number in range(6)], jobs)
    begun = [float((tmp_path / str(number)).read_text()) for number in range(6)]
    ended = [float((tmp_path / f"{number}_end").read_text()) for number in range(6)]
    at_once = [sum(b <= moment < e for b, e in zip(begun, ended, strict=True)) for moment in begun]
    assert max(at_once) == jobs


def test_one_that_fails_stops_the_others_and_what_they_started(tmp_path: Path) -> None:
    child = f"{STAMP}; time.sleep(3); {STAMP.replace('sys.argv[2]', 'sys.argv[2] + str(2)')}"
    parent = "import subprocess, sys; subprocess.run([sys.executable, '-c', *sys.argv[1:]])"
    failing = (
        f"import pathlib, time\nwhile not pathlib.Path({str(tmp_path / 'a')!r}).exists(): time.sleep(0.05)\nexit(3)"
    )
    with pytest.raises(AtlasError, match="a stage failed"):
        parallel.work(
            [[sys.executable, "-c", parent, child, str(tmp_path), "a"], [sys.executable, "-c", failing]], jobs=2
        )
    assert (tmp_path / "a").exists()
    time.sleep(3.5)
    assert not (tmp_path / "a2").exists()


def test_nothing_new_is_begun_after_a_failure(tmp_path: Path) -> None:
    with pytest.raises(AtlasError, match="goes on where this one stopped"):
        parallel.work([[sys.executable, "-c", "exit(1)"], [sys.executable, "-c", STAMP, str(tmp_path), "late"]])
    assert not (tmp_path / "late").exists()


def test_threads_are_shared_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("ATLAS_THREADS", raising=False)
    script = f"import os; open({str(tmp_path / 'told')!r}, 'w').write(os.environ['ATLAS_THREADS'])"
    parallel.work([[sys.executable, "-c", script]], threads=3)
    assert (tmp_path / "told").read_text() == "3"


def test_the_command_refuses_no_jobs() -> None:
    done = subprocess.run(
        [sys.executable, "src/parallel.py", "--jobs", "0"], capture_output=True, text=True, check=False
    )
    assert done.returncode != 0 and "--jobs: found 0" in done.stderr
