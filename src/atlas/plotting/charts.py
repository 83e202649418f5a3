"""Charts: scatter of codes and loss curves, as PNG and SVG, difference of learning curves, variance of gradients."""

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
from matplotlib.patches import Circle
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator

from atlas.core.files import atomic_write
from atlas.plotting.canvas import MUTED, TEXT, Array, font, write_png
from atlas.plotting.style import NATS, class_style, term_unit

DPI = 64  # a power of two: pixels / DPI * DPI is exact, so that every figure has just the size asked for
FONT_SIZE = 20  # points; 18 pixels at this DPI
TICK_STEPS = [1, 2, 5, 10]  # ticks at round values
LAYERS = 12  # in which the codes are drawn, every class in each
SVG_BYTES = 300_000  # a larger SVG is not kept
RADII = 1, 2, 3  # of circles that hold 39, 86 and 99 of 100 codes of N(0, I) in two dimensions
HEAD = 60  # pixels above a scatter, for its title
BLUE, RED, GRAY = "#4477AA", "#CC3311", "#bbbbbb"
OTHERS = "other labels"
LINES = {"train": (BLUE, "--", 2.5), "validation": (RED, "-", 2.5)}
ESTIMATORS = (
    ("reparameterized_variance", "reparameterized", BLUE, "o"),
    ("baseline_variance", "score function with a baseline", "#EE7733", "D"),
    ("score_variance", "score function without", RED, "s"),
)

STYLE: dict[Any, Any] = {
    "text.color": TEXT, "axes.labelcolor": TEXT, "xtick.color": TEXT, "ytick.color": TEXT, "axes.edgecolor": "#888888",
    "axes.spines.top": False, "axes.spines.right": False, "axes.axisbelow": True, "axes.grid": True,
    "grid.color": "#e4e4e4", "grid.linewidth": 1, "axes.titlesize": 11, "legend.frameon": False,
    # Without a salt the same SVG would be other bytes every time.
    "svg.hashsalt": "atlas",
}  # fmt: skip
"""The look that all charts share, as matplotlib's settings."""
LARGE = STYLE | {
    "axes.titlesize": FONT_SIZE, "axes.labelsize": FONT_SIZE * 0.9, "legend.fontsize": FONT_SIZE * 0.9,
    "xtick.labelsize": FONT_SIZE * 0.85, "ytick.labelsize": FONT_SIZE * 0.85, "text.parse_math": False,
}  # fmt: skip

Splits = dict[str, list[tuple[float, float]]]
Curves = dict[str, Splits]
"""Term -> split ("train" or "validation") -> points (epoch or step, value)."""


