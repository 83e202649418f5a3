"""Disentanglement: factors of drawn bars, mutual information against scikit-learn, and gaps known beforehand."""

import math

import numpy as np
import pytest
import torch
from sklearn.metrics import mutual_info_score
from torch import Tensor, nn

from atlas.metrics.disentanglement import BINS, joint_cells, mutual_information, mutual_information_gap, stroke_factors


def _normal(*size: int, seed: int = 0) -> Tensor:
    return torch.randn(*size, generator=torch.Generator().manual_seed(seed))


def _bar(width: float, height: float, slant: float = 0.0, side: int = 40, finer: int = 8) -> Tensor:
    """An image of one upright or slanted bar, drawn finer and averaged: [1, 1, side, side]."""
    places = (torch.arange(side * finer) + 0.5) / finer - side / 2
    down, right = places[:, None], places[None, :]
    ink = ((down.abs() < height / 2) & ((right - slant * down).abs() < width / 2)).float()
    return nn.functional.avg_pool2d(ink[None, None], finer)


@pytest.mark.parametrize(("width", "height"), [(2.0, 20.0), (3.5, 24.0), (5.0, 30.0)])
@pytest.mark.parametrize("slant", [-0.5, 0.0, 0.3])
def test_the_factors_of_a_bar_are_its_sides_and_slant(width: float, height: float, slant: float) -> None:
    found = stroke_factors(_bar(width, height, slant))[0].tolist()
    # The bar's thickness across its own direction; its two short ends, and stairs on a slope, add to the outline.
    thick = width / math.hypot(1, slant) * height / (height + width)
    assert found[0] == pytest.approx(slant, abs=0.02)
    assert found[1] == pytest.approx(thick, rel=0.15)
    assert found[2] == pytest.approx(height, rel=0.01)
    # Of a bar whose sides lie on the edges of pixels, w^2 - 1; in the middle of pixels, w^2 + 2.
    assert width**2 - 1.1 < found[3] ** 2 < width**2 + 2.1


def test_factors_do_not_see_place_or_brightness() -> None:
    bar = _bar(3, 16, 0.2)
    moved = 0.5 * bar.roll((3, -5), (2, 3))
    torch.testing.assert_close(stroke_factors(bar), stroke_factors(moved))


def test_an_empty_image_has_factors_that_are_numbers_and_colours_have_none() -> None:
    assert stroke_factors(torch.zeros(2, 1, 9, 9)).isfinite().all()
    with pytest.raises(ValueError, match="one channel"):
        stroke_factors(torch.zeros(2, 3, 9, 9))


# --- the mutual information gap -------------------------------------------------------------------------------------


def test_information_is_what_scikit_learn_says_of_the_same_bins() -> None:
    found = _normal(400, 2)
    codes = torch.stack([found[:, 0] + 0.3 * _normal(400, seed=1), found.sum(1), _normal(400, seed=2)], 1)
    shared, entropies = mutual_information(joint_cells(codes, found, 5), 5, np.ones(400))

    def bins(values: Tensor) -> list[int]:
        order = values.argsort().argsort()
        return (order // 80).tolist()

    for i in range(3):
        for j in range(2):
            assert shared[i, j].item() == pytest.approx(mutual_info_score(bins(codes[:, i]), bins(found[:, j])))
    assert entropies.tolist() == pytest.approx([math.log(5)] * 2)


def _gap(codes: Tensor, found: Tensor) -> float:
    return mutual_information_gap(codes, found, resamples=2)[0]


def test_a_dimension_for_each_factor_has_a_gap_of_one_and_a_mixture_of_zero() -> None:
    found = _normal(4000, 3)
    other = _normal(4000, 2, seed=1)
    one_each = torch.cat([found.exp(), other], 1)
    assert _gap(one_each, found) == pytest.approx(1, abs=0.05)
    twice = torch.cat([found, -found], 1)
    assert _gap(twice, found) == pytest.approx(0, abs=1e-9)
    assert _gap(_normal(4000, 5, seed=2), found) == pytest.approx(0, abs=0.02)
    turned = (found[:, :2] @ torch.tensor([[1.0, 1.0], [-1.0, 1.0]])) / math.sqrt(2)
    assert _gap(turned, found[:, :2]) < 0.1, "turned by 45 degrees, both know as much"


def test_a_dimension_that_the_noise_drowns_knows_nothing() -> None:
    found = _normal(1000, 1)
    codes = torch.cat([found, 0.05 * found, torch.zeros(1000, 1)], 1)
    assert _gap(codes, found) == pytest.approx(1)
    assert _gap(torch.zeros(1000, 2), found) == 0
    assert _gap(codes, torch.ones(1000, 1)) == 0


def test_the_interval_of_the_gap_is_as_wide_as_the_gaps_of_other_images() -> None:
    gaps, widths = [], []
    for seed in range(12):
        found = _normal(500, 1, seed=seed)
        codes = torch.cat([found + 0.5 * _normal(500, 1, seed=99 + seed), _normal(500, 1, seed=200 + seed)], 1)
        gap, low, high = mutual_information_gap(codes, found, resamples=40)
        gaps.append(gap)
        widths.append(high - low)
    assert 0.4 < torch.tensor(widths).mean() / (4 * torch.tensor(gaps).std()) < 2


def test_what_has_no_gap_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 2 dimensions; found 1"):
        mutual_information_gap(_normal(100, 1), _normal(100, 1))
    with pytest.raises(ValueError, match=f"at least {2 * BINS} codes, as many factors; found 39"):
        mutual_information_gap(_normal(39, 2), _normal(39, 1))
