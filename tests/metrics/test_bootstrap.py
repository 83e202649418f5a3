"""Bootstrap intervals against theory."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from atlas.metrics.bootstrap import RESAMPLES, bootstrap_counts, mean_interval, ratio_interval


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
