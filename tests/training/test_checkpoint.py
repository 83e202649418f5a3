"""Checkpoints: whole or not at all, nothing executed, noticed when damaged, cleared away."""

import errno
import fcntl
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from atlas.core.files import AtlasError
from atlas.training.checkpoint import LOCK, Checkpoints, fingerprint
from atlas.training.snapshots import Snapshot

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Checkpoints lie in a folder of the test's own."""
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    return tmp_path


def _saved() -> Checkpoints:
    checkpoints = Checkpoints("a_run", "mark")
    checkpoints.save_snapshot(3, Snapshot(np.ones((1, 2, 2, 1, 4, 4), np.uint8), np.ones((5, 2), np.float16)))
    checkpoints.save({"step": 3, "weights": torch.ones(50)})
    return checkpoints


def _flip(content: bytes, share: float) -> bytes:
    position = int(share * (len(content) - 1))
    return content[:position] + bytes([content[position] ^ 1]) + content[position + 1 :]


DAMAGES: list[Callable[[bytes], bytes | None]] = [
    lambda content: None,
    lambda content: b"",
    lambda content: content[:100],
    lambda content: content[:-1],
    lambda content: content + b"0",
    *(lambda content, share=share: _flip(content, share) for share in (0.0, 0.3, 0.6, 1.0)),
]


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", ["state.pt", "snapshot_00000003"])
def test_a_damaged_checkpoint_is_never_resumed_from(
    capsys: pytest.CaptureFixture[str], name: str, damage: Callable[[bytes], bytes | None]
) -> None:
    checkpoints = _saved()
    state = checkpoints.load(CPU, [3, 7])
    assert state is not None and torch.equal(state["weights"], torch.ones(50))
    path = checkpoints.folder / name
    content = damage(path.read_bytes())
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    assert checkpoints.load(CPU, [3, 7]) is None
    output = capsys.readouterr().out
    if content is not None or name != "state.pt":
        assert re.fullmatch(r".* cannot be resumed from \(.+\): training begins anew\n", output)
        assert _files(checkpoints) == []


def _files(checkpoints: Checkpoints) -> list[str]:
    """Names of what a folder keeps besides its lock."""
    return sorted(path.name for path in checkpoints.folder.iterdir() if path.name != LOCK)


