"""Metric one run on the official test images, by the protocol that every run goes through."""

import argparse
from pathlib import Path

import numpy as np
import torch

from atlas.core import settings as settings_file
from atlas.core.datasets import Dataset
from atlas.core.device import device_config
from atlas.core.files import AtlasError, run_stage
from atlas.core.files import require, atomic_write, write_json
from atlas.metrics.registry import METRICS
from atlas.metrics.evaluate import evaluate
from atlas.metrics.classifier import Judge
from atlas.core.model import load_model, load_weights


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", help="a name under `runs` in params.yaml")
    settings = settings_file.load()
    run = settings.run(parser.parse_args().run)
    config = device_config()
    model, _ = load_model(require(Path("outputs/models") / run.key, f"train@{run.key}"), config.device)
    dataset = Dataset.open(Path("data") / run.dataset)
    budget = settings.budget.evaluate[run.dataset]
    test = dataset.split("test", config.device, budget.images)
    training = dataset.split("train", config.device, len(test))
    judge = config.to_device(Judge(dataset.shape, len(dataset.classes), settings.budget.judge[run.dataset].width))
    load_weights(judge, Path("outputs/judges") / run.dataset / "weights.safetensors", f"train_judge@{run.dataset}")
    each: dict[str, torch.Tensor] = {}
    try:
        found = evaluate(
            model,
            judge,
            test,
            training,
            torch.Generator().manual_seed(settings.seed),
            budget.importance_samples,
            budget.inversions,
            each,
        )
    except ValueError as error:
        raise AtlasError(f"budgets.{settings.scale}.evaluate.{run.dataset}.images: {error}") from None
    write_json(Path("outputs/metrics") / f"{run.key}.json", found)
    with atomic_write(Path("outputs/per_image") / f"{run.key}.npz") as aside, aside.open("wb") as file:
        np.savez(file, **{name: values.float().cpu().numpy() for name, values in each.items()})  # type: ignore[arg-type]
    shown = (f"{name} {found[name]:.4g}" for name in METRICS if name in found and METRICS[name].headline)
    print(f"{run.key}: {', '.join(shown)} ({len(test)} test images)")


if __name__ == "__main__":
    run_stage(main)
