"""The latent explorer's files: a run's networks and the runtime that they need, as scripts that a page can load."""

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from google.protobuf.message import DecodeError

from atlas.core.files import AtlasError
from atlas.core.files import require
from atlas.gallery.packing import pack, pack_network, write_script

KEYS = ("shape", "classes", "conditional", "latent_dim", "centre", "spread", "order", "side", "reach", "images")


@dataclass(frozen=True)
class Explorer:
    """A run's exported networks; what `explorer.json` holds is described where it is written, in stage export."""

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
    path = require(folder / "explorer.json", "export")
    require(folder / "decoder.onnx", "export")
    require(folder / "map.webp", "export")
    try:
        about = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise AtlasError(f"{path} is not JSON: {error}") from None
    lacking = [key for key in KEYS if not isinstance(about, dict) or key not in about]
    if lacking:
        raise AtlasError(f"{path} lacks '{lacking[0]}'; run `dvc repro export` again")
    return Explorer(folder.name, folder, about)


def write_explorer(explorer: Explorer, gallery: Path, live: bool) -> None:
    """Write a run's drawn map into the gallery, and its networks where there is a runtime for them."""
    picture = gallery / explorer.picture
    picture.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(explorer.folder / "map.webp", picture)
    if live:
        parts = [path for part in ("decoder", "encoder") if (path := explorer.folder / f"{part}.onnx").exists()]
        content = {path.stem: _packed(path) for path in parts}
        write_script(gallery / explorer.script, "atlasNetworks", {**content, "images": explorer.about["images"]})


def _packed(path: Path) -> dict[str, Any]:
    try:
        return pack_network(path.read_bytes())
    except DecodeError:
        raise AtlasError(f"{path} is no ONNX network; run `dvc repro export` again") from None


def write_runtime(runtime: Mapping[str, bytes], assets: Path) -> None:
    """Write ONNX Runtime Web: its script as it is, its WebAssembly and the module that starts it packed."""
    (assets / "ort.wasm.min.js").write_bytes(runtime["script"])
    write_script(assets / "ort-binary.js", "atlasRuntime", {name: pack(runtime[name]) for name in ("module", "binary")})
