"""Figures of images: samples, reconstructions, what a model reads in an image, style transfers, arithmetic of codes."""

import numpy as np
import torch

from atlas.figures.context import Album
from atlas.core.datasets import to_unit
from atlas.core.files import atomic_write
from atlas.core.latent import encode_dataset
from atlas.show import figures


def samples(album: Album) -> None:
    """Draw images of codes drawn from N(0, I), whether or not the model was taught to expect them."""
    conditional = album.model.conditional
    # An unconditional model has one row of samples: as many as a conditional one draws of all labels together.
    codes = album.draws(album.settings.per_label * (1 if conditional else len(album.classes)))
    images = np.stack([album.decode(codes, label) for label in album.labels])
    what = "one row a label, the same codes in every row" if conditional else "the label is not chosen"
    path, title = album.add("samples.png", "Samples: codes drawn from N(0, I)", f"generated images; {what}")
    figures.samples(path, images, album.names, title)


def reconstructions(album: Album) -> None:
    """Draw test images over what their codes decode to."""
    chosen = album.balanced(album.settings.reconstructions)
    rebuilt = album.decode(album.codes_of(chosen), album.test.labels[chosen])
    path, title = album.add(
        "reconstructions.png",
        f"Test images over their reconstructions{album.searched}",
        "pairs of rows: test images above, the same images decoded from their codes below"
        + ("" if album.model.can("encode") else "; there is no encoder: each code was found by gradient descent"),
    )
    figures.reconstructions(path, album.images(chosen), rebuilt, title)


@torch.no_grad()
def readings(album: Album) -> None:
    """Draw test images with the class that the model itself reads in each, over the image of that class and style."""
    chosen = album.balanced(album.settings.reconstructions)
    images, labels = to_unit(album.test.images[chosen]), album.test.labels[chosen]
    sure, read = album.model.classify(images).softmax(1).max(1)
    rebuilt = album.decode(encode_dataset(album.model, images, read), read)
    words = [
        (album.classes[label], f"{100 * share:.0f} %")
        for label, share in zip(read.tolist(), sure.tolist(), strict=True)
    ]
    wrong = (read != labels).tolist()
    path, title = album.add(
        "readings.png",
        "Image in, class and style out: the class read and how sure",
        f"test images, above each the class that the model reads in it and its probability, {sum(wrong)} of "
        f"{len(wrong)} wrong, crossed and red; below, the image decoded from the class and the style that were read",
    )
    figures.reconstructions(path, album.images(chosen), rebuilt, title, words, wrong)


def transfers(album: Album) -> None:
    """Draw the style of test images, each with every label."""
    chosen = album.sources
    codes = album.codes_of(chosen)
    images = np.stack([album.decode(codes, label) for label in album.labels], axis=1)
    with atomic_write(album.folder / "transfer.npz") as aside:
        # For stage side_by_side, which sets models next to one another.
        np.savez_compressed(
            aside,
            originals=album.images(chosen),
            names=np.array(album.names_of(chosen)),
            images=images,
            classes=np.array(album.classes),
            searched=np.array(not album.model.can("encode")),
        )
    path, title = album.add(
        "transfer.png",
        f"Style transfer: the code of each test image, decoded with every label{album.searched}",
        "top row: test images; below, a row for each label in the style of the image above",
    )
    figures.style_transfer(path, album.images(chosen), album.names_of(chosen), images, album.classes, title)


def arithmetic(album: Album) -> None:
    """Draw style transfer without labels: the code of an image, less its class's mean, plus another class's."""
    assert album.codes is not None
    labels = album.test.labels.cpu()
    present = labels.unique()
    means = torch.stack([album.codes[labels == label].mean(0) for label in present])
    chosen = album.balanced(album.settings.transfers)
    own = torch.searchsorted(present, labels[chosen.cpu()])
    moved = album.codes_of(chosen)[:, None] + means[None] - means[own][:, None]
    path, title = album.add(
        "arithmetic.png",
        "Style transfer by arithmetic: an image's code + the mean of one class − the mean of its own",
        "top row: the mean code of each class, decoded; below, row by row a test image at the left and the same image "
        "moved to every class, in its own class's column its reconstruction",
    )
    classes = [album.classes[label] for label in present.tolist()]
    figures.arithmetic(
        path,
        album.decode(means, 0),
        album.images(chosen),
        album.names_of(chosen),
        album.decode(moved, 0),
        classes,
        title,
    )
