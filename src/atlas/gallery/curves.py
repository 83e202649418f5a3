"""Training curves: matplotlib lays out the axes, the template draws them in the page's light or dark colors."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator

from atlas.plotting.charts import Curves

Points = list[tuple[float, float]]
WIDTH, HEIGHT = 280, 180
"""Of a panel, in units of its SVG."""
AXES = (40 / WIDTH, 22 / HEIGHT, 234 / WIDTH, 150 / HEIGHT)
"""Left, bottom, width and height of the axes as fractions of the panel."""
LOG_RATIO = 30.0
"""A term whose largest value is more than this multiple of its smallest is drawn on a logarithmic axis."""

LEAST_SPAN = 0.4
"""Height of a linear axis, as a share of the largest value on it, at least."""


@dataclass(frozen=True)
class Line:
    """Values of a term for one run and split."""

    run: str
    split: str
    points: Points
    """In units of the SVG."""
    text: str


@dataclass(frozen=True)
class Panel:
    """One term of all runs; a tick is its place in units of the SVG, and its text."""

    key: str
    """The term as the history calls it."""
    term: str
    logarithmic: bool
    epochs: tuple[float, float]
    """At the left and the right end of the axes."""
    x_ticks: list[tuple[float, str]]
    y_ticks: list[tuple[float, str]]
    lines: list[Line]


def panels(histories: Mapping[str, Curves]) -> list[Panel]:
    """Return a panel for each term, in the order in which the runs first name it.

    Args:
        histories: of the runs of one data set, by their keys; all values finite.
    """
    terms = dict.fromkeys(term for history in histories.values() for term in history)
    return [_panel(term, histories) for term in terms]


def _panel(term: str, histories: Mapping[str, Curves]) -> Panel:
    # Training first, so that validation, which counts, is drawn over it.
    series = [
        (run, split, points)
        for run, history in histories.items()
        for split, points in sorted(history.get(term, {}).items())
    ]
    everything = np.concatenate([points for *_, points in series])
    low, high = everything[:, 1].min(), everything[:, 1].max()
    logarithmic = bool(low > 0 and high / low > LOG_RATIO)
    axes = Figure(figsize=(WIDTH / 100, HEIGHT / 100), dpi=100).add_axes(AXES)
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True, min_n_ticks=1))
    axes.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
    if logarithmic:
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 3) if high / low < 1e4 else (1,)))
    axes.update_datalim(everything)
    axes.margins(0, 0.04)
    axes.autoscale_view()
    if not logarithmic and high - low < LEAST_SPAN * max(abs(low), abs(high)):
        # Noise is not blown up to the height of the panel.
        middle, half = (high + low) / 2, LEAST_SPAN * max(abs(low), abs(high)) / 2
        axes.set_ylim(middle - half, middle + half)
    if low == high == 0:
        # Most often a share.
        axes.set_ylim(0, 1)

    def place(points: Points) -> Points:
        return [(round(x, 1), round(HEIGHT - y, 1)) for x, y in axes.transData.transform(points).tolist()]

    def ticks(axis: Axis) -> list[float]:
        start, end = sorted(axis.get_view_interval())
        return [float(tick) for tick in axis.get_majorticklocs() if start <= tick <= end]

    return Panel(
        key=term,
        term=term.replace("_", " "),
        logarithmic=logarithmic,
        epochs=axes.get_xlim(),
        x_ticks=[(place([(tick, low)])[0][0], f"{tick:.6g}") for tick in ticks(axes.xaxis)],
        y_ticks=[(place([(1, tick)])[0][1], f"{tick:.6g}") for tick in ticks(axes.yaxis)],
        lines=[
            Line(run, split, place(points), f"{run}, {split}: {points[-1][1]:.4g} at epoch {points[-1][0]:g}")
            for run, split, points in series
        ],
    )
