"""Layout of an animation's frames: a title, the step, a bar that says how far the training is, and the losses."""

from collections.abc import Sequence
from functools import cached_property

import numpy as np
from PIL import Image

from atlas.animation.loss_panel import HEAD, LossPanel
from atlas.plotting.canvas import MUTED, TEXT, Array, Label, blank, draw, font
from atlas.plotting.charts import Curves

MACRO_BLOCK = 16  # H.264 codes squares of this size: other dimensions would be padded or rescaled
NARROW = 640  # pixels; beside narrower content the losses stand at its right, else below it
PANEL_WIDTH, PANEL_HEIGHT = 320, 210  # pixels of the losses where they stand at the right, and below
TERM_HEIGHT = 120  # the least height of one term's curves


class Animation:
    """The frames of an animation: all of the same size, in multiples of 16 pixels; nothing on them is rescaled.

    A subclass sets `title`, `alt` and `in_color`, and draws `content`.
    """

    title: str
    alt: str
    in_color: bool
    """Is there more than gray in it?"""

    def __init__(self, steps: Sequence[int], size: tuple[int, int], losses: Curves | None = None) -> None:
        """`steps`: one a frame; `size`: height and width of `content`; `losses`: to be drawn beside it."""
        self.steps = [int(step) for step in steps]
        self.losses: LossPanel | None = None
        self._losses_corner = 0, 0
        height, width = self._area = size
        if losses:
            beside = width < NARROW
            panel = (max(height, HEAD + TERM_HEIGHT * len(losses)), PANEL_WIDTH) if beside else (PANEL_HEIGHT, width)
            self.losses = LossPanel(losses, self.steps[-1], *panel)
            self._losses_corner = (0, width + 12) if beside else (height + 12, 0)
            bottom, right = (start + side for start, side in zip(self._losses_corner, panel, strict=True))
            self._area = max(height, bottom), max(width, right)

    def content(self, frame: int) -> Array:
        """Return what changes, uint8 [H, W, 3] of `size`."""
        raise NotImplementedError

    def __len__(self) -> int:
        return len(self.steps)

    def __getitem__(self, frame: int) -> Array:
        """Return a frame, uint8 [H, W, 3]."""
        top, left = self.corner
        page = self._background.copy()
        page.paste(Image.fromarray(self.content(frame)), (left, top))
        step, last = self.steps[frame], self.steps[-1]
        if self.losses:
            y, x = self._losses_corner
            page.paste(Image.fromarray(self.losses.at(step)), (left + x, top + y))
        draw(page, Label(left, self._text_size * 2.9, f"step {step} of {last}", "ls", self._text_size, color=MUTED))
        # The bar moves evenly with the training, also where frames lie closer together at its beginning.
        done = round(self._area[1] * step / max(last, 1))
        page.paste(TEXT, (left, top - 8, left + done, top - 4))
        return np.asarray(page)

    @cached_property
    def corner(self) -> tuple[int, int]:
        """The (top, left) pixel where the content begins, both even."""
        return 2 * round((self._text_size * 3.3 + 12) / 2), (_round_up(self._area[1] + 16) - self._area[1]) // 4 * 2

    @cached_property
    def _text_size(self) -> int:
        """Size of the text in pixels: large enough to read, small enough for the title to fit."""
        return max(11, min(20, int(20 * self._area[1] / font(20, bold=True).getlength(self.title))))

    @cached_property
    def _background(self) -> Image.Image:
        """What all frames share: the title and the track of the bar."""
        (height, width), (top, left) = self._area, self.corner
        page = Image.fromarray(blank(_round_up(top + height + 8), _round_up(width + 16)))
        draw(page, Label(left, self._text_size * 1.45, self.title, "ls", self._text_size, bold=True))
        page.paste((224, 224, 224), (left, top - 8, left + width, top - 4))
        return page


def _round_up(pixels: int) -> int:
    return -(-pixels // MACRO_BLOCK) * MACRO_BLOCK
