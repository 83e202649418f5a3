"""Bootstrap confidence intervals over test images (Efron 1979), 95 %.

A metric with an interval is written as {name, name_low, name_high, name_n}, the last of them the number of images.
"""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

RESAMPLES = 1000
CONFIDENCE = 0.95
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


def mean_interval(name: str, values: Tensor) -> Numbers:
    """Return the mean of one value an image, [N], with its interval.

    Raises:
        ValueError: if there is no image.
    """
    if values.ndim != 1 or not len(values):
        raise ValueError(f"{name}: needs one value for each of at least one image; found {list(values.shape)}")
    numbers = values.double().cpu().numpy()
    mean = float(numbers.mean())
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
