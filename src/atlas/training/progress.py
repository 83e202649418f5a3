"""Progress of a training: a bar on a terminal, a line now and then elsewhere."""

import sys
import time
from collections.abc import Mapping

from tqdm import tqdm

LINE_EVERY = 20.0
"""Seconds between two lines."""


class Progress:
    """Progress with the losses and the time to go."""

    def __init__(self, run: str, silent: bool = False) -> None:
        """`silent`: print nothing, as all but the first of several processes do."""
        self.run = run
        self.silent = silent
        self.bar: tqdm | None = None
        self.last_line = self.started = time.monotonic()
        self.first_step: int | None = None

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *_: object) -> None:
        if self.bar:
            self.bar.close()

    def show(self, step: int, total: int, epoch: int, terms: Mapping[str, float]) -> None:
        """Show `step` steps done out of `total`, in `epoch`, with the epoch's means so far (nats per image)."""
        if self.silent:
            return
        if sys.stderr.isatty():
            self.bar = self.bar or tqdm(total=total, initial=step, desc=self.run, unit="step", dynamic_ncols=True)
            self.bar.update(step - self.bar.n)
            self.bar.set_postfix_str(f"epoch {epoch}, {format_terms(terms)}")
            return
        now = time.monotonic()
        if self.first_step is None:
            self.first_step, self.started = step, now
        elif now - self.last_line > LINE_EVERY or step == total:
            to_go = (now - self.started) / max(1, step - self.first_step) * (total - step)
            line = f"{self.run}: step {step} of {total}, epoch {epoch}, {format_terms(terms)}, {to_go:.0f} s to go"
            print(line, flush=True)
            self.last_line = now


def format_terms(terms: Mapping[str, float]) -> str:
    """Return terms as "name 1.23, name 4.56"."""
    return ", ".join(f"{name} {value:.4g}" for name, value in terms.items())
