"""What one run gains on another, as a curve over the training."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from atlas.plotting.canvas import write_png

DPI = 100
INK = "#222222"


def gain(path: Path, first: str, second: str, points: Sequence[tuple[int, float, float]], term: str) -> None:
    """Draw both runs' term (nats per image, validation) against the epoch, and beside it what the first gains.

    Args:
        first: the run that should have the lower term; second: the one that it is compared with.
        points: (epoch, the first's term, the second's), in the order of the epochs.
    """
    epochs, ours, theirs = (np.array(column) for column in zip(*points, strict=True))
    figure = Figure(figsize=(9, 3.4), dpi=DPI, facecolor="white", layout="constrained")
    canvas = FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    left.plot(epochs, theirs, "o--", color="#4477AA", linewidth=2, label=second)
    left.plot(epochs, ours, "s-", color="#CC3311", linewidth=2, label=first)
    left.set_ylabel(f"{term}, nats per image", color=INK)
    left.legend(frameon=False, labelcolor=INK)
    right.axhline(0, color="#888888", linewidth=1)
    right.plot(epochs, theirs - ours, "s-", color="#CC3311", linewidth=2)
    right.set_ylabel("gain, nats per image", color=INK)
    for axes, title in ((left, "on validation images"), (right, f"{second} less {first}")):
        axes.set_title(title, color=INK, fontsize=11)
        axes.set_xlabel("epoch", color=INK)
        axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
        axes.grid(color="#e4e4e4")
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
    canvas.draw()
    write_png(path, np.asarray(canvas.buffer_rgba())[..., :3])
