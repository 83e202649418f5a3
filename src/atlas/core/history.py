"""History of a training: epoch means of every term, the check that all are finite, discriminator dominance."""

import csv
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from atlas.core.files import AtlasError, atomic_write, require
from atlas.core.model import Losses

Row = dict[str, Any]

DOMINANCE = "discriminator_won"
"""Column of the history: share of an epoch's steps in which the discriminator was hardly ever wrong."""
DOMINANCE_LOSS = 0.1
"""It is where its loss lies below this, in nats per image: chance is 0.69, and 0.1 is 90 % sure of the right answer.
The generator's gradient then nearly vanishes (Goodfellow et al. 2014, section 3)."""
DOMINANCE_SHARE = 0.9
"""Share of an epoch's steps from which on the generator learns next to nothing."""


class RunningMean:
    """Running means of named terms, summed on the device: computing them is the only wait for it."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.sums: dict[str, Tensor] = {}
        self.counts: dict[str, int] = {}

    def add(self, terms: Mapping[str, Tensor]) -> None:
        """Add one batch's terms."""
        for name, value in terms.items():
            if name not in self.sums:
                self.sums[name] = torch.zeros((), dtype=torch.float64, device=self.device)
                self.counts[name] = 0
            self.sums[name] += value.detach()
            self.counts[name] += 1

    def compute(self) -> dict[str, float]:
        """Return the means."""
        return {name: (self.sums[name] / self.counts[name]).item() for name in self.sums}

    def state_dict(self) -> dict[str, Any]:
        return {"sums": self.sums, "counts": self.counts}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.sums = {name: value.to(self.device) for name, value in state["sums"].items()}
        self.counts = dict(state["counts"])


class FiniteCheck:
    """Finite check: finds the first step with a NaN or infinite loss, without waiting for the device at each step."""

    def __init__(self) -> None:
        self.steps: list[tuple[int, list[str], Tensor]] = []

    def add(self, step: int, losses: Losses) -> None:
        """Remember the losses and terms of a step, counted from 1."""
        named = {f"{group}'s loss": value for group, value in losses.groups.items()} | losses.terms
        values = [value.detach().float() for value in named.values()]
        self.steps.append((step, list(named), torch.stack(values)))

    def raise_if_broken(self, checkpoint: str) -> None:
        """Check what was added since the last check, which waits for the device.

        Args:
            checkpoint: which one is kept, in words.

        Raises:
            AtlasError: naming the step and the terms.
        """
        if not self.steps:
            return
        numbers = iter(torch.cat([values for _, _, values in self.steps]).tolist())
        for step, names, _ in self.steps:
            check_finite({name: next(numbers) for name in names}, f"in step {step}", checkpoint)
        self.steps.clear()


def check_finite(numbers: Mapping[str, float], where: str, checkpoint: str) -> None:
    """Finite check of plain numbers.

    Raises:
        AtlasError: naming those that are not finite, where they occurred and which checkpoint is kept.
    """
    broken = [f"{name} ({value})" for name, value in numbers.items() if not math.isfinite(value)]
    if broken:
        raise AtlasError(
            f"training diverged {where}: {', '.join(broken)}; {checkpoint}. "
            "A smaller learning_rate, or another seed, usually helps"
        )


def write_history(path: Path, rows: Sequence[Row]) -> None:
    """Write history.csv, a row per epoch and split: epoch, step, split, and a column per term, empty if it has none."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    with atomic_write(path) as tmp, tmp.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        for row in rows:
            writer.writerow(
                {name: f"{value:.6g}" if isinstance(value, float) else value for name, value in row.items()}
            )


def read_history(path: Path, stage: str) -> list[dict[str, str]]:
    """Read history.csv, which `stage` wrote, as text: a mapping of columns to cells for each row."""
    with require(path, stage).open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def discriminator_won_since(history: Sequence[Mapping[str, Any]]) -> int | None:
    """Discriminator dominance: the epoch since which the generator learns next to nothing, or None.

    Args:
        history: the rows of a training's history, in order, with `epoch`, `split` and, of GANs, `DOMINANCE`.
    """
    since = None
    for row in history:
        if row["split"] != "train":
            continue
        won = row.get(DOMINANCE) not in (None, "") and float(row[DOMINANCE]) >= DOMINANCE_SHARE
        since = (since or int(row["epoch"])) if won else None
    return since
