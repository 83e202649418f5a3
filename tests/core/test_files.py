"""Files appear whole or not at all; models damaged on disk are refused in one line."""

import json
import os
import resource
import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch
from tests.conftest import PARAMS, Build
from torch import nn

from atlas.core.files import AtlasError, atomic_dir, atomic_write, read_json, require, run_stage, write_json
from atlas.core.model import Model, find_model, load_model, load_weights, save_model, save_weights
from atlas.core.settings import keywords
from atlas.training.checkpoint import LOCK, Checkpoints
from atlas.training.snapshots import Snapshot


class Broken(Exception):
    pass


def _names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


# --- files ----------------------------------------------------------------------------------------------------------


def test_a_file_appears_when_the_block_ends_and_not_before(tmp_path: Path) -> None:
    path = tmp_path / "new" / "picture.png"
    with atomic_write(path) as tmp:
        tmp.write_text("half")
        assert not path.exists() and tmp.suffix == ".png" and tmp.parent == path.parent
        tmp.write_text("whole")
    assert path.read_text() == "whole" and _names(path.parent) == ["picture.png"]


@pytest.mark.parametrize("error", [Broken, KeyboardInterrupt, SystemExit])
def test_a_file_that_is_not_finished_leaves_the_old_one(tmp_path: Path, error: type[BaseException]) -> None:
    path = tmp_path / "numbers.json"
    path.write_text("old")
    with pytest.raises(error), atomic_write(path) as tmp:
        tmp.write_text("half")
        raise error
    assert path.read_text() == "old" and _names(tmp_path) == ["numbers.json"]


def test_what_a_killed_process_left_is_cleared_away(tmp_path: Path) -> None:
    path = tmp_path / "a[1].txt"
    ended = subprocess.Popen(["true"])
    ended.wait()
    left = tmp_path / f".a[1].part{ended.pid}.txt"
    names = f".a[1].part{os.getppid()}.txt", ".a[1].partly.txt", f".b.part{ended.pid}.txt"
    others = [tmp_path / name for name in names]
    for file in (left, *others):
        file.write_text("half")
    with atomic_write(path) as tmp:
        tmp.write_text("whole")
    assert not left.exists() and all(file.exists() for file in others) and path.read_text() == "whole"


def test_a_reader_never_sees_a_file_in_between(tmp_path: Path) -> None:
    """The old file, opened before, stays readable: the new one is another file with its name."""
    path = tmp_path / "numbers.json"
    write_json(path, {"a": 1})
    with path.open() as reader:
        write_json(path, {"a": 2})
        assert json.load(reader) == {"a": 1}
    assert path.read_text() == '{\n  "a": 2\n}\n'


@pytest.mark.parametrize("umask", [0o022, 0o002, 0o077])
def test_a_folder_appears_whole_and_takes_the_place_of_the_old_one(
    tmp_path: Path, umask: int, request: pytest.FixtureRequest
) -> None:
    before = os.umask(umask)
    request.addfinalizer(partial(os.umask, before))
    path = tmp_path / "models" / "run"
    for content in ("first", "second"):
        with atomic_dir(path) as tmp:
            (tmp / content).write_text(content)
            assert not (path / content).exists()
        assert _names(tmp_path / "models") == ["run", f"run/{content}"]
    assert path.stat().st_mode & 0o777 == 0o777 & ~umask, "others may read it, as any folder"


@pytest.mark.parametrize("error", [Broken, KeyboardInterrupt])
def test_a_folder_that_is_not_finished_leaves_the_old_one(tmp_path: Path, error: type[BaseException]) -> None:
    path = tmp_path / "run"
    path.mkdir()
    (path / "old").touch()
    with pytest.raises(error), atomic_dir(path) as tmp:
        (tmp / "new").touch()
        raise error
    assert _names(tmp_path) == ["run", "run/old"]


@pytest.mark.parametrize(
    "write",
    [
        lambda path: write_json(path, {}),
        lambda path: atomic_dir(path).__enter__(),
        lambda path: save_weights(nn.Linear(2, 2), path),
    ],
)
def test_a_place_that_cannot_be_written_is_named(tmp_path: Path, write: Callable[[Path], None]) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(AtlasError, match=r"file/out could not be written: (Not a directory|File exists)"):
        write(tmp_path / "file" / "out")
    assert _names(tmp_path) == ["file"]


@pytest.mark.parametrize(
    "write",
    [
        lambda folder: write_json(folder / "out", "x" * 100_000),
        lambda folder: save_weights(nn.Linear(1000, 100), folder / "out"),
        lambda folder: Checkpoints("out", "mark").save({"weights": torch.zeros(100_000)}),
        lambda folder: Checkpoints("out", "mark").save_snapshot(
            1, Snapshot(torch.zeros(100_000).numpy(), torch.zeros(10).numpy())
        ),
    ],
)
def test_a_full_disk_is_a_plain_error_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: Callable[[Path], None]
) -> None:
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limits[1]))
    try:
        with pytest.raises(AtlasError, match="could not be written: "):
            write(tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and path.name != LOCK]


