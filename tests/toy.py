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
from collections.abc import Mapping
from pathlib import Path

from ruamel.yaml import YAML

ROOT = Path(__file__).parents[1]
RUN, DATASET = "digits_cvae_2", "digits"
LIMIT = 900
"""Seconds that a command may take."""
HOME = Path(tempfile.mkdtemp(prefix="home-"))
atexit.register(shutil.rmtree, HOME, ignore_errors=True)
UP_TO_DATE = "Data and pipelines are up to date."

# Refuses every address but the machine's own, in each Python process that starts with it, and writes down who asked.
# Both events are raised by C code as well, so that no library gets round it.
GUARD = """
import sys

def guard(event, arguments):
    if event not in ("socket.connect", "socket.getaddrinfo"):
        return
    host = arguments[0] if event == "socket.getaddrinfo" else arguments[1]
    host = host[0] if isinstance(host, tuple) else host
    if host in (None, "", "localhost", "127.0.0.1", "::1") or str(host).startswith("/"):
        return
    with open({log!r}, "a") as file:
        file.write(f"{{host}}\\n")
    raise ConnectionRefusedError(f"the test allows no network: {{host}}")

sys.addaudithook(guard)
"""
# What is no Python: of all commands that a stage starts, npm alone goes to the network.
NPM = "#!/bin/sh\necho \"npm $*\" >> '{log}'\necho 'the test allows no network' >&2\nexit 1\n"


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
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=environment() | dict(variables or {}),
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            status: object = process.wait(limit)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            status = f"nothing within {limit} seconds"
        said.seek(0)
        text = said.read()
    if status != 0:
        raise Failed(f"{' '.join(command)}: {status}\n{text[-4000:]}")
    return text


def environment() -> dict[str, str]:
    """Return the environment of a new machine: no settings of DVC's, git's, ours or a cloud's, and an empty home."""
    ours = ("DVC", "GIT", "ATLAS", "AWS", "EMAIL", "XDG", "PYTHONPATH", "npm_config", "NPM_CONFIG")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    return kept | {
        "HOME": str(HOME),
        "GIT_CONFIG_NOSYSTEM": "1",
        "DVC_SITE_CACHE_DIR": str(HOME / "site"),
        "PATH": f"{Path(sys.executable).parent}:{kept['PATH']}",
        "ATLAS_THREADS": "1",
        "OMP_NUM_THREADS": "1",
    }


def guarded(folder: Path, log: Path) -> dict[str, str]:
    """Write a guard against the network into a folder; return the variables that put commands under it."""
    (folder / "bin").mkdir(parents=True)
    (folder / "sitecustomize.py").write_text(GUARD.format(log=str(log)))
    npm = folder / "bin" / "npm"
    npm.write_text(NPM.format(log=log))
    npm.chmod(0o755)
    path = environment()["PATH"]
    return {"PYTHONPATH": str(folder), "PATH": f"{folder / 'bin'}:{path}"}


def cut(params: Path) -> None:
    """Leave params.yaml one run, its dataset and the smallest scale."""
    yaml = YAML()
    yaml.width = 120
    content = yaml.load(params.read_text(encoding="utf-8"))
    content["scale"] = "smoke"
    for part in (content["datasets"], *(part for budget in content["budgets"].values() for part in budget.values())):
        for name in set(part) - {DATASET}:
            del part[name]
    for name in set(content["runs"]) - {RUN}:
        del content["runs"][name]
    with params.open("w", encoding="utf-8") as file:
        yaml.dump(content, file)


def last_commit(place: Path) -> Path:
    """Clone the last commit, with what is not committed yet laid over it."""
    place.parent.mkdir(parents=True, exist_ok=True)
    run(place.parent, "git", "clone", "-q", str(ROOT), str(place))
    changed = run(ROOT, "git", "ls-files", "--modified", "--others", "--exclude-standard").splitlines()
    for name in changed:
        if (ROOT / name).is_file():
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, place / name)
        else:
            (place / name).unlink(missing_ok=True)
    return place


def copy(place: Path) -> Path:
    """Clone the last commit, with what is not committed yet laid over it, and cut it down; all of it committed."""
    last_commit(place)
    cut(place / "params.yaml")
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
    run(folder, "git", "-c", "user.name=a", "-c", "user.email=a@b.example", "commit", "-q", "-m", message)


def stages_run(said: str) -> list[str]:
    """Return the stages that DVC says it ran."""
    return re.findall(r"Running stage '([^']+)'", said)


def tracked(folder: Path) -> list[str]:
    """Return all files that DVC's cached outputs hold, there or not."""
    return run(folder, "dvc", "list", "-R", "--dvc-only", ".").split()


def content(folder: Path, names: list[str]) -> dict[str, str]:
    """Return {name: hash of the file's bytes, or "" where it is missing}."""
    found = {name: folder / name for name in names}
    return {
        name: hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "" for name, path in found.items()
    }
