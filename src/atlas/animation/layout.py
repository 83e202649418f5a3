"""Layout of an animation's frames: a title, the step, a bar that says how far the training is, and the losses."""

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

    A subclass draws `content` and says whether there is more than gray `in_color`.
    """

    in_color: bool

    def __init__(self, title: str, subject: str, steps: Array, size: tuple[int, int], losses: Curves | None) -> None:
        """`title`: on every frame; `subject`: for caption and alt; `steps`: one a frame; `size`: height and width of
        `content`; `losses`: beside it.
        """
        self.title, self.steps = title, steps.tolist()
        self.caption = subject[:1].upper() + subject[1:]
        beside = f", beside the losses: {', '.join(term.replace('_', ' ') for term in losses)}" if losses else ""
        course = f"in the course of training, step {self.steps[0]} to {self.steps[-1]}"
        self.alt = f"Animation of {title}: {subject}, {course}{beside}"
        self.losses: LossPanel | None = None
        self._losses_corner = 0, 0
        height, width = self._area = size
        if losses:
            if width < NARROW:
                panel = max(height, HEAD + TERM_HEIGHT * len(losses)), PANEL_WIDTH
                self._losses_corner, self._area = (0, width + 12), (panel[0], width + 12 + PANEL_WIDTH)
            else:
                panel = PANEL_HEIGHT, width
                self._losses_corner, self._area = (height + 12, 0), (height + 12 + PANEL_HEIGHT, width)
            self.losses = LossPanel(losses, self.steps[-1], *panel)

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
