"""Bring the README's results table and pictures up to date with `results/` and `outputs/`."""

import argparse
import csv
import json
import shutil
from pathlib import Path

from PIL import Image, ImageSequence

from atlas.errors import AtlasError, run_stage
from atlas.files import need, whole_file
from atlas.show.gain import gain
from atlas.show.variances import estimator_variances
from restyle import restyle

README = Path("README.md")
PICTURES = Path("results/pictures")
SHOWN = {
    "transfer_cvae.png": "outputs/samples/mnist_cvae_8/transfer.png",
    "transfer_cvae_gan.png": "outputs/samples/mnist_cvae_gan_8/transfer.png",
    "transfer_cgan.png": "outputs/samples/mnist_cgan/transfer.png",
    "training.gif": "outputs/animations/mnist_cvae_2/label_3.gif",
}
RESTYLED = "mnist_cvae_gan_8"
"""The run that redraws three.png, a person's own digit, in every label."""
GIF_BYTES = 3_000_000
SWEEP = Path("results/sweep.md")
"""Of src/sweep.py, which is no stage: who has made no sweep has none."""
FLOW = ("mnist_vae_iaf_32", "mnist_vae_32", "nelbo")
"""Of the curve of what the flow gains: the run with a flow, the one without, the term."""


def main() -> None:
    argparse.ArgumentParser(description=__doc__).parse_args()
    text = need(README, "nothing: it comes with the repository").read_text(encoding="utf-8")
    for name in ("table", "claims", "seeds"):
        text = put(text, name, need(Path(f"results/{name}.md"), "compare").read_text(encoding="utf-8"))
    if SWEEP.exists():
        text = put(text, "sweep", SWEEP.read_text(encoding="utf-8"))
    with whole_file(README) as aside:
        aside.write_text(text, encoding="utf-8")
    PICTURES.mkdir(parents=True, exist_ok=True)
    for name, source in SHOWN.items():
        stage = f"{'animate' if 'animations' in source else 'sample'}@{Path(source).parent.name}"
        copy = thin if name.endswith(".gif") else shutil.copyfile
        copy(need(Path(source), stage), PICTURES / name)
    gain(PICTURES / "flow_gain.png", *FLOW[:2], flow_points(Path("results/curves.csv")), FLOW[2])
    metrics = json.loads(need(Path("results/metrics.json"), "compare").read_text(encoding="utf-8"))
    estimator_variances(PICTURES / "estimator_variance.png", metrics)
    restyle(RESTYLED, PICTURES / "three.png", PICTURES / "restyled.png")
    print(f"README.md: tables, claims and {len(SHOWN) + 3} pictures")


def put(text: str, name: str, content: str) -> str:
    """Return the text with `content` between its lines `<!-- NAME -->` and `<!-- end of NAME -->`."""
    first, last = f"<!-- {name} -->\n", f"<!-- end of {name} -->"
    if text.count(first) != 1 or text.count(last) != 1:
        raise AtlasError(f"README.md: found no lines `{first.strip()}` and `{last}`")
    before, rest = text.split(first)
    return f"{before}{first}{content}{last}{rest.split(last)[1]}"


def flow_points(curves: Path) -> list[tuple[int, float, float]]:
    """Return (epoch, with a flow, without) of the validation curves that both runs have."""
    found: dict[str, dict[int, float]] = {run: {} for run in FLOW[:2]}
    with need(curves, "compare").open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            if row["run"] in found and row["term"] == FLOW[2] and row["split"] == "validation":
                found[row["run"]][int(row["epoch"])] = float(row["value"])
    ours, theirs = found.values()
    return [(epoch, ours[epoch], theirs[epoch]) for epoch in sorted(ours.keys() & theirs.keys())]


def thin(source: Path, target: Path, every: int = 3, most: int = GIF_BYTES) -> None:
    """Write a GIF with every third of its frames and the last, as long as it was: git keeps each version for good.

    Of one that would be larger than `most` bytes still, as many more frames are left out as it takes.
    """
    with Image.open(source) as film:
        frames = [(frame.copy(), frame.info["duration"]) for frame in ImageSequence.Iterator(film)]
    while True:
        kept = [frame for frame, _ in frames[:-1:every]] + [frames[-1][0]]
        times = [
            sum(time for _, time in frames[start : min(start + every, len(frames) - 1)])
            for start in range(0, len(frames) - 1, every)
        ] + [frames[-1][1]]
        kept[0].save(target, save_all=True, append_images=kept[1:], duration=times, loop=0, optimize=False)
        if target.stat().st_size <= most or every >= len(frames):
            return
        every += 1


if __name__ == "__main__":
    run_stage(main)
