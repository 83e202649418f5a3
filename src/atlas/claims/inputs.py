"""Files that the comparison reads: what earlier stages wrote, and what scripts gathered in `results/`."""

import csv
import hashlib
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atlas.core.files import AtlasError, read_json, require
from atlas.metrics.registry import is_registered

RESULTS = Path("results")
NO_STAGE = "nothing: it comes with the repository"


def read_metrics(run: str) -> dict[str, float]:
    """Metrics of one run, with those in ImageNet features where they were computed.

    Raises:
        AtlasError: if the file is missing or damaged, or holds a name that the registry does not know.
    """
    path = Path("outputs/metrics") / f"{run}.json"
    metrics = read_json(path, f"evaluate@{run}")
    for name in metrics:
        if not is_registered(name):
            raise AtlasError(f"{path}: metric '{name}' is not in src/atlas/metrics/registry.py")
    return metrics | read_imagenet(run)


def read_imagenet(run: str) -> dict[str, float]:
    """Metrics that `scripts/imagenet.py` computed of a run's present weights; nothing where it has not."""
    entry = read_json(RESULTS / "imagenet.json", NO_STAGE).get(run, {})
    if not entry:
        return {}
    weights = require(Path("outputs/models") / run / "weights.safetensors", f"train@{run}").read_bytes()
    return entry["metrics"] if entry["sha256"] == hashlib.sha256(weights).hexdigest() else {}


def read_seeds(runs: Iterable[str], scale: str) -> dict[str, dict[int, dict[str, float]]]:
    """Metrics of the runs with other seeds, where there are some of this scale: {run: {seed: {metric: value}}}."""
    content = read_json(RESULTS / "seeds.json", NO_STAGE)
    return {
        run: {int(seed): metrics for seed, metrics in content[run]["seeds"].items()}
        for run in runs
        if run in content and content[run].get("settings", {}).get("scale", scale) == scale
    }


def read_beside() -> dict[str, dict[str, dict[str, Any]]]:
    """Trainings beside the set: {scale: {run: {"machine", "minutes", "epochs", "pictures", "metrics"}}}."""
    content: dict[str, dict[str, dict[str, Any]]] = read_json(RESULTS / "beside.json", NO_STAGE)
    return content


def read_per_image(run: str) -> dict[str, NDArray[np.float64]]:
    """Values that some of a run's metrics are means of, [N] an image each."""
    path = require(Path("outputs/per_image") / f"{run}.npz", f"evaluate@{run}")
    try:
        with np.load(path, allow_pickle=False) as content:
            return {name: content[name].astype(np.float64) for name in content.files}
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise AtlasError(f"{path} is damaged ({error}); run `dvc repro --force evaluate@{run}`") from None


def read_curves(run: str, dataset: str) -> list[dict[str, Any]]:
    """History of one run as a long table: a row for each epoch, split and term."""
    with require(Path("outputs/models") / run / "history.csv", f"train@{run}").open(encoding="utf-8") as file:
        return [
            {"run": run, "dataset": dataset, **{name: row[name] for name in ("epoch", "step", "split")}}
            | {"term": term, "value": value}
            for row in csv.DictReader(file)
            for term, value in row.items()
            if value and term not in ("epoch", "step", "split")
        ]
