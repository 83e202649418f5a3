"""ONNX Runtime Web: downloaded once, checked and kept."""

import base64
import hashlib
import io
import tarfile
from pathlib import Path

import pytest

from atlas.core.files import AtlasError
from atlas.gallery import onnx_runtime

NAME = f"{onnx_runtime.PACKAGE}-{onnx_runtime.VERSION}.tgz"


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """An archive like npm's, where a registry would have it."""
    path = tmp_path / onnx_runtime.PACKAGE / "-" / NAME
    path.parent.mkdir(parents=True)
    with tarfile.open(path, mode="w:gz") as archive:
        for name, member in onnx_runtime.FILES.items():
            entry = tarfile.TarInfo(member)
            entry.size = len(name)
            archive.addfile(entry, io.BytesIO(name.encode()))
    return path


def npm(folder: Path, script: str) -> None:
    """A program of that name."""
    folder.mkdir(exist_ok=True)
    (folder / "npm").write_text(f"#!/bin/sh\n{script}\n")
    (folder / "npm").chmod(0o755)


def trust(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    digest = base64.b64encode(hashlib.sha512(package.read_bytes()).digest()).decode()
    monkeypatch.setattr(onnx_runtime, "INTEGRITY", f"sha512-{digest}")


def test_the_runtime_is_fetched_once_checked_and_kept(
    package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "cache"
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=":")
    npm(tmp_path / "bin", f'cp "{package}" {NAME}')
    with pytest.raises(AtlasError, match="is not onnxruntime-web"):
        onnx_runtime.fetch(cache)
    assert not cache.exists() or not list(cache.iterdir()), "what failed its check was kept"

    trust(package, monkeypatch)
    assert onnx_runtime.fetch(cache) == {name: name.encode() for name in onnx_runtime.FILES}
    npm(tmp_path / "bin", "echo 'no such host' >&2; exit 1")
    assert onnx_runtime.fetch(cache) == {name: name.encode() for name in onnx_runtime.FILES}
    with pytest.raises(AtlasError, match=r"could not be fetched from npm: no such host"):
        onnx_runtime.fetch(tmp_path / "other")


def test_without_npm_its_registry_variable_is_used(
    package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    for variable in ("npm_config_registry", "NPM_CONFIG_REGISTRY"):
        monkeypatch.delenv(variable, raising=False)
    with pytest.raises(AtlasError, match="comes by npm, which is not on PATH"):
        onnx_runtime.fetch(tmp_path / "cache")
    trust(package, monkeypatch)
    monkeypatch.setenv("npm_config_registry", tmp_path.as_uri() + "/")
    assert onnx_runtime.fetch(tmp_path / "cache")["binary"] == b"binary"
    monkeypatch.setenv("npm_config_registry", (tmp_path / "nowhere").as_uri())
    with pytest.raises(AtlasError, match="could not be fetched from npm_config_registry"):
        onnx_runtime.fetch(tmp_path / "other")
