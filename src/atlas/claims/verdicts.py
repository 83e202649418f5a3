"""Verdicts: whether the numbers of a run, or of a pair of runs, show what they were to show, and none too gently."""

import math
from collections.abc import Mapping
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student

Numbers = Mapping[str, float]
Sense = Literal["lower", "higher", "nearer 1", "not lower", "not higher", "below", "above", "printed"]

SEEDS = 3
"""The fewest seeds whose spread says more than that of the images does."""


class Evidence(NamedTuple):
    """One measure that carries a claim.

    Of a pair, the first run's number is to be `lower` or `higher` than the second's, `nearer 1`, or shown to be `not
    lower` or `not higher`. Of a single run, it is to lie `below` or `above` a limit. `printed` decides nothing.
    """

    measure: str
    sense: Sense
    limit: float = 0.0
    of_judge: bool = False
    """Is the limit a share of what the judge reads right in real test images?"""


def mean_difference(differences: NDArray[np.float64]) -> tuple[float, float]:
    """Return the 95 % interval of the mean of differences [N], N at least 2, by the normal law of large numbers."""
    half = 1.959964 * differences.std(ddof=1) / math.sqrt(len(differences))
    return float(differences.mean() - half), float(differences.mean() + half)


def seeds_interval(values: list[float]) -> tuple[float, float]:
    """Return the 95 % interval of the mean of one value a seed, at least 2, by Student's t."""
    half = student.ppf(0.975, len(values) - 1) * float(np.std(values, ddof=1)) / math.sqrt(len(values))
    return float(np.mean(values)) - half, float(np.mean(values)) + half


def decide(
    part: Evidence,
    found: list[Numbers],
    judge: float,
    differences: NDArray[np.float64] | None,
    others: list[list[Numbers]],
) -> tuple[str, tuple[float, float] | None, str]:
    """Return a verdict (empty for what is only printed), the interval that it hangs on, and a sentence.

    `others` holds what the same runs gave with other seeds.
    """
    name = part.measure
    shown = " against ".join(f"{numbers[name]:.4g}" for numbers in found)
    if part.sense == "printed":
        return "", None, f"{name} {shown}"
    first, limit = _interval(name, found[0]), part.limit * (judge if part.of_judge else 1)
    if part.sense in ("below", "above"):
        what = f" ({part.limit:.0%} of what the judge reads right in real images)" if part.of_judge else ""
        difference, known = (first[0] - limit, first[1] - limit), _has_interval(name, found[0])
        wanted = f"{part.sense} {limit:.4g}{what}"
    else:
        second = _interval(name, found[1])
        if part.sense == "nearer 1":
            first, second = _from_one(first), _from_one(second)
        values = _values(part, found)
        difference = independent_difference((values[0], *first), (values[1], *second))
        if differences is not None and part.sense != "nearer 1" and len(others) + 1 < SEEDS:
            difference = mean_difference(differences)
            shown += " (image by image)"
        known = all(_has_interval(name, numbers) for numbers in found)
        wanted = part.sense
    if len(others) + 1 >= SEEDS:
        effects = [_effect(part, numbers, limit) for numbers in (found, *others)]
        difference, known = seeds_interval(effects), True
        average = float(np.mean(effects)) + (limit if len(found) == 1 else 0.0)
        shown += f" (seed by seed, {len(effects)} seeds: {average:.4g} on average)"
    low, high = difference
    shows = {-1: high < 0, 1: low > 0}
    better = -1 if part.sense in ("lower", "below", "nearer 1", "not higher") else 1
    if shows[-better]:
        verdict = "fails"
    elif shows[better] or part.sense.startswith("not "):
        verdict = "holds"
    else:
        verdict = "not shown"
    covered = "" if known else ", without an interval"
    return verdict, (low, high), f"{name} {shown}, to be {wanted}: {verdict}{covered}"


def _values(part: Evidence, found: list[Numbers]) -> list[float]:
    return [abs(numbers[part.measure] - 1) if part.sense == "nearer 1" else numbers[part.measure] for numbers in found]


def _effect(part: Evidence, found: list[Numbers], limit: float) -> float:
    """Return what the verdict is about: the first run's number less the second's, or less the limit."""
    values = _values(part, found)
    return values[0] - (values[1] if len(values) > 1 else limit)


def independent_difference(
    first: tuple[float, float, float], second: tuple[float, float, float]
) -> tuple[float, float]:
    """Return the interval of first - second, each (value, low, high), from their own intervals as if independent.

    The square-root rule (Zou and Donner 2008): exact for normal ones; too wide where both saw the same images.
    """
    (a, a_low, a_high), (b, b_low, b_high) = first, second
    return a - b - math.hypot(a - a_low, b_high - b), a - b + math.hypot(a_high - a, b - b_low)


def _has_interval(name: str, numbers: Numbers) -> bool:
    return f"{name}_low" in numbers and f"{name}_high" in numbers


def _interval(name: str, numbers: Numbers) -> tuple[float, float]:
    return numbers.get(f"{name}_low", numbers[name]), numbers.get(f"{name}_high", numbers[name])


def _from_one(interval: tuple[float, float]) -> tuple[float, float]:
    low, high = (abs(end - 1) for end in interval)
    return (0.0 if interval[0] < 1 < interval[1] else min(low, high)), max(low, high)
