"""Confidence intervals of metrics over images, 95 %: the bootstrap's (Efron 1979), the normal one, Wilson's.

A metric with an interval is written as {name, name_low, name_high, name_n}, the last of them the number of images.
"""

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

RESAMPLES = 1000
CONFIDENCE = 0.95
QUANTILE = 1.959964
"""Of the standard normal distribution, to which 95 % lie within plus and minus."""
Numbers = dict[str, float | int]


@lru_cache(maxsize=4)
def bootstrap_counts(count: int, seed: int = 0) -> NDArray[np.float32]:
    """Return how often each of `count` images is drawn in each resample, [RESAMPLES, count]; each row sums to `count`.

    The same for every metric and every run of one size.
    """
    drawn = np.random.default_rng(seed).integers(count, size=(RESAMPLES, count), dtype=np.int64)
    drawn += count * np.arange(RESAMPLES)[:, None]
    return np.bincount(drawn.ravel(), minlength=RESAMPLES * count).reshape(RESAMPLES, count).astype(np.float32)


def percentile_interval(resampled: NDArray[np.float64]) -> tuple[float, float]:
    """Return the ends of the central 95 % of a metric's values over the resamples."""
    low, high = np.quantile(resampled, [0.5 - CONFIDENCE / 2, 0.5 + CONFIDENCE / 2])
    return float(low), float(high)


def with_interval(name: str, value: float, low: float, high: float, count: int) -> Numbers:
    """Return {name, name_low, name_high, name_n}."""
    return {name: value, f"{name}_low": low, f"{name}_high": high, f"{name}_n": count}


def normal_interval(name: str, value: float, error: float, count: int) -> Numbers:
    """Return a metric with its interval from the normal distribution; error: its standard error."""
    return with_interval(name, value, value - QUANTILE * error, value + QUANTILE * error, count)


def share_interval(name: str, value: float, error: float, count: int) -> Numbers:
    """Return a share in [0, 1] with Wilson's interval (1927), which is no point where the share is 0 or 1.

    Of 0/1 values that is Wilson's own. Where the standard error is another than theirs (the values are shares, or the
    images that they depend on vary too), the number of images is replaced by the one of 0/1 values with that error.
    """
    variance = value * (1 - value)
    effective = variance / error**2 if error > 0 and variance > 0 else count
    square = QUANTILE**2 / effective
    center = (value + square / 2) / (1 + square)
    half = math.sqrt(square * (variance + square / 4)) / (1 + square)
    return with_interval(name, value, max(0.0, min(center - half, value)), min(1.0, max(center + half, value)), count)


def mean_interval(name: str, values: Tensor, share: bool = False) -> Numbers:
    """Return the mean of one value an image, [N], with its interval: the bootstrap's, or Wilson's if it is a share.

    Raises:
        ValueError: if there is no image.
    """
    if values.ndim != 1 or not len(values):
        raise ValueError(f"{name}: needs one value for each of at least one image; found {list(values.shape)}")
    numbers = values.double().cpu().numpy()
    mean = float(numbers.mean())
    if share:
        return share_interval(name, mean, float(numbers.std()) / math.sqrt(len(numbers)), len(numbers))
    # Less the mean first: float32 is enough for what is left.
    deviations = bootstrap_counts(len(numbers)) @ (numbers - mean).astype(np.float32) / len(numbers)
    low, high = percentile_interval(deviations.astype(np.float64))
    # Where all values are equal, rounding must not put the mean outside.
    return with_interval(name, mean, min(mean + low, mean), max(mean + high, mean), len(numbers))


def ratio_interval(name: str, numerators: Tensor, denominators: Tensor) -> Numbers:
    """Return the ratio of two means of one value an image, [N] each, with its interval.

    Raises:
        ValueError: if they are not of the same images, or there is none.
    """
    if numerators.shape != denominators.shape or numerators.ndim != 1 or not len(numerators):
        shapes = f"{list(numerators.shape)} and {list(denominators.shape)}"
        raise ValueError(f"{name}: needs two values for each of at least one image; found {shapes}")
    above, below = numerators.double().cpu().numpy(), denominators.double().cpu().numpy()
    counts = bootstrap_counts(len(above)).astype(np.float64)
    low, high = percentile_interval((counts @ above) / (counts @ below))
    return with_interval(name, float(above.mean() / below.mean()), low, high, len(above))


def difference_interval(name: str, values: Tensor, gaps: Tensor) -> Numbers:
    """Return the mean of values [N] of all images less that of gaps [n] of some of them, with its interval.

    The difference estimator of survey sampling (Cochran 1977, section 7.1): the values vary much and cost little, the
    gaps vary little and cost much. The squared standard error is var(values) / N + var(gaps) / n.
    """
    error = math.sqrt(float(values.double().var() / len(values) + gaps.double().var() / len(gaps)))
    return normal_interval(name, float(values.double().mean() - gaps.double().mean()), error, len(values))
