"""Measure one run on the official test images, by the protocol that every run goes through."""

import argparse
from pathlib import Path

import numpy as np
import torch

from atlas import settings as settings_file
from atlas.datasets import Dataset
from atlas.device import machine
from atlas.errors import AtlasError, run_stage
from atlas.files import need, whole_file, write_json
from atlas.measures.catalogue import MEASURES
from atlas.measures.evaluate import evaluate
from atlas.measures.judge import Judge
from atlas.store import load_model, load_weights


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", help="a name under `runs` in params.yaml")
    settings = settings_file.load()
    run = settings.run(parser.parse_args().run)
    computer = machine()
    model, _ = load_model(need(Path("outputs/models") / run.key, f"train@{run.key}"), computer.device)
    dataset = Dataset.open(Path("data") / run.dataset)
    budget = settings.budget.evaluate[run.dataset]
    test = dataset.split("test", computer.device, budget.images)
    training = dataset.split("train", computer.device, len(test))
    judge = computer.place(Judge(dataset.shape, len(dataset.classes), settings.budget.judge[run.dataset].width))
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
    with whole_file(Path("outputs/per_image") / f"{run.key}.npz") as aside, aside.open("wb") as file:
        np.savez(file, **{name: values.float().cpu().numpy() for name, values in each.items()})  # type: ignore[arg-type]
    shown = (f"{name} {found[name]:.4g}" for name in MEASURES if name in found and MEASURES[name].headline)
    print(f"{run.key}: {', '.join(shown)} ({len(test)} test images)")


if __name__ == "__main__":
    run_stage(main)
