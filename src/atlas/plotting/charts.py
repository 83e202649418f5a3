"""Charts: the scatter of codes and the curves of the loss. Beside each PNG lies the same chart as SVG, for print."""

import math
from collections.abc import Mapping, Sequence
from io import BytesIO
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator

from atlas.core.files import atomic_write
from atlas.plotting.style import COLOURS, MARKS
from atlas.plotting.canvas import Array, font, write_png
from atlas.plotting.units import NATS, unit

DPI = 64  # a power of two: pixels / DPI * DPI is exact, so that every figure has just the size asked for
INK = "#222222"
QUIET = "#606060"
STEPS = [1, 2, 5, 10]  # ticks at round values
LAYERS = 12  # in which the codes are drawn, every class in each
SVG_BYTES = 300_000  # a larger SVG is not kept
TEXT = 20  # points; 18 pixels at this DPI


def latent_scatter(
    path: Path,
    codes: Array,
    labels: Array,
    classes: Sequence[str],
    title: str,
    limits: float | None = 5.0,
    names: Sequence[str] = ("z₁", "z₂"),
) -> None:
    """Draw the first two dimensions of codes [N, d], coloured by labels [N] (integers into `classes`).

    Both axes run from -limits to +limits; None takes the range that holds 99 % of the codes in each dimension, for
    codes that no prior keeps near zero. How many codes lie outside is written below. Each class's name stands at its
    median, unless the medians are nearer to each other than their names allow: then the legend alone tells.
    """
    codes = np.asarray(codes, np.float64)[:, :2]
    labels = np.asarray(labels).astype(np.int64)
    width, height, side = 1020, 900, 760
    figure = _figure(width, height)
    axes = figure.add_axes((95 / width, 75 / height, side / width, side / height))
    low, high = _range(codes) if limits is None else (np.full(2, -limits), np.full(2, limits))
    palette = np.array([to_rgb(COLOURS[number % len(COLOURS)]) for number in range(len(classes))])
    size = float(np.clip(200_000 / max(len(codes), 1), 16, 70))
    # Mixed, not class after class: the last class drawn would cover all others where they overlap.
    for layer in np.array_split(np.random.default_rng(0).permutation(len(codes)), LAYERS):
        for mark in dict.fromkeys(MARKS):
            some = layer[np.array(MARKS)[labels[layer] % len(MARKS)] == mark]
            axes.scatter(
                codes[some, 0], codes[some, 1], s=size, c=palette[labels[some]], marker=mark, alpha=0.6, linewidths=0,
                rasterized=True,
            )  # fmt: skip
    axes.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), aspect="equal")
    for number, name in enumerate(classes):
        mark = MARKS[number % len(MARKS)]
        axes.plot([], [], mark, color=palette[number], markersize=12, label=name)
    present = [number for number in range(len(classes)) if (labels == number).any()]
    medians = np.array([np.median(codes[labels == number], axis=0) for number in present])
    pixels = (medians - low) / (high - low) * side
    moved = _apart(pixels, [classes[number] for number in present], TEXT * 1.5, side)
    # A name that would stand clearly elsewhere than its class misleads.
    if np.abs(moved - pixels).max() <= TEXT:
        for number, place in zip(present, moved, strict=True):
            axes.text(
                place[0] / side, place[1] / side, classes[number], transform=axes.transAxes,
                color=palette[number] * 0.75, fontsize=TEXT * 1.35, weight="bold", ha="center", va="center", zorder=5,
                path_effects=[withStroke(linewidth=6, foreground="white")],
            )  # fmt: skip
    axes.set_xlabel(names[0], fontsize=TEXT, color=INK)
    axes.set_ylabel(names[1], fontsize=TEXT, color=INK, rotation=0, labelpad=10)
    _plain(axes)
    figure.legend(
        loc="center left", bbox_to_anchor=((95 + side + 5) / width, (75 + side / 2) / height), fontsize=TEXT * 0.9,
        frameon=False, labelcolor=INK, handletextpad=0.1,
    )  # fmt: skip
    figure.suptitle(title, fontsize=_title_size(title, width), weight="bold", color=INK, y=1 - 18 / height)
    outside = int((np.abs(codes - (low + high) / 2) > (high - low) / 2).any(axis=1).sum())
    if outside:
        note = f"{outside:,} of {len(codes):,} codes lie outside"
        figure.text((95 + side) / width, 14 / height, note, fontsize=TEXT * 0.75, color=QUIET, ha="right")
    _write(path, figure)


