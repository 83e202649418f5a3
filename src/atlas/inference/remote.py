"""Repository of trained runs: a checkout's folder, or the DVC repository, here or remote, that supplies them."""

import atexit
import os
import re
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from atlas.core.files import AtlasError, atomic_dir

if TYPE_CHECKING:
    from dvc.api import DVCFileSystem

ADDRESS = re.compile(r"[\w+.-]+://|[\w.-]+@[\w.-]+:")
"""How a Git address begins: https://host/path, ssh://..., file://..., user@host:path."""
MODELS = "outputs/models"


class Repository:
    """A checkout's folder, or the Git address (a bare repository's folder too) of a repository that uses DVC.

    Raises:
        AtlasError: if it is a folder that does not exist.
    """

    def __init__(self, source: str | os.PathLike[str]) -> None:
        self.source = os.fspath(source)
        self.folder = None if ADDRESS.match(self.source) else Path(self.source).expanduser()
        if self.folder and not self.folder.is_dir():
            raise AtlasError(
                f"source: found '{self.source}', which is no folder; allowed: a checkout's folder, or the Git address "
                "of one (https://..., user@host:path)"
            )

    def __str__(self) -> str:
        return str(self.folder.resolve()) if self.folder else self.source

    def fetch(self, path: str, names: Sequence[str]) -> Path | None:
        """Return a folder on this machine with the files `names` of the output `path`; None if it was never made.

        An output that the checkout does not hold is fetched, these files alone, into a cache keyed by their content:
        a version that was fetched once is not fetched again.

        Raises:
            AtlasError: if the output was made but cannot be fetched.
        """
        if self.folder and (self.folder / path).is_dir():
            return self.folder / path
        if not self._has_dvc:
            return None
        try:
            info = self._files.info(path)
        except FileNotFoundError:
            return None
        except Exception as error:
            raise self._unreadable(error) from error
        # Without a hash, the pipeline knows the output but has not made it.
        md5 = info.get("dvc_info", {}).get("md5")
        if md5 is None:
            return None
        folder = cache() / md5.removesuffix(".dir") / Path(path).name
        if not folder.is_dir():
            with atomic_dir(folder) as tmp:
                try:
                    for name in names:
                        self._files.get_file(f"{path}/{name}", str(tmp / name))
                except Exception as error:
                    # DVC's errors have no common base: its own, its remotes' and the system's come through.
                    raise AtlasError(
                        f"{path} could not be fetched from the DVC remote of {self} ({_reason(error)}): is a remote "
                        "set there (`dvc remote list`), and was the run pushed to it (`dvc push`)?"
                    ) from error
        return folder

    def runs(self) -> list[str]:
        """Return the names of all runs, trained or not: those in params.yaml, and folders of models."""
        text = ""
        if self.folder and (self.folder / "params.yaml").is_file():
            text = (self.folder / "params.yaml").read_text(encoding="utf-8", errors="replace")
        elif self._has_dvc:
            try:
                text = self._files.read_text("params.yaml", encoding="utf-8")
            except FileNotFoundError:
                pass
            except Exception as error:
                raise self._unreadable(error) from error
        try:
            params = YAML(typ="safe", pure=True).load(text)
        except (YAMLError, ValueError):
            # A broken file names no run; the stages say what is wrong with it.
            params = None
        names = params.get("runs") if isinstance(params, dict) else None
        trained = sorted((self.folder / MODELS).glob("*/model.json")) if self.folder else []
        return list(dict.fromkeys([*(names or {}), *(path.parent.name for path in trained)]))

    @cached_property
    def _has_dvc(self) -> bool:
        if self.folder is None:
            return True
        is_bare = (self.folder / "HEAD").is_file() and (self.folder / "objects").is_dir()
        return is_bare or (self.folder / ".dvc").is_dir()

    @cached_property
    def _files(self) -> "DVCFileSystem":
        # Half a second, which whoever has the run in a folder does not pay.
        from dvc.api import DVCFileSystem
        from dvc.repo.open_repo import clean_repos

        # DVC clones addresses into temporary folders, and leaves them behind.
        atexit.register(clean_repos)
        return DVCFileSystem(str(self))

    def _unreadable(self, error: Exception) -> AtlasError:
        return AtlasError(
            f"source: {self} cannot be read as a DVC repository ({_reason(error)}); allowed: a checkout's folder, or "
            "the Git address of one (https://..., user@host:path)"
        )


def cache() -> Path:
    """Return the folder for fetched runs: ATLAS_CACHE, or latent-atlas in the user's cache."""
    if folder := os.environ.get("ATLAS_CACHE"):
        return Path(folder).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "latent-atlas"


def _reason(error: BaseException) -> str:
    """Return the message of the error that caused this one, in one line."""
    while error.__cause__ is not None:
        error = error.__cause__
    return " ".join(str(error).split())[:200] or type(error).__name__
