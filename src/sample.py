"""Draw what one run has learned: samples, reconstructions, its latent space, style transfers, its way there."""

import argparse
import csv
from pathlib import Path

from atlas.core import settings as settings_file
from atlas.album import pictures, space
from atlas.figures.context import Album
from atlas.figures.epochs import epochs
from atlas.core.datasets import Dataset
from atlas.core.device import device_config
from atlas.core.files import run_stage
from atlas.core.files import require, atomic_dir
from atlas.show import figures
from atlas.core.model import load_model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", help="a name under `runs` in params.yaml")
    settings = settings_file.load()
    run = settings.run(parser.parse_args().run)
    config = device_config()
    source = require(Path("outputs/models") / run.key, f"train@{run.key}")
    model, classes = load_model(source, config.device)
    test = Dataset.open(Path("data") / run.dataset).split("test", config.device)
    target = Path("outputs/samples") / run.key
    with atomic_dir(target) as folder:
        album = Album(run.key, model, classes, test, settings.sample, folder)
        losses(album, source / "history.csv")
        draw(album, source / "frames.npz")
        album.close()
    print(f"{run.key}: {len(album.captions)} figures in {target}")


def losses(album: Album, path: Path) -> None:
    """Draw the curves of history.csv."""
    with require(path, f"train@{album.run}").open(encoding="utf-8") as file:
        history = list(csv.DictReader(file))
    picture, title = album.add(
        "losses.png", "Training and validation losses", "one panel a term against the epoch, nats per image or a share"
    )
    figures.loss_curves(picture, history, title)


def draw(album: Album, frames: Path) -> None:
    """Draw every figure that this model can give."""
    model = album.model
    pictures.samples(album)
    pictures.reconstructions(album)
    if model.can("classify"):
        pictures.readings(album)
    space.maps(album)
    space.plane(album)
    space.traversals(album)
    space.interpolations(album)
    if model.can("encode"):
        space.scatter(album)
    if model.conditional:
        pictures.transfers(album)
        epochs(album, frames)
    elif model.can("encode"):
        pictures.arithmetic(album)


if __name__ == "__main__":
    run_stage(main)
