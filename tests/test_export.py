"""Exported networks against PyTorch, run by ONNX Runtime; what goes with them; the runtime for browsers."""

import base64
import gzip
import hashlib
import io
import json
import sys
import tarfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from tests.conftest import PARAMS, Build, Noise

import export as stage
from atlas import onnx_export, runtime
from atlas.core.files import AtlasError
from atlas.core.model import Shape
from atlas.export.onnx import NEAR, export, slim
from atlas.gallery.packing import pack_network
from atlas.core.model import save_model
from atlas.training.optimizers import KEYS

# A member of each kind of network and of each way to a code.
KINDS: list[tuple[str, Shape, dict[str, Any]]] = [
    ("ae", (1, 16, 16), {}),
    ("cvae", (1, 16, 20), {"network": "mlp", "latent_dim": 1}),
    ("cvae", (3, 16, 16), {"network": "seed", "likelihood": "discretized_logistic", "noise": "pixel"}),
    ("vae", (3, 16, 16), {"network": "dct", "latent_dim": 32}),
    ("vae_iaf", (1, 16, 16), {"likelihood": "binarized", "latent_dim": 5, "flow_steps": 2}),
    ("ac_vae", (1, 16, 16), {}),
    ("cgan", (3, 16, 16), {}),
    ("cvae_gan", (1, 16, 16), {"dropout": 0.5}),
]


def run(content: bytes, first: torch.Tensor, labels: torch.Tensor) -> np.ndarray:
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    names = [given.name for given in session.get_inputs()]
    feeds = {names[0]: first.numpy(), "labels": labels.numpy()}
    return np.asarray(session.run(None, {name: feeds[name] for name in names})[0])


@pytest.mark.parametrize(("name", "image", "changes"), KINDS)
def test_networks_say_what_pytorch_says(make: Build, name: str, image: Shape, changes: dict[str, Any]) -> None:
    model = make(name, image, **changes).eval()
    generator = torch.Generator().manual_seed(1)
    parts = [part for part in ("decoder", "encoder") if model.can(part.removesuffix("r"))]
    assert parts == (["decoder"] if name == "cgan" else ["decoder", "encoder"])
    for part in parts:
        content = export(model, part)
        for count in (1, 7):
            labels = torch.arange(count)
            codes = torch.randn(count, model.latent_dim, generator=generator)
            first = codes if part == "decoder" else torch.rand(count, *image, generator=generator)
            with torch.no_grad():
                expected = getattr(model, part.removesuffix("r"))(first, labels).numpy()
            found = run(content, first, labels)
            assert found.shape == expected.shape and np.abs(found - expected).max() < 1e-4
            assert np.ptp(found[0]) > 1e-3 or found[0].size == 1


def test_the_file_is_whole_valid_and_says_nothing_of_this_machine(make: Build) -> None:
    content = export(make("cvae", latent_dim=3), "decoder")
    onnx.checker.check_model(onnx.load_from_string(content), full_check=True)
    assert content == export(make("cvae", latent_dim=3), "decoder")
    assert str(Path(__file__).parents[1]).encode() not in content and b".py" not in content
    with pytest.raises(ValueError, match="found 'discriminator'"):
        export(make("cgan"), "discriminator")


@pytest.mark.parametrize(("name", "part"), [("cvae", "decoder"), ("vae", "encoder"), ("cgan", "decoder")])
def test_a_slim_network_says_the_same_in_fewer_digits(make: Build, name: str, part: str) -> None:
    model = make(name, latent_dim=3).eval()
    generator = torch.Generator().manual_seed(1)
    labels = torch.arange(50) % 10
    given = torch.randn(50, 3, generator=generator)
    if part == "encoder":
        given = torch.rand(50, *model.shape, generator=generator)
    lean = slim(model, part, given, labels)
    said, meant = (getattr(each, part.removesuffix("r"))(given, labels).detach() for each in (lean, model))
    assert 0 < (said - meant).abs().max() <= NEAR
    content = export(lean, part)
    assert np.abs(run(content, given, labels) - meant.numpy()).max() < 1e-4
    packed, whole = pack_network(content), pack_network(export(model, part))
    assert len(packed["tensors"]) > len(whole["tensors"])
    sizes = [len(found["frame"]) + len(found["weights"]) for found in (packed, whole)]
    assert sizes[0] < 0.85 * sizes[1]


def test_what_cannot_be_rounded_stays_exact(make: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_export, "BITS", range(1))
    model = make("vae").eval()
    assert slim(model, "decoder", torch.randn(9, model.latent_dim), torch.arange(9)) is model


