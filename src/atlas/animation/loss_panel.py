"""Loss panel of an animation: the losses of a training, pale at first, drawn out as far as the steps have come."""

from pathlib import Path

from matplotlib import rc_context

from atlas.core.files import AtlasError
from atlas.core.history import read_history
from atlas.plotting.canvas import MUTED, TEXT, Array
from atlas.plotting.charts import STYLE, Curves, curves, draw_term, new_figure, pixels_of
from atlas.plotting.style import NATS, term_unit

FONT_SIZE = 15  # points; 13 pixels at the charts' DPI
CURSOR = (150, 150, 150)
MAX_TERMS = 3
LINES = {"train": ("#777777", "--", 1.6), "validation": (TEXT, "-", 2.4)}
PANEL_STYLE = STYLE | {"axes.titlesize": FONT_SIZE, "axes.titlepad": 5, "lines.markersize": 4}
MARGINS = 64, 18, 32, 26  # pixels at the left, the right, above and below a term's axes
HEAD = 46  # pixels above all axes, for the legend


def load_losses(path: Path) -> Curves:
    """Read the curves by step of the first `MAX_TERMS` terms of history.csv that are in nats per image.

    Raises:
        AtlasError: if the file is missing or no history.
    """
    stage = f"train@{path.parent.name}"
    try:
        terms = curves(read_history(path, stage), x="step")
    except (KeyError, TypeError, ValueError) as error:
        raise AtlasError(f"{path} is not a history ({error!r}); run `dvc repro --force {stage}`") from None
    losses = [term for term in terms if term_unit(term) == NATS]
    return {term: terms[term] for term in losses[:MAX_TERMS]}


class LossPanel:
    """The loss panel at any step; drawn twice when it is made, pale and full, and put together after that."""

    @rc_context(PANEL_STYLE)
    def __init__(self, losses: Curves, last: int, height: int, width: int) -> None:
        """Lay axes out side by side where it is wide, else one below another; `last`: the training's last step."""
        self.last = max(last, 1)
        columns, rows = (len(losses), 1) if width > height else (1, len(losses))
        cell_width, cell_height = width // columns, (height - HEAD) // rows
        left, right, above, below = MARGINS
        corners = [(column * cell_width, HEAD + row * cell_height) for row in range(rows) for column in range(columns)]
        self.boxes = [(x + left, x + cell_width - right, y + above, y + cell_height - below) for x, y in corners]
        """The (left, right, top, bottom) pixels of each term's axes."""
        figure = new_figure(width, height)
        for (term, splits), (left, right, top, bottom) in zip(losses.items(), self.boxes, strict=True):
            axes = figure.add_axes((left / width, 1 - bottom / height, (right - left) / width, (bottom - top) / height))
            draw_term(axes, term, splits, LINES, 3)
            values = [value for points in splits.values() for _, value in points]
            margin = 0.06 * (max(values) - min(values)) or 0.1 * abs(values[0]) or 1.0
            axes.set(xlim=(0, self.last), ylim=(min(values) - margin, max(values) + margin))
            axes.tick_params(labelsize=FONT_SIZE * 0.85, colors=MUTED)
        lines = [line for axes in figure.axes for line in axes.lines]
        figure.legend(
            handles=[*{line.get_label(): line for line in lines}.values()], loc="upper left", ncols=2,
            bbox_to_anchor=(12 / width, 1 + 4 / height), fontsize=FONT_SIZE, borderpad=0.2, columnspacing=1.2,
        )  # fmt: skip
        note = f"{NATS}, by step; early steps last longer"
        figure.text(16 / width, 1 - 37 / height, note, fontsize=FONT_SIZE * 0.9, color=MUTED, va="center")
        for line in lines:
            line.set_clip_on(False)
        self._full = pixels_of(figure)
        for line in lines:
            line.set_alpha(0.2)
        self._pale = pixels_of(figure)

    def at(self, step: int) -> Array:
        """Return the panel at a step, uint8 [H, W, 3]."""
        panel = self._pale.copy()
        for left, right, top, bottom in self.boxes:
            # A little beyond, at the end, for the last point's whole marker.
            now = left + round((right - left) * min(step / self.last, 1))
            end = now + 5 if step >= self.last else now
            panel[top - 5 : bottom + 5, left:end] = self._full[top - 5 : bottom + 5, left:end]
            if step < self.last:
                panel[top:bottom, now] = CURSOR
        return panel
