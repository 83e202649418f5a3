"""How long a measuring goes on, and telling how far it is."""

import time
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Pace:
    """Rounds of two turns, short ones: the quicker the change, the better a disturbance cancels."""

    turn: float
    """Seconds of one loop before the other's turn; a step where that is longer."""
    least: int
    """Rounds."""
    most: int
    seconds: float
    """After which no round begins but for the least."""

    def rounds(self) -> Iterator[int]:
        """Count the rounds as time allows."""
        started = time.monotonic()
        for number in range(self.most):
            if number >= self.least and time.monotonic() - started > self.seconds:
                return
            yield number


class Progress:
    """A plain line after each piece of work, with what it found and the time to go in this part."""

    def __init__(self, part: str) -> None:
        self.part, self.started = part, time.monotonic()

    def show(self, done: int, total: int, found: str) -> None:
        """Tell that `done` of `total` pieces are done."""
        left = (time.monotonic() - self.started) / done * (total - done)
        print(f"{self.part}: {done} of {total}, {found}, {left:.0f} s to go", flush=True)
