"""ONNX Runtime Web, which runs networks in a browser: taken from its npm package, checked, and kept in a cache."""

import base64
import hashlib
import io
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
    content = archive.read_bytes() if archive.exists() else _download(archive.name)
    digest = "sha512-" + base64.b64encode(hashlib.sha512(content).digest()).decode("ascii")
    if digest != INTEGRITY:
        raise AtlasError(f"{archive} is not {PACKAGE} {VERSION} as published; remove it, if it is there, and try again")
    if not archive.exists():
        with atomic_write(archive) as tmp:
            tmp.write_bytes(content)
    with tarfile.open(fileobj=io.BytesIO(content)) as package:
        return {name: package.extractfile(path).read() for name, path in FILES.items()}  # type: ignore[union-attr]


def _download(name: str) -> bytes:
    """Download the archive by npm, which knows its registry; without npm from the one that npm's variable names."""
    npm = shutil.which("npm")
    registry = next((value for key, value in os.environ.items() if key.lower() == "npm_config_registry"), "")
    if not npm and not registry:
        raise AtlasError(f"{PACKAGE} {VERSION} comes by npm, which is not on PATH (npm_config_registry is not set)")
    try:
        if npm:
            with tempfile.TemporaryDirectory() as folder:
                command = [npm, "pack", f"{PACKAGE}@{VERSION}", "--silent"]
                subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True, timeout=TIMEOUT)
                return (Path(folder) / name).read_bytes()
        with urllib.request.urlopen(f"{registry.rstrip('/')}/{PACKAGE}/-/{name}", timeout=TIMEOUT) as response:
            return response.read()
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        reason = (getattr(error, "stderr", None) or str(error)).strip().splitlines()[-1]
        source = "npm" if npm else "npm_config_registry"
        raise AtlasError(f"{PACKAGE} {VERSION} could not be fetched from {source}: {reason}") from None
