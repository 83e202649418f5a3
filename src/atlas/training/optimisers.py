"""An optimiser for each player, the schedule of its learning rate, and how often it moves."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from atlas.errors import AtlasError
from atlas.models.base import Model

KEYS = ("optimizer", "learning_rate", "momentum", "schedule", "steps", "balance")
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
    gate: tuple[float | None, float | None] = (None, None)
    """It pauses while the model's gauge (nats per image) lies below the first or above the second."""
    together: Callable[[torch.Tensor], torch.Tensor] | None = None
    """Where several processes train: takes the loss, and has its gradient be the mean over them."""

    def moves(self, step: int) -> bool:
        """Does it move in this step, counted from 0? The steps it takes are spread evenly."""
        return math.floor((step + 1) * self.share + 1e-9) > math.floor(step * self.share + 1e-9)

    def set_rate(self, rate: float) -> None:
        """Set the learning rate; where it is a tensor, in place, since a CUDA graph reads it there."""
        for group in self.optimiser.param_groups:
            if isinstance(group["lr"], torch.Tensor):
                group["lr"].fill_(rate)
            else:
                group["lr"] = rate

    def learn(self, loss: torch.Tensor, retain_graph: bool) -> None:
        """Take the gradient of a loss with respect to this player's parameters alone."""
        self.optimiser.zero_grad()
        loss = self.together(loss) if self.together else loss
        # Not autograd.grad: its gradients may lie in memory otherwise than their parameters, which the fused optimisers
        # do not look at.
        loss.backward(inputs=self.parameters, retain_graph=retain_graph)

    @property
    def gated(self) -> bool:
        return self.gate != (None, None)

    def pauses(self, gauge: torch.Tensor) -> torch.Tensor:
        """Tell whether the gate is shut, as a boolean on the device: nobody waits for it."""
        low, high = self.gate
        gauge = gauge.detach()
        return (gauge < (-math.inf if low is None else low)) | (gauge > (math.inf if high is None else high))

    def step(self, paused: torch.Tensor | None = None) -> None:
        """Move along the gradients, unless `paused`: then parameters and optimiser stay bit for bit as they were."""
        if paused is None:
            self.optimiser.step()
            return
        self._state_exists()
        places = [*self.parameters, *self._state()]
        before = [place.detach().clone() for place in places]
        self.optimiser.step()
        with torch.no_grad():
            for place, old in zip(places, before, strict=True):
                place.copy_(torch.where(paused.to(place.device), old, place))

    def _state(self) -> list[torch.Tensor]:
        states = (self.optimiser.state[parameter] for parameter in self.parameters)
        return [value for state in states for value in state.values() if isinstance(value, torch.Tensor)]

    def _state_exists(self) -> None:
        """Have the optimiser make its sums before the first step, which may have to be taken back.

        A step without rate and gradient makes them; then they are set to nothing again.
        """
        if any(parameter in self.optimiser.state for parameter in self.parameters):
            return
        gradients = [parameter.grad for parameter in self.parameters]
        rates = [group["lr"] for group in self.optimiser.param_groups]
        for parameter in self.parameters:
            parameter.grad = torch.zeros_like(parameter)
        for group in self.optimiser.param_groups:
            group["lr"] = 0.0
        self.optimiser.step()
        for value in self._state():
            value.zero_()
        for parameter, gradient in zip(self.parameters, gradients, strict=True):
            parameter.grad = gradient
        for group, rate in zip(self.optimiser.param_groups, rates, strict=True):
            group["lr"] = rate


def make_players(model: Model, settings: Mapping[str, Any]) -> list[Player]:
    """Return a player for each group of the model's parameters.

    Args:
        model: on its device already.
        settings: `optimizer` (a word); `learning_rate`, one number or one for each player; `steps`, absent or a count
            for each player: the one with most moves in every step, the others in proportion; `balance`, absent or
            [low, high] for some players (see `Player.gate`).

    Raises:
        AtlasError: if the settings name other players than the model has.
    """
    groups = model.players()
    rates = _per_player("learning_rate", settings["learning_rate"], groups)
    counts = _per_player("steps", settings.get("steps", 1), groups)
    most = max(counts.values())
    gates = settings.get("balance", {})
    for name in gates:
        if name not in groups:
            raise AtlasError(f"balance: found player {name}; the model's players are {', '.join(groups)}")
    return [
        Player(
            name,
            group,
            _optimiser(settings["optimizer"], group, rates[name], settings["momentum"]),
            rates[name],
            counts[name] / most,
            tuple(gates.get(name, (None, None))),
        )
        for name, group in groups.items()
    ]


def rate_factor(schedule: str, progress: float) -> float:
    """Return what multiplies the learning rate when a share `progress` of all steps is done."""
    if schedule == "constant":
        return 1.0
    return 0.5 * (1 + math.cos(math.pi * progress)) * 0.98 + 0.02


def _optimiser(kind: str, group: list[torch.nn.Parameter], rate: float, momentum: float) -> torch.optim.Optimizer:
    # On CUDA all that changes from step to step lies on the device, rate and count of steps included: a graph reads it
    # there, and steps without a graph do the same arithmetic.
    still = group[0].is_cuda
    lr = torch.tensor(rate, device=group[0].device) if still else rate
    if kind == "adam":
        return torch.optim.Adam(group, lr, betas=(momentum, 0.999), fused=True, capturable=still)
    if kind == "rmsprop":
        return torch.optim.RMSprop(group, lr, alpha=0.9, momentum=momentum, foreach=True, capturable=still)
    return torch.optim.SGD(group, lr, momentum=momentum, fused=True)


def _per_player(name: str, value: Any, groups: Mapping[str, Any]) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        return dict.fromkeys(groups, value)
    if set(value) != set(groups):
        raise AtlasError(f"{name}: found players {', '.join(value)}; the model's players are {', '.join(groups)}")
    return dict(value)
