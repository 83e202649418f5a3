"""What an interrupted training resumes from: outside DVC's outputs, which DVC deletes before each run."""

import hashlib
import io
import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

from atlas.errors import AtlasError
from atlas.files import whole_file


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
    """One run's folder of the last checkpoint and the pictures taken so far."""

    def __init__(self, run: str, mark: str) -> None:
        # DVC_ROOT is the main repository also in the copies that DVC's queue makes: a requeued run finds its folder.
        root = Path(os.environ.get("DVC_ROOT", ".")) / ".checkpoints"
        self.folder = root / f"{run}-{mark}"
        self.stale = [folder for folder in root.glob(f"{run}-*") if folder != self.folder]

    def save(self, state: dict[str, Any]) -> None:
        """Keep this state in place of the last one, whole or not at all."""
        # Into memory first: where the disk is full, torch's own writer fails with an error that says nothing.
        content = io.BytesIO()
        torch.save(state, content)
        with whole_file(self.folder / "state.pt") as aside:
            aside.write_bytes(content.getbuffer())

    def load(self, device: torch.device) -> dict[str, Any] | None:
        """Return the last state, or None if there is none that can be read."""
        path = self.folder / "state.pt"
        if not path.exists():
            return None
        try:
            # Tensors and plain values only: nothing in the file can execute.
            return torch.load(path, map_location=device, weights_only=True)
        except Exception as error:
            reason = type(error).__name__
            raise AtlasError(f"{path} cannot be read ({reason}); delete it to train from the beginning") from None

    def keep_frame(self, step: int, picture: np.ndarray) -> None:
        """Keep a picture until the end of the training."""
        with whole_file(self.folder / f"frame_{step:08d}.npy") as aside, aside.open("wb") as file:
            np.save(file, picture)

    def frame(self, step: int) -> np.ndarray:
        """Return a picture kept before."""
        return np.load(self.folder / f"frame_{step:08d}.npy", allow_pickle=False)

    def clear(self) -> None:
        """Remove what is no longer needed: this run's folder, and those of the same run with other settings."""
        for folder in [self.folder, *self.stale]:
            shutil.rmtree(folder, ignore_errors=True)
