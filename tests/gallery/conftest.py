"""Fixtures of the gallery's tests: the outputs of three small runs, and the gallery built from them."""

import shutil
from pathlib import Path

import pytest
from tests.gallery.example import RUNTIME, build, write_outputs


@pytest.fixture(scope="session")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with outputs/ and results/."""
    folder = tmp_path_factory.mktemp("root")
    write_outputs(folder)
    return folder


@pytest.fixture(scope="session")
def folder(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The gallery, in a folder whose name has a blank."""
    folder = tmp_path_factory.mktemp("built") / "a folder" / "gallery"
    build(root, folder, RUNTIME)
    return folder


@pytest.fixture
def copy(root: Path, tmp_path: Path) -> Path:
    """A copy of the outputs, to be damaged."""
    shutil.copytree(root, tmp_path, dirs_exist_ok=True)
    return tmp_path
