"""Repository of trained runs: a checkout's folder, or the DVC repository, here or remote, that supplies them."""

import atexit
import os
import re
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from atlas.core.files import AtlasError, atomic_dir

if TYPE_CHECKING:
    from dvc.api import DVCFileSystem

ADDRESS = re.compile(r"[\w+.-]+://|[\w.-]+@[\w.-]+:")
"""How a Git address begins: https://host/path, ssh://..., file://..., user@host:path; it may end in #FOLDER."""
MODELS = "outputs/models"


class Repository:
    """A checkout's folder, or the Git address (a bare repository's folder too) of a repository that uses DVC.

    Where the project is a folder of a larger repository, the address ends in # and that folder.

    Raises:
        AtlasError: if it is a folder that does not exist.
    """

    def __init__(self, source: str | os.PathLike[str]) -> None:
        self.source = os.fspath(source)
        self.folder = None if ADDRESS.match(self.source) else Path(self.source).expanduser()
        self.address, _, folder = self.source.partition("#")
        self.root = f"{folder.strip('/')}/" if folder and not self.folder else ""
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
        # Without a hash, the pipeline knows the output but has not made it.
        md5 = (self._read("info", path) or {}).get("dvc_info", {}).get("md5")
        if md5 is None:
            return None
        caches = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache")
        try:
            cache = Path(os.environ.get("ATLAS_CACHE") or caches / "latent-atlas").expanduser()
            cache.mkdir(parents=True, exist_ok=True)
        except (OSError, RuntimeError) as error:
            raise AtlasError(f"no folder to keep {path} in ({error}); name one in ATLAS_CACHE") from None
        folder = cache / md5.removesuffix(".dir") / Path(path).name
        if not folder.is_dir():
            with atomic_dir(folder) as tmp:
                try:
                    for name in names:
                        self._files.get_file(f"{self.root}{path}/{name}", str(tmp / name))
                except Exception as error:
                    raise AtlasError(
                        f"{path} could not be fetched from the DVC remote of {self} ({_reason(error)}): is a remote "
                        "set there (`dvc remote list`), and was the run pushed to it (`dvc push`)?"
                    ) from error
        return folder

    def runs(self) -> list[str]:
        """Return the names of all runs, trained or not: those in params.yaml, and folders of models."""
        if self.folder and (self.folder / "params.yaml").is_file():
            text = (self.folder / "params.yaml").read_text(encoding="utf-8", errors="replace")
        else:
            text = self._read("read_text", "params.yaml") or ""
        try:
            names = list(YAML(typ="safe", pure=True).load(text)["runs"])
        except (YAMLError, ValueError, TypeError, KeyError):
            # A broken file names no run; the stages say what is wrong with it.
            names = []
        trained = sorted((self.folder / MODELS).glob("*/model.json")) if self.folder else []
        return list(dict.fromkeys([*names, *(path.parent.name for path in trained)]))

    def _read(self, method: str, path: str) -> Any:
        """Return what a method of `DVCFileSystem` says of a path; None where it is not there, or no DVC."""
        if self.folder and not ((self.folder / ".dvc").is_dir() or (self.folder / "HEAD").is_file()):
            return None
        try:
            return getattr(self._files, method)(self.root + path)
        except FileNotFoundError:
            return None
        except Exception as error:
            # DVC's errors have no common base: its own, its remotes' and the system's come through.
            raise AtlasError(
                f"source: {self} cannot be read as a DVC repository ({_reason(error)}); allowed: a checkout's folder, "
                "or the Git address of one (https://..., user@host:path)"
            ) from error

    @cached_property
    def _files(self) -> "DVCFileSystem":
        # Half a second, which whoever has the run in a folder does not pay.
        from dvc.api import DVCFileSystem
        from dvc.repo.open_repo import clean_repos

        # DVC clones addresses into temporary folders, and leaves them behind.
        atexit.register(clean_repos)
        # Of a folder in a larger repository, DVC sees the outputs only if it looks for such folders.
        return DVCFileSystem(str(self) if self.folder else self.address, subrepos=bool(self.root))


def _reason(error: BaseException) -> str:
    """Return the message of the error that caused this one, in one line."""
    while error.__cause__ is not None:
        error = error.__cause__
    return " ".join(str(error).split())[:200] or type(error).__name__
