"""The film of the codes: where held-out images lie in the latent space, from the untrained network to the last step."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageColor, ImageDraw

from atlas.animation.layout import Film
from atlas.animation.loss_panel import Terms
from atlas.plotting.style import COLOURS, MARKS
from atlas.plotting.canvas import INK, PAPER, Array, Label, draw, font

SIDE = 480  # pixels of the square that the codes lie in
EDGE = 30  # pixels at its left and below it, for the ends of its axes
RADIUS = 4  # pixels of a mark
OPAQUE = 0.6  # of a mark
FINE = 8  # a mark is drawn so many times as large, and made small again, for smooth edges
TEXT = 14
BESIDE = 1.15  # a name's height: medians nearer to each other than that leave the naming to the legend
HELD = 0.99  # the share of the last frame's codes that the axes hold in each dimension


class Drift(Film):
    """The codes of held-out images [F, N, 2] as marks, whose axes stay where the last frames need them."""

    coloured = True

    def __init__(
        self,
        steps: Array,
        codes: Array,
        labels: Array,
        classes: Sequence[str],
        run: str,
        terms: Terms | None = None,
    ) -> None:
        """Lay the page out; nothing is drawn before a frame is asked for."""
        self.title = f"{run}, codes of {codes.shape[1]:,} held-out images"
        self.alt = (
            f"Animation: where the codes of {codes.shape[1]:,} held-out images of {run} lie in the course of training, "
            f"step {steps[0]} to {steps[-1]}, in a plane of the latent space, a colour and a mark for each class"
        )
        self._codes = np.nan_to_num(codes.astype(np.float64))
        self._labels, self._classes = labels.astype(np.int64), classes
        self._low, self._high = _range(self._codes[-1])
        colours = [ImageColor.getrgb(COLOURS[number % len(COLOURS)]) for number in range(len(classes))]
        self._palette = np.array(colours, float)
        self._stamps = {mark: _stamp(mark) for mark in dict.fromkeys(MARKS)}
        self._present = np.unique(self._labels)
        medians = np.array([np.median(self._places(-1)[self._labels == label], axis=0) for label in self._present])
        gaps = np.abs(medians[:, None] - medians[None]).max(-1) + np.eye(len(medians)) * SIDE
        self._named = bool(gaps.min() > BESIDE * TEXT)
        legend = max(int(font(TEXT).getlength(name)) for name in classes) + 34
        super().__init__([int(step) for step in steps], (SIDE + EDGE, EDGE + SIDE + legend), terms)
        self._ground = self._draw_ground()

    def content(self, frame: int) -> Array:
        page = self._ground.copy()
        page[:SIDE, EDGE : EDGE + SIDE] = self._cloud(frame)
        if not self._named:
            return page
        image = Image.fromarray(page)
        pen = ImageDraw.Draw(image)
        places = self._places(frame)
        for label in self._present:
            x, y = np.median(places[self._labels == label], axis=0)
            colour = tuple(int(part * 0.75) for part in self._palette[label])
            pen.text(
                (EDGE + round(x), round(y)), self._classes[label], fill=colour, font=font(TEXT + 4, True), anchor="mm",
                stroke_width=3, stroke_fill=(PAPER,) * 3,
            )  # fmt: skip
        return np.asarray(image)

    def _places(self, frame: int) -> Array:
        """Return where the codes lie in the square, [N, 2] pixels from its top left; those outside, on its border."""
        shares = ((self._codes[frame] - self._low) / (self._high - self._low)).clip(0, 1)
        return RADIUS + np.stack([shares[:, 0], 1 - shares[:, 1]], axis=1) * (SIDE - 1 - 2 * RADIUS)

    def _cloud(self, frame: int) -> Array:
        """Draw the marks, none over another: where several meet, their colours mix."""
        places = self._places(frame).round().astype(int)
        clear = np.zeros(SIDE * SIDE)  # logarithm of what shines through
        weight, mixed = np.zeros(SIDE * SIDE), np.zeros((3, SIDE * SIDE))
        marks = np.array(MARKS)[self._labels % len(MARKS)]
        for mark, (offsets, cover) in self._stamps.items():
            some = marks == mark
            x, y = (places[some][:, axis, None] + offsets[axis] for axis in (0, 1))
            at = (y * SIDE + x).ravel()
            covers = np.broadcast_to(cover * OPAQUE, x.shape).ravel()
            clear += np.bincount(at, np.log1p(-covers), SIDE * SIDE)
            weight += np.bincount(at, covers, SIDE * SIDE)
            colours = self._palette[self._labels[some]].repeat(len(cover), axis=0)
            for channel in range(3):
                mixed[channel] += np.bincount(at, covers * colours[:, channel], SIDE * SIDE)
        shines = np.exp(clear)
        ground = self._ground[:SIDE, EDGE : EDGE + SIDE].reshape(-1, 3).T
        pixels = shines * ground + (1 - shines) * mixed / np.maximum(weight, 1e-9)
        return pixels.T.round().astype(np.uint8).reshape(SIDE, SIDE, 3)

    def _draw_ground(self) -> Array:
        """Draw what stays: the square with its axes' ends and zero lines, and the legend."""
        page = Image.new("RGB", self.size[::-1], (PAPER,) * 3)
        pen = ImageDraw.Draw(page)
        zero = (0 - self._low) / (self._high - self._low)
        inner = SIDE - 1 - 2 * RADIUS
        for share, across in ((zero[0], True), (1 - zero[1], False)):
            if 0 < share < 1:
                at = RADIUS + round(share * inner)
                line = (EDGE + at, 0, EDGE + at, SIDE - 1) if across else (EDGE, at, EDGE + SIDE - 1, at)
                pen.line(line, fill=(228, 228, 228))
        pen.rectangle((EDGE, 0, EDGE + SIDE - 1, SIDE - 1), outline=(190, 190, 190))
        ends = [f"{value:.2g}".replace("-", "−") for value in (*self._low, *self._high)]
        # fmt: off
        places = [
            (EDGE + RADIUS, SIDE + 4, ends[0], "la"), (EDGE + SIDE - RADIUS, SIDE + 4, ends[2], "ra"),
            (EDGE - 4, SIDE - RADIUS, ends[1], "rs"), (EDGE - 4, RADIUS, ends[3], "ra"),
        ]
        # fmt: on
        for x, y, text, anchor in places:
            draw(page, Label(x, y, text, anchor, TEXT - 2))
        left = EDGE + SIDE + 14
        top = (SIDE - len(self._classes) * 1.6 * TEXT) / 2
        pixels = np.array(page)
        for number in range(len(self._classes)):
            offsets, cover = self._stamps[MARKS[number % len(MARKS)]]
            y = round(top + (number + 0.5) * 1.6 * TEXT)
            spot = pixels[y + offsets[1], left + offsets[0]]
            pixels[y + offsets[1], left + offsets[0]] = (
                spot * (1 - cover[:, None]) + self._palette[number] * cover[:, None]
            ).round()
        page = Image.fromarray(pixels)
        for number, name in enumerate(self._classes):
            draw(page, Label(left + 12, top + (number + 0.5) * 1.6 * TEXT, name, "lm", TEXT, colour=INK))
        return np.asarray(page)


