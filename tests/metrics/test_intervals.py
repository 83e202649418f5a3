"""Intervals against theory."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import binomtest
from torch import Tensor

from atlas.metrics.intervals import RESAMPLES, bootstrap_counts, difference_interval, mean_interval, ratio_interval


def test_a_resample_draws_as_many_as_there_are() -> None:
    counts = bootstrap_counts(30)
    assert counts.shape == (RESAMPLES, 30) and (counts.sum(1) == 30).all()
    assert counts.mean(0) == pytest.approx(np.ones(30), abs=0.15)
    assert counts.var() == pytest.approx(1 - 1 / 30, abs=0.05)
    assert not np.array_equal(counts, bootstrap_counts(30, 1))


def test_the_interval_of_a_mean_is_the_normal_one_of_many_images() -> None:
    values = 100 + 3 * torch.randn(2000, generator=torch.Generator().manual_seed(0))
    metrics = mean_interval("nelbo", values)
    half = 1.96 * values.std().item() / math.sqrt(2000)
    assert metrics["nelbo"] == pytest.approx(values.double().mean().item()) and metrics["nelbo_n"] == 2000
    assert metrics["nelbo_high"] - metrics["nelbo"] == pytest.approx(half, rel=0.1)
    assert metrics["nelbo"] - metrics["nelbo_low"] == pytest.approx(half, rel=0.1)
    assert metrics == mean_interval("nelbo", values)


def test_the_interval_of_a_constant_is_a_point() -> None:
    assert mean_interval("x", torch.ones(50, dtype=torch.bool)) == {"x": 1.0, "x_low": 1.0, "x_high": 1.0, "x_n": 50}


@pytest.mark.parametrize("values", [torch.zeros(0), torch.zeros(3, 2)])
def test_an_interval_of_nothing_is_refused(values: Tensor) -> None:
    with pytest.raises(ValueError, match="needs one value for each"):
        mean_interval("nelbo", values)


def test_the_interval_of_a_ratio() -> None:
    generator = torch.Generator().manual_seed(0)
    below = 1 + torch.rand(400, generator=generator)
    # Where one is a multiple of the other, every resample gives the same ratio.
    exact = ratio_interval("r", 3 * below, below)
    assert [exact[name] for name in ("r", "r_low", "r_high")] == pytest.approx([3, 3, 3])
    ratio = ratio_interval("r", 3 + torch.randn(400, generator=generator), below)
    # The delta method: variance of a ratio of independent means.
    width = ratio["r"] * math.sqrt((1 / 3) ** 2 / 400 + (math.sqrt(1 / 12) / 1.5) ** 2 / 400) * 2 * 1.96
    assert ratio["r_high"] - ratio["r_low"] == pytest.approx(width, rel=0.1) and ratio["r_n"] == 400
    with pytest.raises(ValueError, match="r: needs two values"):
        ratio_interval("r", below, below[:3])


@pytest.mark.parametrize("right", [0, 1, 37, 100])
def test_the_interval_of_a_share_is_wilson_s_and_no_point(right: int) -> None:
    found = mean_interval("x", torch.arange(100) < right, share=True)
    expected = binomtest(right, 100).proportion_ci(0.95, "wilson")
    assert (found["x_low"], found["x_high"]) == pytest.approx((expected.low, expected.high), abs=1e-6)
    assert found["x_low"] <= found["x"] <= found["x_high"] and found["x_high"] - found["x_low"] > 0.03


def test_shares_that_vary_less_than_0_and_1_have_a_narrower_interval() -> None:
    shares = 0.9 + 0.02 * torch.randn(500, generator=torch.Generator().manual_seed(0))
    found = mean_interval("x", shares, share=True)
    assert found["x_high"] - found["x_low"] == pytest.approx(2 * 1.96 * shares.std().item() / math.sqrt(500), rel=0.02)


def test_the_difference_estimator_covers_as_often_as_it_says_and_is_narrower_than_the_subset() -> None:
    """Values of 2,000 images, of which 100 have a gap: mean 50, and the truth is what both have in the mean."""
    held, widths, alone = 0, [], []
    for seed in range(300):
        values = 60 + 30 * torch.randn(2000, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        gaps = 10 + 3 * torch.randn(100, generator=torch.Generator().manual_seed(1000 + seed), dtype=torch.float64)
        found = difference_interval("nll", values, gaps)
        held += found["nll_low"] < 50 < found["nll_high"]
        widths.append(found["nll_high"] - found["nll_low"])
        alone.append(2 * 1.96 * (values[:100] - gaps).std().item() / 10)
    assert held / 300 == pytest.approx(0.95, abs=0.03) and found["nll_n"] == 2000
    assert np.mean(alone) > 2.5 * np.mean(widths)
