"""Files that appear whole or not at all, and the one error that a user sees as one line."""

import argparse
import json
import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from glob import escape
from pathlib import Path
from typing import Any


class AtlasError(Exception):
    """A mistake a user can mend: its message says what was found, where, and what to do."""


def run_stage(work: Callable[..., None], description: str | None = None, **arguments: str) -> None:
    """Run a stage script; a mistake the user can mend ends it with one line and exit status 1.

    So does SIGTERM, as Ctrl-C: what the stage has not finished is cleared away.

    Args:
        work: called with the command line's arguments; it imports what takes long, so that `--help` does not.
        description: for `--help`. Without one the command line is not parsed.
        arguments: {name: help} of each argument, all required.
    """
    options: list[str] = []
    if description:
        parser = argparse.ArgumentParser(description=description)
        for name, text in arguments.items():
            parser.add_argument(name, help=text)
        options = list(vars(parser.parse_args()).values())
    terminated = False

    def interrupt(*_: object) -> None:
        nonlocal terminated
        terminated = True
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupt)
    try:
        work(*options)
    except BaseException as error:
        # A compiled module that is interrupted while Python imports it may raise ImportError instead.
        if terminated or isinstance(error, KeyboardInterrupt):
            sys.exit("interrupted: run the same command again to go on")
        if isinstance(error, AtlasError):
            sys.exit(f"error: {error}")
        raise


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield a temporary path to write to; when the block ends well, the file is flushed and renamed to `path`.

    The temporary name keeps the suffix of `path`, from which writers of figures and animations take the format.
    """
    tmp = path.with_name(f".{path.stem}.part{os.getpid()}{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for left in path.parent.glob(f".{escape(path.stem)}.part*{escape(path.suffix)}"):
            if _killed(left.name.removeprefix(f".{path.stem}.part").removesuffix(path.suffix)):
                left.unlink(missing_ok=True)
        yield tmp
        with tmp.open("rb+") as file:
            os.fsync(file.fileno())
        tmp.replace(path)
    except OSError as error:
        raise AtlasError(f"{path} could not be written: {error.strerror or error}") from error
    finally:
        with suppress(OSError):
            tmp.unlink(missing_ok=True)


@contextmanager
def atomic_dir(path: Path) -> Iterator[Path]:
    """Yield an empty temporary folder to fill; when the block ends well, it takes the place of `path`."""
    tmp = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for left in path.parent.glob(f".{path.name}.part*"):
            # Of a run that was killed: only one stage at a time writes this folder.
            shutil.rmtree(left, ignore_errors=True)
        # Not by tempfile, whose folders are closed to others whatever the umask.
        tmp = path.with_name(f".{path.name}.part{os.getpid()}")
        tmp.mkdir()
        yield tmp
        if path.exists():
            shutil.rmtree(path)
        tmp.replace(path)
    except OSError as error:
        raise AtlasError(f"{path} could not be written: {error.strerror or error}") from error
    finally:
        if tmp:
            shutil.rmtree(tmp, ignore_errors=True)


def _killed(process: str) -> bool:
    """Was this the number of a process that runs no more?"""
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return True
    except (ValueError, OverflowError, PermissionError):
        # No number, or somebody else's process.
        return False
    return False


def write_json(path: Path, content: Any) -> None:
    """Write `content` as indented JSON with a final newline, whole or not at all."""
    with atomic_write(path) as tmp:
        tmp.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def read_json(path: Path, stage: str) -> Any:
    """Read a JSON file that `stage` wrote.

    Raises:
        AtlasError: if it is missing or damaged.
    """
    try:
        return json.loads(require(path, stage).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise AtlasError(f"{path} is damaged ({error}); run `dvc repro --force {stage}`") from None


def require(path: Path, stage: str) -> Path:
    """Return `path` if it exists; `stage` is the one that writes it.

    Raises:
        AtlasError: if nothing is there.
    """
    if not path.exists():
        raise AtlasError(f"{path} is missing: an earlier stage writes it; run `dvc repro {stage}` first")
    return path
