"""Archives of at most so many bytes, each with a manifest of what it holds and how that was made."""

import hashlib
import json
import re
import stat
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from atlas.errors import AtlasError
from atlas.files import whole_file

MANIFEST = "manifest.json"
OVERHEAD = 4096
"""Bytes of an archive that are no file's; besides, `PER_FILE` for each."""
PER_FILE = 600
MOST_BYTES = 1 << 30
"""An archive that says it holds more is refused."""
NAME = re.compile(r"(?:[A-Za-z0-9_][A-Za-z0-9_.@-]*/)*[A-Za-z0-9_][A-Za-z0-9_.@-]*")
"""Of a file: no step up, no root, nothing hidden."""


@dataclass(frozen=True)
class Item:
    """A file to be packed."""

    name: str
    """Its path, with slashes, inside the folder that it will be unpacked into."""
    read: Callable[[], bytes]
    stamp: str = ""
    """Changes with the file."""


@dataclass
class Packed:
    """What was written, and what found no room."""

    archives: list[Path] = field(default_factory=list)
    inside: dict[str, str] = field(default_factory=dict)
    """sha256 of each file."""
    left: list[str] = field(default_factory=list)


def pack(items: Iterable[Item], about: Mapping[str, Any], stem: Path, most: int, archives: int) -> Packed:
    """Write items into at most `archives` files STEM_1.zip, STEM_2.zip, ... of at most `most` bytes each.

    They go in their order, each into the first archive that still has room for it.

    Args:
        about: what the manifests say besides the files' sizes and hashes.
    """
    packed = Packed()
    shelves: list[dict[str, bytes]] = []
    sizes: list[int] = []
    for item in items:
        content = item.read()
        size = len(zlib.compress(content, 6)) + 2 * len(item.name) + PER_FILE
        place = next((place for place, used in enumerate(sizes) if used + size <= most), len(shelves))
        if place == len(shelves):
            overhead = OVERHEAD + len(json.dumps(about))
            if len(shelves) == archives or overhead + size > most:
                packed.left.append(item.name)
                continue
            shelves.append({})
            sizes.append(overhead)
        shelves[place][item.name] = content
        sizes[place] += size
    for number, shelf in enumerate(shelves, 1):
        path = stem.with_name(f"{stem.name}_{number}.zip")
        hashes = {name: hashlib.sha256(content).hexdigest() for name, content in shelf.items()}
        files = {name: {"bytes": len(shelf[name]), "sha256": hashes[name]} for name in shelf}
        _write(path, {**about, "files": files}, shelf)
        packed.archives.append(path)
        packed.inside |= hashes
    return packed


def _write(path: Path, manifest: Mapping[str, Any], shelf: Mapping[str, bytes]) -> None:
    with whole_file(path) as aside, zipfile.ZipFile(aside, "w", zipfile.ZIP_DEFLATED) as archive:
        # A ZipInfo of its own has no time of day: the same files give the same bytes.
        for name, content in {MANIFEST: json.dumps(manifest, indent=1).encode(), **shelf}.items():
            archive.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED, 6)


@dataclass(frozen=True)
class Parcel:
    """An archive whose every file was found to be what the manifest says."""

    path: Path
    manifest: dict[str, Any]

    def files(self) -> Iterator[tuple[str, bytes]]:
        """Return names and contents, checked once more on the way."""
        with zipfile.ZipFile(self.path) as archive:
            for name, about in self.manifest["files"].items():
                content = archive.read(name)
                if hashlib.sha256(content).hexdigest() != about["sha256"]:
                    raise AtlasError(f"{self.path}: {name} changed while it was read")
                yield name, content


def check(path: Path, allowed: re.Pattern[str]) -> Parcel:
    """Return an archive once it is known to be whole and harmless; nothing is written.

    Args:
        allowed: what every file's name must match; steps up, roots, links and hidden names are refused anyway.

    Raises:
        AtlasError: naming the archive and what is wrong with it.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            _harmless(path, entries, allowed)
            manifest = json.loads(archive.read(MANIFEST))
            files = manifest["files"]
            if {entry.filename for entry in entries} != {MANIFEST, *files}:
                raise AtlasError(f"{path}: holds other files than its manifest lists")
            for name, about in files.items():
                content = archive.read(name)
                if len(content) != about["bytes"] or hashlib.sha256(content).hexdigest() != about["sha256"]:
                    raise AtlasError(f"{path}: {name} is not what the manifest says; bring the archive again")
    except OSError as error:
        raise AtlasError(f"{path} cannot be read: {error.strerror or error}") from None
    except (zipfile.BadZipFile, zlib.error, ValueError, KeyError, TypeError, AttributeError, EOFError) as error:
        raise AtlasError(f"{path} is damaged ({' '.join(str(error).split())[:200]}); bring it again") from None
    return Parcel(path, manifest)


def _harmless(path: Path, entries: list[zipfile.ZipInfo], allowed: re.Pattern[str]) -> None:
    seen = set()
    for entry in entries:
        name = entry.filename
        if name in seen:
            raise AtlasError(f"{path}: holds {name!r:.100} twice")
        seen.add(name)
        if stat.S_ISLNK(entry.external_attr >> 16) or entry.is_dir() or entry.flag_bits & 1:
            raise AtlasError(f"{path}: {name!r:.100} is no plain file; nothing was unpacked")
        # `orig_filename` is what stands in the archive, before zipfile tidied it.
        fits = NAME.fullmatch(name) and (name == MANIFEST or allowed.fullmatch(name))
        if name != entry.orig_filename or not fits:
            found = f"{entry.orig_filename!r:.100}"
            raise AtlasError(f"{path}: found the name {found}, which has no place here; nothing was unpacked")
    if sum(entry.file_size for entry in entries) > MOST_BYTES:
        raise AtlasError(f"{path}: says that it holds more than {MOST_BYTES >> 20} MiB; nothing was unpacked")
