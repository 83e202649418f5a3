"""The geometry of the training curves: histories to lines and ticks in the units of a small SVG."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from matplotlib.ticker import MaxNLocator

Points = list[tuple[float, float]]
History = dict[str, dict[str, Points]]
"""Term -> split ("train" or "validation") -> points (epoch, value)."""

LEFT, RIGHT, TOP, BOTTOM = 40.0, 274.0, 8.0, 158.0
"""Edges of a panel in the template's view box of 280 by 180."""

WIDE = 30.0
"""A term whose values span a larger factor than this is drawn on a logarithmic axis."""


@dataclass(frozen=True)
class Tick:
    at: float
    text: str


@dataclass(frozen=True)
class Line:
    """One run's values of a term on one split."""

    run: str
    split: str
    path: str
    end: tuple[float, float]
    words: str


@dataclass(frozen=True)
class Panel:
    """One term, all runs."""

    term: str
    logarithmic: bool
    x_ticks: list[Tick]
    y_ticks: list[Tick]
    lines: list[Line]

    @property
    def alt(self) -> str:
        what = f"{self.term} by epoch{', logarithmic axis' if self.logarithmic else ''}"
        return f"{what}. {'; '.join(line.words for line in self.lines)}."


def panels(histories: Mapping[str, History]) -> list[Panel]:
    """Return a panel for each term, in the order in which the runs first name it.

    Args:
        histories: of each run of one data set by its key. A value that is not finite is left out.
    """
    terms = dict.fromkeys(term for history in histories.values() for term in history)
    return [panel for term in terms if (panel := _panel(term, histories)) is not None]


def _panel(term: str, histories: Mapping[str, History]) -> Panel | None:
    series: list[tuple[str, str, Points]] = []
    for run, history in histories.items():
        # Training first, so that validation, which counts, is drawn over it.
        for split, points in sorted(history.get(term, {}).items()):
            finite = [point for point in points if math.isfinite(point[1])]
            if finite:
                series.append((run, split, finite))
    if not series:
        return None
    epochs = [x for *_, points in series for x, _ in points]
    values = [y for *_, points in series for _, y in points]
    low, high = min(values), max(values)
    logarithmic = low > 0 and high / low > WIDE
    to_x, x_ticks = _axis(min(epochs), max(epochs), LEFT, RIGHT, whole=True)
    to_y, y_ticks = _log_axis(low, high, BOTTOM, TOP) if logarithmic else _axis(low, high, BOTTOM, TOP)
    lines = []
    for run, split, points in series:
        places = [(round(to_x(x), 1), round(to_y(y), 1)) for x, y in points]
        lines.append(
            Line(
                run=run,
                split=split,
                path="M" + "L".join(f"{x:g} {y:g}" for x, y in places),
                end=places[-1],
                words=f"{run}, {split}: {points[-1][1]:.4g} at epoch {points[-1][0]:g}",
            )
        )
    return Panel(term.replace("_", " "), logarithmic, x_ticks, y_ticks, lines)


def _axis(
    low: float, high: float, start: float, end: float, whole: bool = False
) -> tuple[Callable[[float], float], list[Tick]]:
    """Return the map from values to places and the ticks between `low` and `high`."""
    if low == high:
        room = 0.5 if whole else abs(low) * 0.1
        # Nothing all along is most often a share that might have been one.
        low, high = (low - room, high + room) if room else (0.0, 1.0)
    ticks = [
        float(tick)
        for tick in MaxNLocator(5, steps=[1, 2, 2.5, 5, 10], integer=whole, min_n_ticks=1).tick_values(low, high)
    ]
    if not whole:
        # The values fill the panel but for a little air; a tick at the next round number would squeeze them.
        low, high = low - (high - low) * 0.04, high + (high - low) * 0.04

    def place(value: float) -> float:
        return start + (value - low) / (high - low) * (end - start)

    return place, [Tick(round(place(tick), 1), f"{tick:.6g}") for tick in ticks if low <= tick <= high]


def _log_axis(low: float, high: float, start: float, end: float) -> tuple[Callable[[float], float], list[Tick]]:
    place, _ = _axis(math.log(low), math.log(high), start, end)
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    heads = (1, 3) if len(powers) <= 4 else (1,)
    ticks = [head * 10.0**power for power in powers for head in heads]
    return lambda value: place(math.log(value)), [
        Tick(round(place(math.log(tick)), 1), f"{tick:.6g}") for tick in ticks if low <= tick <= high
    ]