def unpacked(found: dict[str, Any]) -> bytes:
    """The file, as the page's script puts it together."""
    content = bytearray(gzip.decompress(found["frame"]))
    planes = np.frombuffer(gzip.decompress(found["weights"]), np.uint8)
    start = 0
    for place, count, size, step in found["tensors"]:
        parts = planes[start : start + size * count].reshape(size, count).astype(np.int64)
        folded = sum(part << (8 * plane) for plane, part in enumerate(parts))
        numbers = np.where(folded % 2, -(folded + 1) // 2, folded // 2)
        content[place : place + 4 * count] = (numbers * step).astype("<f4").tobytes()
        start += size * count
    assert start == len(planes)
    return bytes(content)


def test_a_packed_network_is_the_same_file(make: Build) -> None:
    model = make("cvae", latent_dim=3).eval()
    codes, labels = torch.randn(20, 3), torch.arange(20) % 10
    for content in (export(model, "decoder"), export(slim(model, "decoder", codes, labels), "decoder")):
        assert unpacked(pack_network(content)) == content


@pytest.mark.parametrize(
    ("values", "packs"),
    [
        (np.arange(-50, 50) * 0.375, True),
        (np.zeros(100), True),
        (np.full(100, -(2.0**22) + 1), True),
        (np.full(100, 2.0**-80), True),
        (np.r_[np.zeros(99), 1.1], False),
        (np.r_[np.ones(99), 2.0**-30], False),
        (np.r_[np.ones(99), np.inf], False),
        (np.r_[np.ones(99), np.nan], False),
        (np.r_[np.ones(99), -0.0], False),
        (np.ones(20), False),
    ],
)
def test_numbers_of_few_digits_are_packed_and_all_come_back(values: np.ndarray, packs: bool) -> None:
    weights = onnx.numpy_helper.from_array(values.astype("<f4"), "weights")
    node = onnx.helper.make_node("Identity", ["weights"], ["out"])
    out = onnx.helper.make_tensor_value_info("out", onnx.TensorProto.FLOAT, [len(values)])
    graph = onnx.helper.make_graph([node], "graph", [], [out], [weights])
    content = onnx.helper.make_model(graph).SerializeToString()
    found = pack_network(content)
    assert bool(found["tensors"]) == packs
    assert unpacked(found) == content


@pytest.fixture
def home(make: Build, noise: Noise, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with two trained runs on noise, which is the working directory, and settings that name them."""
    data, test = tmp_path / "data" / "noise", noise(40)
    data.mkdir(parents=True)
    classes = [str(digit) for digit in range(10)]
    counts = dict.fromkeys(("train", "validation", "test"), 40)
    about = {"name": "noise", "shape": [1, 16, 16], "classes": classes, "counts": counts}
    (data / "dataset.json").write_text(json.dumps(about))
    np.save(data / "test_images.npy", test.images.numpy())
    np.save(data / "test_labels.npy", test.labels.numpy().astype(np.uint8))
    runs = {}
    for key, name in (("noise_cvae", "cvae"), ("noise_gan", "gan")):
        arguments = {word: value for word, value in PARAMS["models"][name].items() if word not in KEYS}
        arguments |= {"width": 0.125, "latent_dim": 3}
        folder = tmp_path / "outputs" / "models" / key
        folder.mkdir(parents=True)
        model = make(name, latent_dim=3)
        save_model(model, folder, run=key, dataset="noise", name=name, classes=classes, arguments=arguments)
        runs[key] = SimpleNamespace(key=key, dataset="noise")
    settings = SimpleNamespace(runs=runs, run=runs.__getitem__)
    monkeypatch.setattr(stage.settings_file, "load", lambda: settings)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def stage_main(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    monkeypatch.setattr(sys, "argv", ["export.py", *names])
    stage.main()


def test_one_stage_exports_all_runs_or_those_that_are_named(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    gone = home / "outputs" / "onnx" / "no_longer_a_run"
    gone.mkdir(parents=True)
    stage_main(monkeypatch, "noise_gan")
    assert [line.split(":")[0] for line in capsys.readouterr().out.splitlines()] == ["noise_gan", "outputs/onnx"]
    assert {path.name for path in (home / "outputs" / "onnx").iterdir()} == {"noise_gan", "no_longer_a_run"}
    alone = (home / "outputs" / "onnx" / "noise_gan" / "decoder.onnx").read_bytes()

    stage_main(monkeypatch)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("noise_cvae: decoder and encoder, ") and lines[0].endswith("(1 of 2)")
    assert lines[1].startswith("noise_gan: decoder, ") and lines[1].endswith("(2 of 2)")
    written = {path.relative_to(home / "outputs" / "onnx").as_posix() for path in home.glob("outputs/onnx/*/*")}
    both = ("decoder.onnx", "explorer.json", "map.webp")
    expected = {f"{run}/{name}" for run in ("noise_cvae", "noise_gan") for name in both}
    assert written == expected | {"noise_cvae/encoder.onnx"} and not gone.exists()
    # The same bytes whatever was exported before it.
    assert (home / "outputs" / "onnx" / "noise_gan" / "decoder.onnx").read_bytes() == alone


def test_an_export_that_fails_leaves_what_was_there(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stage_main(monkeypatch)
    before = {path: path.read_bytes() for path in (home / "outputs" / "onnx").rglob("*.*")}
    (home / "outputs" / "models" / "noise_gan" / "weights.safetensors").write_bytes(b"")
    with pytest.raises(AtlasError, match="train@noise_gan"):
        stage_main(monkeypatch)
    assert {path: path.read_bytes() for path in (home / "outputs" / "onnx").rglob("*.*")} == before
    assert [path.name for path in (home / "outputs").iterdir() if path.name.startswith(".")] == []


def test_what_goes_with_the_networks(make: Build, noise: Noise) -> None:
    model, test = make("cvae", latent_dim=3).eval(), noise(40)
    about = stage.describe(model, [str(digit) for digit in range(10)], test)
    codes = model.encode(test.images.float() / 255, test.labels).detach()
    assert about["mean"] == pytest.approx(codes.mean(0).tolist(), abs=1e-4)
    assert about["std"] == pytest.approx(codes.std(0).tolist(), abs=1e-4)
    assert about["order"] == codes.std(0).argsort(descending=True).tolist()
    assert (about["centre"], about["spread"]) == ([0.0] * 3, [1.0] * 3)
    assert [entry["label"] for entry in about["images"]] == [label for label in range(10) for _ in range(stage.PICKS)]
    first = np.frombuffer(base64.b64decode(about["images"][1]["pixels"]), np.uint8).reshape(1, 16, 16)
    assert (first == test.images[10].numpy()).all()
    # The autoencoder has no prior to be centred on.
    alone = stage.describe(make("ae", latent_dim=2).eval(), ["a"], noise(40))
    assert (alone["centre"], alone["spread"]) == (alone["mean"], alone["std"])


@pytest.mark.parametrize(("name", "size"), [("cvae", 1), ("cvae", 4), ("gan", 3), ("ae", 2)])
def test_the_drawn_map_lies_where_its_words_say(make: Build, noise: Noise, name: str, size: int) -> None:
    model = make(name, latent_dim=size).eval()
    about = stage.describe(model, [str(digit) for digit in range(10)], noise(40))
    drawn = stage.draw_map(model, about)
    labels, side = 10 if model.conditional else 1, about["side"]
    assert drawn.shape == (labels * side * 16, side * 16, 3)
    label, row, column = labels - 1, 2, 7
    code = torch.tensor([about["centre"]])
    steps = torch.linspace(-about["reach"], about["reach"], side)
    first, *second = about["order"][:2]
    code[0, first] += steps[column] * about["spread"][first]
    for axis in second:
        code[0, axis] += steps[side - 1 - row] * about["spread"][axis]
    expected = model.decode(code, torch.tensor([label])).detach().numpy()[0, 0] * 255
    top = (label * side + row) * 16
    assert np.abs(drawn[top : top + 16, column * 16 : column * 16 + 16, 0] - expected).max() <= 0.51


def archive() -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as package:
        for name, member in runtime.FILES.items():
            entry = tarfile.TarInfo(member)
            entry.size = len(name)
            package.addfile(entry, io.BytesIO(name.encode()))
    return content.getvalue()


def put(folder: Path, name: str, script: str) -> None:
    """A program of that name."""
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)


def test_the_runtime_is_fetched_once_checked_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "package.tgz"
    package.write_bytes(archive())
    digest = base64.b64encode(hashlib.sha512(package.read_bytes()).digest()).decode()
    cache = tmp_path / "cache"
    name = f"{runtime.PACKAGE}-{runtime.VERSION}.tgz"
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=":")
    put(tmp_path / "bin", "npm", f'for last; do :; done; cp "{package}" "$last/{name}"')

    with pytest.raises(AtlasError, match="is not onnxruntime-web"):
        runtime.fetch(cache)
    assert not cache.exists() or not list(cache.iterdir()), "what failed its check was kept"

    monkeypatch.setattr(runtime, "INTEGRITY", f"sha512-{digest}")
    assert runtime.fetch(cache) == {part: part.encode() for part in runtime.FILES}
    put(tmp_path / "bin", "npm", "echo 'no such host' >&2; exit 1")
    assert runtime.fetch(cache) == {part: part.encode() for part in runtime.FILES}
    with pytest.raises(AtlasError, match=r"npm could not fetch .*: no such host"):
        runtime.fetch(tmp_path / "other")


def test_without_npm_its_registry_variable_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    for variable in ("npm_config_registry", "NPM_CONFIG_REGISTRY"):
        monkeypatch.delenv(variable, raising=False)
    with pytest.raises(AtlasError, match="comes by npm, which is not on PATH"):
        runtime.fetch(tmp_path / "cache")
    content = archive()
    place = tmp_path / runtime.PACKAGE / "-" / f"{runtime.PACKAGE}-{runtime.VERSION}.tgz"
    place.parent.mkdir(parents=True)
    place.write_bytes(content)
    digest = base64.b64encode(hashlib.sha512(content).digest()).decode()
    monkeypatch.setattr(runtime, "INTEGRITY", f"sha512-{digest}")
    monkeypatch.setenv("npm_config_registry", tmp_path.as_uri() + "/")
    assert runtime.fetch(tmp_path / "cache")["binary"] == b"binary"
    monkeypatch.setenv("npm_config_registry", (tmp_path / "nowhere").as_uri())
    with pytest.raises(AtlasError, match="could not be fetched from npm_config_registry"):
        runtime.fetch(tmp_path / "other")
