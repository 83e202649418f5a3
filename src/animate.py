"""Stage animate@RUN: the frames that a training kept become films, MP4 and GIF, of every label and of each."""

import argparse
from pathlib import Path

from tqdm import tqdm

from atlas import settings
from atlas.errors import run_stage
from atlas.files import need, whole_folder
from atlas.show.animations import animate, load_frames


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", metavar="RUN", help="name of a run in params.yaml, such as mnist_cvae_2")
    name = parser.parse_args().run

    config = settings.load()
    config.run(name)
    frames = load_frames(need(Path("outputs/models") / name / "frames.npz", f"train@{name}"))
    target = Path("outputs/animations") / name
    with whole_folder(target) as folder, tqdm(unit=" films", leave=False, disable=None) as bar:
        films = animate(frames, folder, name, config.animation.fps, lambda _: bar.update())
    print(f"{name}: {len(films)} animation(s) of {len(frames.steps)} frames in {target}")


if __name__ == "__main__":
    run_stage(main)
