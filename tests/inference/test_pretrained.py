"""Pretrained models: `atlas.load`, what it takes and gives, where it finds the run, and what it refuses."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np
import pytest
import torch
from PIL import Image
from tests.conftest import PARAMS, ROOT, Build
from tests.saved import DIGITS, save_run

import atlas
from atlas.core.files import AtlasError
from atlas.core.latent import invert
from atlas.core.model import Model
from atlas.core.schema import InversionSettings
from atlas.inference.pretrained import INVERSION, PretrainedModel

THINGS = ["plane", "car", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
Keep = Callable[..., Model]


@pytest.fixture
def keep(tmp_path: Path) -> Keep:
    """keep("cvae"): save a small model as the run `digits_toy` of the checkout tmp_path, and return it."""
    return lambda *arguments, **changes: save_run(tmp_path / "outputs/models/digits_toy", *arguments, **changes)


def _pixels(count: int = 3, shape: tuple[int, ...] = (1, 16, 16)) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, *shape), dtype=np.uint8)


def test_importing_atlas_imports_nothing() -> None:
    """Every stage pays for it."""
    code = "import sys; before = set(sys.modules); import atlas; print(*sorted(set(sys.modules) - before))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
    )
    assert done.stdout.split() == ["atlas"]


def test_no_stage_uses_atlas_load() -> None:
    for path in (ROOT / "src").rglob("*.py"):
        uses = re.search(r"(?m)^import atlas$|^\s*from atlas import .*\bload\b", path.read_text(encoding="utf-8"))
        assert not uses, path


@torch.no_grad()
def test_every_model_does_what_its_own_methods_do(variant: str, keep: Keep, tmp_path: Path) -> None:
    model = keep(variant)
    trained = atlas.load("digits_toy", tmp_path)
    assert (trained.run, trained.dataset, trained.variant) == ("digits_toy", "digits", variant)
    assert trained.classes == list(DIGITS) and trained.shape == (1, 16, 16) and not trained.model.training
    assert variant in repr(trained) and "digits_toy" in repr(trained)
    pixels, numbers = _pixels(), torch.tensor([3, 1, 4]) * model.conditional
    labels = [3, 1, 4] if model.conditional else None
    images = torch.from_numpy(pixels) / 255
    assert InversionSettings(**PARAMS["inversion"]) == INVERSION, "as the figures"
    codes = trained.encode(pixels, labels)
    if model.can("encode"):
        expected = model.encode(images, numbers)
    else:
        expected = invert(model, images, numbers, INVERSION)
    assert codes.dtype == np.float32 and codes.shape == (3, model.latent_dim)
    np.testing.assert_allclose(codes, expected, atol=1e-5)
    decoded = model.decode(torch.from_numpy(codes), numbers)
    np.testing.assert_allclose(trained.decode(codes, labels), decoded, atol=1e-5)
    drawn = model.sample(numbers, torch.Generator().manual_seed(5))
    np.testing.assert_allclose(trained.sample(labels, count=3, seed=5), drawn, atol=1e-5)
    if not model.conditional:
        with pytest.raises(AtlasError, match=f"digits_toy: {variant} takes no labels.*a conditional model"):
            trained.transfer(pixels)
        return
    moved = trained.transfer(pixels, labels)
    assert moved.shape == (3, 10, 1, 16, 16)
    for label in range(10):
        every = model.decode(torch.from_numpy(codes), torch.full((3,), label))
        np.testing.assert_allclose(moved[:, label], every, atol=1e-5)


def test_images_may_come_in_every_usual_way(keep: Keep, tmp_path: Path) -> None:
    keep()
    trained = atlas.load("digits_toy", tmp_path)
    pixels = _pixels()
    expected = trained.encode(pixels, 7)
    for images in (
        pixels / 255,
        (pixels / 255).astype(np.float16).astype(np.float64),
        torch.from_numpy(pixels),
        torch.from_numpy(pixels / 255).requires_grad_(),
        pixels[:, 0],
        pixels.transpose(0, 2, 3, 1),
        [Image.fromarray(image[0]) for image in pixels],
    ):
        np.testing.assert_allclose(trained.encode(images, 7), expected, atol=1e-3)
    for image in (pixels[0], pixels[0, 0], pixels[0, 0, :, :, None], Image.fromarray(pixels[0, 0])):
        np.testing.assert_allclose(trained.encode(image, 7), expected[:1], atol=1e-5)
    black = np.zeros((16, 16), bool)
    assert np.array_equal(trained.encode(black, 7), trained.encode(black.astype(np.uint8), 7))


def test_coloured_images_may_have_their_channels_last(keep: Keep, tmp_path: Path) -> None:
    keep("cvae", (3, 16, 16))
    trained = atlas.load("digits_toy", tmp_path)
    pixels = _pixels(2, (3, 16, 16))
    expected = trained.encode(pixels, 7)
    assert np.array_equal(trained.encode(pixels.transpose(0, 2, 3, 1), 7), expected)
    image = Image.fromarray(pixels[0].transpose(1, 2, 0))
    np.testing.assert_allclose(trained.encode(image, 7), expected[:1], atol=1e-5)


def test_labels_may_be_names_or_numbers(keep: Keep, tmp_path: Path) -> None:
    keep(classes=THINGS)
    trained = atlas.load("digits_toy", tmp_path)
    pixels, expected = _pixels(), trained.encode(_pixels(), [3, 3, 3])
    for labels in ("cat", "3", 3, np.int64(3), torch.tensor(3), ["cat", 3, "3"], ("cat",), np.array(["cat"] * 3)):
        assert np.array_equal(trained.encode(pixels, labels), expected), labels
    for several in (torch.tensor([3, 3, 3]), np.array([3, 3, 3]), iter([3, 3, 3]), range(3, 4)):
        assert np.array_equal(trained.encode(pixels, several), expected), several


def test_samples_come_as_many_as_asked_for(keep: Keep, tmp_path: Path) -> None:
    keep()
    trained = atlas.load("digits_toy", tmp_path)
    assert len(trained.sample()) == 10 and len(trained.sample("7")) == 1 and len(trained.sample(7, count=4)) == 4
    assert len(trained.sample(["7", "1"])) == 2
    turns = trained.sample(count=12)
    assert np.array_equal(turns, trained.sample([*range(10), 0, 1]))
    assert np.array_equal(turns, trained.sample(count=12)) and not np.array_equal(
        turns, trained.sample(count=12, seed=1)
    )
    keep("vae")
    trained = atlas.load("digits_toy", tmp_path)
    assert len(trained.sample()) == 1 and len(trained.sample(count=5)) == 5


def test_a_model_that_classifies_reads_the_labels_itself(keep: Keep, tmp_path: Path) -> None:
    model = keep("ac_vae")
    trained = atlas.load("digits_toy", tmp_path)
    pixels = _pixels()
    read = model.classify(torch.from_numpy(pixels) / 255).argmax(1)
    assert np.array_equal(trained.transfer(pixels), trained.transfer(pixels, read))


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (
            lambda model: model.encode(np.zeros((2, 1, 28, 28)), 1),
            r"found an array \[2, 1, 28, 28\]; allowed: \[N, 1, 16, 16\]",
        ),
        (lambda model: model.encode(np.zeros((0, 1, 16, 16)), 1), r"found an array \[0, 1, 16, 16\]"),
        (
            lambda model: model.encode(np.full((16, 16), 2.0), 1),
            r"values from 2 to 2; allowed: uint8, or .* in \[0, 1\]",
        ),
        (lambda model: model.encode(np.full((16, 16), np.nan), 1), "values from nan to nan"),
        (lambda model: model.encode(np.zeros((16, 16), int), 1), "int64 values from 0 to 0; allowed: uint8"),
        (lambda model: model.encode("seven.png", 1), "str, which is no array of numbers"),
        (
            lambda model: model.encode(np.zeros((16, 16))),
            "labels: found None; allowed: one for all images or one for each, of: 0, 1",
        ),
        (lambda model: model.encode(np.zeros((16, 16)), "seven"), "unknown label of digits 'seven'; there are: 0, 1"),
        (lambda model: model.encode(np.zeros((16, 16)), 10), "label: found 10; allowed: 0 to 9, or a name"),
        (lambda model: model.encode(np.zeros((16, 16)), -1), "label: found -1"),
        (lambda model: model.encode(np.zeros((16, 16)), 1.5), "label: found 1.5"),
        (
            lambda model: model.encode(np.zeros((3, 16, 16)), [1, 2]),
            "found 2 labels; allowed: one for all or one for each, 3",
        ),
        (lambda model: model.decode(np.zeros((2, 5)), 1), r"codes: found an array \[2, 5\]; allowed: \[N, 2\]"),
        (lambda model: model.decode(np.full((2, 2), np.inf), 1), "codes: found a value that is not a finite number"),
        (lambda model: model.sample([]), "labels: found 0 labels"),
        (lambda model: model.sample(count=0), "count: found 0; allowed: a whole number of images, 1 or more"),
    ],
)
def test_what_does_not_fit_is_refused(
    call: Callable[[PretrainedModel], Any], words: str, keep: Keep, tmp_path: Path
) -> None:
    keep()
    with pytest.raises(AtlasError, match=words) as refusal:
        call(atlas.load("digits_toy", tmp_path))
    assert "\n" not in str(refusal.value)


def test_a_label_for_an_unconditional_model_is_refused(keep: Keep, tmp_path: Path) -> None:
    keep("vae")
    trained = atlas.load("digits_toy", tmp_path)
    for call in (trained.encode, trained.transfer):
        with pytest.raises(AtlasError, match="takes no labels"):
            call(_pixels(), 7)
    with pytest.raises(AtlasError, match="labels: found 7; allowed: None, since vae takes no labels"):
        trained.sample(7)


def test_runs_that_are_not_there(keep: Keep, tmp_path: Path) -> None:
    keep()
    with pytest.raises(AtlasError, match=r"unknown run 'digits_toi', did you mean 'digits_toy'\?"):
        atlas.load("digits_toi", tmp_path)
    with pytest.raises(AtlasError, match=r"unknown run '\.\./digits_toy'"):
        atlas.load("../digits_toy", tmp_path)
    (tmp_path / "params.yaml").write_text("runs: {digits_later: {dataset: digits, model: vae}}\n")
    with pytest.raises(AtlasError, match=r"'digits_later' is not trained yet in .*make repro RUNS=digits_later"):
        atlas.load("digits_later", tmp_path)
    (tmp_path / "params.yaml").write_text("runs: [broken")
    with pytest.raises(AtlasError, match="unknown run 'nonsense'; there are: digits_toy"):
        atlas.load("nonsense", tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(AtlasError, match=r"no outputs/models and no params.yaml found in .*empty"):
        atlas.load("digits_toy", tmp_path / "empty")
    with pytest.raises(AtlasError, match=r"source: found '.*nowhere', which is no folder; allowed: .*Git address"):
        atlas.load("digits_toy", tmp_path / "nowhere")
    with pytest.raises(AtlasError, match="device: found 'warp', which cannot be used here"):
        atlas.load("digits_toy", tmp_path, "warp")


@pytest.mark.parametrize("form", ["path", "name", "source"])
def test_a_run_is_loaded_from_the_folder_that_dvc_get_leaves(
    form: str, keep: Keep, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep()
    folder = tmp_path / "downloads/digits_toy"
    folder.parent.mkdir()
    (tmp_path / "outputs/models/digits_toy").rename(folder)
    if form == "name":
        monkeypatch.chdir(folder.parent)
    name = str(folder) if form == "path" else folder.name
    trained = atlas.load(name, folder.parent if form == "source" else ".")
    assert trained.run == "digits_toy" and len(trained.sample(7)) == 1


def _run(folder: Path, *command: str) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("DVC", "GIT"))}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}\n{done.stderr}"


@pytest.fixture
def repository(keep: Keep, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A clone of a DVC repository that has trained `digits_toy` and pushed it to `store`; the clone has nothing."""
    monkeypatch.setenv("ATLAS_CACHE", str(tmp_path / "cache"))
    keep()
    return _published(tmp_path)


