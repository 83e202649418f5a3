"""Sharp and varied, told apart: how two clouds of features lie in each other, by nearest neighbours."""

from typing import NamedTuple

import torch
from torch import Tensor

NEAREST = 5


class PRDC(NamedTuple):
    """Four shares and what they are of; each number is one a row, [N]: its mean is the measure."""

    precision: Tensor
    """Of each fake: does it lie in the ball of some real one? (Kynkaanniemi et al. 2019)"""
    recall: Tensor
    """Of each real: does it lie in the ball of some fake one?"""
    density: Tensor
    """Of each fake: in how many real ones' balls it lies, over k (Naeem et al. 2020); may pass 1."""
    coverage: Tensor
    """Of each real: does some fake one lie in its ball?"""


def prdc(real: Tensor, fake: Tensor, nearest: int = NEAREST) -> PRDC:
    """Compare features [N, F] of real images and of as many samples.

    The ball of a point reaches to the `nearest`-th nearest other point of its own kind.

    Raises:
        ValueError: if the two have not the same number of rows, or no more than `nearest`.
    """
    if len(real) != len(fake) or len(real) <= nearest:
        raise ValueError(
            f"needs equal numbers of images, more than the {nearest} neighbours; found {len(real)} and {len(fake)}"
        )
    real, fake = real.double(), fake.double()
    apart = torch.cdist(real, fake)
    real_reach, fake_reach = _reach(real, nearest), _reach(fake, nearest)
    in_real = apart < real_reach[:, None]
    in_fake = apart < fake_reach
    return PRDC(
        precision=in_real.any(0).double(),
        recall=in_fake.any(1).double(),
        density=in_real.double().sum(0) / nearest,
        coverage=in_real.any(1).double(),
    )


def label_purity(codes: Tensor, labels: Tensor, nearest: int = 2 * NEAREST) -> Tensor:
    """Return of each code the share of its nearest other codes whose label is its own, [N].

    Raises:
        ValueError: if there are no more codes than neighbours.
    """
    if len(codes) <= nearest:
        raise ValueError(f"label purity: needs more than {nearest} codes; found {len(codes)}")
    apart = torch.cdist(codes.double(), codes.double()).fill_diagonal_(torch.inf)
    places = apart.topk(nearest, largest=False).indices
    return (labels[places] == labels[:, None]).double().mean(1)


def _knn_radius(points: Tensor, nearest: int) -> Tensor:
    apart = torch.cdist(points, points).fill_diagonal_(torch.inf)
    return apart.topk(nearest, largest=False).values[:, -1]
