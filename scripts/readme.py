"""Bring the README's table and the pictures of results/pictures up to date with results/ and outputs/."""

import argparse
import csv
import shutil
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

from atlas.core.files import AtlasError, atomic_write, read_json, require, run_stage

README = Path("README.md")
ROWS = {
    "mnist_vae_32": "VAE",
    "mnist_vae_iaf_32": "VAE + IAF",
    "mnist_cvae_8": "CVAE",
    "mnist_cvae_gan_8": "CVAE/GAN",
    "cifar10_vae": "VAE",
    "cifar10_cgan": "cGAN",
    "cifar10_cvae_gan": "CVAE/GAN",
}
"""The runs of the README's table, and their models' names."""
COLUMNS = ("nelbo", "nll", "frechet", "coverage", "label_accuracy", "swap_accuracy", "sharpness")
PICTURES = Path("results/pictures")
COPIES = {
    "transfer_cvae.png": ("sample", "mnist_cvae_8", "transfer.png"),
    "transfer_cvae_gan.png": ("sample", "mnist_cvae_gan_8", "transfer.png"),
    "transfer_cifar10.png": ("sample", "cifar10_cvae_gan", "transfer.png"),
    "training.gif": ("animate", "mnist_cvae_2", "label_3.gif"),
}
"""Each picture that is copied, with the stage, run and file that it is copied from."""
FOLDERS = {"sample": Path("outputs/samples"), "animate": Path("outputs/animations")}
FLOW = ("mnist_vae_iaf_32", "mnist_vae_32", "nelbo")
"""The run with a flow, the one without, and the term whose difference is drawn."""
GIF_BYTES = 3_000_000
"""Largest GIF: git keeps every version for good."""


def main() -> None:
    argparse.ArgumentParser(description=__doc__).parse_args()

    from atlas.plotting.charts import gradient_variance_chart, learning_curve_difference

    metrics = read_json(Path("results/metrics.json"), "compare")
    text = put_table(require(README, "nothing: it comes with the repository").read_text(encoding="utf-8"), metrics)
    with atomic_write(README) as tmp:
        tmp.write_text(text, encoding="utf-8")
    for name, (stage, run, file) in COPIES.items():
        source = require(FOLDERS[stage] / run / file, f"{stage}@{run}")
        (thin_gif if name.endswith(".gif") else shutil.copyfile)(source, PICTURES / name)
    learning_curve_difference(PICTURES / "flow_gain.png", *FLOW[:2], flow_points(Path("results/curves.csv")), FLOW[2])
    gradient_variance_chart(PICTURES / "estimator_variance.png", metrics)
    # As the README's reader does it.
    own, restyled = PICTURES / "three.png", PICTURES / "restyled.png"
    command = [sys.executable, "scripts/restyle.py", "mnist_cvae_gan_8", str(own), "--output", str(restyled)]
    if subprocess.run(command, check=False).returncode:
        raise AtlasError(f"{restyled} was not made (see above)")
    print(f"README.md: its table and {len(COPIES) + 3} pictures")


def put_table(text: str, metrics: dict[str, dict[str, float]]) -> str:
    """Return the README with its table written anew, between `<!-- table -->` and `<!-- end of table -->`."""
    from atlas.claims.tables import ARROWS, markdown_table, marked_number
    from atlas.metrics.registry import METRICS

    first, last = "<!-- table -->\n", "<!-- end of table -->"
    if text.count(first) != 1 or text.count(last) != 1:
        raise AtlasError(f"{README}: found no lines `{first.strip()}` and `{last}`")
    shown = [METRICS[name] for name in COLUMNS]
    header = ["run", "model", *(metric.title + ARROWS[metric.better] for metric in shown)]
    rows = [
        [run, model, *(marked_number(metric.name, row) for metric in shown)]
        for run, model in ROWS.items()
        if (row := metrics.get(run))
    ]
    return f"{text.split(first)[0]}{first}{markdown_table(header, rows, left=2)}{last}{text.split(last)[1]}"


def flow_points(curves: Path) -> list[tuple[int, float, float]]:
    """Return (epoch, with a flow, without) of the validation curves that both runs have."""
    values: dict[str, dict[int, float]] = {run: {} for run in FLOW[:2]}
    with require(curves, "compare").open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            if row["run"] in values and row["term"] == FLOW[2] and row["split"] == "validation":
                values[row["run"]][int(row["epoch"])] = float(row["value"])
    first, second = values.values()
    return [(epoch, first[epoch], second[epoch]) for epoch in sorted(first.keys() & second.keys())]


def thin_gif(source: Path, target: Path, every: int = 3) -> None:
    """Write a GIF with every third frame and the last, as long as it was; with fewer where it would be too large."""
    from PIL import Image, ImageSequence

    with Image.open(source) as gif:
        frames = [(frame.copy(), frame.info["duration"]) for frame in ImageSequence.Iterator(gif)]
    last = len(frames) - 1
    while True:
        kept = [*range(0, last, every), last]
        durations = [sum(time for _, time in frames[start:end]) for start, end in pairwise([*kept, len(frames)])]
        images = [frames[index][0] for index in kept]
        images[0].save(target, save_all=True, append_images=images[1:], duration=durations, loop=0, optimize=False)
        if target.stat().st_size <= GIF_BYTES or every >= last:
            return
        every += 1


if __name__ == "__main__":
    run_stage(main)
