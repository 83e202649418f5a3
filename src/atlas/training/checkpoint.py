"""Checkpoints, from which an interrupted training resumes: outside DVC's outputs, which DVC deletes before each run."""

import fcntl
import hashlib
import io
import json
import os
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from atlas.core.files import AtlasError, atomic_write
from atlas.core.history import Row, write_history
from atlas.training.snapshots import Snapshot

DIGEST = 32
"""Bytes of the SHA-256 before the content of each file kept: a damaged one is noticed, not resumed from."""
LOCK = "lock"
"""File of a folder that its process holds locked."""

SWEEP_DAYS = 7.0
"""Days after which a checkpoint that no process uses is removed, unless ATLAS_CHECKPOINT_DAYS says otherwise."""


def fingerprint(*parts: Any, files: list[Path]) -> str:
    """Return a short hash of everything that a training depends on: a checkpoint of anything else is never resumed.

    Besides `parts` (plain values) and the contents of `files`, it covers the atlas modules loaded so far and torch's
    version. The machine is left out: another device or number of threads changes last digits, not the quality.
    """
    digest = hashlib.sha256(json.dumps([*parts, torch.__version__], sort_keys=True, default=str).encode())
    sources = sorted(
        file
        for name, module in sys.modules.items()
        if name.split(".")[0] == "atlas" and (file := getattr(module, "__file__", None))
    )
    for file in [*files, *map(Path, sources)]:
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()[:16]


