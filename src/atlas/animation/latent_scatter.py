"""Latent scatter as an animation: where validation images lie in the latent space, from the untrained network on."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageColor, ImageDraw

from atlas.animation.layout import Animation
from atlas.plotting.canvas import Array, Label, blank, draw, font
from atlas.plotting.charts import Curves, square_limits
from atlas.plotting.frames import Frames
from atlas.plotting.style import class_style

SIDE = 480  # pixels of the square that the codes lie in
EDGE = 30  # pixels at its left and below it, for the ends of its axes
RADIUS = 4  # pixels of a marker
OPACITY = 0.6  # of a marker
OVERSAMPLING = 4  # markers are drawn so many times as large, and made small again, for smooth edges
FONT_SIZE = 14
SHAPES = {  # corners of the markers, in radii from the middle
    "o": [(np.cos(angle), np.sin(angle)) for angle in np.linspace(0, 2 * np.pi, 24, endpoint=False)],
    "s": [(-0.82, -0.82), (0.82, -0.82), (0.82, 0.82), (-0.82, 0.82)],
    "^": [(0.0, -1.05), (1.0, 0.8), (-1.0, 0.8)],
    "D": [(0.0, -1.1), (1.1, 0.0), (0.0, 1.1), (-1.1, 0.0)],
}
NAME_GAP = 1.15  # times the size of a name: medians nearer to each other than that leave the naming to the legend


class LatentScatter(Animation):
    """The codes of validation images as markers, on axes that suit the last frame."""

    in_color = True

    def __init__(self, frames: Frames, classes: Sequence[str], run: str, losses: Curves | None = None) -> None:
        self._codes = np.nan_to_num(frames.codes.astype(np.float64))
        self._labels, self._classes = frames.code_labels.astype(np.int64), classes
        self._low, self._high = square_limits(self._codes[-1])
        self._present = np.unique(self._labels)
        medians = np.array([np.median(self._positions(-1)[self._labels == label], axis=0) for label in self._present])
        gaps = np.abs(medians[:, None] - medians[None]).max(-1) + np.eye(len(medians)) * SIDE
        self._named = bool(gaps.min() > NAME_GAP * FONT_SIZE)
        legend = max(int(font(FONT_SIZE).getlength(name)) for name in classes) + 34
        self._plot = self._draw_plot(legend)
        subject = f"codes of {frames.codes.shape[1]:,} held-out images"
        alt = f"{subject} of {run} in a plane of the latent space, a color and a marker for each class"
        super().__init__(f"{run}, {subject}", alt, frames.steps, (SIDE + EDGE, EDGE + SIDE + legend), losses)

    def content(self, frame: int) -> Array:
        positions = self._positions(frame)
        image = _draw_markers(self._plot, positions + np.array([EDGE, 0]), self._labels, OPACITY)
        for label in self._present if self._named else ():
            x, y = np.median(positions[self._labels == label], axis=0)
            color = tuple(int(channel * 0.75) for channel in ImageColor.getrgb(class_style(label)[0]))
            ImageDraw.Draw(image).text(
                (EDGE + round(x), round(y)), self._classes[label], fill=color, font=font(FONT_SIZE + 4, True),
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
        for label in (
            Label(EDGE + RADIUS, SIDE + 4, left, "la", FONT_SIZE - 2),
            Label(EDGE + SIDE - RADIUS, SIDE + 4, right, "ra", FONT_SIZE - 2),
            Label(EDGE - 4, SIDE - RADIUS, bottom, "rs", FONT_SIZE - 2),
            Label(EDGE - 4, RADIUS, top, "ra", FONT_SIZE - 2),
        ):
            draw(page, label)
        count = len(self._classes)
        heights = SIDE / 2 + (np.arange(count) + 0.5 - count / 2) * 1.6 * FONT_SIZE
        x = EDGE + SIDE + 14
        page = _draw_markers(page, np.stack([np.full(count, x), heights], axis=1), np.arange(count))
        for name, y in zip(self._classes, heights, strict=True):
            draw(page, Label(x + 12, y, name, "lm", FONT_SIZE))
        return page


def _draw_markers(page: Image.Image, positions: Array, labels: Array, opacity: float = 1.0) -> Image.Image:
    """Return the page with the markers of classes [N] at positions [N, 2]; where several meet, their colors mix."""
    large = page.resize((page.width * OVERSAMPLING, page.height * OVERSAMPLING), Image.Resampling.NEAREST)
    pen = ImageDraw.Draw(large, "RGBA")
    for (x, y), label in zip(positions.round() + 0.5, labels, strict=True):
        color, marker = class_style(label)
        corners = [((x + dx * RADIUS) * OVERSAMPLING, (y + dy * RADIUS) * OVERSAMPLING) for dx, dy in SHAPES[marker]]
        pen.polygon(corners, fill=(*ImageColor.getrgb(color), round(255 * opacity)))
    return large.reduce(OVERSAMPLING)
