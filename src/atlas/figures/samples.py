"""Figures of images: samples, reconstructions, class predictions, style transfer, arithmetic of codes, epochs."""

import numpy as np
import torch

from atlas.core.datasets import to_unit
from atlas.core.latent import batch_size, encode_dataset, fitted_gaussian
from atlas.figures.context import RunFigures
from atlas.plotting import sheets
from atlas.plotting.canvas import Array, display_names, thinned
from atlas.plotting.frames import Frames


def samples(figures: RunFigures) -> None:
    """Draw images of codes drawn from N(0, I), whether or not the model was trained to expect them."""
    per_label, name = figures.fitting(figures.settings.per_label), "samples.png"
    if figures.model.conditional:
        codes = figures.prior_codes(per_label)
        images, names = np.stack([figures.decode(codes, label) for label in figures.labels]), figures.shown_names
        what, note = "one row a label, the same codes in every row", figures.labels_note
    else:
        # As many as a conditional model draws of ten labels together.
        names = [""] * figures.fitting(10)
        images = figures.decode(figures.prior_codes(per_label * len(names)).unflatten(0, (-1, per_label)), 0)
        what, note = "the label is not chosen", ""
    path, title = figures.add(name, f"Samples: codes drawn from N(0, I){note}", f"generated images; {what}")
    sheets.image_rows(path, images, names, title)


@torch.no_grad()
def fitted_samples(figures: RunFigures) -> None:
    """Draw images of codes drawn from a Gaussian fitted to the codes of test images, after the training."""
    size = batch_size(figures.model.shape)
    parts = zip(figures.test.images.split(size), figures.test.labels.split(size), strict=True)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        codes = torch.cat([figures.model.sample_posterior(to_unit(images), labels) for images, labels in parts])
    columns, rows = figures.fitting(figures.settings.per_label), figures.fitting(10)
    drawn = fitted_gaussian(codes, rows * columns, torch.Generator().manual_seed(0)).unflatten(0, (rows, columns))
    path, title = figures.add(
        "samples_fitted.png",
        f"Samples of a Gaussian fitted to the codes of {len(codes)} test images after the training",
        "generated images, of codes with the mean and the covariance of those of real images instead of N(0, I)",
    )
    sheets.image_rows(path, figures.decode(drawn, 0), [""] * rows, title)


def reconstructions(figures: RunFigures) -> None:
    """Draw test images over what their codes decode to."""
    index = figures.balanced(figures.settings.reconstructions)
    decoded = figures.decode(figures.codes_of(index), figures.labels_of(index))
    path, title = figures.add(
        "reconstructions.png",
        f"Test images over their reconstructions{figures.inversion_note}",
        "pairs of rows: test images above, the same images decoded from their codes below"
        + ("" if figures.model.can("encode") else "; there is no encoder: each code was found by gradient descent"),
    )
    sheets.reconstructions(path, figures.images(index), decoded, title)


@torch.no_grad()
def class_predictions(figures: RunFigures) -> None:
    """Draw test images with the class that the model itself predicts, over the image of that class and their style."""
    index = figures.balanced(figures.settings.reconstructions)
    images, labels = to_unit(figures.test.images[index]), figures.test.labels[index]
    probabilities, predictions = figures.model.classify(images).softmax(1).max(1)
    decoded = figures.decode(encode_dataset(figures.model, images, predictions), predictions)
    texts = [
        (figures.names[label], f"{100 * probability:.0f} %")
        for label, probability in zip(predictions.tolist(), probabilities.tolist(), strict=True)
    ]
    wrong = (predictions != labels).tolist()
    path, title = figures.add(
        "class_predictions.png",
        "Image in, class and style out: the predicted class and its probability",
        f"test images, above each the class that the model predicts and its probability, {sum(wrong)} of {len(wrong)} "
        "wrong, crossed and red; below, the image decoded from the predicted class and the encoded style",
    )
    sheets.reconstructions(path, figures.images(index), decoded, title, texts, wrong)


def style_transfer(figures: RunFigures) -> None:
    """Draw the style of test images, each with every label."""
    index = figures.style_sources
    codes = figures.codes_of(index)
    images = np.stack([figures.decode(codes, label) for label in figures.labels], axis=1)
    path, title = figures.add(
        "transfer.png",
        f"Style transfer: the code of each test image, decoded with {figures.every_label}{figures.inversion_note}",
        "top row: test images; below, a row for each label in the style of the image above",
    )
    sheets.style_transfer(path, figures.images(index), figures.names_of(index), images, figures.shown_names, title)


def label_arithmetic(figures: RunFigures) -> None:
    """Draw style transfer without labels: the code of an image, less its class's mean, plus another class's."""
    assert figures.codes is not None
    places = figures.places
    present = places[places >= 0].unique()
    if len(present) < 2:
        return
    means = torch.stack([figures.codes[places == place].mean(0) for place in present])
    index = figures.balanced(figures.fitting(figures.settings.transfers))
    own = torch.searchsorted(present, places[index.cpu()])
    moved = figures.codes_of(index)[:, None] + means[None] - means[own][:, None]
    path, title = figures.add(
        "arithmetic.png",
        "Style transfer by arithmetic: an image's code + the mean of one class − the mean of its own"
        + figures.labels_note,
        "top row: the mean code of each class, decoded; below, row by row a test image at the left and the same image "
        "moved to every class, in its own class's column its reconstruction",
    )
    sheets.label_arithmetic(
        path, figures.decode(means, 0), figures.images(index), figures.names_of(index), figures.decode(moved, 0),
        [figures.shown_names[place] for place in present.tolist()], title,
    )  # fmt: skip


def epochs(figures: RunFigures, frames: Frames) -> None:
    """Draw a row an epoch and a column a class: one code in each row, another in the next."""
    names, images = epoch_images(frames)
    rows = thinned(len(names), figures.fitting(len(names)))
    whole = len(frames.labels) == len(figures.classes)
    subject = "Every class" if whole else f"{len(frames.labels)} of {len(figures.classes)} classes"
    path, title = figures.add(
        "epochs.png",
        f"{subject}, epoch by epoch, each epoch in a style of its own",
        "a row for each epoch, from the untrained model (0) at the top to the last, and a column for each class; the "
        "code is drawn anew for every row and is the same for all classes",
    )
    below = "row: epochs trained, 0 before any; column: class"
    sheets.image_rows(path, images[rows], [names[row] for row in rows], title, below, display_names(frames.labels))


def epoch_images(frames: Frames) -> tuple[list[str], Array]:
    """Return "0" and the epochs' numbers, and an image a label at the end of each, uint8 [rows, labels, C, H, W].

    Each row shows another of the snapshots' codes.
    """
    ends = frames.epoch_ends
    rows = np.searchsorted(frames.steps, [0, *ends])
    names = ["0", *(str(end // ends[0]) for end in ends)]
    first, second = np.random.default_rng(0).integers(frames.images.shape[2], size=(2, len(rows)))
    return names, np.stack([frames.images[row, :, i, j] for row, i, j in zip(rows, first, second, strict=True)])