def _published(tmp_path: Path, folder: str = "") -> Path:
    """As `repository`, with the project in a folder of the repository."""
    home, dvc = tmp_path / "home" / folder, (sys.executable, "-m", "dvc")
    (home / "outputs/models").mkdir(parents=True)
    (tmp_path / "outputs/models/digits_toy").rename(home / "outputs/models/digits_toy")
    (home / "outputs/models/digits_toy/frames.npz").write_bytes(b"large")
    (home / "params.yaml").write_text("runs: {digits_toy: {}, digits_later: {}}\n")
    (home / "dvc.yaml").write_text(
        "stages:\n"
        "  train:\n"
        "    foreach: [digits_toy, digits_later]\n"
        "    do: {cmd: 'false', outs: [\"outputs/models/${item}\"]}\n"
    )
    (home / ".gitignore").write_text("/outputs/\n")
    _run(tmp_path / "home", "git", "init", "-q")
    _run(home, *dvc, "init", "-q", *(["--subdir"] if folder else []))
    _run(home, *dvc, "remote", "add", "-q", "-d", "store", str(tmp_path / "store"))
    _run(home, *dvc, "commit", "-q", "-f", "train@digits_toy")
    _run(home, *dvc, "push", "-q", "train@digits_toy")
    _run(home, "git", "add", "-A")
    _run(home, "git", "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-q", "-m", "a run")
    clone = tmp_path / "clone"
    _run(tmp_path, "git", "clone", "-q", str(tmp_path / "home"), str(clone))
    return clone / folder


