"""What is timed: every member of the family on both data sets, at the default runs' sizes and at the seed texts'."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from ruamel.yaml import YAML

from atlas.core import settings as settings_file
from atlas.core.datasets import Dataset, Split
from atlas.core.device import DeviceConfig
from atlas.core.files import require
from atlas.core.model import Model
from atlas.core.model import build
from atlas.core.settings import Run
from atlas.training.optimizers import KEYS

DATASETS = ("mnist", "cifar10")
SIZES = ("default", "seed")
CLASSES = 10
SHAPES = {"mnist": (1, 28, 28), "cifar10": (3, 32, 32)}
GOALS = {"vae_gan": 4.0, "cvae_gan": 4.0}
"""Of the ratio to the plain loop; that of every other member is `GOAL`."""
GOAL = 2.0
SHARE_GOAL = 0.4
"""Of the measured peak, at the seed texts' sizes."""

# Members that have no default run on a data set are given the code size of those that have one.
EXTRA: dict[str, dict[str, Any]] = {
    "cifar10_beta_vae": {"latent_dim": 128, "likelihood": "discretized_logistic"},
    "cifar10_vae_gan": {"latent_dim": 128},
}


@dataclass(frozen=True)
class Case:
    """One model at one size on one data set."""

    sizes: str
    run: Run

    @property
    def name(self) -> str:
        return f"{self.run.dataset} {self.run.model}, {self.sizes} sizes"

    @property
    def goal(self) -> float:
        """How many times the plain loop's speed is wanted."""
        return GOALS.get(self.run.model, GOAL)

    @property
    def period(self) -> int:
        """Steps after which the players' moves repeat."""
        return max(self.run.settings.get("steps", {"": 1}).values())


def cases(params: Path = Path("params.yaml")) -> list[Case]:
    """Return every case, from the settings that params.yaml has at scale `cpu`.

    Default sizes are those of the member's default run, of several that with the largest code. The seed texts' sizes
    are network `seed` at width 1, dropout 0.3, batches of 64, a code of 8 for the conditional VAE and VAE/GAN, and
    every player moving in every step.
    """
    raw = YAML(typ="safe", pure=True).load(require(params, "nothing: it comes with the repository").read_text("utf-8"))
    raw["scale"] = "cpu"
    runs: dict[str, Any] = raw["runs"]
    chosen: dict[str, list[str]] = {sizes: [] for sizes in SIZES}
    for dataset in DATASETS:
        for model, defaults in raw["models"].items():
            own = [key for key, run in runs.items() if (run["dataset"], run["model"]) == (dataset, model)]
            name = f"{dataset}_{model}"
            if not own:
                runs[name] = {"dataset": dataset, "model": model, **EXTRA.get(name, {})}
            best = max(own or [name], key=lambda key: runs[key].get("latent_dim", 0))
            chosen["default"].append(best)
            seeds = {"dataset": dataset, "model": model, "network": "seed", "width": 1, "batch_size": 64}
            seeds |= {"dropout": 0.3} | ({"latent_dim": 8} if model in ("cvae", "cvae_gan") else {})
            seeds |= {"steps": dict.fromkeys(defaults["steps"], 1)} if "steps" in defaults else {}
            runs[f"{name}_seed"] = seeds
            chosen["seed"].append(f"{name}_seed")
    checked = settings_file.check(raw)
    return [Case(sizes, checked.run(key)) for sizes in SIZES for key in chosen[sizes]]


def make(run: Run) -> Model:
    """Return the run's model as `src/train.py` builds it, on the CPU, with weights drawn from the run's seed."""
    torch.manual_seed(run.seed)
    arguments = {name: value for name, value in run.settings.items() if name not in KEYS}
    return build(run.model, SHAPES[run.dataset], CLASSES, {**arguments, "width": run.train.width})


def load(dataset: str, split: str, machine: DeviceConfig, noise: int | None = None) -> Split:
    """Return a split of a data set on the device; or, for a trial of the benchmark itself, `noise` images of noise."""
    if noise is None:
        return Dataset.open(require(Path("data") / dataset, f"download@{dataset}")).split(split, machine.device)
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (noise, *SHAPES[dataset]), generator=generator, dtype=torch.uint8)
    return Split(images.to(machine.device), (torch.arange(noise) % CLASSES).to(machine.device))
