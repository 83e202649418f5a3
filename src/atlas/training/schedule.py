"""Schedule of a training: its phases, the steps at which snapshots are taken, early stopping."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import nn

from atlas.core.budgets import TrainBudget
from atlas.core.files import AtlasError
from atlas.core.model import Model
from atlas.core.settings import Run
from atlas.training.snapshots import epoch_ends, snapshot_steps

STOPPING_LOSS = "loss"
"""Column of the history whose least value in a validation marks the best epoch."""


def beginning(run: Run) -> dict[str, Any]:
    """Return all that a training depends on up to its first restart: to there it is the training that ends there."""
    epochs = (run.training.restarts or [run.train.epochs])[0]
    train, training = (
        run.train.model_copy(update={"epochs": epochs}),
        run.training.model_copy(update={"restarts": None}),
    )
    return {**vars(run), "train": train, "training": training}


def prepare(model: Model, run: Run) -> None:
    """Prepare a model for its training, and refuse settings that mean nothing to it.

    Raises:
        AtlasError: naming the setting.
    """
    if run.training.patience and len(model.param_groups()) > 1:
        raise AtlasError(
            f"runs.{run.key}.patience: found {run.training.patience}; model '{run.model}' allows null alone: "
            "adversarial losses do not tell which epoch is the best"
        )
    if run.training.kl_warm_up and not model.can("rates"):
        raise AtlasError(
            f"runs.{run.key}.kl_warm_up: found {run.training.kl_warm_up}; model '{run.model}' allows 0 alone: "
            "its loss holds no KL divergence"
        )
    if run.training.kl_warm_up:
        # A tensor, since a CUDA graph reads it where it lies.
        model.kl_weight = torch.ones((), device=next(model.parameters()).device)


@dataclass(frozen=True)
class Schedule:
    """Phases of a training: the learning rate's schedule begins anew in each (Loshchilov and Hutter 2017).

    A training with `restarts: [4]` is, to its fourth epoch, the training of four epochs, bit for bit.
    """

    steps_per_epoch: int
    ends: tuple[int, ...]
    """Last step of each phase."""

    @classmethod
    def of(cls, run: Run, steps_per_epoch: int) -> "Schedule":
        """Return the schedule of a run.

        Raises:
            AtlasError: if the restarts do not rise, or lie behind the last epoch.
        """
        ends = [*(run.training.restarts or []), run.train.epochs]
        if any(later <= earlier for earlier, later in pairwise(ends)):
            raise AtlasError(
                f"runs.{run.key}.restarts: found {run.training.restarts}; allowed: rising epochs below {ends[-1]}, "
                "the number of epochs"
            )
        return cls(steps_per_epoch, tuple(epochs * steps_per_epoch for epochs in ends))

    @property
    def steps(self) -> int:
        """Number of steps."""
        return self.ends[-1]

    def progress(self, step: int) -> float:
        """Return the share of its phase that is done before a step, counted from 0."""
        start, end = next(phase for phase in self._phases() if step < phase[1])
        return (step - start) / (end - start)

    def kl_weight(self, step: int, warm_up: float) -> float:
        """Return the weight of the KL divergence in a step: it rises over a share `warm_up` of the first phase."""
        return min(1.0, (step + 1) / (warm_up * self.ends[0]))

    def snapshot_steps(self, budget: TrainBudget, max_epochs: int) -> list[int]:
        """Return the steps after which a snapshot is taken, in each phase alike: see `snapshots.snapshot_steps`."""
        steps = {
            start + step
            for start, end in self._phases()
            for step in snapshot_steps(end - start, budget.frames, self.steps_per_epoch, max_epochs, budget.frame_steps)
        }
        return sorted(steps)

    def epoch_ends(self, max_epochs: int) -> list[int]:
        """Return the steps at which at most `max_epochs` epochs of each phase end."""
        return [
            start + step
            for start, end in self._phases()
            for step in epoch_ends(end - start, self.steps_per_epoch, max_epochs)
        ]

    def begins_like(self, ends: Sequence[int], step: int) -> bool:
        """Return whether another training with phases up to `ends` does the same up to a step."""
        phases = sum(end < step for end in ends) + 1
        return list(self.ends[:phases]) == list(ends[:phases])

    def _phases(self) -> list[tuple[int, int]]:
        return list(pairwise((0, *self.ends)))


@dataclass
class EarlyStopping:
    """Early stopping: a training ends when `patience` epochs brought no better validation, with the best one's weights.

    Without patience it never does, and nothing is kept.
    """

    patience: int | None
    weights: dict[str, Any] | None = None
    """Of the best epoch so far, on the device."""

    def update(self, history: Sequence[Mapping[str, Any]], model: nn.Module) -> None:
        """Keep the weights if the last epoch is the best one."""
        if self.patience and _epochs_since_best(history) == 0:
            self.weights = {name: value.detach().clone() for name, value in model.state_dict().items()}

    def is_over(self, history: Sequence[Mapping[str, Any]]) -> bool:
        """Return whether the training ends here."""
        return self.patience is not None and _epochs_since_best(history) >= self.patience

    def restore(self, model: nn.Module, history: Sequence[Mapping[str, Any]]) -> int:
        """Give a model the best epoch's weights, if they were kept, and return the last step that made its weights."""
        rows = [row for row in history if row["split"] == "validation"]
        if self.weights is None:
            return rows[-1]["step"]
        model.load_state_dict(self.weights)
        return rows[-1 - _epochs_since_best(history)]["step"]


def _epochs_since_best(history: Sequence[Mapping[str, Any]]) -> int:
    losses = [row[STOPPING_LOSS] for row in history if row["split"] == "validation"]
    return len(losses) - 1 - losses.index(min(losses)) if losses else 0
