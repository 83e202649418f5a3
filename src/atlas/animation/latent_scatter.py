"""Latent scatter as an animation: where validation images lie in the latent space, from the untrained network on."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageColor, ImageDraw

from atlas.animation.layout import Animation
from atlas.plotting.canvas import TEXT, Array, Label, blank, draw, font
from atlas.plotting.charts import Curves, square_limits
from atlas.plotting.frames import Frames
from atlas.plotting.style import class_style

SIDE = 480  # pixels of the square that the codes lie in
EDGE = 30  # pixels at its left and below it, for the ends of its axes
RADIUS = 4  # pixels of a marker
OPACITY = 0.6  # of a marker
OVERSAMPLING = 8  # a marker is drawn so many times as large, and made small again, for smooth edges
FONT_SIZE = 14
NAME_GAP = 1.15  # times the size of a name: medians nearer to each other than that leave the naming to the legend


class LatentScatter(Animation):
    """The codes of validation images as markers, on axes that suit the last frame."""

    in_color = True

    def __init__(self, frames: Frames, classes: Sequence[str], run: str, losses: Curves | None = None) -> None:
        """Lay the frames out; nothing is drawn before a frame is asked for."""
        subject = f"codes of {frames.codes.shape[1]:,} held-out images"
        self.title = f"{run}, {subject}"
        self.alt = (
            f"Animation: where the {subject} of {run} lie in the course of training, step {frames.steps[0]} to "
            f"{frames.steps[-1]}, in a plane of the latent space, a color and a marker for each class"
        )
        self._codes = np.nan_to_num(frames.codes.astype(np.float64))
        self._labels, self._classes = frames.code_labels.astype(np.int64), classes
        self._low, self._high = square_limits(self._codes[-1])
        colors, markers = zip(*map(class_style, range(len(classes))), strict=True)
        self._palette = np.array([ImageColor.getrgb(color) for color in colors], float)
        self._markers = np.array(markers)
        self._stamps = {marker: _stamp(marker) for marker in dict.fromkeys(markers)}
        self._present = np.unique(self._labels)
        medians = np.array([np.median(self._positions(-1)[self._labels == label], axis=0) for label in self._present])
        gaps = np.abs(medians[:, None] - medians[None]).max(-1) + np.eye(len(medians)) * SIDE
        self._named = bool(gaps.min() > NAME_GAP * FONT_SIZE)
        legend = max(int(font(FONT_SIZE).getlength(name)) for name in classes) + 34
        self._plot = self._draw_plot(legend)
        super().__init__(frames.steps.tolist(), (SIDE + EDGE, EDGE + SIDE + legend), losses)

    def content(self, frame: int) -> Array:
        pixels = self._plot.copy()
        pixels[:SIDE, EDGE:][:, :SIDE] = self._draw_markers(frame)
        if not self._named:
            return pixels
        image = Image.fromarray(pixels)
        positions = self._positions(frame)
        for label in self._present:
            x, y = np.median(positions[self._labels == label], axis=0)
            color = tuple(int(channel * 0.75) for channel in self._palette[label])
            ImageDraw.Draw(image).text(
                (EDGE + round(x), round(y)), self._classes[label], fill=color, font=font(FONT_SIZE + 4, True),
                anchor="mm", stroke_width=3, stroke_fill="white",
            )  # fmt: skip
        return np.asarray(image)

    def _positions(self, frame: int) -> Array:
        """Return where the codes lie in the square, [N, 2] pixels from its top left; those outside, on its border."""
        x, y = ((self._codes[frame] - self._low) / (self._high - self._low)).clip(0, 1).T
        return RADIUS + np.stack([x, 1 - y], axis=1) * (SIDE - 1 - 2 * RADIUS)

    def _draw_markers(self, frame: int) -> Array:
        """Draw the markers, none over another: where several meet, their colors mix."""
        positions = self._positions(frame).round().astype(int)
        log_clear = np.zeros(SIDE * SIDE)  # logarithm of what shines through
        weight, mixed = np.zeros(SIDE * SIDE), np.zeros((3, SIDE * SIDE))
        for marker, (offsets, coverage) in self._stamps.items():
            chosen = self._markers[self._labels] == marker
            x, y = (positions[chosen][:, axis, None] + offsets[axis] for axis in (0, 1))
            pixels = (y * SIDE + x).ravel()
            opacity = np.broadcast_to(coverage * OPACITY, x.shape).ravel()
            log_clear += np.bincount(pixels, np.log1p(-opacity), SIDE * SIDE)
            weight += np.bincount(pixels, opacity, SIDE * SIDE)
            colors = self._palette[self._labels[chosen]].repeat(len(coverage), axis=0)
            for channel in range(3):
                mixed[channel] += np.bincount(pixels, opacity * colors[:, channel], SIDE * SIDE)
        clear = np.exp(log_clear)
        below = self._plot[:SIDE, EDGE : EDGE + SIDE].reshape(-1, 3).T
        square = clear * below + (1 - clear) * mixed / np.maximum(weight, 1e-9)
        return square.T.round().astype(np.uint8).reshape(SIDE, SIDE, 3)

    def _draw_plot(self, legend: int) -> Array:
        """Draw what all frames share: the square, the ends of its axes, their zero lines, and the legend."""
        page = Image.fromarray(blank(SIDE + EDGE, EDGE + SIDE + legend))
        pen = ImageDraw.Draw(page)
        x, y = (0 - self._low) / (self._high - self._low)
        for share, vertical in ((x, True), (1 - y, False)):
            if 0 < share < 1:
                at = RADIUS + round(share * (SIDE - 1 - 2 * RADIUS))
                line = (EDGE + at, 0, EDGE + at, SIDE - 1) if vertical else (EDGE, at, EDGE + SIDE - 1, at)
                pen.line(line, fill=(228, 228, 228))
        pen.rectangle((EDGE, 0, EDGE + SIDE - 1, SIDE - 1), outline=(190, 190, 190))
        left, bottom, right, top = (f"{value:.2g}".replace("-", "−") for value in (*self._low, *self._high))
        for label in (
            Label(EDGE + RADIUS, SIDE + 4, left, "la", FONT_SIZE - 2),
            Label(EDGE + SIDE - RADIUS, SIDE + 4, right, "ra", FONT_SIZE - 2),
            Label(EDGE - 4, SIDE - RADIUS, bottom, "rs", FONT_SIZE - 2),
            Label(EDGE - 4, RADIUS, top, "ra", FONT_SIZE - 2),
        ):
            draw(page, label)
        x = EDGE + SIDE + 14
        pixels = np.array(page)
        heights = [
            round(SIDE / 2 + (index + 0.5 - len(self._classes) / 2) * 1.6 * FONT_SIZE)
            for index in range(len(self._classes))
        ]
        for color, marker, y in zip(self._palette, self._markers, heights, strict=True):
            offsets, coverage = self._stamps[marker]
            spot = pixels[y + offsets[1], x + offsets[0]]
            pixels[y + offsets[1], x + offsets[0]] = spot + coverage[:, None] * (color - spot)
        page = Image.fromarray(pixels)
        for name, y in zip(self._classes, heights, strict=True):
            draw(page, Label(x + 12, y, name, "lm", FONT_SIZE, color=TEXT))
        return np.asarray(page)


def _stamp(marker: str) -> tuple[Array, Array]:
    """Return a marker as pixels from its middle, [2, n], and how much it covers of each, [n] from 0 to 1."""
    side = (2 * RADIUS + 1) * OVERSAMPLING
    large = Image.new("L", (side, side))
    pen, middle, radius = ImageDraw.Draw(large), side / 2, RADIUS * OVERSAMPLING
    if marker == "o":
        pen.ellipse((middle - radius, middle - radius, middle + radius, middle + radius), fill=255)
    else:
        square = [(-0.82, -0.82), (0.82, -0.82), (0.82, 0.82), (-0.82, 0.82)]
        triangle = [(0.0, -1.05), (1.0, 0.8), (-1.0, 0.8)]
        diamond = [(0.0, -1.1), (1.1, 0.0), (0.0, 1.1), (-1.1, 0.0)]
        corners = {"s": square, "^": triangle, "D": diamond}[marker]
        pen.polygon([(middle + x * radius, middle + y * radius) for x, y in corners], fill=255)
    coverage = np.asarray(large.reduce(OVERSAMPLING), float) / 255
    y, x = np.nonzero(coverage)
    return np.stack([x, y]) - RADIUS, coverage[y, x]