class Checkpoints:
    """One run's folder of the last checkpoint and the snapshots so far, locked while this process lives.

    Another process that trains the very same run gets a folder of its own. Folders that no process holds are kept, for
    the day their settings come back, until they are `SWEEP_DAYS` old.
    """

    def __init__(self, run: str, mark: str, machine: str = "", writes: bool = True) -> None:
        """Lock a folder.

        Args:
            mark: fingerprint of the training.
            machine: device, threads and precision in words, to be told of if a checkpoint was begun on another.
            writes: of several processes that train one model, only the first writes and removes anything.

        Raises:
            AtlasError: if ATLAS_CHECKPOINT_DAYS is not a number of days.
        """
        self.run, self.machine, self.writes = run, machine, writes
        # DVC_ROOT is the main repository also in the copies that DVC's queue makes: a requeued run finds its folder.
        self.root = Path(os.environ.get("DVC_ROOT", ".")) / ".checkpoints"
        self.folder = self.root / f"{run}-{mark}"
        self.lock: int | None = None
        if not writes:
            return
        self._sweep()
        # A killed process's checkpoint may lie in any of its folders: the newest is the one to resume from.
        states = sorted(self.root.glob(f"{self.folder.name}*/state.pt"), key=_modified, reverse=True)
        spares = [self.folder.with_name(f"{self.folder.name}-{number}") for number in range(2, 100)]
        folders = dict.fromkeys([*(state.parent for state in states), self.folder, *spares])
        self.folder, self.lock = next((folder, lock) for folder in folders if (lock := _try_lock(folder)) is not None)
        if self.folder in spares and not (self.folder / "state.pt").exists():
            print(f"{run}: another process trains it with the same settings; this one trains beside it", flush=True)
        unused = [path.parent for path in self.root.glob(f"{run}-*/state.pt") if mark not in path.parent.name]
        if unused:
            print(f"{run}: not resumed, since settings, data or code differ: {', '.join(map(str, unused))}", flush=True)

    def save(self, state: dict[str, Any]) -> None:
        """Keep this state in place of the last one, whole or not at all."""
        # Into memory first: where the disk is full, torch's own writer fails with an error that says nothing.
        content = io.BytesIO()
        torch.save({**state, "machine": self.machine}, content)
        self._keep("state.pt", content)

    @property
    def keeps(self) -> bool:
        """Does the last checkpoint stay when the training has ended, so that it can go on? ATLAS_KEEP_CHECKPOINTS=1."""
        return self.writes and os.environ.get("ATLAS_KEEP_CHECKPOINTS") == "1"

    def save_history(self, history: Sequence[Row]) -> None:
        """Write the history so far, to be looked at while the training runs."""
        if self.writes:
            write_history(self.folder / "history.csv", history)

    def load(self, device: torch.device, snapshot_steps: Sequence[int]) -> dict[str, Any] | None:
        """Return the last state, or None if there is none to go on from.

        Args:
            snapshot_steps: of these, the snapshots up to the state's `step` must be there too. If anything is missing
                or damaged, one line says so and the training begins anew.
        """
        if not (self.folder / "state.pt").exists():
            return None
        try:
            # Tensors and plain values only: nothing in the file can execute.
            state = torch.load(self._content("state.pt"), map_location=device, weights_only=True)
            for step in snapshot_steps:
                if step <= state["step"]:
                    self.load_snapshot(step)
            if state["machine"] != self.machine:
                print(
                    f"{self.run}: resumes on {self.machine} what began on {state['machine']}: of the same quality, "
                    "with other last digits",
                    flush=True,
                )
            return state
        except Exception as error:
            reason = str(error).splitlines()[0] if isinstance(error, AtlasError | ValueError) else type(error).__name__
            print(f"{self.folder} cannot be resumed from ({reason}): training begins anew", flush=True)
            # Not the folder itself, which is locked; of several processes each sees the same damage.
            for file in self.folder.iterdir() if self.writes else ():
                if file.name != LOCK:
                    file.unlink()
            return None

    def save_snapshot(self, step: int, snapshot: Snapshot) -> None:
        """Keep a snapshot until the end of the training."""
        content = io.BytesIO()
        for array in snapshot:
            np.save(content, array)
        self._keep(_snapshot_file(step), content)

    def load_snapshot(self, step: int) -> Snapshot:
        """Return a snapshot kept before.

        Raises:
            AtlasError: if it is no longer what was kept.
        """
        try:
            content = self._content(_snapshot_file(step))
        except (OSError, ValueError) as error:
            raise AtlasError(
                f"{self.folder / _snapshot_file(step)} was changed meanwhile ({error}); train again"
            ) from None
        return Snapshot(*(np.load(content, allow_pickle=False) for _ in Snapshot._fields))

    def clear(self) -> None:
        """Remove this training's folder, which is no longer needed unless it is to be kept, and unlock it."""
        if self.keeps:
            self.close()
        elif self.lock is not None:
            shutil.rmtree(self.folder, ignore_errors=True)
            self.close()

    def close(self) -> None:
        """Unlock the folder and keep what is in it."""
        if self.lock is not None:
            os.close(self.lock)
            self.lock = None

    __del__ = close

    def _sweep(self) -> None:
        days = os.environ.get("ATLAS_CHECKPOINT_DAYS", str(SWEEP_DAYS))
        try:
            oldest = time.time() - 86400 * float(days)
        except ValueError:
            raise AtlasError(f"ATLAS_CHECKPOINT_DAYS: found '{days}'; allowed: a number of days") from None
        for folder in self.root.glob("*-*/"):
            if _modified(folder) < oldest and (lock := _try_lock(folder)) is not None:
                shutil.rmtree(folder, ignore_errors=True)
                os.close(lock)

    def _keep(self, name: str, content: io.BytesIO) -> None:
        if not self.writes:
            return
        with atomic_write(self.folder / name) as tmp, tmp.open("wb") as file:
            file.write(hashlib.sha256(content.getbuffer()).digest())
            file.write(content.getbuffer())

    def _content(self, name: str) -> io.BytesIO:
        """Return what was kept.

        Raises:
            OSError: if it is not there. ValueError: if it is not what was written.
        """
        held = memoryview((self.folder / name).read_bytes())
        if hashlib.sha256(held[DIGEST:]).digest() != held[:DIGEST]:
            raise ValueError(f"{name} is damaged")
        return io.BytesIO(held[DIGEST:])


def _snapshot_file(step: int) -> str:
    return f"snapshot_{step:08d}"


def _try_lock(folder: Path) -> int | None:
    """Lock a folder, which is made if need be, until the returned descriptor is closed or this process ends.

    None if another process holds it. Where the file system has no locks, nothing is locked.

    Raises:
        AtlasError: if the folder cannot be made.
    """
    file = folder / LOCK
    while True:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            # A file, open for writing: network drives lock no folders.
            descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as error:
            raise AtlasError(f"{folder} could not be written: {error.strerror or error}") from None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        except OSError:
            return descriptor
        # Between opening and locking, its last owner may have removed the file that is now locked.
        if file.exists() and file.stat().st_ino == os.fstat(descriptor).st_ino:
            return descriptor
        os.close(descriptor)


def _modified(path: Path) -> float:
    # It may be gone: its process has finished.
    return path.stat().st_mtime if path.exists() else 0.0
