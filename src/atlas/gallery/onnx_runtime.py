"""ONNX Runtime Web, which runs networks in a browser: taken from its npm package, checked, and kept in a cache."""

import base64
import hashlib
import os
import shutil
import subprocess
import tarfile
import tempfile
import urllib.request
from pathlib import Path

from atlas.core.files import AtlasError
from atlas.core.files import atomic_write

PACKAGE, VERSION = "onnxruntime-web", "1.30.0"
INTEGRITY = "sha512-q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ=="
"""Of the package's archive, as npm's lock files state it."""
FILES = {
    "script": "package/dist/ort.wasm.min.js",
    "module": "package/dist/ort-wasm-simd-threaded.mjs",
    "binary": "package/dist/ort-wasm-simd-threaded.wasm",
}
TIMEOUT = 300.0
"""Seconds for the package's 33 MB."""


def fetch(cache: Path) -> dict[str, bytes]:
    """Return the runtime's files by the names in `FILES`; after the first time `cache` holds the package.

    Raises:
        AtlasError: if the package cannot be had, or is not the one that `INTEGRITY` states.
    """
    archive = cache / f"{PACKAGE}-{VERSION}.tgz"
    if not archive.exists():
        with tempfile.TemporaryDirectory() as aside:
            fetched = _fetch(Path(aside))
            _check(fetched)
            with atomic_write(archive) as place:
                shutil.copyfile(fetched, place)
    _check(archive)
    with tarfile.open(archive) as package:
        return {name: _read(package, member) for name, member in FILES.items()}


def _read(package: tarfile.TarFile, member: str) -> bytes:
    file = package.extractfile(member)
    assert file is not None
    return file.read()


def _check(archive: Path) -> None:
    found = "sha512-" + base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode("ascii")
    if found != INTEGRITY:
        raise AtlasError(f"{archive} is not {PACKAGE} {VERSION} as published; remove it and try again")


def _fetch(folder: Path) -> Path:
    """Fetch the archive by npm, which knows its registry; without npm from the one that npm's own variable names."""
    target = folder / f"{PACKAGE}-{VERSION}.tgz"
    npm = shutil.which("npm")
    if npm:
        command = [npm, "pack", f"{PACKAGE}@{VERSION}", "--silent", "--pack-destination", str(folder)]
        try:
            subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True, timeout=TIMEOUT)
        except (OSError, subprocess.SubprocessError) as error:
            said = (getattr(error, "stderr", None) or str(error)).strip().splitlines()
            raise AtlasError(f"npm could not fetch {PACKAGE} {VERSION}: {said[-1] if said else error}") from None
    else:
        registry = next((value for name, value in os.environ.items() if name.lower() == "npm_config_registry"), "")
        if not registry:
            raise AtlasError(f"{PACKAGE} {VERSION} comes by npm, which is not on PATH (npm_config_registry is not set)")
        address = f"{registry.rstrip('/')}/{PACKAGE}/-/{target.name}"
        try:
            with urllib.request.urlopen(address, timeout=TIMEOUT) as answer, target.open("wb") as file:
                shutil.copyfileobj(answer, file)
        except (OSError, ValueError) as error:
            raise AtlasError(f"{PACKAGE} {VERSION} could not be fetched from npm_config_registry: {error}") from None
    if not target.exists():
        raise AtlasError(f"npm fetched no {target.name}")
    return target
