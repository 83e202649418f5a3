"""The losses of a training beside its film: the axes stand from the start, the curves grow with the steps."""

import csv
import math
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from atlas.core.files import AtlasError
from atlas.core.files import require
from atlas.plotting.canvas import Array
from atlas.plotting.units import NATS, unit

DPI = 64
TEXT = 15  # points; 13 pixels at this DPI
INK, QUIET, CURSOR = "#222222", "#606060", (150, 150, 150)
MOST = 3  # terms that are drawn: the first that are losses
LINES = {"train": ("--", "#777777", 1.6), "validation": ("-", "#222222", 2.4)}
EDGES = 64, 18, 32, 26  # pixels of a panel that lie left, right, above and below its axes
HEAD = 46  # pixels above all panels, for what the lines mean

Terms = dict[str, dict[str, list[tuple[int, float]]]]
"""Term -> split ("train" or "validation") -> points (step, value)."""


def load_terms(path: Path) -> Terms:
    """Read history.csv: its first losses, at most `MOST`, in nats per image.

    Raises:
        AtlasError: if the file is missing or no history.
    """
    terms: Terms = {}
    try:
        with require(path, f"train@{path.parent.name}").open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                step, split = int(row.pop("step")), row.pop("split")
                row.pop("epoch")
                for term, value in row.items():
                    if value and math.isfinite(float(value)) and unit(term) == NATS:
                        terms.setdefault(term, {}).setdefault(split, []).append((step, float(value)))
    except (KeyError, TypeError, ValueError) as error:
        raise AtlasError(f"{path} is not a history of epochs ({error!r}); train the run again") from None
    return {term: terms[term] for term in list(terms)[:MOST]}


class Growing:
    """The strip as of any step; drawn twice when it is made, empty and full, and put together after that."""

    def __init__(self, terms: Terms, last: int, height: int, width: int) -> None:
        """Lay it out in `height` by `width` pixels: panels side by side where it is wide, else one below another.

        `last`: the training's last step, at the right end of every panel.
        """
        self.last = max(last, 1)
        columns = len(terms) if width > height else 1
        rows = -(-len(terms) // max(columns, 1))
        across, down = width // max(columns, 1), (height - HEAD) // max(rows, 1)
        left, right, above, below = EDGES
        self.boxes = []
        for number in range(len(terms)):
            row, column = divmod(number, columns)
            box = column * across + left, (column + 1) * across - right
            self.boxes.append((*box, HEAD + row * down + above, HEAD + (row + 1) * down - below))
        self._empty = self._draw(terms, height, width, False)
        self._full = self._draw(terms, height, width, True)

    def __getitem__(self, step: int) -> Array:
        """The strip at a step: uint8 [H, W, 3]."""
        page = self._empty.copy()
        for left, right, top, bottom in self.boxes:
            # A little beyond, at the end, for the last point's whole mark.
            now = left + round((right - left) * min(step / self.last, 1))
            beyond = now + 5 if step >= self.last else now
            page[top - 5 : bottom + 5, left:beyond] = self._full[top - 5 : bottom + 5, left:beyond]
            if step < self.last:
                page[top:bottom, now] = CURSOR
        return page

    def _draw(self, terms: Terms, height: int, width: int, curves: bool) -> Array:
        figure = Figure(figsize=(width / DPI, height / DPI), dpi=DPI, facecolor="white")
        canvas = FigureCanvasAgg(figure)
        handles = {}
        for (term, splits), (left, right, top, bottom) in zip(terms.items(), self.boxes, strict=True):
            axes = figure.add_axes((left / width, 1 - bottom / height, (right - left) / width, (bottom - top) / height))
            for split, points in splits.items():
                style, colour, thick = LINES.get(split, ("-", INK, 1.0))
                (handles[split],) = axes.plot(
                    *zip(*points, strict=True), color=colour, linestyle=style, linewidth=thick,
                    marker="o" if len(points) < 15 else "", markersize=4, clip_on=False, visible=curves,
                )  # fmt: skip
            values = [value for points in splits.values() for _, value in points]
            room = 0.06 * (max(values) - min(values)) or 0.1 * abs(values[0]) or 1.0
            axes.set(xlim=(0, self.last), ylim=(min(values) - room, max(values) + room))
            axes.set_title(term.replace("_", " "), fontsize=TEXT, color=INK, pad=5)
            axes.xaxis.set_major_locator(MaxNLocator(3, integer=True, steps=[1, 2, 5, 10]))
            axes.yaxis.set_major_locator(MaxNLocator(3, steps=[1, 2, 5, 10]))
            axes.ticklabel_format(useOffset=False)
            axes.tick_params(labelsize=TEXT * 0.85, colors=QUIET, length=3)
            axes.grid(color="#e4e4e4", linewidth=0.8)
            axes.set_axisbelow(True)
            axes.spines[["top", "right"]].set_visible(False)
            axes.spines[["left", "bottom"]].set_color("#888888")
        if handles:
            for handle in handles.values():
                handle.set_visible(True)
            figure.legend(
                list(handles.values()), list(handles), loc="upper left", bbox_to_anchor=(12 / width, 1 + 4 / height),
                ncols=2, fontsize=TEXT, frameon=False, labelcolor=INK, borderpad=0.2, columnspacing=1.2,
            )  # fmt: skip
            for handle in handles.values():
                handle.set_visible(curves)
            figure.text(
                16 / width, 1 - 37 / height, "nats per image, by step", fontsize=TEXT * 0.9, color=QUIET, va="center",
            )  # fmt: skip
        canvas.draw()
        return np.asarray(canvas.buffer_rgba())[..., :3].copy()
