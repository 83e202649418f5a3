"""Intervals: what a number would have been with other test images of the same kind (Efron 1979: the bootstrap)."""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

RESAMPLES = 1000
COVERED = 0.95


@lru_cache(maxsize=4)
def bootstrap_counts(count: int, seed: int = 0) -> NDArray[np.float32]:
    """Return how often each of `count` images is drawn in each resample, [RESAMPLES, count]; each row sums to `count`.

    The same for every measure and every run of one size.
    """
    drawn = np.random.default_rng(seed).integers(count, size=(RESAMPLES, count), dtype=np.int64)
    drawn += count * np.arange(RESAMPLES)[:, None]
    return np.bincount(drawn.ravel(), minlength=RESAMPLES * count).reshape(RESAMPLES, count).astype(np.float32)


def percentile_interval(draws: NDArray[np.float64]) -> tuple[float, float]:
    """Return the ends of the central 95 % of what the resamples gave."""
    low, high = np.quantile(draws, [0.5 - COVERED / 2, 0.5 + COVERED / 2])
    return float(low), float(high)


def mean_interval(name: str, values: Tensor) -> dict[str, float | int]:
    """Return the mean of one value an image, [N], as {name, name_low, name_high, name_n}.

    Raises:
        ValueError: if there is no image.
    """
    if values.ndim != 1 or not len(values):
        raise ValueError(f"{name}: needs one value for each of at least one image; found {list(values.shape)}")
    numbers = values.double().cpu().numpy()
    mean = numbers.mean()
    # Less the mean first: float32 is enough for what is left.
    spread = bootstrap_counts(len(numbers)) @ (numbers - mean).astype(np.float32) / len(numbers)
    # Where all values are one, rounding must not put the mean outside.
    low, high = (float(mean + end) for end in percentile_interval(spread.astype(np.float64)))
    return {
        name: float(mean),
        f"{name}_low": min(low, float(mean)),
        f"{name}_high": max(high, float(mean)),
        f"{name}_n": len(numbers),
    }


def ratio_interval(name: str, above: Tensor, below: Tensor) -> dict[str, float | int]:
    """Return the ratio of two means of one value an image, [N] each, as {name, name_low, name_high, name_n}.

    Raises:
        ValueError: if they are not of the same images, or there is none.
    """
    if above.shape != below.shape or above.ndim != 1 or not len(above):
        raise ValueError(
            f"{name}: needs two values for each of at least one image; found {list(above.shape)} and "
            f"{list(below.shape)}"
        )
    up, down = above.double().cpu().numpy(), below.double().cpu().numpy()
    drawn = bootstrap_counts(len(up)).astype(np.float64)
    low, high = percentile_interval((drawn @ up) / (drawn @ down))
    return {name: float(up.mean() / down.mean()), f"{name}_low": low, f"{name}_high": high, f"{name}_n": len(up)}