def _range(codes: Array) -> tuple[Array, Array]:
    """Return the lower and the upper ends [2] of axes that hold `HELD` of codes [N, 2], as a square with some air."""
    low, high = np.quantile(codes, [(1 - HELD) / 2, (1 + HELD) / 2], axis=0)
    half = max(float((high - low).max()) * 0.54, 1e-6)
    return (low + high) / 2 - half, (low + high) / 2 + half


def _stamp(mark: str) -> tuple[Array, Array]:
    """Return a mark as pixels from its middle, [2, n], and how much it covers of each, [n] from 0 to 1."""
    side = (2 * RADIUS + 1) * FINE
    large = Image.new("L", (side, side))
    pen, middle, far = ImageDraw.Draw(large), side / 2, RADIUS * FINE
    if mark == "o":
        pen.ellipse((middle - far, middle - far, middle + far, middle + far), fill=255)
    elif mark == "s":
        half = far * 0.82
        pen.rectangle((middle - half, middle - half, middle + half, middle + half), fill=255)
    else:
        up, diamond = [(0.0, -1.05), (1, 0.8), (-1, 0.8)], [(0.0, -1.1), (1.1, 0), (0, 1.1), (-1.1, 0)]
        corners = up if mark == "^" else diamond
        pen.polygon([(middle + x * far, middle + y * far) for x, y in corners], fill=255)
    cover = np.asarray(large.reduce(FINE), float) / 255
    y, x = np.nonzero(cover)
    return np.stack([x, y]) - RADIUS, cover[y, x]