def test_damaged_json_names_the_stage_that_writes_it(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", [1])
    assert read_json(tmp_path / "a.json", "evaluate@a_run") == [1]
    for content in (b"{", b"\xff\xfe"):
        (tmp_path / "a.json").write_bytes(content)
        with pytest.raises(AtlasError, match=r"a\.json is damaged .*dvc repro --force evaluate@a_run"):
            read_json(tmp_path / "a.json", "evaluate@a_run")


def test_what_is_missing_names_the_stage_that_writes_it(tmp_path: Path) -> None:
    assert require(tmp_path, "download@mnist") == tmp_path
    with pytest.raises(AtlasError, match=r"mnist is missing: .* run `dvc repro download@mnist` first"):
        require(tmp_path / "mnist", "download@mnist")


@pytest.mark.parametrize(
    ("raised", "message"), [(AtlasError("do this"), "error: do this"), (KeyboardInterrupt(), "again")]
)
def test_a_stage_turns_mistakes_into_one_line_and_a_status(raised: BaseException, message: str) -> None:
    def main() -> None:
        raise raised

    with pytest.raises(SystemExit) as ended:
        run_stage(main)
    assert isinstance(ended.value.code, str) and message in ended.value.code


def test_a_stage_does_not_hide_bugs() -> None:
    with pytest.raises(ZeroDivisionError):
        run_stage(lambda: print(1 / 0))


# --- models on disk -------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(make: Build, tmp_path: Path) -> Path:
    """A trained VAE of eight-pixel images."""
    settings = {**PARAMS["models"]["vae"], "width": 0.125}
    arguments = {name: settings[name] for name in keywords(find_model("vae"))}
    folder = tmp_path / "a_run"
    model = make("vae", (1, 8, 8), **arguments)
    classes = list("abcdefghij")
    save_model(model, folder, run="a_run", dataset="d", name="vae", variant="vae", classes=classes, arguments=arguments)
    return folder


def _load(folder: Path) -> Model:
    return load_model(folder, torch.device("cpu"))[0]


def test_the_same_model_is_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    save_weights(_load(folder), tmp_path / "again.safetensors")
    assert (tmp_path / "again.safetensors").read_bytes() == (folder / "weights.safetensors").read_bytes()


def test_the_layout_in_memory_does_not_reach_the_file(tmp_path: Path) -> None:
    net = nn.Conv2d(3, 4, 3)
    save_weights(net, tmp_path / "plain.safetensors")
    save_weights(net.to(memory_format=torch.channels_last), tmp_path / "last.safetensors")
    assert (tmp_path / "plain.safetensors").read_bytes() == (tmp_path / "last.safetensors").read_bytes()


@pytest.mark.parametrize("name", ["model.json", "weights.safetensors"])
def test_a_missing_file_of_a_model_names_the_stage(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(AtlasError, match=rf"{name} is missing: .*dvc repro train@a_run"):
        _load(folder)


@pytest.mark.parametrize("keep", [0, 4, 8, 100, -1])
def test_truncated_weights_are_refused(folder: Path, keep: int) -> None:
    path = folder / "weights.safetensors"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(AtlasError, match=r"weights\.safetensors does not fit .*dvc repro --force train@a_run") as error:
        _load(folder)
    assert "\n" not in str(error.value)


def test_every_flipped_bit_of_the_header_is_noticed(tmp_path: Path) -> None:
    net, path = nn.Linear(4, 3), tmp_path / "weights.safetensors"
    save_weights(net, path)
    good = path.read_bytes()
    header = 8 + int.from_bytes(good[:8], "little")
    for position in range(len(good[:header].rstrip())):
        bad = bytearray(good)
        bad[position] ^= 1 << position % 8
        path.write_bytes(bad)
        with pytest.raises(AtlasError, match="does not fit") as error:
            load_weights(net, path, "train@a_run")
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("changes", [{"latent_dim": 3}, {"likelihood": "gaussian"}])
def test_another_networks_weights_are_refused(folder: Path, make: Build, changes: dict[str, object]) -> None:
    save_weights(make("vae", (1, 8, 8), **changes), folder / "weights.safetensors")
    with pytest.raises(AtlasError, match=r"weights\.safetensors does not fit") as error:
        _load(folder)
    assert "\n" not in str(error.value) and len(str(error.value)) < 400


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"{}",
        b"\xff\xfe",
        b'{"model": "vae"}',
        b'{"model": "vae", "shape": 3, "classes": [], "arguments": {}}',
        b'{"model": "vae", "shape": [1, 8, 8], "classes": ["a"], "arguments": {"latent_dum": 2}}',
        b'{"model": "nonsense", "shape": [1, 8, 8], "classes": ["a"], "arguments": {}}',
        b'{"model": ["vae"], "shape": [1, 8, 8], "classes": ["a"], "arguments": {}}',
    ],
)
def test_a_damaged_description_is_refused(folder: Path, content: bytes) -> None:
    (folder / "model.json").write_bytes(content)
    with pytest.raises(AtlasError, match=r"model\.json is damaged .*dvc repro --force train@a_run") as error:
        _load(folder)
    assert "\n" not in str(error.value)
