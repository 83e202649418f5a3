"""State of a training: all that a checkpoint holds."""

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from atlas.core.history import EXPLOSION, Row
from atlas.core.model import Model
from atlas.training.average import Average
from atlas.training.optimizers import ParamGroup
from atlas.training.schedule import EarlyStopping, Schedule
from atlas.training.terms import RunningMean, check_finite


@dataclass
class TrainingState:
    """Parameters, optimizers, averages, history and random generators after a step, and what they are compared with."""

    model: Model
    groups: list[ParamGroup]
    schedule: Schedule
    average: Average
    stopping: EarlyStopping
    means: RunningMean
    first_loss: Tensor
    step: int = 0
    history: list[Row] = field(default_factory=list)

    def epoch_means(self) -> dict[str, float]:
        """Return the epoch's means so far; of an explosion only if there is one."""
        means = self.means.compute()
        return {name: value for name, value in means.items() if value or name != EXPLOSION}

    def end_epoch(self, epoch: int, validation: dict[str, float], kept: str) -> None:
        """Add the epoch's means to the history; of the validation, whose terms show the last step's effect first."""
        where = {"epoch": epoch, "step": self.step}
        self.history.append({**where, "split": "train", **self.epoch_means()})
        check_finite(validation, f"in the validation after step {self.step}", kept)
        self.history.append({**where, "split": "validation", **validation})
        self.stopping.update(self.history, self.average.shown)
        self.means = RunningMean(self.means.device)

    def continues(self, state: dict[str, Any]) -> bool:
        """Return whether this training does what a checkpoint's did; if not, say so."""
        if self.schedule.begins_like(state["ends"], state["step"]):
            return True
        print(f"not resumed from step {state['step']}: its `restarts` or `epochs` differ", flush=True)
        return False

    def state_dict(self) -> dict[str, Any]:
        cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
        return {
            "step": self.step,
            "history": self.history,
            "model": self.model.state_dict(),
            "optimizers": {group.name: group.optimizer.state_dict() for group in self.groups},
            "means": self.means.state_dict(),
            "first_loss": self.first_loss,
            "ends": list(self.schedule.ends),
            "average": self.average.averaged.state_dict() if self.average.averaged else None,
            "best": self.stopping.weights,
            "generators": [torch.get_rng_state(), *cuda],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.step, self.history = state["step"], state["history"]
        self.model.load_state_dict(state["model"])
        for group in self.groups:
            # Its options are those of this device, its learning rate is set before every step.
            options = group.optimizer.state_dict()["param_groups"]
            group.optimizer.load_state_dict({**state["optimizers"][group.name], "param_groups": options})
        self.means.load_state_dict(state["means"])
        self.first_loss.copy_(state["first_loss"])
        if self.average.averaged:
            self.average.averaged.load_state_dict(state["average"])
        self.stopping.weights = state["best"]
        host, *cuda = [generator.cpu() for generator in state["generators"]]
        torch.set_rng_state(host)
        if len(cuda) == torch.cuda.device_count():
            torch.cuda.set_rng_state_all(cuda)
