"""Export the trained networks of all runs as ONNX, with what the gallery's latent explorer needs beside them.

One process for all runs: PyTorch and its exporter take longer to start than to export a small network.
"""

import argparse
import sys
from contextlib import nullcontext
from pathlib import Path

from atlas.core.files import atomic_dir, require, run_stage

TARGET = Path("outputs/onnx")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("runs", nargs="*", help="names under `runs` in params.yaml; none means all of them")
    names = parser.parse_args().runs
    # Here, not above: PyTorch takes seconds to import, and `--help` needs none of it.
    import torch

    from atlas.core import settings as settings_file
    from atlas.core.datasets import Dataset
    from atlas.core.model import load_model
    from atlas.export.explorer import export_run, write_thumbnails

    settings = settings_file.load()
    runs = [settings.run(name) for name in names or settings.runs]
    sources = {run.key: require(Path("outputs/models") / run.key, f"train@{run.key}") for run in runs}
    datasets = {name: Dataset.open(Path("data") / name) for name in {run.dataset for run in runs}}
    test = {name: dataset.split("test") for name, dataset in datasets.items()}
    # The folder as a whole: what is left of runs that params.yaml no longer names goes with the old one.
    with nullcontext(TARGET) if names else atomic_dir(TARGET) as target:
        for name, split in test.items():
            write_thumbnails(split, target / f"{name}.webp")
        for number, run in enumerate(runs, 1):
            # On the CPU whatever the machine: the same bytes everywhere, and small networks.
            model, classes = load_model(sources[run.key], torch.device("cpu"))
            with atomic_dir(target / run.key) as folder:
                labels, dataset = settings.labels(run.dataset, classes), datasets[run.dataset]
                framing = {"framing": dataset.framing, "background": dataset.background}
                summary = export_run(model, classes, test[run.dataset], folder, labels, framing)
            print(f"{run.key}: {summary} ({number} of {len(runs)})")
    print(f"{TARGET}: the networks of {len(runs)} runs")


if __name__ == "__main__":
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    run_stage(main)
