"""Label metrics: is the requested label painted, does a transfer keep the style, and does the code leak the label?"""

import warnings

import numpy as np
import torch
from torch import Tensor

from atlas.core.latent import batch_size, encode_dataset
from atlas.core.model import Model
from atlas.metrics.classifier import Judge, classify


def worst_class(correct: Tensor, labels: Tensor) -> float:
    """Accuracy of the class that has the least, among those that occur; correct: bool [N]."""
    return min(correct[labels == label].double().mean().item() for label in labels.unique())


def balanced_indices(labels: Tensor, count: int, num_classes: int) -> Tensor:
    """Indices of at most `count` of labels [N], the first of each class, equally many of each."""
    indices = [torch.nonzero(labels == label).flatten() for label in range(num_classes)]
    per_class = min(count // num_classes, *map(len, indices))
    return torch.cat([index[:per_class] for index in indices]).sort().values


@torch.no_grad()
def style_transfer(model: Model, judge: Judge, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Style transfer: encode images [N, C, H, W] with their labels [N], decode with every other label, encode again.

    With as many images of each class, means over images are means over all ordered pairs of labels.

    Returns:
        Of each image, [N], the share of its transfers in which the judge predicts the target label, and the mean
        distance from its code to those of its transfers, encoded with the target label, where 1 is the mean distance
        between the codes of two source images.

    Raises:
        ValueError: if there are fewer than two images.
    """
    count = len(images)
    if count < 2:
        raise ValueError(f"transfers: needs at least 2 images; found {count}")
    codes = encode_dataset(model, images, labels).to(images.device)
    accuracy = torch.zeros(count, dtype=torch.float64, device=images.device)
    distance = torch.zeros_like(accuracy)
    for shift in range(1, model.num_classes):
        target_labels = (labels + shift) % model.num_classes
        for idx in torch.arange(count, device=images.device).split(batch_size(model.shape)):
            transfers = model.decode(codes[idx], target_labels[idx])
            accuracy[idx] += (classify(judge, transfers)[1] == target_labels[idx]).double()
            distance[idx] += (model.encode(transfers, target_labels[idx]) - codes[idx]).double().norm(dim=1)
    unit = torch.cdist(codes.double(), codes.double()).sum() / (count * (count - 1))
    targets = model.num_classes - 1
    return accuracy / targets, distance / targets / unit


def label_leak(codes: Tensor, labels: Tensor, test_codes: Tensor, test_labels: Tensor) -> Tensor:
    """Label leak: which labels the best of three probes predicts correctly from test codes [M, d], bool [M].

    A linear one (logistic regression), an MLP of 64 units and the 5 nearest neighbors, fitted to codes [N, d] and
    labels [N] of training images; codes in units of each dimension's standard deviation. The best is the most accurate:
    an upper end, since it is chosen on what it is scored on.

    Raises:
        ValueError: if there are fewer than ten training codes, no test codes, or training codes of one label only.
    """
    if len(codes) < 10 or not len(test_codes) or len(labels.unique()) < 2:
        raise ValueError(
            f"leak: needs at least 10 training codes of 2 labels, and test codes; found {len(codes)} of "
            f"{len(labels.unique())} and {len(test_codes)}"
        )
    # Imported here, since it takes a second, and only conditional models need it.
    from sklearn.linear_model import LogisticRegression
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.neural_network import MLPClassifier

    inputs, targets = codes.double().cpu().numpy(), labels.cpu().numpy()
    mean, std = inputs.mean(0), inputs.std(0)
    # A dimension that is constant says nothing, and must not be blown up.
    std = np.where(std > 0, std, 1.0)
    inputs, test_inputs = (inputs - mean) / std, (test_codes.double().cpu().numpy() - mean) / std
    probes = (
        LogisticRegression(max_iter=200),
        MLPClassifier((64,), learning_rate_init=0.01, batch_size=min(200, len(inputs)), max_iter=30, random_state=0),
        KNeighborsClassifier(5, algorithm="brute"),
    )
    with warnings.catch_warnings():
        # That a probe has not converged is no news: its budget is fixed.
        warnings.simplefilter("ignore")
        predictions = [probe.fit(inputs, targets).predict(test_inputs) for probe in probes]
    return torch.from_numpy(max((predicted == test_labels.cpu().numpy() for predicted in predictions), key=np.sum))
