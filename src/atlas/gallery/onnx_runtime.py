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

from atlas.core.files import AtlasError, atomic_write

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
        with tempfile.TemporaryDirectory() as folder:
            download = Path(folder) / archive.name
            _download(download)
            _check(download)
            with atomic_write(archive) as tmp:
                shutil.copyfile(download, tmp)
    _check(archive)
    files = {}
    with tarfile.open(archive) as package:
        for name, path in FILES.items():
            file = package.extractfile(path)
            assert file is not None
            files[name] = file.read()
    return files


def _check(archive: Path) -> None:
    digest = "sha512-" + base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode("ascii")
    if digest != INTEGRITY:
        raise AtlasError(f"{archive} is not {PACKAGE} {VERSION} as published; remove it and try again")


def _download(target: Path) -> None:
    """Download the archive by npm, which knows its registry; without npm from the one that npm's variable names."""
    npm = shutil.which("npm")
    if npm:
        command = [npm, "pack", f"{PACKAGE}@{VERSION}", "--silent", "--pack-destination", str(target.parent)]
        try:
            subprocess.run(command, cwd=target.parent, check=True, capture_output=True, text=True, timeout=TIMEOUT)
        except (OSError, subprocess.SubprocessError) as error:
            lines = (getattr(error, "stderr", None) or str(error)).strip().splitlines()
            raise AtlasError(f"npm could not fetch {PACKAGE} {VERSION}: {lines[-1] if lines else error}") from None
    else:
        registry = next((value for name, value in os.environ.items() if name.lower() == "npm_config_registry"), "")
        if not registry:
            raise AtlasError(f"{PACKAGE} {VERSION} comes by npm, which is not on PATH (npm_config_registry is not set)")
        address = f"{registry.rstrip('/')}/{PACKAGE}/-/{target.name}"
        try:
            with urllib.request.urlopen(address, timeout=TIMEOUT) as response, target.open("wb") as file:
                shutil.copyfileobj(response, file)
        except (OSError, ValueError) as error:
            raise AtlasError(f"{PACKAGE} {VERSION} could not be fetched from npm_config_registry: {error}") from None
    if not target.exists():
        raise AtlasError(f"npm fetched no {target.name}")
