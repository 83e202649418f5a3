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
from typing import Any

from atlas.core.files import AtlasError, read_json, require

KEYS = ("shape", "classes", "conditional", "latent_dim", "center", "spread", "order", "side", "reach", "images")


@dataclass(frozen=True)
class Explorer:
    """A run's exported networks. `atlas.export.explorer.explorer_metadata` says what `about`, explorer.json, holds."""

    run: str
    folder: Path
    about: Mapping[str, Any]

    @property
    def script(self) -> str:
        """Address of the networks."""
        return f"networks/{self.run}.js"

    @property
    def picture(self) -> str:
        """Address of the map that was drawn beforehand."""
        return f"media/{self.run}/explorer.webp"

    @property
    def encodes(self) -> bool:
        return (self.folder / "encoder.onnx").exists()

    @property
    def json(self) -> str:
        """What the page's script needs to know before the networks are there."""
        return json.dumps({key: self.about[key] for key in KEYS if key != "images"})

    @property
    def axes(self) -> list[int]:
        """The dimensions that the map shows at first."""
        return list(self.about["order"][:2])


def read(folder: Path) -> Explorer:
    """Read what stage export wrote of a run.

    Raises:
        AtlasError: naming the file that is missing or cannot be read.
    """
    about = read_json(folder / "explorer.json", "export")
    for name in ("decoder.onnx", "map.webp"):
        require(folder / name, "export")
    for key in KEYS:
        if not isinstance(about, dict) or key not in about:
            raise AtlasError(f"{folder / 'explorer.json'} lacks '{key}'; run `dvc repro --force export`")
    return Explorer(folder.name, folder, about)


def write_explorer(explorer: Explorer, gallery: Path, live: bool) -> None:
    """Write a run's drawn map into the gallery, and its networks where there is a runtime for them."""
    picture = gallery / explorer.picture
    picture.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(explorer.folder / "map.webp", picture)
    if live:
        networks = {path.stem: _base64(path.read_bytes()) for path in sorted(explorer.folder.glob("*.onnx"))}
        _write_script(gallery / explorer.script, "atlasNetworks", networks | {"images": explorer.about["images"]})


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