class Bomb:
    """Unpickled, it makes a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.folder),)


def test_a_checkpoint_that_would_run_code_is_not_read(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    checkpoints = Checkpoints("run", "mark")
    checkpoints.save({"step": 1, "weights": Bomb(home / "harm")})
    assert checkpoints.load(CPU, []) is None
    assert not (home / "harm").exists() and _files(checkpoints) == []
    assert "training begins anew" in capsys.readouterr().out


def test_the_fingerprint_covers_settings_and_data(tmp_path: Path) -> None:
    data = tmp_path / "images.npy"
    data.write_bytes(b"one")
    mark = fingerprint({"seed": 1}, files=[data])
    assert mark == fingerprint({"seed": 1}, files=[data])
    assert mark != fingerprint({"seed": 2}, files=[data])
    data.write_bytes(b"two")
    assert mark != fingerprint({"seed": 1}, files=[data])


def _folders(home: Path) -> list[str]:
    return sorted(path.name for path in (home / ".checkpoints").iterdir() if path.is_dir())


def test_clearing_removes_this_training_only(home: Path) -> None:
    for run, mark in (("vae_2", "old"), ("vae_2", "new"), ("vae", "x"), ("vae_22", "x")):
        Checkpoints(run, mark).save({"step": 1})
    Checkpoints("vae_2", "new").clear()
    assert _folders(home) == ["vae-x", "vae_2-old", "vae_22-x"]
    Checkpoints("vae", "x", writes=False).clear()
    assert "vae-x" in _folders(home), "only the first of several processes removes anything"


def test_trainings_of_the_same_run_do_not_disturb_each_other(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = Checkpoints("run", "mark")
    first.save({"step": 1})
    second = Checkpoints("run", "mark")
    assert "another process trains it" in capsys.readouterr().out
    assert second.folder != first.folder and second.load(CPU, []) is None
    second.save({"step": 2})
    other = Checkpoints("run", "other settings")
    other.clear()
    second.clear()
    state = first.load(CPU, [])
    assert state is not None and state["step"] == 1
    first.clear()
    assert not list((home / ".checkpoints").iterdir())


def test_a_network_drive_locks_files_only(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """NFS refuses to lock what is not open for writing, so never a folder; some drives lock nothing at all."""

    def nfs(descriptor: int, operation: int) -> None:
        if fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
            raise OSError(errno.EBADF, "Bad file descriptor")
        flock(descriptor, operation)

    def no_locks(descriptor: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    flock = fcntl.flock
    monkeypatch.setattr(fcntl, "flock", nfs)
    first, second = Checkpoints("run", "mark"), Checkpoints("run", "mark")
    assert first.folder != second.folder
    first.close()
    second.close()
    monkeypatch.setattr(fcntl, "flock", no_locks)
    third = Checkpoints("run", "mark")
    third.save({"step": 1})
    assert third.load(CPU, []) is not None
    third.clear()
    assert not third.folder.exists()


def test_a_lock_ends_with_its_process(home: Path) -> None:
    code = "from atlas.training.checkpoint import Checkpoints; import os; c = Checkpoints('run', 'mark'); "
    code += "c.save({'step': 7}); print('ready', flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=-1, stdout=-1, text=True, env=_environment()) as process:
        assert process.stdout and process.stdout.readline() == "ready\n"
        assert Checkpoints("run", "mark").folder.name == "run-mark-2"
        process.kill()
    state = Checkpoints("run", "mark").load(CPU, [])
    assert state is not None and state["step"] == 7


def test_the_newest_of_a_runs_checkpoints_is_resumed(home: Path) -> None:
    first, second = Checkpoints("run", "mark"), Checkpoints("run", "mark")
    first.save({"step": 1})
    second.save({"step": 2})
    os.utime(first.folder / "state.pt", (0, 0))
    first.close()
    second.close()
    assert Checkpoints("run", "mark").folder == second.folder


def test_old_folders_are_swept_unless_a_process_holds_them(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    held = Checkpoints("held", "x")
    for checkpoints in (held, Checkpoints("left", "x"), Checkpoints("young", "x")):
        checkpoints.save({"step": 1})
    del checkpoints  # it would hold the last one
    for name in ("held-x", "left-x"):
        os.utime(home / ".checkpoints" / name, (0, 0))
    Checkpoints("run", "mark").clear()
    assert _folders(home) == ["held-x", "young-x"]
    monkeypatch.setenv("ATLAS_CHECKPOINT_DAYS", "0")
    Checkpoints("run", "mark").clear()
    assert _folders(home) == ["held-x"]
    monkeypatch.setenv("ATLAS_CHECKPOINT_DAYS", "soon")
    with pytest.raises(AtlasError, match="ATLAS_CHECKPOINT_DAYS: found 'soon'; allowed: a number of days"):
        Checkpoints("run", "mark")


def test_another_machine_resumes_and_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    Checkpoints("run", "mark", "CPU, 2 threads").save({"step": 5})
    state = Checkpoints("run", "mark", "CPU, 1 threads").load(CPU, [])
    assert state is not None and state["step"] == 5
    output = capsys.readouterr().out
    assert output == (
        "run: resumes on CPU, 1 threads what began on CPU, 2 threads: of the same quality, with other last digits\n"
    )


def test_a_checkpoint_that_is_not_used_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    folder = Checkpoints("run", "old").folder
    Checkpoints("run", "old").save({"step": 5})
    assert Checkpoints("run", "new").load(CPU, []) is None
    assert capsys.readouterr().out == f"run: not resumed, since settings, data or code differ: {folder}\n"


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2] / "src")}
