"""An optimiser for each player, the schedule of its learning rate, and how often it moves."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from atlas.errors import AtlasError
from atlas.models.base import Model

KEYS = ("optimizer", "learning_rate", "schedule", "steps")
"""The settings of a model that are the trainer's business; the rest are the model's own."""


@dataclass
class Player:
    """A player's parameters and how they move."""

    name: str
    parameters: list[torch.nn.Parameter]
    optimiser: torch.optim.Optimizer
    learning_rate: float
    share: float
    """Of the steps in which it moves."""

    def moves(self, step: int) -> bool:
        """Does it move in this step, counted from 0? The steps it takes are spread evenly."""
        return math.floor((step + 1) * self.share + 1e-9) > math.floor(step * self.share + 1e-9)


def make_players(model: Model, settings: Mapping[str, Any]) -> list[Player]:
    """Return a player for each group of the model's parameters.

    Args:
        model: on its device already.
        settings: `optimizer` (a word); `learning_rate`, one number or one for each player; `steps`, absent or a count
            for each player: the one with most moves in every step, the others in proportion.

    Raises:
        AtlasError: if the settings name other players than the model has.
    """
    groups = model.players()
    rates = _per_player("learning_rate", settings["learning_rate"], groups)
    counts = _per_player("steps", settings.get("steps", 1), groups)
    most = max(counts.values())
    return [
        Player(name, group, _optimiser(settings["optimizer"], group, rates[name]), rates[name], counts[name] / most)
        for name, group in groups.items()
    ]


def rate_factor(schedule: str, progress: float) -> float:
    """Return what multiplies the learning rate when a share `progress` of all steps is done."""
    if schedule == "constant":
        return 1.0
    return 0.5 * (1 + math.cos(math.pi * progress)) * 0.98 + 0.02


def _optimiser(kind: str, group: list[torch.nn.Parameter], rate: float) -> torch.optim.Optimizer:
    if kind == "adam":
        return torch.optim.Adam(group, rate, fused=True)
    if kind == "rmsprop":
        return torch.optim.RMSprop(group, rate, alpha=0.9, foreach=True)
    return torch.optim.SGD(group, rate, momentum=0.9, fused=True)


def _per_player(name: str, value: Any, groups: Mapping[str, Any]) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        return dict.fromkeys(groups, value)
    if set(value) != set(groups):
        raise AtlasError(f"{name}: found players {', '.join(value)}; the model's players are {', '.join(groups)}")
    return dict(value)
