"""Train the judge of one data set: a small classifier, of rotations without labels, whose features the metrics use."""

import math
import sys
import time
from pathlib import Path

from atlas.core.files import atomic_dir, atomic_write, run_stage, write_json


def train_judge(name: str) -> None:
    """Train the judge of the data set of that name; write outputs/judges/NAME."""
    import torch
    from safetensors.torch import save
    from torch.nn import functional
    from tqdm import tqdm

    from atlas.core import settings as settings_file
    from atlas.core.datasets import Dataset, epoch_batches, to_unit
    from atlas.core.device import device_config
    from atlas.core.model import save_weights
    from atlas.metrics.classifier import ROTATIONS, Judge, augment, classify, rotate

    settings = settings_file.load()
    settings_file.require_known("dataset", name, settings.datasets)
    seed = settings.judge.seed
    config = device_config()
    dataset = Dataset.open(Path("data") / name)
    budget = settings.budgets[name].judge.resolve(dataset.counts["train"], dataset.shape)
    training = dataset.split("train", config.device, budget.images)
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    judge = config.to_device(Judge(dataset.shape, len(dataset.classes), budget.width))
    optimizer = torch.optim.AdamW(judge.parameters(), weight_decay=settings.judge.weight_decay)
    steps_per_epoch = len(training) // budget.batch_size
    steps = steps_per_epoch * budget.epochs
    started = time.perf_counter()
    # A mirrored digit is another sign; a mirrored ship is a ship.
    mirror = dataset.shape[0] == 3
    with tqdm(total=steps, desc=f"judge of {name}", unit="step", disable=not sys.stderr.isatty()) as bar:
        for epoch in range(budget.epochs):
            judge.train()
            for step, idx in enumerate(epoch_batches(len(training), budget.batch_size, seed, epoch)):
                progress = (epoch * steps_per_epoch + step) / steps
                optimizer.param_groups[0]["lr"] = settings.judge.learning_rate * one_cycle(progress)
                idx = idx.to(config.device)
                images, targets = augment(to_unit(training.images[idx]), mirror, generator), training.labels[idx]
                if not dataset.labelled:
                    targets = torch.randint(ROTATIONS, (len(idx),), generator=generator).to(config.device)
                    images = rotate(images, targets)
                with config.autocast():
                    logits = judge(images)
                loss = functional.cross_entropy(logits.float(), targets)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                bar.update()
    # What later stages share: how good the judge is, and its features of what none of their models has seen. Nothing is
    # chosen by the test images.
    report: dict[str, str | float | int] = {"task": "labels" if dataset.labelled else "rotations"}
    features = {}
    for part in ("validation", "test"):
        split = dataset.split(part, config.device)
        features[part], predicted = classify(judge, to_unit(split.images))
        targets = split.labels
        if not dataset.labelled:
            targets = torch.arange(len(split), device=config.device) % ROTATIONS
            _, predicted = classify(judge, rotate(to_unit(split.images), targets))
        report |= {f"{part}_accuracy": (predicted == targets).double().mean().item(), f"{part}_n": len(split)}
    with atomic_dir(Path("outputs/judges") / name) as folder:
        save_weights(judge, folder / "weights.safetensors")
        with atomic_write(folder / "features.safetensors") as tmp:
            tmp.write_bytes(save({part: values.cpu().contiguous() for part, values in features.items()}))
        write_json(folder / "judge.json", report)
    seconds = time.perf_counter() - started
    print(
        f"judge of {name} ({report['task']}): {report['test_accuracy']:.2%} of test images right, {seconds:.0f} s on "
        f"{config}"
    )


def one_cycle(progress: float) -> float:
    """Return the learning rate as a share of its peak: up over the first fifth, then down a cosine."""
    if progress < 0.2:
        return 0.1 + 0.9 * progress / 0.2
    return 0.5 * (1 + math.cos(math.pi * (progress - 0.2) / 0.8)) + 1e-3


if __name__ == "__main__":
    run_stage(train_judge, __doc__, dataset="a name under `datasets` in params.yaml")
