"""Latent explorer's files in the gallery: a run's networks and the runtime that they need, as scripts of a page.

A page that is opened from disk can load other files as scripts, but not as bytes, so what is binary is base64 of gzip.
"""

import base64
import gzip
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NotRequired

from PIL import Image
from typing_extensions import TypedDict

from atlas.core.files import require
from atlas.core.schema import read

THUMBNAIL_COLUMNS = 50
"""Test images in a row of a data set's thumbnails, as stage export writes them."""


class Metadata(TypedDict):
    """explorer.json, as `atlas.export.explorer.explorer_metadata` describes it."""

    shape: list[int]
    classes: list[str]
    conditional: bool
    latent_dim: int
    center: list[float]
    spread: list[float]
    order: list[int]
    side: int
    reach: float
    images: list[dict[str, Any]]
    labels: NotRequired[list[int]]
    scatter: NotRequired[dict[str, Any] | None]
    plane: NotRequired[list[list[float]] | None]
    framing: NotRequired[str]
    background: NotRequired[str]


@dataclass(frozen=True)
class Explorer:
    """A run's exported networks, what the page needs to know before they are there, and the test images."""

    folder: Path
    about: Mapping[str, Any]
    images: list[dict[str, Any]]

    @property
    def encodes(self) -> bool:
        return (self.folder / "encoder.onnx").exists()

    @property
    def judges(self) -> bool:
        return (self.folder / "discriminator.onnx").exists()


def read_explorer(folder: Path) -> Explorer:
    """Read what stage export wrote of a run.

    Raises:
        AtlasError: naming the file that is missing or cannot be read.
    """
    for name in ("decoder.onnx", "map.webp"):
        require(folder / name, "export")
    about = read(folder / "explorer.json", "export", Metadata)
    return Explorer(folder, about, about.pop("images"))


def write_explorer(explorer: Explorer, gallery: Path, live: bool) -> None:
    """Write a run's drawn map into the gallery, and its networks where there is a runtime for them."""
    shutil.copyfile(explorer.folder / "map.webp", gallery / "media" / explorer.folder.name / "explorer.webp")
    if live:
        networks = {path.stem: _base64(path.read_bytes()) for path in sorted(explorer.folder.glob("*.onnx"))}
        script = gallery / "networks" / f"{explorer.folder.name}.js"
        _write_script(script, "atlasNetworks", networks | {"images": explorer.images})


def write_thumbnails(dataset: str, explorer: Explorer, gallery: Path) -> dict[str, Any] | None:
    """Copy a data set's small test images into the gallery; return its address and the height and width of an image."""
    source, scatter = explorer.folder.parent / f"{dataset}.webp", explorer.about.get("scatter")
    if not scatter or not source.exists():
        return None
    target = gallery / "media" / source.name
    shutil.copyfile(source, target)
    count = len(base64.b64decode(scatter["labels"]))
    with Image.open(target) as picture:
        columns = picture.width // THUMBNAIL_COLUMNS
        rows = picture.height // -(-count // THUMBNAIL_COLUMNS)
    return {"address": f"media/{source.name}", "rows": rows, "columns": columns, "across": THUMBNAIL_COLUMNS}


def write_runtime(runtime: Mapping[str, bytes], assets: Path) -> None:
    """Write ONNX Runtime Web: its script as it is, its WebAssembly and the module that starts it as base64."""
    (assets / "ort.wasm.min.js").write_bytes(runtime["script"])
    content = {name: _base64(runtime[name]) for name in ("module", "binary")}
    _write_script(assets / "ort-binary.js", "atlasRuntime", content)


def _base64(content: bytes) -> str:
    """Return base64 of gzip of the content; the same content gives the same text."""
    return base64.b64encode(gzip.compress(content, 6, mtime=0)).decode("ascii")


def _write_script(path: Path, variable: str, content: Mapping[str, Any]) -> None:
    """Write a script that sets a global variable."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"globalThis.{variable} = {json.dumps(content)};\n", encoding="ascii")
