"""Cases: every variant of the models on two data sets, at the default runs' sizes and at the original tutorials'."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from ruamel.yaml import YAML

from atlas.core import settings as settings_file
from atlas.core.datasets import Dataset, Split
from atlas.core.device import DeviceConfig
from atlas.core.files import require
from atlas.core.model import Model, Shape, build, find_model
from atlas.core.settings import Run
from atlas.training.optimizers import make_optimizers

CLASSES = 10
SHAPES: dict[str, Shape] = {"mnist": (1, 28, 28), "cifar10": (3, 32, 32)}
EXTRA = {
    "cifar10_beta_vae": {"dataset": "cifar10", "model": "vae", "beta": 4.0, "latent_dim": 128,
                         "likelihood": "discretized_logistic"},
    "cifar10_vae_gan": {"dataset": "cifar10", "model": "vae_gan", "latent_dim": 128},
}  # fmt: skip
"""Runs for the variants that params.yaml trains on one data set only."""
STRUCTURE = ("dataset", "model", "conditional", "beta", "flow_steps")
"""What a case of the original sizes takes from the run of the default sizes."""


@dataclass(frozen=True)
class Case:
    """One variant of a model on one data set, at one size."""

    size: str
    """default | original."""
    run: Run

    @property
    def name(self) -> str:
        return f"{self.run.dataset} {self.run.variant}, {self.size} size"

    @property
    def period(self) -> int:
        """Steps after which the updates of the parameter groups repeat."""
        return max(self.run.settings.get("steps", {"": 1}).values())


def cases(params: Path = Path("params.yaml")) -> list[Case]:
    """Return every case, from the settings that params.yaml has at scale `cpu`.

    The default size is that of a variant's default run; of several, that with the largest code. The original size is
    network `original` at width 1, dropout 0.3, batches of 64, a code of 8 for VAEs and VAE/GANs, and every parameter
    group updated in every step.
    """
    raw = YAML(typ="safe", pure=True).load(require(params, "nothing: it comes with the repository").read_text("utf-8"))
    raw["scale"] = "cpu"
    raw["runs"] = {name: run for name, run in {**raw["runs"], **EXTRA}.items() if run["dataset"] in SHAPES}
    largest: dict[tuple[str, str], Run] = {}
    for run in settings_file.check(raw).runs.values():
        name = (run.dataset, run.variant)
        if name not in largest or run.settings["latent_dim"] > largest[name].settings["latent_dim"]:
            largest[name] = run
    original: dict[str, dict[str, Any]] = {}
    for run in largest.values():
        entry = {name: value for name, value in raw["runs"][run.key].items() if name in STRUCTURE}
        entry |= {"network": "original", "width": 1, "batch_size": 64, "dropout": 0.3}
        entry |= {"latent_dim": 8} if run.model in ("vae", "vae_gan") else {}
        entry |= {"steps": dict.fromkeys(run.settings["steps"], 1)} if "steps" in run.settings else {}
        original[f"{run.dataset}_{run.variant}_original"] = entry
    runs = settings_file.check({**raw, "runs": original}).runs.values()
    return [*(Case("default", run) for run in largest.values()), *(Case("original", run) for run in runs)]


def changed(run: Run, **budget: Any) -> Run:
    """Return the run with other keys of its training budget."""
    return replace(run, train=run.train.model_copy(update=budget))


def make_model(run: Run) -> tuple[Model, dict[str, Any]]:
    """Return the run's model as `src/train.py` builds it, on the CPU, and the arguments of its optimizers."""
    arguments, optimization = run.arguments(find_model(run.model), make_optimizers)
    torch.manual_seed(run.seed)
    return build(run.model, SHAPES[run.dataset], CLASSES, arguments), optimization


def load_split(dataset: str, split: str, config: DeviceConfig, noise: int | None = None) -> Split:
    """Return a split of a data set on the device; or, for a trial of the benchmark itself, `noise` images of noise."""
    if noise is None:
        return Dataset.open(require(Path("data") / dataset, f"download@{dataset}")).split(split, config.device)
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (noise, *SHAPES[dataset]), generator=generator, dtype=torch.uint8)
    return Split(images.to(config.device), (torch.arange(noise) % CLASSES).to(config.device))
