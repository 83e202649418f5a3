"""A copy of this repository that is done in a minute: one run, at the smallest scale, whose data need no network.

Commands in it run as on a new machine: an empty home, so that git knows no user and nobody's configuration helps; every
command has a time limit, after which what it started dies with it.
"""

import atexit
import hashlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from ruamel.yaml import YAML

ROOT = Path(__file__).parents[1]
RUN, DATASET = "digits_cvae_2", "digits"
LIMIT = 900
"""Seconds that a command may take."""
HOME = Path(tempfile.mkdtemp(prefix="home-"))
atexit.register(shutil.rmtree, HOME, ignore_errors=True)
UP_TO_DATE = "Data and pipelines are up to date."

# What is no Python: of all commands that a stage starts, npm alone goes to the network.
NPM = """#!/bin/sh
printf '["%s", "network", "npm %s"]\\n' "$DVC_STAGE" "$*" >> "$RECORDER_LOG"
echo 'the test allows no network' >&2
exit 1
"""


class Failed(AssertionError):
    """A command that ended badly, or not at all; the message holds what it printed."""


def run(folder: Path, *command: str, limit: float = LIMIT, variables: Mapping[str, str] | None = None) -> str:
    """Run a command as on a new machine and return what it printed.

    Args:
        limit: seconds after which the command and all that it started are killed.
        variables: of the environment, besides those of a new machine.

    Raises:
        Failed: if it ended with another status than 0, or not in time.
    """
    # Not through pipes: a worker left in the background would hold them open, and reading them would never end.
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=environment() | dict(variables or {}),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            status: object = process.wait(limit)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            status = f"nothing within {limit} seconds"
        output.seek(0)
        text = output.read()
    if status != 0:
        raise Failed(f"{' '.join(command)}: {status}\n{text[-4000:]}")
    return text


def environment() -> dict[str, str]:
    """Return the environment of a new machine: no settings of DVC's, git's, ours or a cloud's, and an empty home."""
    ours = ("DVC", "GIT", "ATLAS", "AWS", "EMAIL", "XDG", "PYTHONPATH", "npm_config", "NPM_CONFIG")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    return inherited | {
        "HOME": str(HOME),
        "GIT_CONFIG_NOSYSTEM": "1",
        "DVC_SITE_CACHE_DIR": str(HOME / "site"),
        "PATH": f"{Path(sys.executable).parent}:{inherited['PATH']}",
        "ATLAS_THREADS": "1",
        "OMP_NUM_THREADS": "1",
    }


def recorded(folder: Path) -> dict[str, str]:
    """Return the environment variables under which commands go without a network and write into `folder`/log.

    See tests/recorder.py.
    """
    (folder / "bin").mkdir(parents=True)
    shutil.copy(ROOT / "tests" / "recorder.py", folder / "sitecustomize.py")
    npm = folder / "bin" / "npm"
    npm.write_text(NPM)
    npm.chmod(0o755)
    path = f"{folder / 'bin'}:{environment()['PATH']}"
    return {"PYTHONPATH": str(folder), "PATH": path, "RECORDER_LOG": str(folder / "log")}


def cut(folder: Path, runs: Sequence[str] = (RUN,), datasets: Sequence[str] = (DATASET,)) -> None:
    """Leave params.yaml these runs, their data sets and the smallest scale, and make the first run an artifact."""
    params, pipeline = folder / "params.yaml", folder / "dvc.yaml"
    pipeline.write_text(pipeline.read_text().replace("mnist_cvae_8", runs[0]))
    yaml = YAML()
    yaml.width = 120
    content = yaml.load(params.read_text(encoding="utf-8"))
    content["scale"] = "smoke"
    for part, names in (("datasets", datasets), ("runs", runs)):
        content[part] = {name: content[part][name] for name in names}
    with params.open("w", encoding="utf-8") as file:
        yaml.dump(content, file)


def last_commit(place: Path) -> Path:
    """Make a repository of this one's files as they are now, also where it is a folder of a larger one."""
    for name in run(ROOT, "git", "ls-files", "-z", "--cached", "--others", "--exclude-standard").split("\0"):
        if (ROOT / name).is_file():
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, place / name)
    run(place, "git", "init", "-q")
    commit(place, "now")
    return place


def copy(place: Path) -> Path:
    """Clone the last commit, with what is not committed yet laid over it, and cut it down; all of it committed."""
    last_commit(place)
    cut(place)
    (place / "dvc.lock").unlink(missing_ok=True)
    # A branch, whatever was checked out here.
    run(place, "git", "checkout", "-q", "-B", "main")
    commit(place, "toy")
    return place


def clone(origin: Path, place: Path) -> Path:
    """Clone a copy as a colleague does."""
    place.parent.mkdir(parents=True, exist_ok=True)
    run(place.parent, "git", "clone", "-q", str(origin), str(place))
    return place


def commit(folder: Path, message: str) -> None:
    """Commit everything, by somebody whom the folder's git does not get to know."""
    run(folder, "git", "add", "-A")
    author = ("-c", "user.name=a", "-c", "user.email=a@b.example")
    run(folder, "git", *author, "commit", "-q", "--allow-empty", "-m", message)


def stages_run(output: str) -> list[str]:
    """Return the stages that DVC says it ran."""
    return re.findall(r"Running stage '([^']+)'", output)


def tracked(folder: Path) -> list[str]:
    """Return all files that DVC's cached outputs hold, there or not."""
    return run(folder, "dvc", "list", "-R", "--dvc-only", ".").split()


def content(folder: Path, names: list[str]) -> dict[str, str]:
    """Return {name: hash of the file's bytes, or "" where it is missing}."""
    paths = {name: folder / name for name in names}
    return {
        name: hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "" for name, path in paths.items()
    }