@rc_context(LARGE)
def latent_scatter(
    path: Path,
    codes: Array,
    labels: Array,
    classes: Sequence[str],
    title: str,
    limits: float | None = None,
    names: Sequence[str] = ("z₁", "z₂"),
    prior: bool = False,
) -> None:
    """Draw the first two dimensions of codes [N, d], colored by labels [N] (integers into `classes`).

    Labels of -1 are of classes that are not shown: gray, below the others. Without classes all have one color.
    Both axes run from -limits to +limits; None takes the range that holds 99 % of the codes in each dimension. How many
    codes lie outside is written below. With a `prior` N(0, I), circles of radius 1, 2 and 3 show where it lies. Each
    class's name stands at its median, unless the medians are nearer to each other than their names allow: then only the
    legend names them.
    """
    codes = np.asarray(codes, np.float64)[:, :2]
    labels = np.asarray(labels).astype(np.int64)
    legend = max((font(16).getlength(name) for name in (*classes, OTHERS)), default=0)
    side, height = 760, 900
    width = max(1020, 95 + side + 70 + round(legend))
    figure = new_figure(width, height)
    axes = figure.add_axes((95 / width, 75 / height, side / width, side / height))
    low, high = square_limits(codes) if limits is None else (np.full(2, -limits), np.full(2, limits))
    # The last, which -1 finds, is that of others.
    styles = [*map(class_style, range(len(classes))), (GRAY if classes else BLUE, "o")]
    palette = np.array([to_rgb(color) for color, _ in styles])
    markers = np.array([marker for _, marker in styles])
    size = float(np.clip(200_000 / max(len(codes), 1), 16, 70))
    # Mixed, not class after class: the last class drawn would cover all others where they overlap.
    order = np.random.default_rng(0).permutation(len(codes))
    order = order[np.argsort(labels[order] >= 0, kind="stable")]
    for layer in np.array_split(order, LAYERS):
        for marker in dict.fromkeys(markers.tolist()):
            chosen = layer[markers[labels[layer]] == marker]
            axes.scatter(
                codes[chosen, 0], codes[chosen, 1], s=size, c=palette[labels[chosen]], marker=marker, alpha=0.6,
                linewidths=0, rasterized=True,
            )  # fmt: skip
    axes.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), aspect="equal")
    for radius in RADII if prior else ():
        axes.add_patch(Circle((0, 0), radius, fill=False, color=MUTED, linewidth=1.5, linestyle=(0, (3, 4))))
    names_shown = [*classes, *([OTHERS] if classes and (labels < 0).any() else [])]
    for label, name in enumerate(names_shown):
        # matplotlib leaves a name out that begins with an underscore.
        shown = f" {name}" if name.startswith("_") else name
        axes.plot([], [], markers[label], color=palette[label], markersize=12, label=shown)
    present = [label for label in range(len(classes)) if (labels == label).any()]
    medians = np.array([np.median(codes[labels == label], axis=0) for label in present]).reshape(-1, 2)
    pixels = (medians - low) / (high - low) * side
    positions = _separate(pixels, [classes[label] for label in present], FONT_SIZE * 1.5, side)
    # A name that would stand clearly elsewhere than its class misleads.
    if len(present) and np.abs(positions - pixels).max() <= FONT_SIZE:
        for label, (x, y) in zip(present, positions, strict=True):
            axes.text(
                x / side, y / side, classes[label], transform=axes.transAxes, color=palette[label] * 0.75,
                fontsize=FONT_SIZE * 1.35, weight="bold", ha="center", va="center", zorder=5,
                path_effects=[withStroke(linewidth=6, foreground="white")],
            )  # fmt: skip
    axes.set_xlabel(names[0], fontsize=FONT_SIZE)
    axes.set_ylabel(names[1], fontsize=FONT_SIZE, rotation=0, labelpad=10)
    anchor = (95 + side + 5) / width, (75 + side / 2) / height
    if classes:
        figure.legend(loc="center left", bbox_to_anchor=anchor, handletextpad=0.1)
    _title(figure, title, 18)
    outside = int((np.abs(codes - (low + high) / 2) > (high - low) / 2).any(axis=1).sum())
    if outside:
        note = f"{outside:,} of {len(codes):,} codes lie outside"
        figure.text((95 + side) / width, 14 / height, note, fontsize=FONT_SIZE * 0.75, color=MUTED, ha="right")
    box = [width, height - HEAD]
    lettering = {"size": box, "corner": [0, HEAD], "image": [0, 0, *box], "cell": [], "blocks": [], "labels": []}
    _write_png_and_svg(path, figure, lettering)