def test_a_run_is_fetched_from_a_dvc_remote(
    repository: Path, make: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = make("cvae").eval().decode(torch.zeros(1, 2), torch.tensor([7])).detach().numpy()
    trained = atlas.load("digits_toy", repository)
    np.testing.assert_allclose(trained.decode(np.zeros(2), 7), expected, atol=1e-5)
    # Only what it needs, whole, and once.
    (folder,) = (tmp_path / "cache").rglob("digits_toy")
    assert sorted(file.name for file in folder.iterdir()) == ["model.json", "weights.safetensors"]
    # By the repository's address, after its home has lost the outputs; then by what was fetched, after the store has.
    (tmp_path / "home/outputs").rename(tmp_path / "lost")
    address = f"file://{tmp_path / 'home'}"
    (tmp_path / "store").rename(tmp_path / "away")
    assert np.array_equal(atlas.load("digits_toy", address).decode(np.zeros(2), 7), trained.decode(np.zeros(2), 7))
    for source in (repository, address):
        with pytest.raises(AtlasError, match="'digits_later' is not trained yet in"):
            atlas.load("digits_later", source)
        with pytest.raises(AtlasError, match=r"unknown run 'digits_toi', did you mean 'digits_toy'\?"):
            atlas.load("digits_toi", source)
    monkeypatch.setenv("ATLAS_CACHE", str(tmp_path / "another"))
    with pytest.raises(AtlasError, match=r"could not be fetched from the DVC remote .*`dvc push`") as refusal:
        atlas.load("digits_toy", repository)
    assert "\n" not in str(refusal.value) and not list((tmp_path / "another").rglob("digits_toy"))
    with pytest.raises(AtlasError, match="cannot be read as a DVC repository"):
        atlas.load("digits_toy", f"file://{tmp_path / 'nowhere'}")


def test_a_run_is_fetched_from_a_folder_of_a_larger_repository(
    keep: Keep, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ATLAS_CACHE", str(tmp_path / "cache"))
    keep()
    clone = _published(tmp_path, "team/atlas")
    assert atlas.load("digits_toy", clone).run == "digits_toy"
    (tmp_path / "cache").rename(tmp_path / "another")
    address = f"file://{tmp_path / 'home'}"
    assert atlas.load("digits_toy", f"{address}#team/atlas").run == "digits_toy"
    with pytest.raises(AtlasError, match=r"'digits_later' is not trained yet in file:.*#team/atlas"):
        atlas.load("digits_later", f"{address}#team/atlas")
    for source in (address, tmp_path / "clone", f"{address}#team"):
        with pytest.raises(AtlasError, match=r"a folder of a larger repository, name that folder"):
            atlas.load("digits_toy", source)


def test_without_a_home_the_cache_must_be_named(keep: Keep, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keep()
    clone = _published(tmp_path)
    (tmp_path / "file").touch()
    monkeypatch.setenv("ATLAS_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(AtlasError, match=r"no folder to keep .* in .*; name one in ATLAS_CACHE"):
        atlas.load("digits_toy", clone)


@pytest.mark.slow
def test_the_wheel_holds_the_library_and_loads_a_run(keep: Keep, tmp_path: Path) -> None:
    """Built as `pip install .` builds it, without installing anything."""
    keep()
    build = tmp_path / "build"
    build.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        (build / name).write_bytes((ROOT / name).read_bytes())
    for path in (ROOT / "src").rglob("*"):
        if path.is_file() and "__pycache__" not in path.parts:
            (build / path.relative_to(ROOT)).parent.mkdir(parents=True, exist_ok=True)
            (build / path.relative_to(ROOT)).write_bytes(path.read_bytes())
    _run(build, sys.executable, "-c", "from setuptools import build_meta; build_meta.build_wheel('.')")
    (wheel,) = build.glob("latent_atlas-*.whl")
    with ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    top = {path.name for path in (tmp_path / "site").iterdir() if not path.name.endswith(".dist-info")}
    assert top == {"atlas"}
    for kind in ("static", "templates"):
        for file in (ROOT / "src/atlas/gallery" / kind).iterdir():
            assert (tmp_path / "site/atlas/gallery" / kind / file.name).is_file()
    code = f"import atlas; print(atlas.__file__, atlas.load('digits_toy', {str(tmp_path)!r}).sample('7').shape)"
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "site")}
    done = subprocess.run([sys.executable, "-c", code], cwd=build, env=environment, capture_output=True, text=True)
    assert done.stdout.split() == [str(tmp_path / "site/atlas/__init__.py"), "(1,", "1,", "16,", "16)"], done.stderr
