"""The history of a training: every term, in nats per image, averaged over each epoch."""

import csv
import math
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from atlas.errors import AtlasError
from atlas.files import whole_file
from atlas.models.base import Losses

Row = dict[str, float | int | str]


class Averages:
    """Running means of named terms, summed on the device: reading them is the only wait for it."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.sums: dict[str, Tensor] = {}
        self.counts: dict[str, int] = {}

    def add(self, terms: dict[str, Tensor]) -> None:
        """Add one batch's terms."""
        for name, value in terms.items():
            if name not in self.sums:
                self.sums[name] = torch.zeros((), dtype=torch.float64, device=self.device)
                self.counts[name] = 0
            self.sums[name] += value.detach()
            self.counts[name] += 1

    def read(self) -> dict[str, float]:
        """Return the means."""
        return {name: (self.sums[name] / self.counts[name]).item() for name in self.sums}

    def state(self) -> dict[str, dict[str, Tensor] | dict[str, int]]:
        return {"sums": self.sums, "counts": self.counts}

    def restore(self, state: dict) -> None:
        self.sums = {name: value.to(self.device) for name, value in state["sums"].items()}
        self.counts = dict(state["counts"])


class Watch:
    """Finds the first step whose numbers were not finite, without waiting for the device at each step."""

    def __init__(self) -> None:
        self.seen: list[tuple[int, list[str], Tensor]] = []

    def note(self, step: int, losses: Losses) -> None:
        """Remember the losses and terms of a step, counted from 1."""
        named = {f"{player}'s loss": value for player, value in losses.players.items()} | losses.terms
        values = [value.detach().float() for value in named.values()]
        self.seen.append((step, list(named), torch.stack(values)))

    def check(self, kept: str) -> None:
        """Look at what was noted since the last look: a wait for the device.

        Raises:
            AtlasError: naming the step, the players, the terms and what was kept.
        """
        if not self.seen:
            return
        numbers = iter(torch.cat([values for _, _, values in self.seen]).tolist())
        for step, names, _ in self.seen:
            check_finite({name: next(numbers) for name in names}, f"in step {step}", kept)
        self.seen.clear()


def check_finite(numbers: Mapping[str, float], where: str, kept: str) -> None:
    """Refuse to go on once a number is not finite.

    Raises:
        AtlasError: naming the numbers, where they were seen and what was kept.
    """
    broken = [f"{name} ({value})" for name, value in numbers.items() if not math.isfinite(value)]
    if broken:
        raise AtlasError(
            f"training diverged {where}: {', '.join(broken)}; {kept}. "
            "A smaller learning_rate, or another seed, usually helps"
        )


def write_history(path: Path, rows: list[Row]) -> None:
    """Write one row per epoch and split: epoch, step, split, then a column per term, empty where it does not apply."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    with whole_file(path) as aside, aside.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        for row in rows:
            writer.writerow(
                {name: f"{value:.6g}" if isinstance(value, float) else value for name, value in row.items()}
            )