@rc_context(LARGE)
def loss_curves(path: Path, history: Sequence[Mapping[str, Any]], title: str) -> None:
    """Draw every term of a history (rows of history.csv, text or numbers) against the epoch, a panel a term."""
    terms = curves(history)
    columns = 2 if len(terms) == 4 else max(1, min(3, len(terms)))
    rows = max(1, -(-len(terms) // columns))
    width, height = max(720, 400 * columns), 130 + 330 * rows
    figure = new_figure(width, height)
    _title(figure, title, 30)
    for index, (term, splits) in enumerate(terms.items()):
        axes = figure.add_subplot(rows, columns, index + 1)
        draw_term(axes, term, splits, LINES, 5)
        axes.set_ylabel(term_unit(term))
        if term_unit(term) != NATS:
            axes.set_ylim(-0.04, 1.04)
        if index + columns >= len(terms):
            axes.set_xlabel("epoch")
    figure.subplots_adjust(
        left=105 / width, right=1 - 20 / width, top=1 - 132 / height, bottom=70 / height, wspace=0.46, hspace=0.36
    )
    if terms:
        handles = {line.get_label(): line for axes in figure.axes for line in axes.lines}
        anchor = 0.5, 1 - 48 / height
        figure.legend(handles=[*handles.values()], loc="upper center", bbox_to_anchor=anchor, ncols=len(handles))
    _write_png_and_svg(path, figure)


@rc_context(STYLE)
def learning_curve_difference(
    path: Path, first: str, second: str, points: Sequence[tuple[int, float, float]], term: str
) -> None:
    """Draw a term of two runs (nats per image, validation) against the epoch, and beside it the second less the first.

    `points`: (epoch, the first's term, the second's), in the order of the epochs.
    """
    epochs, first_values, second_values = (np.array(column) for column in zip(*points, strict=True))
    figure = Figure(figsize=(9, 3.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.plot(epochs, second_values, "o--", color=BLUE, linewidth=2, label=second)
    left.plot(epochs, first_values, "s-", color=RED, linewidth=2, label=first)
    left.set_ylabel(f"{term}, {NATS}")
    left.legend()
    right.axhline(0, color="#888888", linewidth=1)
    right.plot(epochs, second_values - first_values, "s-", color=RED, linewidth=2)
    right.set_ylabel(f"gain, {NATS}")
    for axes, title in ((left, "on validation images"), (right, f"{second} less {first}")):
        axes.set(title=title, xlabel="epoch")
        axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
    write_png(path, pixels_of(figure))


@rc_context(STYLE)
def gradient_variance_chart(path: Path, metrics: Mapping[str, Mapping[str, float]]) -> None:
    """Draw the variance of the bound's gradient (nats squared) by three estimators, with 95 % intervals, ratios.

    `metrics`: run -> metric -> value; runs without these are left out, and a ValueError says that no run has them.
    """
    runs = [run for run, row in metrics.items() if all(name in row for name, *_ in ESTIMATORS)]
    if not runs:
        raise ValueError(f"no run has {' and '.join(name for name, *_ in ESTIMATORS)}")
    figure = Figure(figsize=(9, 1.3 + 0.34 * len(runs)), layout="constrained")
    axes = figure.subplots()
    heights = np.arange(len(runs))[::-1]
    for height, run in zip(heights, runs, strict=True):
        low, middle, high = (metrics[run][name] for name, *_ in ESTIMATORS)
        axes.plot([low, high], [height, height], color="#bbbbbb", linewidth=1.5, zorder=1)
        for left, right in ((low, middle), (middle, high)):
            axes.annotate(
                f"{right / left:,.0f} times", (np.sqrt(left * right), height), (0, 3), textcoords="offset points",
                ha="center", va="bottom", fontsize=8.5,
            )  # fmt: skip
    for name, title, color, marker in ESTIMATORS:
        values = np.array([metrics[run][name] for run in runs])
        ends = [[metrics[run].get(name + end, metrics[run][name]) for run in runs] for end in ("_low", "_high")]
        axes.errorbar(
            values, heights, xerr=np.abs(ends - values), fmt=marker, color=color, capsize=2.5, linewidth=1.2,
            label=title, zorder=2,
        )  # fmt: skip
    axes.set(xscale="log", ylim=(-0.6, len(runs) - 0.2))
    axes.set_xlabel("variance of the gradient by mean and log-variance, nats squared")
    axes.set_title("One draw's gradient of the bound, by its estimator")
    axes.grid(visible=False, axis="y")
    axes.spines["left"].set_visible(False)
    axes.set_yticks(heights, runs)
    axes.tick_params(axis="y", length=0)
    axes.tick_params(which="minor", color="black")
    figure.legend(loc="outside lower center", ncols=3)
    write_png(path, pixels_of(figure))


def draw_term(axes: Axes, term: str, splits: Splits, lines: dict[str, tuple[str, str, float]], ticks: int) -> None:
    """Draw the curves of a term; `lines`: color, style and width by split; `ticks`: intervals on an axis, at most."""
    for split, points in splits.items():
        color, style, width = lines[split]
        marker = "o" if len(points) < 15 else ""
        axes.plot(*zip(*points, strict=True), style, color=color, linewidth=width, marker=marker, label=split)
    axes.set_title(term.replace("_", " "))
    axes.xaxis.set_major_locator(MaxNLocator(ticks, integer=True, min_n_ticks=1, steps=TICK_STEPS))
    axes.yaxis.set_major_locator(MaxNLocator(ticks, steps=TICK_STEPS))
    axes.ticklabel_format(useOffset=False)


def curves(history: Sequence[Mapping[str, Any]], x: str = "epoch") -> Curves:
    """Return the curve of each term of a history over the column `x`, in the order of the columns.

    Empty cells and values that are not finite are left out, and so are terms without any value.
    """
    terms = [name for name in (history[0] if history else ()) if name not in ("epoch", "step", "split")]
    values: Curves = {term: {} for term in terms}
    for row in history:
        for term in terms:
            if row[term] not in ("", None) and math.isfinite(float(row[term])):
                values[term].setdefault(row["split"], []).append((float(row[x]), float(row[term])))
    return {term: splits for term, splits in values.items() if splits}


def square_limits(codes: Array) -> tuple[Array, Array]:
    """Return lower and upper ends [2] of axes, as a square, that hold 99 % of codes [N, 2] in each dimension."""
    low, high = np.quantile(codes, [0.005, 0.995], axis=0)
    half = max(float((high - low).max()) * 0.53, 1e-6)
    return (low + high) / 2 - half, (low + high) / 2 + half


def new_figure(width: int, height: int) -> Figure:
    """Return an empty figure of `width` by `height` pixels."""
    return Figure(figsize=(width / DPI, height / DPI), dpi=DPI)


def pixels_of(figure: Figure) -> Array:
    """Return a figure drawn, uint8 [H, W, 3]."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def _title(figure: Figure, title: str, top: int) -> None:
    """Write a bold title, `top` pixels below the upper edge, in a size at which it fits."""
    width, height = figure.get_size_inches() * DPI
    size = min(FONT_SIZE * 1.3, 1.45 * width / max(len(title), 1))
    figure.suptitle(title, fontsize=size, weight="bold", y=1 - top / height)


def _separate(positions: Array, texts: Sequence[str], size: float, side: int) -> Array:
    """Move centers of texts [N, 2], in pixels of a square of `side`, up and down until no text covers another."""
    half = np.array([0.5 * font(round(size), bold=True).getlength(text) for text in texts])
    margin = half[:, None] * [1, 0] + [0, size]
    positions = positions.copy()
    for _ in range(100):
        positions = np.clip(positions, margin, side - margin)
        for i, j in combinations(np.argsort(positions[:, 1], kind="stable"), 2):
            dx, dy = np.abs(positions[i, 0] - positions[j, 0]), positions[j, 1] - positions[i, 1]
            if dx < half[i] + half[j] and dy < size:
                positions[[i, j], 1] += np.array([-0.5, 0.5]) * (size - dy)
    return positions


def _write_png_and_svg(path: Path, figure: Figure, lettering: Mapping[str, Any] | None = None) -> None:
    """Write a figure as PNG, and as SVG beside it unless that is too large."""
    write_png(path, pixels_of(figure), lettering)
    drawn = BytesIO()
    figure.savefig(drawn, format="svg", metadata={"Date": None})
    if drawn.tell() <= SVG_BYTES:
        with atomic_write(path.with_suffix(".svg")) as tmp:
            tmp.write_bytes(drawn.getvalue())
