"""Take an image file of your own and write its style in every label, by a trained run."""

import argparse
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

import atlas
from atlas.core.device import device_config
from atlas.inference.own_image import picture
from atlas.core.files import AtlasError, run_stage
from atlas.core.latent import to_uint8
from atlas.metrics.classifier import Judge
from atlas.plotting.restyled import restyled
from atlas.inference.remote import Source
from atlas.core.model import load_weights
from atlas.inference.pretrained import Trained


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, epilog="Digits may be drawn dark on light or light on dark, and of any size."
    )
    parser.add_argument("run", help="a trained run of a conditional model, such as mnist_cvae_gan_8")
    parser.add_argument("image", type=Path, help="an image file, of any size and format that Pillow reads")
    parser.add_argument("--label", help="what the image shows, by name or number; else the data set's judge reads it")
    parser.add_argument("--output", type=Path, default=Path("restyled.png"), help="the picture to write (%(default)s)")
    parser.add_argument("--source", default=".", help="a checkout's folder or the Git address of one (%(default)s)")
    options = parser.parse_args()
    print(restyle(options.run, options.image, options.output, options.label, options.source))


def restyle(run: str, file: Path, output: Path, label: str | None = None, source: str = ".") -> str:
    """Write the sheet of an image file's style in every label; return in words what was done.

    Args:
        run: a trained run of a conditional model; output: a PNG; label: what the image shows, by name or number, or
            None, and the data set's judge reads it; source: a checkout's folder or the Git address of one.

    Raises:
        AtlasError: if the run or the image is not to be had, the run heeds no labels, or the output is no PNG.
    """
    if output.suffix.lower() != ".png":
        raise AtlasError(f"--output: found '{output}'; allowed: a name that ends in .png")
    trained = atlas.load(run, source, str(device_config().device))
    trained.require_labels()
    image = picture(file, trained.shape)
    if label is None:
        own, sure = read(trained, source, image)
        said = f"read as {trained.classes[own]} ({sure:.0%} sure; --label says otherwise)"
    else:
        own = trained.label(label)
        said = f"given as {trained.classes[own]}"
    styles = to_uint8(torch.from_numpy(trained.transfer(image, own)[0]))
    title = f"{run} · the style of {file.name} ({trained.classes[own]}) in every label"
    restyled(output, image, styles[own], styles, trained.classes, own, title)
    return f"{file}: {said}; its style in {len(styles)} labels in {output}"


@torch.no_grad()
def read(trained: Trained, source: str, image: np.ndarray) -> tuple[int, float]:
    """Return the label that the data set's judge reads in an image, uint8 [C, H, W], and its probability.

    Raises:
        AtlasError: if there is no judge to be had.
    """
    file, stage = "weights.safetensors", f"train_judge@{trained.dataset}"
    folder = Source(source).take(f"outputs/judges/{trained.dataset}", (file,))
    if folder is None:
        raise AtlasError(f"no judge of {trained.dataset} to read the label; give --label, or run `dvc repro {stage}`")
    try:
        # As wide as it was trained, whatever the scale of params.yaml says by now.
        width = len(load_file(folder / file)["layers.0.weight"])
    except (OSError, SafetensorError, KeyError):
        width = 1  # what is wrong with the file, load_weights says
    judge = Judge(trained.shape, len(trained.classes), width).eval()
    load_weights(judge, folder / file, stage)
    chances = judge(torch.from_numpy(image)[None] / 255).softmax(1)[0]
    return int(chances.argmax()), float(chances.max())


if __name__ == "__main__":
    run_stage(main)
