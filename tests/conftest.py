"""What several tests share: the real params.yaml, small models, and splits of noise."""

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from ruamel.yaml import YAML
from tests import toy

from atlas.core.datasets import Split
from atlas.core.device import DeviceConfig
from atlas.core.model import Model, Shape, build, find_model
from atlas.core.settings import keywords
from atlas.training.optimizers import make_optimizers

if TYPE_CHECKING:
    from playwright.sync_api import Browser

ROOT = Path(__file__).parents[1]
PARAMS: dict[str, Any] = YAML(typ="safe", pure=True).load(ROOT / "params.yaml")
VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "ae": ("ae", {}),
    "vae": ("vae", {}),
    "beta_vae": ("vae", {"beta": 4.0}),
    "vae_iaf": ("vae", {"flow_steps": 2}),
    "cvae": ("vae", {"conditional": True}),
    "ac_vae": ("ac_vae", {}),
    "gan": ("gan", {}),
    "cgan": ("gan", {"conditional": True}),
    "vae_gan": ("vae_gan", {}),
    "cvae_gan": ("vae_gan", {"conditional": True}),
}
"""The ten models that people speak of: a file of atlas.models, and what differs from its defaults in params.yaml."""
SHAPES: list[Shape] = [(1, 28, 28), (3, 32, 32), (2, 16, 20)]

Build = Callable[..., Model]
Noise = Callable[..., Split]
WriteDataset = Callable[..., Path]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test that asks for `variant` (or `shape`) with each of the ten models (or each shape of an image)."""
    if "variant" in metafunc.fixturenames:
        metafunc.parametrize("variant", list(VARIANTS))
    if "shape" in metafunc.fixturenames:
        metafunc.parametrize("shape", SHAPES, ids=lambda shape: "x".join(map(str, shape)))


@pytest.hookimpl(tryfirst=True)  # xdist reads the groups in a hook of its own
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Give slow tests time; with xdist, build `done` once, on the worker that begins with it, and split no file."""
    for item in items:
        if item.get_closest_marker("slow") and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(2400))
    if config.getoption("loadgroup", False):
        items.sort(key=lambda item: not _needs_pipeline(item))
        for item in items:
            if _needs_pipeline(item):
                item.add_marker(pytest.mark.xdist_group("pipeline"))
            elif not item.get_closest_marker("xdist_group"):
                item.add_marker(pytest.mark.xdist_group(item.path.stem))


def _needs_pipeline(item: pytest.Item) -> bool:
    return "done" in getattr(item, "fixturenames", ())


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> None:
    """Tensors this small are slower on two threads, and much slower where others compute as well."""
    torch.set_num_threads(1)


@pytest.fixture
def raw() -> dict[str, Any]:
    """params.yaml as plain mappings that share nothing, to be broken."""
    return json.loads(json.dumps(PARAMS))


@pytest.fixture
def make() -> Build:
    """make("cvae", shape, latent_dim=3): a small model with the defaults of params.yaml but for what is given."""

    def small(variant: str, shape: Shape = (1, 16, 16), num_classes: int = 10, seed: int = 0, **changes: Any) -> Model:
        name, differences = VARIANTS[variant]
        settings = {**PARAMS["models"][name], "width": 0.125, **differences, **changes}
        arguments = {key: settings[key] for key in keywords(find_model(name))}
        torch.manual_seed(seed)
        return build(name, shape, num_classes, arguments)

    return small


def optimization(variant: str, **changes: Any) -> dict[str, Any]:
    """Keyword arguments of `make_optimizers` for one of the ten models, with the defaults of params.yaml."""
    settings = {**PARAMS["training"], **PARAMS["models"][VARIANTS[variant][0]], **changes}
    return {key: settings[key] for key in keywords(make_optimizers) if key in settings}


@pytest.fixture
def noise() -> Noise:
    """noise(40, shape): uint8 images of noise, with every label equally often."""

    def draw(count: int, shape: Shape = (1, 16, 16), seed: int = 0) -> Split:
        generator = torch.Generator().manual_seed(seed)
        images = torch.randint(0, 256, (count, *shape), generator=generator, dtype=torch.uint8)
        return Split(images, torch.arange(count) % 10)

    return draw


@pytest.fixture
def write_dataset(tmp_path: Path) -> WriteDataset:
    """write_dataset("toy", (3, 16, 32), classes=4): a data set below `tmp_path`/data as the download writes it.

    Each label's images are waves of its own direction, so that it can be learned. `classes=0`: unlabelled.
    """

    def write(
        name: str = "toy", shape: Shape = (1, 16, 16), classes: int = 10, count: int = 60, seed: int = 0, **more: Any
    ) -> Path:
        rng = np.random.default_rng(seed)
        folder = tmp_path / "data" / name
        folder.mkdir(parents=True, exist_ok=True)
        rows, columns = np.mgrid[: shape[1], : shape[2]] / min(shape[1:])
        counts = {"train": count, "validation": count // 2, "test": count // 2}
        for split, number in counts.items():
            labels = rng.permutation(np.arange(number) % max(1, classes)).astype(np.uint8)
            angle = np.pi * labels / max(1, classes)
            place = np.cos(angle)[:, None, None] * rows + np.sin(angle)[:, None, None] * columns
            waves = 0.5 + 0.4 * np.sin(12 * place + rng.uniform(0, 6, (number, 1, 1)))
            images = waves[:, None] + rng.normal(0, 0.05, (number, *shape))
            np.save(folder / f"{split}_images.npy", (images.clip(0, 1) * 255).astype(np.uint8))
            np.save(folder / f"{split}_labels.npy", labels)
        content: dict[str, Any] = {"name": name, "shape": shape}
        content |= {"classes": [f"label {label}" for label in range(classes)]}
        content |= {"counts": counts, "framing": "crop", "background": "#ffffff", **more}
        (folder / "dataset.json").write_text(json.dumps(content))
        return folder

    return write


@pytest.fixture
def cpu() -> DeviceConfig:
    return DeviceConfig(torch.device("cpu"), bfloat16=False)


@pytest.fixture(scope="module")
def chromium() -> Iterator["Browser"]:
    """A real browser, Chromium or its like, without a window."""
    # Here, so that other tests run where there is none.
    from playwright.sync_api import sync_playwright

    names = ("chromium", "chromium-browser", "google-chrome")
    executable = next((path for name in names if (path := shutil.which(name))), None)
    if executable is None:
        pytest.skip(f"no browser on PATH ({', '.join(names)})")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


@dataclass(frozen=True)
class Done:
    """A repository whose whole pipeline was run without a network, and what it sent to its remote."""

    folder: Path
    output: str
    """What `dvc repro` printed."""
    log: list[tuple[str, str, str]]
    """(stage, "read" | "write" | "setting" | "network", name) of what its stages did: see tests/recorder.py."""
    remote: Path


@pytest.fixture(scope="session")
def done(tmp_path_factory: pytest.TempPathFactory) -> Done:
    """The toy copy of this repository (tests/toy.py), run, committed and pushed to a folder."""
    place = tmp_path_factory.mktemp("toy")
    folder, remote = toy.copy(place / "origin"), place / "remote"
    variables = toy.recorded(place / "recorder")
    output = toy.run(folder, "dvc", "repro", variables=variables)
    toy.run(folder, "dvc", "remote", "add", "-q", "-d", "team", str(remote))
    toy.commit(folder, "done")
    toy.run(folder, "dvc", "push")
    lines = Path(variables["RECORDER_LOG"]).read_text().splitlines()
    return Done(folder, output, [tuple(json.loads(line)) for line in lines], remote)
