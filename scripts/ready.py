"""What can be known before anything is installed: refused or said here, with what to do about it.

`make` asks it of the Python that is there, so it needs nothing but the standard library of Python 3.6.
"""

import os
import platform
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

OLDEST, NEWEST = (3, 11), (3, 14)
"""Of Python: for these, every package of requirements.txt is there as a wheel."""
GIGABYTES = {"linux": 7, "darwin": 2}
"""Disk that the environment takes: on Linux, PyTorch brings its CUDA libraries."""


def main() -> None:
    """Exit with one line about what is missing; `none`, or the environment's folder, is the command line's argument."""
    venv = sys.argv[1]
    for check in (python, git, writable):
        check(venv)
    if venv != "none" and not (Path(venv) / ".installed").exists():
        for check in (machine, venv_module, disk):
            check(venv)


def refuse(reason: str) -> None:
    sys.exit(f"error: {reason}")


def python(venv: str) -> None:
    """Python's version; of an environment of one's own, only that it is not too old."""
    version = sys.version_info[:2]
    if version < OLDEST or (venv != "none" and version > NEWEST):
        names = " to ".join(f"{major}.{minor}" for major, minor in (OLDEST, NEWEST))
        refuse(
            f"Python {names} is needed; {sys.executable} is {platform.python_version()}; PYTHON=python3.12 names one"
        )


def git(venv: str) -> None:
    """Git itself, and a repository: DVC needs both, unless its settings say that it does without."""
    if any(re.search("(?i)no_scm *= *true", _text(Path(".dvc") / name)) for name in ("config", "config.local")):
        return
    if not shutil.which("git"):
        refuse("git is not installed, and DVC needs it")
    command = ["git", "rev-parse", "--git-dir"]
    environment = {**os.environ, "LC_ALL": "C"}
    pipe = subprocess.PIPE
    done = subprocess.run(command, stdout=pipe, stderr=pipe, universal_newlines=True, env=environment)  # noqa: UP021
    if "not a git repository" in done.stderr:
        refuse("this is no Git repository, which DVC needs: clone it, or run `git init` in the unpacked archive")
    if done.returncode:
        # Another account's checkout: stages run there, experiments do not. Git says what to do.
        print(done.stderr.strip(), file=sys.stderr)


def writable(venv: str) -> None:
    """The checkout: DVC writes into it even to say what there is to do."""
    for folder in (Path.cwd(), Path(".dvc"), _existing(Path(venv)) if venv != "none" else Path()):
        if not os.access(str(folder), os.W_OK):
            refuse(f"{folder.resolve()} cannot be written to by this account; work in a clone of your own")


def machine(venv: str) -> None:
    """Operating system and processor: PyTorch and ONNX Runtime have no build for others."""
    processor = platform.machine()
    if sys.platform == "darwin":
        release = int(platform.mac_ver()[0].split(".")[0])
        fits, needed = processor == "arm64" and release >= 14, "macOS 14 or newer and an Apple silicon build of Python"
        shown = f"macOS {release}, Python for {processor}"
    else:
        library, version = platform.libc_ver()
        numbers = [int(number) for number in re.findall(r"\d+", version)[:2]]
        fits = (
            sys.platform == "linux" and processor in ("x86_64", "aarch64") and library == "glibc" and numbers >= [2, 28]
        )
        needed = "Linux with glibc 2.28 or newer on x86_64 or aarch64 (on Windows: WSL)"
        shown = f"{platform.system()} on {processor}, {library or 'no glibc'} {version}".strip()
    if not fits:
        own = "VENV=none takes the environment that is active"
        refuse(f"PyTorch has no build for this machine ({shown}); needed: {needed}. {own}")


def venv_module(venv: str) -> None:
    """Python's own means to make an environment, which Debian has in a package apart."""
    if not shutil.which("uv") and not (find_spec("venv") and find_spec("ensurepip")):
        package = f"python{sys.version_info[0]}.{sys.version_info[1]}-venv"
        refuse(f"this Python cannot make an environment; install uv, or the package {package} (Debian, Ubuntu)")


def disk(venv: str) -> None:
    """Free space. Said, not refused: uv may link what another environment has already."""
    folder, needed = _existing(Path(venv)), GIGABYTES.get(sys.platform, 7)
    free = shutil.disk_usage(str(folder)).free / 1e9
    if free < needed:
        print(
            f"warning: {free:.1f} GB are free in {folder.resolve()}; the environment takes about {needed} GB. "
            "VENV=/another/disk/venv puts it elsewhere",
            file=sys.stderr,
        )


def _existing(path: Path) -> Path:
    """The folder itself, or that in which it would be made."""
    return path if path.exists() else _existing(path.parent)


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.exists() else ""


if __name__ == "__main__":
    main()
