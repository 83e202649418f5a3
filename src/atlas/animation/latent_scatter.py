"""Latent scatter as an animation: where validation images lie in the latent space, from the untrained network on."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageColor, ImageDraw

from atlas.animation.layout import Animation
from atlas.plotting.canvas import Array, Label, blank, display_names, draw, fit_font, font
from atlas.plotting.charts import BLUE, GRAY, OTHERS, Curves, square_limits
from atlas.plotting.frames import Frames
from atlas.plotting.style import class_style

SIDE = 480  # pixels of the square that the codes lie in
EDGE = 44  # pixels at its left and below it, for the ends of its axes
RADIUS = 4  # pixels of a marker
OPACITY = 0.6  # of a marker
OVERSAMPLING = 4  # markers are drawn so many times as large, and made small again, for smooth edges
FONT_SIZE = 14
NAME_SIZE = 18
TRIANGLE = np.array([(0.0, -1.05), (1.0, 0.8), (-1.0, 0.8)])
PLUS = np.array([(x * i, y * j) for i, j, turn in ((1, -1, 1), (1, 1, -1), (-1, 1, 1), (-1, -1, -1))
                 for x, y in ((0.38, 1.05), (0.38, 0.38), (1.05, 0.38))[::turn]])  # fmt: skip
ANGLES = np.linspace(0, 2 * np.pi, 24, endpoint=False)
POINTS = np.linspace(-np.pi / 2, 1.5 * np.pi, 10, endpoint=False)
SHAPES = {  # corners of the markers, in radii from the middle, downwards
    "o": np.stack([np.cos(ANGLES), np.sin(ANGLES)], axis=1),
    "s": np.array([(-0.82, -0.82), (0.82, -0.82), (0.82, 0.82), (-0.82, 0.82)]),
    "D": np.array([(0.0, -1.1), (1.1, 0.0), (0.0, 1.1), (-1.1, 0.0)]),
    "^": TRIANGLE, "v": -TRIANGLE, "<": TRIANGLE[:, ::-1], ">": -TRIANGLE[:, ::-1],
    "P": PLUS, "X": PLUS @ np.array([(1, 1), (-1, 1)]) / np.sqrt(2),
    "*": np.stack([np.cos(POINTS), np.sin(POINTS)], axis=1) * np.tile([1.2, 0.5], 5)[:, None],
}  # fmt: skip
NAME_GAP = 1.15  # times the size of a name: medians nearer to each other than that leave the naming to the legend


class LatentScatter(Animation):
    """The codes of validation images as markers, on axes that suit the last frame."""

    in_color = True

    def __init__(
        self,
        frames: Frames,
        classes: Sequence[str],
        run: str,
        losses: Curves | None = None,
        shown: Sequence[int] | None = None,
    ) -> None:
        """Of labels that are not `shown` (None shows all) the codes are gray, without labels blue."""
        shown = range(len(classes)) if shown is None else shown
        places = {label: place for place, label in enumerate(shown)}
        labels = np.array([places.get(label, -1) for label in frames.code_labels.tolist()])
        # Codes of labels that are not shown are drawn first, below the others.
        order = np.argsort(labels >= 0, kind="stable")
        self._codes, self._labels = np.nan_to_num(frames.codes.astype(np.float64))[:, order], labels[order]
        names = display_names(classes)
        self._classes = [names[label] for label in shown]
        self._styles = [*map(class_style, range(len(shown))), (GRAY if shown else BLUE, "o")]
        self._low, self._high = square_limits(self._codes[-1])
        self._present = np.unique(self._labels[self._labels >= 0])
        medians = np.array([np.median(self._positions(-1)[self._labels == label], axis=0) for label in self._present])
        medians = medians.reshape(-1, 2)
        half = np.array([0.5 * font(NAME_SIZE, True).getlength(self._classes[label]) + 2 for label in self._present])
        dx, dy = np.moveaxis(np.abs(medians[:, None] - medians[None]), -1, 0)
        least = NAME_GAP * FONT_SIZE
        apart = (dx > np.maximum(half[:, None] + half, least)) | (dy > least) | np.eye(len(half), dtype=bool)
        self._named = bool(apart.all())
        self._legend = [*self._classes, *([OTHERS] if shown and self._labels.min() < 0 else [])]
        legend = max((int(font(FONT_SIZE).getlength(name)) + 34 for name in self._legend), default=0)
        self._plot = self._draw_plot(legend)
        subject = f"codes of {frames.codes.shape[1]:,} held-out images"
        colors = ", a color and a marker for each class" if shown else ""
        where = f"{subject} in a plane of the latent space{colors}"
        super().__init__(f"{run}, {subject}", where, frames.steps, (SIDE + EDGE, EDGE + SIDE + legend), losses)

    def content(self, frame: int) -> Array:
        positions = self._positions(frame)
        image = self._draw_markers(self._plot, positions + np.array([EDGE, 0]), self._labels, OPACITY)
        for label in self._present if self._named else ():
            x, y = np.median(positions[self._labels == label], axis=0)
            color = tuple(int(channel * 0.75) for channel in ImageColor.getrgb(self._styles[label][0]))
            ImageDraw.Draw(image).text(
                (EDGE + round(x), round(y)), self._classes[label], fill=color, font=font(NAME_SIZE, True),
                anchor="mm", stroke_width=3, stroke_fill="white",
            )  # fmt: skip
        return np.asarray(image)

    def _positions(self, frame: int) -> Array:
        return self._in_square(self._codes[frame])

    def _in_square(self, codes: Array) -> Array:
        """Return where codes lie in the square, [N, 2] pixels from its top left; those outside, on its border."""
        x, y = ((codes - self._low) / (self._high - self._low)).clip(0, 1).T
        return RADIUS + np.stack([x, 1 - y], axis=1) * (SIDE - 1 - 2 * RADIUS)

    def _draw_plot(self, legend: int) -> Image.Image:
        """Draw what all frames share: the square, the ends of its axes, their zero lines, and the legend."""
        page = Image.fromarray(blank(SIDE + EDGE, EDGE + SIDE + legend))
        pen = ImageDraw.Draw(page)
        x, y = self._in_square(np.zeros((1, 2)))[0].round()
        if self._low[0] < 0 < self._high[0]:
            pen.line((EDGE + x, 0, EDGE + x, SIDE - 1), fill=(228, 228, 228))
        if self._low[1] < 0 < self._high[1]:
            pen.line((EDGE, y, EDGE + SIDE - 1, y), fill=(228, 228, 228))
        pen.rectangle((EDGE, 0, EDGE + SIDE - 1, SIDE - 1), outline=(190, 190, 190))
        left, bottom, right, top = (f"{value:.2g}".replace("-", "−") for value in (*self._low, *self._high))
        size = fit_font((bottom, top), EDGE - 4, FONT_SIZE - 2)
        for label in (
            Label(EDGE + RADIUS, SIDE + 4, left, "la", FONT_SIZE - 2),
            Label(EDGE + SIDE - RADIUS, SIDE + 4, right, "ra", FONT_SIZE - 2),
            Label(EDGE - 4, SIDE - RADIUS, bottom, "rs", size),
            Label(EDGE - 4, RADIUS, top, "ra", size),
        ):
            draw(page, label)
        count = len(self._legend)
        heights = SIDE / 2 + (np.arange(count) + 0.5 - count / 2) * 1.6 * FONT_SIZE
        x = EDGE + SIDE + 14
        page = self._draw_markers(page, np.stack([np.full(count, x), heights], axis=1), np.arange(count))
        for name, y in zip(self._legend, heights, strict=True):
            draw(page, Label(x + 12, y, name, "lm", FONT_SIZE))
        return page

    def _draw_markers(self, page: Image.Image, positions: Array, labels: Array, opacity: float = 1.0) -> Image.Image:
        """Return the page with the markers of classes [N] at positions [N, 2]; where several meet, their colors mix."""
        large = page.resize((page.width * OVERSAMPLING, page.height * OVERSAMPLING), Image.Resampling.NEAREST)
        pen = ImageDraw.Draw(large, "RGBA")
        for (x, y), label in zip(positions.round() + 0.5, labels, strict=True):
            color, marker = self._styles[label]
            corners = [
                ((x + dx * RADIUS) * OVERSAMPLING, (y + dy * RADIUS) * OVERSAMPLING) for dx, dy in SHAPES[marker]
            ]
            pen.polygon(corners, fill=(*ImageColor.getrgb(color), round(255 * opacity)))
        return large.reduce(OVERSAMPLING)