def loss_curves(path: Path, history: Sequence[Mapping[str, Any]], title: str) -> None:
    """Draw every term of the loss against the epoch, a panel a term, training and validation in each.

    `history` are the rows of history.csv: "epoch", "step", "split" ("train" or "validation") and one column a term in
    nats per image (or as `unit` says), text or numbers; an empty cell is left out, and so is a term without any value.
    """
    series = _series(history)
    columns = 2 if len(series) == 4 else max(1, min(3, len(series)))
    rows = max(1, -(-len(series) // columns))
    width, height = max(720, 400 * columns), 130 + 330 * rows
    figure = _figure(width, height)
    figure.suptitle(title, fontsize=_title_size(title, width), weight="bold", color=INK, y=1 - 30 / height)
    handles: dict[str, Any] = {}
    for number, (term, splits) in enumerate(series.items()):
        axes = figure.add_subplot(rows, columns, number + 1)
        for split, points in splits.items():
            (handles[split],) = axes.plot(
                *zip(*points, strict=True),
                color="#4477AA" if split == "train" else "#CC3311",
                linestyle="-" if split == "train" else "--",
                linewidth=2.5,
                marker="o" if len(points) < 15 else "",
                markersize=6,
            )
        axes.set_title(term.replace("_", " "), fontsize=TEXT, color=INK)
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True, min_n_ticks=1, steps=STEPS))
        axes.yaxis.set_major_locator(MaxNLocator(5, steps=STEPS))
        axes.ticklabel_format(axis="y", useOffset=False)
        axes.set_ylabel(unit(term), fontsize=TEXT * 0.9, color=INK)
        if unit(term) != NATS:
            axes.set_ylim(-0.04, 1.04)
        if number + columns >= len(series):
            axes.set_xlabel("epoch", fontsize=TEXT * 0.9, color=INK)
        _plain(axes)
    figure.subplots_adjust(
        left=105 / width, right=1 - 20 / width, top=1 - 132 / height, bottom=70 / height, wspace=0.46, hspace=0.36
    )
    if handles:
        figure.legend(
            list(handles.values()), list(handles), loc="upper center", bbox_to_anchor=(0.5, 1 - 48 / height),
            ncols=len(handles), fontsize=TEXT * 0.9, frameon=False, labelcolor=INK,
        )  # fmt: skip
    _write(path, figure)


def _series(history: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, list[tuple[float, float]]]]:
    """{term: {split: [(epoch, value), ...]}} in the order of the columns, without empty or not finite cells."""
    series: dict[str, dict[str, list[tuple[float, float]]]] = {}
    for row in history:
        for term, cell in row.items():
            if term in ("epoch", "step", "split") or cell in ("", None) or not math.isfinite(float(cell)):
                continue
            series.setdefault(term, {}).setdefault(row["split"], []).append((float(row["epoch"]), float(cell)))
    order = [term for term in (history[0] if history else ()) if term in series]
    return {term: series[term] for term in order}


def _apart(places: Array, texts: Sequence[str], size: float, side: int) -> Array:
    """Move centres of texts [N, 2], in pixels of a square of `side`, up and down until no text covers another."""
    half = np.array([0.5 * font(round(size), bold=True).getlength(text) for text in texts])
    places = places.copy()
    for _ in range(100):
        places = np.clip(places, half[:, None] * [1, 0] + [0, size], side - half[:, None] * [1, 0] - [0, size])
        for i, j in combinations(np.argsort(places[:, 1], kind="stable"), 2):
            across, up = np.abs(places[i, 0] - places[j, 0]), places[j, 1] - places[i, 1]
            if across < half[i] + half[j] and up < size:
                places[[i, j], 1] += np.array([-0.5, 0.5]) * (size - up)
    return places


def _range(codes: Array) -> tuple[Array, Array]:
    """Lower and upper bounds [2] that hold 99 % of the codes in each dimension, with some air, as a square."""
    low, high = np.quantile(codes, [0.005, 0.995], axis=0)
    half = max(float((high - low).max()) * 0.53, 1e-6)
    return (low + high) / 2 - half, (low + high) / 2 + half


def _figure(width: int, height: int) -> Figure:
    figure = Figure(figsize=(width / DPI, height / DPI), dpi=DPI, facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def _title_size(title: str, width: int) -> float:
    """Points at which a bold title of this length fits into `width` pixels."""
    return min(TEXT * 1.3, 1.45 * width / max(len(title), 1))


def _plain(axes: Axes) -> None:
    axes.tick_params(labelsize=TEXT * 0.85, colors=INK)
    axes.grid(color="#e4e4e4", linewidth=1)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color("#888888")


def _write(path: Path, figure: Figure) -> None:
    canvas = figure.canvas
    assert isinstance(canvas, FigureCanvasAgg)
    canvas.draw()
    write_png(path, np.asarray(canvas.buffer_rgba())[..., :3])
    drawn = BytesIO()
    # Without a salt and with a date, the same chart would be other bytes every time.
    with rc_context({"svg.hashsalt": "atlas"}):
        figure.savefig(drawn, format="svg", metadata={"Date": None})
    if drawn.tell() <= SVG_BYTES:
        with atomic_write(path.with_suffix(".svg")) as aside:
            aside.write_bytes(drawn.getvalue())
