"""Checkpoints, from which an interrupted training resumes: outside DVC's outputs, which DVC deletes before each run."""

import hashlib
import io
import json
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from atlas.core.files import AtlasError, atomic_write
from atlas.training.snapshots import Snapshot

DIGEST = 32
"""Bytes of the SHA-256 before the content of each file kept: a damaged one is noticed, not resumed from."""


def fingerprint(*parts: Any, files: list[Path]) -> str:
    """Return a short hash of everything that a training depends on: a checkpoint of anything else is never resumed.

    Besides `parts` (plain values) and the contents of `files`, it covers the atlas modules loaded so far and torch's
    version.
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
    """One run's folder of the last checkpoint and the snapshots so far."""

    def __init__(self, run: str, mark: str, writes: bool = True) -> None:
        """`writes`: of several processes that train one model, only the first keeps and removes anything."""
        self.writes = writes
        # DVC_ROOT is the main repository also in the copies that DVC's queue makes: a requeued run finds its folder.
        root = Path(os.environ.get("DVC_ROOT", ".")) / ".checkpoints"
        self.folder = root / f"{run}-{mark}"
        self.stale = [folder for folder in root.glob(f"{run}-*") if folder != self.folder]

    def save(self, state: dict[str, Any]) -> None:
        """Keep this state in place of the last one, whole or not at all."""
        # Into memory first: where the disk is full, torch's own writer fails with an error that says nothing.
        content = io.BytesIO()
        torch.save(state, content)
        self._keep("state.pt", content)

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
            return state
        except Exception as error:
            reason = str(error).splitlines()[0] if isinstance(error, AtlasError | ValueError) else type(error).__name__
            print(f"{self.folder} cannot be resumed from ({reason}): training begins anew", flush=True)
            shutil.rmtree(self.folder, ignore_errors=True)
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
        """Remove what is no longer needed: this run's folder, and those of the same run with other settings."""
        for folder in [self.folder, *self.stale] if self.writes else []:
            shutil.rmtree(folder, ignore_errors=True)

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
