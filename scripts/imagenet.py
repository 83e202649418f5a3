"""Metric runs' samples in the features of a network fitted to ImageNet, an optional extra, beside the judge's.

Writes results/imagenet.json, which `compare` takes the column from; what is there of a network that has not changed
stays.
"""

import argparse
import hashlib
import json
from pathlib import Path

import torch
from tqdm import tqdm

from atlas.core import settings as settings_file
from atlas.core.datasets import Dataset, to_unit
from atlas.core.device import device_config
from atlas.core.files import run_stage
from atlas.core.files import require, write_json
from atlas.measures import imagenet, pictures
from atlas.metrics.evaluate import BATCH, SUBSET, subset
from atlas.core.model import Model
from atlas.core.model import load_model

TARGET = Path("results/imagenet.json")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("runs", nargs="*", help="names under `runs` in params.yaml; none means all of them")
    settings = settings_file.load()
    runs = [settings.run(run) for run in parser.parse_args().runs or settings.runs]
    folders = {run.key: require(Path("outputs/models") / run.key, f"train@{run.key}") for run in runs}
    config = device_config()
    network = imagenet.load(config.device)
    known = json.loads(TARGET.read_text(encoding="utf-8")) if TARGET.exists() else {}
    real: dict[str, tuple[torch.Tensor, torch.Tensor, torch.Tensor]] = {}
    for run in tqdm(runs, unit="run", disable=None):
        of = hashlib.sha256((folders[run.key] / "weights.safetensors").read_bytes()).hexdigest()
        if known.get(run.key, {}).get("of") == of:
            continue
        if run.dataset not in real:
            dataset = Dataset.open(Path("data") / run.dataset)
            test = dataset.split("test", config.device)
            some = subset(len(test), SUBSET).to(config.device)
            training = dataset.split("train", config.device, len(some))
            kinds = (test.images[some], training.images)
            seen, floor = (imagenet.features(network, to_unit(images)) for images in kinds)
            real[run.dataset] = seen, floor, test.labels[some]
        model, _ = load_model(folders[run.key], config.device)
        known[run.key] = {"of": of, "measures": measure(model, network, *real[run.dataset], settings.seed)}
        write_json(TARGET, {name: known[name] for name in settings.runs if name in known})
    print(f"{TARGET}: {', '.join(run.key for run in runs)}")


@torch.no_grad()
def measure(
    model: Model, network: torch.nn.Module, real: torch.Tensor, floor: torch.Tensor, labels: torch.Tensor, seed: int
) -> dict[str, float | int]:
    """Return the kernel distance between test images and samples of their labels, with its interval and its floor.

    Args:
        real, floor: features [N, F] of test and of training images; labels: [N], of the test images.
    """
    generator = torch.Generator().manual_seed(seed)
    samples = torch.cat([model.sample(part, generator) for part in labels.split(BATCH)])
    fake = imagenet.features(network, samples)
    low, high = pictures.kernel_interval(real, fake)
    return {
        "imagenet_kernel": pictures.kernel(real, fake),
        "imagenet_kernel_low": low,
        "imagenet_kernel_high": high,
        "imagenet_kernel_n": len(real),
        "imagenet_kernel_floor": pictures.kernel(real, floor),
    }


if __name__ == "__main__":
    run_stage(main)
