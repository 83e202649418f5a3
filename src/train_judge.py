"""Train the judge of one data set: a small classifier that reads labels and lends its features to the distances."""

import argparse
import math
import sys
import time
from pathlib import Path

import torch
from torch.nn import functional
from tqdm import tqdm

from atlas.core import settings as settings_file
from atlas.core.datasets import Dataset, epoch_batches, to_unit
from atlas.core.device import device_config
from atlas.core.files import run_stage
from atlas.core.files import atomic_dir, write_json
from atlas.metrics.classifier import Judge, augment, read
from atlas.core.model import save_weights

PEAK_RATE = 0.01
SEED = 1
"""Always: measures must not change with the seed of what they measure."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dataset", help="a name under `datasets` in params.yaml")
    name = parser.parse_args().dataset
    settings = settings_file.load()
    settings_file.known("dataset", name, settings.datasets)
    budget = settings.budget.judge[name]
    config = device_config()
    dataset = Dataset.open(Path("data") / name)
    training = dataset.split("train", config.device, budget.images)
    torch.manual_seed(SEED)
    generator = torch.Generator().manual_seed(SEED)
    judge = config.to_device(Judge(dataset.shape, len(dataset.classes), budget.width))
    optimiser = torch.optim.AdamW(judge.parameters(), weight_decay=0.01)
    per_epoch = len(training) // budget.batch_size
    total = per_epoch * budget.epochs
    started = time.perf_counter()
    # A digit in a mirror is another sign; a ship is a ship.
    mirror = dataset.shape[0] == 3
    with tqdm(total=total, desc=f"judge of {name}", unit="step", disable=not sys.stderr.isatty()) as bar:
        for epoch in range(budget.epochs):
            judge.train()
            for position, chosen in enumerate(epoch_batches(len(training), budget.batch_size, SEED, epoch)):
                progress = (epoch * per_epoch + position) / total
                optimiser.param_groups[0]["lr"] = PEAK_RATE * one_cycle(progress)
                chosen = chosen.to(config.device)
                images = augment(to_unit(training.images[chosen]), mirror, generator)
                with config.autocast():
                    logits = judge(images)
                loss = functional.cross_entropy(logits.float(), training.labels[chosen])
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
                bar.update()
    report = {}
    # The test images are read once, here, to say how good the judge is; nothing is chosen by them.
    for part in ("validation", "test"):
        split = dataset.split(part, config.device)
        labels = torch.cat([read(judge, to_unit(images))[1] for images in split.images.split(1000)])
        report[f"{part}_accuracy"] = (labels == split.labels).double().mean().item()
        report[f"{part}_n"] = len(split)
    with atomic_dir(Path("outputs/judges") / name) as folder:
        save_weights(judge, folder / "weights.safetensors")
        write_json(folder / "judge.json", report)
    seconds = time.perf_counter() - started
    print(f"judge of {name}: {report['test_accuracy']:.2%} of test images right, {seconds:.0f} s on {config}")


def one_cycle(progress: float) -> float:
    """Return the learning rate as a share of its peak: up over the first fifth, then down a cosine."""
    if progress < 0.2:
        return 0.1 + 0.9 * progress / 0.2
    return 0.5 * (1 + math.cos(math.pi * (progress - 0.2) / 0.8)) + 1e-3


if __name__ == "__main__":
    run_stage(main)
