"""Bring the README's tables and pictures up to date with `results/` and `outputs/`."""

import argparse
import csv
import json
import shutil
import subprocess
import sys
from pathlib import Path

from atlas.core.files import AtlasError, run_stage
from atlas.core.files import require, atomic_write
from atlas.plotting.gain import gain
from scripts.readme_media import SHOWN, thin
from atlas.plotting.variances import estimator_variances

README = Path("README.md")
PICTURES = Path("results/pictures")
SPEED = Path("results/speed.md")
GPU = Path("results/gpu")
"""Brought home by `src/away.py unpack`, where there is a GPU to be had."""
RESTYLED = "mnist_cvae_gan_8"
"""The run that redraws three.png, a person's own digit, in every label."""
SWEEP = Path("results/sweep.md")
"""Of src/sweep.py, which is no stage: who has made no sweep has none."""
FLOW = ("mnist_vae_iaf_32", "mnist_vae_32", "nelbo")
"""Of the curve of what the flow gains: the run with a flow, the one without, the term."""


def main() -> None:
    argparse.ArgumentParser(description=__doc__).parse_args()
    text = require(README, "nothing: it comes with the repository").read_text(encoding="utf-8")
    for name in ("table", "claims", "seeds"):
        text = put(text, name, require(Path(f"results/{name}.md"), "compare").read_text(encoding="utf-8"))
    # No stage's: a person makes it now and then, with `make bench`.
    text = put(text, "speed", SPEED.read_text(encoding="utf-8") if SPEED.exists() else "")
    for name, content in gpu().items():
        text = put(text, name, content)
    if SWEEP.exists():
        text = put(text, "sweep", SWEEP.read_text(encoding="utf-8"))
    with atomic_write(README) as aside:
        aside.write_text(text, encoding="utf-8")
    PICTURES.mkdir(parents=True, exist_ok=True)
    for name, source in SHOWN.items():
        if (GPU / "pictures" / name).exists():
            shutil.copyfile(GPU / "pictures" / name, PICTURES / name)
            continue
        stage = f"{'animate' if 'animations' in source else 'sample'}@{Path(source).parent.name}"
        copy = thin if name.endswith(".gif") else shutil.copyfile
        copy(require(Path(source), stage), PICTURES / name)
    gain(PICTURES / "flow_gain.png", *FLOW[:2], flow_points(Path("results/curves.csv")), FLOW[2])
    metrics = json.loads(require(Path("results/metrics.json"), "compare").read_text(encoding="utf-8"))
    estimator_variances(PICTURES / "estimator_variance.png", metrics)
    own, styles = PICTURES / "three.png", PICTURES / "restyled.png"
    # As the README's reader does it.
    if subprocess.run([sys.executable, "src/restyle.py", RESTYLED, own, "--output", styles], check=False).returncode:
        raise AtlasError(f"{styles} was not made (see above)")
    print(f"README.md: tables, claims and {len(SHOWN) + 3} pictures")


def gpu() -> dict[str, str]:
    """Return what the README shows of scale `gpu`, by the name of its place: nothing where nothing came home."""
    if not (GPU / "table.md").exists():
        return dict.fromkeys(("gpu", "gpu claims", "gpu pictures"), "")
    table, claims, seeds, made = (
        (GPU / f"{name}.md").read_text(encoding="utf-8") for name in ("table", "claims", "seeds", "conditions")
    )
    seeds = f"{seeds}\n" if seeds.startswith("|") else ""
    theirs = [name for name in SHOWN if (GPU / "pictures" / name).exists()]
    which = "" if len(theirs) == len(SHOWN) else f": {', '.join(theirs)}; the others of scale `cpu`"
    return {
        "gpu": f"### At scale `gpu`\n\n{table}\n{made}\n{seeds}### At scale `cpu`, on two cores\n\n",
        "gpu claims": f"### At scale `gpu`\n\n{claims}\n{made}\n### At scale `cpu`, on two cores\n\n",
        "gpu pictures": f"\nOf scale `gpu`{which}. {made}" if theirs else "",
    }


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
    with require(curves, "compare").open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            if row["run"] in found and row["term"] == FLOW[2] and row["split"] == "validation":
                found[row["run"]][int(row["epoch"])] = float(row["value"])
    ours, theirs = found.values()
    return [(epoch, ours[epoch], theirs[epoch]) for epoch in sorted(ours.keys() & theirs.keys())]


if __name__ == "__main__":
    run_stage(main)
