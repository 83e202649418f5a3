"""Files that appear whole or not at all."""

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from glob import escape
from pathlib import Path
from typing import Any

from atlas.errors import AtlasError


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Give a path aside to write to; when the block ends well, the file is flushed and renamed to `path`.

    The name aside keeps the suffix of `path`, from which writers of pictures and films take the format.
    """
    aside = path.with_name(f".{path.stem}.part{os.getpid()}{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for left in path.parent.glob(f".{escape(path.stem)}.part*{escape(path.suffix)}"):
            if _killed(left.name.removeprefix(f".{path.stem}.part").removesuffix(path.suffix)):
                left.unlink(missing_ok=True)
        yield aside
        with aside.open("rb+") as file:
            os.fsync(file.fileno())
        aside.replace(path)
    except OSError as error:
        raise AtlasError(f"{path} could not be written: {error.strerror or error}") from error
    finally:
        with suppress(OSError):
            aside.unlink(missing_ok=True)


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Give an empty folder aside to fill; when the block ends well, it takes the place of `path`."""
    aside = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for left in path.parent.glob(f".{path.name}.part*"):
            # Of a run that was killed: only one stage at a time writes this folder.
            shutil.rmtree(left, ignore_errors=True)
        aside = Path(tempfile.mkdtemp(prefix=f".{path.name}.part", dir=path.parent))
        yield aside
        aside.chmod(0o755)
        if path.exists():
            shutil.rmtree(path)
        aside.replace(path)
    except OSError as error:
        raise AtlasError(f"{path} could not be written: {error.strerror or error}") from error
    finally:
        if aside:
            shutil.rmtree(aside, ignore_errors=True)


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
    with whole_file(path) as aside:
        aside.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def need(path: Path, stage: str) -> Path:
    """Return `path`, or say which stage writes it.

    Raises:
        AtlasError: if nothing is there.
    """
    if not path.exists():
        raise AtlasError(f"{path} is missing: an earlier stage writes it; run `dvc repro {stage}` first")
    return path
