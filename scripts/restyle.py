"""Take an image file of your own and write its style in every label, by a trained run."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from atlas.core.files import AtlasError, run_stage

if TYPE_CHECKING:
    import numpy as np

    from atlas.inference.pretrained import PretrainedModel


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, epilog="Digits may be drawn dark on light or light on dark, and of any size."
    )
    parser.add_argument("run", help="a trained run of a conditional model, such as mnist_cvae_gan_8")
    parser.add_argument("image", type=Path, help="an image file, of any size and format that Pillow reads")
    parser.add_argument("--label", help="what the image shows, by name or number; else the classifier predicts it")
    parser.add_argument(
        "--labels", help="up to ten labels to draw, separated by commas; else ten of them, evenly spaced"
    )
    parser.add_argument("--output", type=Path, default=Path("restyled.png"), help="the picture to write (%(default)s)")
    parser.add_argument("--source", default=".", help="a checkout's folder or the Git address of one (%(default)s)")
    options = parser.parse_args()
    labels = options.labels.split(",") if options.labels else None
    print(restyle(options.run, options.image, options.output, options.label, options.source, labels))


def restyle(
    run: str, file: Path, output: Path, label: str | None = None, source: str = ".", labels: list[str] | None = None
) -> str:
    """Write the sheet of an image file's style in every label, of many in ten of them; return a line about it.

    Args:
        run: a trained run of a conditional model.
        output: a PNG.
        label: what the image shows, by name or number; None if the data set's classifier is to predict it.
        source: a checkout's folder or the Git address of one.
        labels: names of those to draw, ten at most.

    Raises:
        AtlasError: if the run or the image cannot be read, the run takes no labels, or the output is no PNG.
    """
    # Here, not above: PyTorch takes seconds to import, and `--help` needs none of it.
    import torch

    import atlas
    from atlas.core.device import device_config
    from atlas.core.latent import to_uint8
    from atlas.core.schema import MOST_LABELS, shown_labels
    from atlas.plotting.canvas import display_names
    from atlas.plotting.sheets import style_transfer_sheet

    if output.suffix.lower() != ".png":
        raise AtlasError(f"--output: found '{output}'; allowed: a name that ends in .png")
    model = atlas.load(run, source, str(device_config().device))
    model.require_labels()
    if labels and len(labels) > MOST_LABELS:
        raise AtlasError(f"--labels: found {len(labels)} labels; allowed: up to {MOST_LABELS}")
    shown = shown_labels("--labels", labels, model.classes)
    image = model.read_image(file)
    if label is None:
        own, probability = predict_label(model, source, image)
        origin = f"read as {model.classes[own]} ({probability:.0%} sure; --label says otherwise)"
    else:
        own = model.label(label)
        origin = f"given as {model.classes[own]}"
    transfers = to_uint8(torch.from_numpy(model.transfer(image, own)[0]))
    names = display_names(model.classes)
    which = "every label" if len(shown) == len(names) else f"{len(shown)} of {len(names)} labels"
    title = f"{run} · the style of {file.name} ({names[own]}) in {which}"
    place = shown.index(own) if own in shown else -1
    chosen = [names[number] for number in shown]
    style_transfer_sheet(output, image, transfers[own], transfers[shown], chosen, place, title)
    return f"{file}: {origin}; its style in {len(shown)} labels in {output}"


def predict_label(model: "PretrainedModel", source: str, image: "np.ndarray") -> tuple[int, float]:
    """Return the label that the data set's classifier predicts for an image, uint8 [C, H, W], and its probability.

    Raises:
        AtlasError: if there is no classifier.
    """
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    from atlas.core.model import load_weights
    from atlas.inference.remote import Repository
    from atlas.metrics.classifier import Judge

    file, stage = "weights.safetensors", f"train_judge@{model.dataset}"
    folder = Repository(source).fetch(f"outputs/judges/{model.dataset}", (file,))
    if folder is None:
        raise AtlasError(f"no judge of {model.dataset} to read the label; give --label, or run `dvc repro {stage}`")
    try:
        # As wide as it was trained, whatever the scale of params.yaml is now.
        width = len(load_file(folder / file)["layers.0.weight"])
    except (OSError, SafetensorError, KeyError):
        width = 1  # what is wrong with the file, load_weights says
    judge = Judge(model.shape, len(model.classes), width).eval()
    load_weights(judge, folder / file, stage)
    with torch.no_grad():
        probabilities = judge(torch.from_numpy(image)[None] / 255).softmax(1)[0]
    return int(probabilities.argmax()), float(probabilities.max())


if __name__ == "__main__":
    run_stage(main)
