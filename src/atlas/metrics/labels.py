"""Labels: is the one that was asked for painted, and does the code keep the style and nothing of the label?"""

import warnings
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from atlas.metrics.classifier import Judge, read
from atlas.core.model import Model

BATCH = 500


class Transfers(NamedTuple):
    """What became of each source image when it was decoded with every other label, [N] each."""

    swapped: Tensor
    """Share of its transfers in which the judge reads the new label."""
    moved: Tensor
    """Distance from its code to that of its transfer, re-encoded with the new label: mean over the transfers, where 1
    is the mean distance between the codes of two source images."""


def worst_class(right: Tensor, labels: Tensor) -> float:
    """Return the least share, over the classes that occur, of images [N] that are `right`."""
    return min(right[labels == label].double().mean().item() for label in labels.unique())


def balanced(labels: Tensor, count: int, classes: int) -> Tensor:
    """Return the places of at most `count` labels [N], the first of each class, as many of each as all have."""
    places = [torch.nonzero(labels == label).flatten() for label in range(classes)]
    each = min(count // classes, *(len(place) for place in places))
    return torch.cat([place[:each] for place in places]).sort().values


@torch.no_grad()
def transfers(model: Model, judge: Judge, images: Tensor, labels: Tensor) -> Transfers:
    """Encode images [N, C, H, W] with their labels [N], decode each with every other label, read and encode again.

    With as many images of each class, means over images are means over all ordered pairs of labels.

    Raises:
        ValueError: if there are fewer than two images.
    """
    count = len(images)
    if count < 2:
        raise ValueError(f"transfers: needs at least 2 images; found {count}")
    codes = torch.cat([model.encode(*part) for part in zip(images.split(BATCH), labels.split(BATCH), strict=True)])
    swapped = torch.zeros(count, dtype=torch.float64, device=images.device)
    moved = torch.zeros_like(swapped)
    for step in range(1, model.num_classes):
        asked = (labels + step) % model.num_classes
        for start in range(0, count, BATCH):
            at = slice(start, start + BATCH)
            pictures = model.decode(codes[at], asked[at])
            swapped[at] += (read(judge, pictures)[1] == asked[at]).double()
            moved[at] += (model.encode(pictures, asked[at]) - codes[at]).double().norm(dim=1)
    wide = codes.double()
    unit = torch.cdist(wide, wide).sum() / (count * (count - 1))
    others = model.num_classes - 1
    return Transfers(swapped / others, moved / others / unit)


def leak(codes: Tensor, labels: Tensor, test_codes: Tensor, test_labels: Tensor) -> Tensor:
    """Return which labels [M] the best of three probes reads right from test codes [M, d].

    A linear one (logistic regression), an MLP of 64 units and the 5 nearest neighbours, fitted to codes [N, d] and
    labels [N] of training images; codes in units of each dimension's spread. The best is the one that reads most: an
    upper end, since it is chosen on what it is scored on.

    Raises:
        ValueError: if there are fewer than ten training codes, no test codes, or training codes of one label only.
    """
    if len(codes) < 10 or not len(test_codes) or len(labels.unique()) < 2:
        raise ValueError(
            f"leak: needs at least 10 training codes of 2 labels, and test codes; found {len(codes)} of "
            f"{len(labels.unique())} and {len(test_codes)}"
        )
    # Imported here, since it takes a second, and most runs are of models that show the label to nobody.
    from sklearn.linear_model import LogisticRegression
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.neural_network import MLPClassifier

    seen, told = codes.double().cpu().numpy(), labels.cpu().numpy()
    centre, spread = seen.mean(0), seen.std(0)
    # A dimension that is constant says nothing, and must not be blown up.
    spread = np.where(spread > 0, spread, 1.0)
    seen, new = (seen - centre) / spread, (test_codes.double().cpu().numpy() - centre) / spread
    probes = (
        LogisticRegression(max_iter=200),
        MLPClassifier((64,), learning_rate_init=0.01, batch_size=min(200, len(seen)), max_iter=30, random_state=0),
        KNeighborsClassifier(5),
    )
    right = []
    with warnings.catch_warnings():
        # That a probe has not converged is no news: its budget is fixed.
        warnings.simplefilter("ignore")
        for probe in probes:
            right.append(probe.fit(seen, told).predict(new) == test_labels.cpu().numpy())
    return torch.from_numpy(max(right, key=lambda hits: int(hits.sum())))
