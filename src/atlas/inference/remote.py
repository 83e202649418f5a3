"""Where trained runs lie: in a checkout's folder, or with the DVC repository, here or far away, that supplies them."""

import atexit
import os
import re
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from atlas.core.files import AtlasError
from atlas.core.files import atomic_dir

if TYPE_CHECKING:
    from dvc.api import DVCFileSystem

ADDRESS = re.compile(r"[\w+.-]+://|[\w.-]+@[\w.-]+:")
"""How a Git address begins: https://host/path, ssh://..., file://..., user@host:path."""
MODELS = "outputs/models"


class Source:
    """A checkout's folder, or the Git address (a bare repository's folder too) of a repository that DVC keeps.

    Raises:
        AtlasError: if it is a folder that does not exist.
    """

    def __init__(self, place: str | os.PathLike[str]) -> None:
        self.place = os.fspath(place)
        self.folder = None if ADDRESS.match(self.place) else Path(self.place).expanduser()
        if self.folder and not self.folder.is_dir():
            raise AtlasError(
                f"source: found '{self.place}', which is no folder; allowed: a checkout's folder, or the Git address "
                "of one (https://..., user@host:path)"
            )

    def __str__(self) -> str:
        return str(self.folder.resolve()) if self.folder else self.place

    def take(self, path: str, names: Sequence[str]) -> Path | None:
        """Return a folder on this machine that holds the files `names` of the output `path`; None if none was made.

        An output that the checkout does not hold is fetched, these files alone, into a cache keyed by their content:
        what was fetched once is not fetched again, and what was made anew is.

        Raises:
            AtlasError: if the output was made but cannot be fetched.
        """
        if self.folder and (self.folder / path).is_dir():
            return self.folder / path
        if not self._is_repository:
            return None
        try:
            about = self._files.info(path)
        except FileNotFoundError:
            return None
        except Exception as error:
            raise self._unreachable(error) from error
        # Without a hash, the pipeline knows the output but has not made it.
        content = about.get("dvc_info", {}).get("md5")
        if content is None:
            return None
        folder = cache() / content.removesuffix(".dir") / Path(path).name
        if not folder.is_dir():
            with atomic_dir(folder) as aside:
                for name in names:
                    self._fetch(f"{path}/{name}", aside / name)
        return folder

    def runs(self) -> list[str]:
        """Return the names of the runs that there are, trained or not: those of params.yaml, and folders of models."""
        text = ""
        if self.folder and (self.folder / "params.yaml").is_file():
            text = (self.folder / "params.yaml").read_text(encoding="utf-8", errors="replace")
        elif self._is_repository:
            try:
                text = self._files.read_text("params.yaml", encoding="utf-8")
            except FileNotFoundError:
                pass
            except Exception as error:
                raise self._unreachable(error) from error
        try:
            params = YAML(typ="safe", pure=True).load(text)
        except (YAMLError, ValueError):
            # A broken file names nothing; whoever trains there is told so.
            params = None
        named = params.get("runs") if isinstance(params, dict) else None
        here = sorted((self.folder / MODELS).glob("*/model.json")) if self.folder else []
        return list(dict.fromkeys([*(named or {}), *(path.parent.name for path in here)]))

    @cached_property
    def _is_repository(self) -> bool:
        if self.folder is None:
            return True
        bare = (self.folder / "HEAD").is_file() and (self.folder / "objects").is_dir()
        return bare or (self.folder / ".dvc").is_dir()

    @cached_property
    def _files(self) -> "DVCFileSystem":
        # Half a second, which whoever has the run in a folder does not pay.
        from dvc.api import DVCFileSystem
        from dvc.repo.open_repo import clean_repos

        # DVC clones what has an address into temporary folders, and left to itself leaves them behind.
        atexit.register(clean_repos)
        return DVCFileSystem(str(self))

    def _fetch(self, path: str, target: Path) -> None:
        # DVC's errors have no common base: its own, its index's, its remotes' and the system's come through.
        try:
            self._files.get_file(path, str(target))
        except Exception as error:
            raise AtlasError(
                f"{path} could not be fetched from the DVC remote of {self} ({_reason(error)}): is a remote set there "
                "(`dvc remote list`), and was the run pushed to it (`dvc push`)?"
            ) from error

    def _unreachable(self, error: Exception) -> AtlasError:
        return AtlasError(
            f"source: {self} cannot be read as a DVC repository ({_reason(error)}); allowed: a checkout's folder, or "
            "the Git address of one (https://..., user@host:path)"
        )


def cache() -> Path:
    """Return the folder that fetched runs are kept in: ATLAS_CACHE, or latent-atlas in the user's cache."""
    if place := os.environ.get("ATLAS_CACHE"):
        return Path(place).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "latent-atlas"


def _reason(error: Any) -> str:
    """Return what the error, or the one that it hides, says in one line."""
    cause: Any = error
    while cause.__cause__ is not None:
        cause = cause.__cause__
    return " ".join(str(cause).split())[:200] or type(cause).__name__
