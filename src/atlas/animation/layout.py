"""What all films of a training share: a title, the step and a bar that say how far it is, and the losses beside it."""

from collections.abc import Sequence
from functools import cached_property

import numpy as np
from PIL import Image

from atlas.animation.loss_panel import HEAD, Growing, Terms
from atlas.plotting.canvas import INK, PAPER, QUIET, Array, Label, draw, font

MACRO_BLOCK = 16  # H.264 codes squares of this size: other dimensions would be padded or rescaled
NARROW = 640  # pixels; beside a narrower picture the losses stand at its right, else below it
STRIP_WIDTH, STRIP_HEIGHT = 320, 210  # pixels of the losses where they stand beside, and below
PANEL = 120  # the least height of one term's


class Film:
    """The pages of an animation: all of the same size, in multiples of 16 pixels; nothing on them is rescaled.

    A kind of film says what changes: it sets `title`, `alt` and `coloured`, and draws `content`.
    """

    title: str
    alt: str
    coloured: bool
    """Is there more than grey in it?"""

    def __init__(self, steps: Sequence[int], size: tuple[int, int], terms: Terms | None = None) -> None:
        """`steps`: one a frame; `size`: height and width of `content`; `terms`: the losses to be drawn beside it."""
        self.steps = [int(step) for step in steps]
        self.size = size
        self.losses: Growing | None = None
        self._losses_at = 0, 0
        height, width = size
        self._area = size
        if terms:
            beside = width < NARROW
            strip = (max(height, HEAD + PANEL * len(terms)), STRIP_WIDTH) if beside else (STRIP_HEIGHT, width)
            self.losses = Growing(terms, self.steps[-1], *strip)
            self._losses_at = (0, width + 12) if beside else (height + 12, 0)
            self._area = max(height, self._losses_at[0] + strip[0]), max(width, self._losses_at[1] + strip[1])

    def content(self, frame: int) -> Array:
        """Return what changes, uint8 [H, W, 3] of `size`."""
        raise NotImplementedError

    def __len__(self) -> int:
        return len(self.steps)

    def __getitem__(self, frame: int) -> Array:
        """The page of a frame: uint8 [H, W, 3]."""
        top, left = self.corner
        page = self._blank.copy()
        page.paste(Image.fromarray(self.content(frame)), (left, top))
        step, last = self.steps[frame], self.steps[-1]
        if self.losses:
            down, right = self._losses_at
            page.paste(Image.fromarray(self.losses[step]), (left + right, top + down))
        size = self._text
        draw(page, Label(left, size * 2.9, f"step {step} of {last}", "ls", size, colour=QUIET))
        # The bar moves evenly with the training, also where frames lie closer together at its beginning.
        done = round(self._area[1] * step / max(last, 1))
        page.paste((*INK,), (left, top - 8, left + done, top - 4))
        return np.asarray(page)

    @cached_property
    def corner(self) -> tuple[int, int]:
        """The (top, left) pixel where the content begins, both even."""
        return 2 * round((self._text * 3.3 + 12) / 2), (self._blank.size[0] - self._area[1]) // 4 * 2

    @cached_property
    def _text(self) -> int:
        """Size of the text in pixels: large enough to read, small enough for the title to fit."""
        return max(11, min(20, int(20 * self._area[1] / font(20, bold=True).getlength(self.title))))

    @cached_property
    def _blank(self) -> Image.Image:
        """The page with everything on it that stays: the title and the track of the bar."""
        height, width = self._area
        size = self._text
        top = 2 * round((size * 3.3 + 12) / 2)
        across = _round_up(width + 16)
        page = Image.new("RGB", (across, _round_up(top + height + 8)), (PAPER,) * 3)
        left = (across - width) // 4 * 2
        draw(page, Label(left, size * 1.45, self.title, "ls", size, bold=True))
        page.paste((224, 224, 224), (left, top - 8, left + width, top - 4))
        return page


def _round_up(pixels: int) -> int:
    return -(-pixels // MACRO_BLOCK) * MACRO_BLOCK
