"""Start-up: how long each stage's help and `dvc repro` with nothing to do take."""

import json
import subprocess
import sys
import time
from pathlib import Path

from atlas.core.files import AtlasError
from benchmarks.speed import Row


def measure(tries: int) -> list[Row]:
    """Return the seconds until each command has ended, the least of some tries."""
    commands = [[sys.executable, "-c", "import torch"]]
    commands += [[sys.executable, str(script), "--help"] for script in sorted(Path("src").glob("*.py"))]
    state = subprocess.run(["dvc", "status", "--json"], capture_output=True, text=True, check=False)
    if state.returncode == 0 and json.loads(state.stdout or "{}") == {}:
        commands.append(["dvc", "repro", "-q"])
    else:
        print("startup: `dvc repro` is left out: there is something for it to do", flush=True)
    rows = []
    for command in commands:
        name = " ".join(command).replace(sys.executable, "python")
        rows.append({"command": name, "seconds": min(_seconds(command) for _ in range(tries))})
        print(f"startup: {name}: {rows[-1]['seconds']:.2f} s", flush=True)
    return rows


def _seconds(command: list[str]) -> float:
    started = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise AtlasError(f"{' '.join(command)}: {' '.join(done.stderr.split())[-300:]}")
    return time.perf_counter() - started
