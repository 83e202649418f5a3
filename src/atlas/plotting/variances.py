"""How much the gradient of the bound varies by two estimators, run by run, on a logarithmic scale."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from atlas.plotting.canvas import write_png

DPI = 100
INK = "#222222"
ESTIMATORS = (
    ("reparameterised_variance", "reparameterised", "#4477AA", "o"),
    ("score_variance", "score function", "#CC3311", "s"),
)
LOW_HIGH = ("_low", "_high")


def estimator_variances(path: Path, metrics: Mapping[str, Mapping[str, float]]) -> None:
    """Draw both variances (nats squared) of every run that has them, with their 95 % intervals and their ratio.

    Raises:
        ValueError: if no run has them.
    """
    runs = [run for run, row in metrics.items() if all(name in row for name, *_ in ESTIMATORS)]
    if not runs:
        raise ValueError(f"no run has {' and '.join(name for name, *_ in ESTIMATORS)}")
    figure = Figure(figsize=(9, 1.3 + 0.34 * len(runs)), dpi=DPI, facecolor="white", layout="constrained")
    canvas = FigureCanvasAgg(figure)
    axes = figure.subplots()
    places = np.arange(len(runs))[::-1]
    for place, run in zip(places, runs, strict=True):
        ends = [metrics[run][name] for name, *_ in ESTIMATORS]
        axes.plot(ends, [place, place], color="#bbbbbb", linewidth=1.5, zorder=1)
        axes.annotate(
            f"{ends[1] / ends[0]:,.0f} times", (np.sqrt(ends[0] * ends[1]), place), (0, 3),
            textcoords="offset points", ha="center", va="bottom", fontsize=8.5, color=INK,
        )  # fmt: skip
    for name, title, colour, marker in ESTIMATORS:
        values = np.array([metrics[run][name] for run in runs])
        bars = np.array([[metrics[run].get(f"{name}{end}", metrics[run][name]) for run in runs] for end in LOW_HIGH])
        axes.errorbar(
            values, places, xerr=np.abs(bars - values), fmt=marker, color=colour, markersize=6, capsize=2.5,
            linewidth=1.2, label=title, zorder=2,
        )  # fmt: skip
    axes.set_xscale("log")
    axes.set_yticks(places, runs, color=INK)
    axes.set_ylim(-0.6, len(runs) - 0.2)
    axes.set_xlabel("variance of the gradient by mean and log-variance, nats squared", color=INK)
    axes.set_title("One draw's gradient of the bound, by its estimator", color=INK, fontsize=11)
    axes.grid(axis="x", color="#e4e4e4")
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    figure.legend(loc="outside lower center", ncols=2, frameon=False, labelcolor=INK)
    canvas.draw()
    write_png(path, np.asarray(canvas.buffer_rgba())[..., :3])
