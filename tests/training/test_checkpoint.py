"""Checkpoints: whole or not at all, nothing executed, noticed when damaged, cleared away."""

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from atlas.training.checkpoint import Checkpoints, fingerprint
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
        assert not checkpoints.folder.exists()


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
    assert not (home / "harm").exists() and not checkpoints.folder.exists()
    assert "training begins anew" in capsys.readouterr().out


def test_the_fingerprint_covers_settings_machine_and_data(tmp_path: Path) -> None:
    data = tmp_path / "images.npy"
    data.write_bytes(b"one")
    mark = fingerprint({"seed": 1}, "CPU", files=[data])
    assert mark == fingerprint({"seed": 1}, "CPU", files=[data])
    assert mark != fingerprint({"seed": 2}, "CPU", files=[data])
    assert mark != fingerprint({"seed": 1}, "GPU", files=[data])
    data.write_bytes(b"two")
    assert mark != fingerprint({"seed": 1}, "CPU", files=[data])


def test_clearing_removes_the_runs_own_checkpoints_only(home: Path) -> None:
    for run, mark in (("vae_2", "old"), ("vae_2", "new"), ("vae", "x"), ("vae_22", "x")):
        Checkpoints(run, mark).save({"step": 1})
    Checkpoints("vae_2", "new").clear()
    assert sorted(folder.name for folder in (home / ".checkpoints").iterdir()) == ["vae-x", "vae_22-x"]
    Checkpoints("vae", "x", writes=False).clear()
    assert (home / ".checkpoints" / "vae-x").exists(), "only the first of several processes removes anything"
