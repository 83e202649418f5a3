"""Running means of a training's terms, and the check that all are finite."""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from atlas.core.files import AtlasError
from atlas.core.model import Losses


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
            "A smaller learning_rate, a gradient_clip or another seed usually helps"
        )
