"""Stage animate@RUN: the frames that a training kept become films, MP4 and GIF: every label, each, the codes."""

import argparse
import json
from pathlib import Path

from tqdm import tqdm

from atlas.core import settings
from atlas.core.files import run_stage
from atlas.core.files import require, atomic_dir
from atlas.animation.animate import animate, load_frames
from atlas.animation.loss_panel import load_terms


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", metavar="RUN", help="name of a run in params.yaml, such as mnist_cvae_2")
    name = parser.parse_args().run

    config = settings.load()
    config.run(name)
    source, stage = Path("outputs/models") / name, f"train@{name}"
    frames = load_frames(require(source / "frames.npz", stage))
    terms = load_terms(source / "history.csv")
    classes = json.loads(require(source / "model.json", stage).read_text(encoding="utf-8"))["classes"]
    target = Path("outputs/animations") / name
    with atomic_dir(target) as folder, tqdm(unit=" films", leave=False, disable=None) as bar:
        films = animate(frames, folder, name, classes, terms, config.animation.fps, lambda _: bar.update())
    print(f"{name}: {len(films)} animation(s) of {len(frames.steps)} frames in {target}")


if __name__ == "__main__":
    run_stage(main)
