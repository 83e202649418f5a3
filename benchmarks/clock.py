"""Telling how far a measuring is."""

import time


class Progress:
    """A plain line after each piece of work, with what it found and the time to go in this part."""

    def __init__(self, part: str) -> None:
        self.part, self.started = part, time.monotonic()

    def show(self, done: int, total: int, found: str) -> None:
        """Tell that `done` of `total` pieces are done."""
        left = (time.monotonic() - self.started) / done * (total - done)
        print(f"{self.part}: {done} of {total}, {found}, {left:.0f} s to go", flush=True)
