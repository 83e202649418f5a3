"""Export the trained networks of all runs as ONNX, with what the gallery's latent explorer needs beside them.

One process for them all: starting PyTorch and its exporter takes longer than exporting a small network.
"""

import argparse
import base64
import sys
from functools import cache
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from atlas.core import settings as settings_file
from atlas.core.datasets import Dataset, Split, to_unit
from atlas.core.files import run_stage
from atlas.core.files import require, atomic_write, atomic_dir, write_json
from atlas.core.latent import decode_uint8, encode_dataset, map_codes
from atlas.core.model import Model
from atlas.export.onnx import PARTS, export, slim
from atlas.plotting.canvas import grid
from atlas.core.model import load_model

TARGET = Path("outputs/onnx")
PICKS = 2
"""Test images of each label that go with the networks."""
SEEN = 2000
"""Test images whose codes tell where codes lie."""
PROBES = 1000
"""Test images, and as many codes drawn from the explorer's reach, on which rounded networks must say the same."""
SIDE = 11
"""Images along a side of the map that is drawn beforehand."""
MAP_QUALITY = 80
"""Of WebP, to 100."""
REACH = 2.5
"""How far the map goes each way from the centre, in standard deviations of the codes."""


def describe(model: Model, classes: list[str], test: Split) -> dict:
    """Return what explorer.json holds: shapes, classes, where codes lie, the map's place, some test images as bytes.

    Codes lie around `centre` with `spread`, [d] each: those of the prior, or of test images where there is no prior.
    `order` lists the dimensions, those first whose codes vary most between test images.
    """
    size = model.latent_dim
    mean, spread = torch.zeros(size), torch.ones(size)
    order = list(range(size))
    if model.can("encode"):
        codes = encode_dataset(model, to_unit(test.images[:SEEN]), test.labels[:SEEN])
        mean, spread = codes.mean(0), codes.std(0)
        order = spread.argsort(descending=True, stable=True).tolist()
    own = not model.has_prior
    chosen = [place for label in range(len(classes)) for place in torch.nonzero(test.labels == label)[:PICKS, 0]]
    return {
        "shape": list(model.shape),
        "classes": classes,
        "conditional": model.conditional,
        "latent_dim": size,
        "mean": _rounded(mean),
        "std": _rounded(spread),
        "centre": _rounded(mean if own else torch.zeros(size)),
        "spread": _rounded(spread if own else torch.ones(size)),
        "order": order,
        "side": SIDE,
        "reach": REACH,
        "images": [
            {
                "label": int(test.labels[place]),
                "pixels": base64.b64encode(test.images[place].numpy().tobytes()).decode("ascii"),
            }
            for place in (chosen if model.can("encode") else [])
        ],
    }


def probes(model: Model, part: str, about: dict, test: Split) -> tuple[torch.Tensor, torch.Tensor]:
    """Return what a part of the model is tried on, with labels: test images; of the decoder their codes, and draws."""
    images, labels = to_unit(test.images[:PROBES]), test.labels[:PROBES]
    if part == "encoder":
        return images, labels
    generator = torch.Generator().manual_seed(0)
    drawn = torch.randn(PROBES, model.latent_dim, generator=generator)
    codes = torch.tensor(about["centre"]) + torch.tensor(about["spread"]) * drawn
    turns = torch.arange(PROBES) % model.num_classes
    if not model.can("encode"):
        return codes, turns
    return torch.cat([codes, encode_dataset(model, images, labels)]), torch.cat([turns, labels])


def draw_map(model: Model, about: dict) -> np.ndarray:
    """Return the map of the first two dimensions in `order` as uint8 [labels * side * H, side * W, 3].

    A block a label; within it the first dimension rises rightwards, the second upwards; the rest is at the centre.
    """
    axes = about["order"][:2]
    centre, spread = torch.tensor(about["centre"]), torch.tensor(about["spread"])
    steps = torch.linspace(-REACH, REACH, SIDE)
    codes = centre.repeat(SIDE * SIDE, 1)
    codes[:, axes] += map_codes(steps, steps.flip(0), len(axes)) * spread[axes]
    labels = range(len(about["classes"]) if model.conditional else 1)
    images = np.stack([decode_uint8(model, codes, label, torch.device("cpu")) for label in labels])
    return grid(images.reshape(-1, SIDE, *model.shape), gap=0)


def write_map(path: Path, pixels: np.ndarray) -> None:
    """Write uint8 pixels [H, W, 3], lossily: the map stands in for the network, or for a moment until it runs."""
    with atomic_write(path) as aside:
        Image.fromarray(pixels).save(aside, quality=MAP_QUALITY, method=4)


def _rounded(values: torch.Tensor) -> list[float]:
    return [round(value, 5) for value in values.tolist()]


def export_run(source: Path, test: Split, folder: Path) -> str:
    """Write a run's networks, their description and the drawn map into an empty folder; return what was written.

    Args:
        source: the folder that stage train wrote.

    Raises:
        AtlasError: if the trained model is missing or damaged.
    """
    # On the CPU whatever the machine: the same bytes everywhere, and small networks.
    model, classes = load_model(source, torch.device("cpu"))
    about = describe(model, classes, test)
    write_json(folder / "explorer.json", about)
    write_map(folder / "map.webp", draw_map(model, about))
    parts = [part for part in PARTS if model.can(part.removesuffix("r"))]
    for part in parts:
        lean = slim(model, part, *probes(model, part, about, test))
        (folder / f"{part}.onnx").write_bytes(export(lean, part))
    size = sum(file.stat().st_size for file in folder.iterdir())
    return f"{' and '.join(parts)}, {size / 1e6:.1f} MB"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("runs", nargs="*", help="names under `runs` in params.yaml; none means all of them")
    names = parser.parse_args().runs
    settings = settings_file.load()
    runs = [settings.run(name) for name in names or settings.runs]
    sources = {run.key: require(Path("outputs/models") / run.key, f"train@{run.key}") for run in runs}

    @cache
    def test_images(dataset: str) -> Split:
        return Dataset.open(Path("data") / dataset).split("test", torch.device("cpu"))

    def export_all(target: Path) -> None:
        for number, run in enumerate(runs, 1):
            with atomic_dir(target / run.key) as folder:
                wrote = export_run(sources[run.key], test_images(run.dataset), folder)
            print(f"{run.key}: {wrote} ({number} of {len(runs)})")

    if names:
        export_all(TARGET)
    else:
        # The folder as a whole: what is left of runs that params.yaml no longer names goes with the old one.
        with atomic_dir(TARGET) as aside:
            export_all(aside)
    print(f"{TARGET}: the networks of {len(runs)} runs")


if __name__ == "__main__":
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    run_stage(main)
