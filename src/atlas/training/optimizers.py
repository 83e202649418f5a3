"""Optimizers: one for each parameter group, with its learning-rate schedule, its share of the steps, and its gate."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor

from atlas.core.files import AtlasError
from atlas.core.model import Model
from atlas.core.schema import Count, Fraction, Positive, RateSchedule, Weight

Gate = Annotated[list[Weight | None], Field(min_length=2, max_length=2)]
"""Least and greatest loss of the discriminator (nats per image) at which a group is updated; null is no limit."""
FINAL_RATE = 0.02
"""The cosine schedule's last learning rate, as a share of its first."""


@dataclass
class ParamGroup:
    """Parameter group: its parameters, their optimizer, and when it is updated."""

    name: str
    params: list[torch.nn.Parameter]
    optimizer: torch.optim.Optimizer
    learning_rate: float
    schedule: str
    frequency: float = 1.0
    """Share of the steps in which it is updated."""
    gate: tuple[float | None, float | None] = (None, None)
    """It pauses while the discriminator's loss (nats per image) lies below the first or above the second."""
    gradient_clip: float | None = None
    """Norm to which a longer gradient of the group is scaled down (Pascanu et al. 2013)."""
    ddp: Callable[[Tensor], Tensor] | None = None
    """Where several processes train: makes the gradient of a loss the mean over them."""

    def updates_at(self, step: int) -> bool:
        """Return whether it is updated in this step, counted from 0. Its updates are spread evenly."""
        return math.floor((step + 1) * self.frequency + 1e-9) > math.floor(step * self.frequency + 1e-9)

    def set_progress(self, progress: float) -> None:
        """Set the learning rate when a share `progress` of all steps is done.

        Where it is a tensor it is set in place, since a CUDA graph reads it there.
        """
        rate = self.learning_rate * (1.0 if self.schedule == "constant" else cosine_schedule(progress))
        for group in self.optimizer.param_groups:
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(rate)
            else:
                group["lr"] = rate

    def backward(self, loss: Tensor, retain_graph: bool) -> None:
        """Compute the gradient of a loss with respect to this group's parameters alone."""
        self.optimizer.zero_grad()
        loss = self.ddp(loss) if self.ddp else loss
        # Not autograd.grad: its gradients may be laid out in memory otherwise than their parameters, which the fused
        # optimizers do not check.
        loss.backward(inputs=self.params, retain_graph=retain_graph)

    def is_paused(self, discriminator_loss: Tensor | None) -> Tensor | None:
        """Return whether the gate is shut, as a boolean on the device; None if there is no gate."""
        if self.gate == (None, None) or discriminator_loss is None:
            return None
        low, high = self.gate
        too_low = discriminator_loss < (-math.inf if low is None else low)
        return too_low | (discriminator_loss > (math.inf if high is None else high))

    def step(self, skip: Tensor | None = None) -> None:
        """Update the parameters, unless `skip`: then they and the optimizer's state stay bit for bit as they were.

        `skip` stays on the device; nothing waits for it.
        """
        if self.gradient_clip is not None:
            torch.nn.utils.clip_grad_norm_(self.params, self.gradient_clip)
        if skip is None:
            self.optimizer.step()
            return
        self._create_state()
        tensors = [*self.params, *self._state()]
        before = [tensor.detach().clone() for tensor in tensors]
        self.optimizer.step()
        with torch.no_grad():
            for tensor, old in zip(tensors, before, strict=True):
                tensor.copy_(torch.where(skip.to(tensor.device), old, tensor))

    def _state(self) -> list[Tensor]:
        states = (self.optimizer.state[parameter] for parameter in self.params)
        return [value for state in states for value in state.values() if isinstance(value, Tensor)]

    def _create_state(self) -> None:
        """Have the optimizer create its state before the first step, which may have to be undone.

        A step with zero learning rate and gradient creates it; then it is set to zero again.
        """
        if any(parameter in self.optimizer.state for parameter in self.params):
            return
        gradients = [parameter.grad for parameter in self.params]
        rates = [group["lr"] for group in self.optimizer.param_groups]
        for parameter in self.params:
            parameter.grad = torch.zeros_like(parameter)
        for group in self.optimizer.param_groups:
            group["lr"] = 0.0
        self.optimizer.step()
        for value in self._state():
            value.zero_()
        for parameter, gradient in zip(self.params, gradients, strict=True):
            parameter.grad = gradient
        for group, rate in zip(self.optimizer.param_groups, rates, strict=True):
            group["lr"] = rate


def make_optimizers(
    model: Model,
    *,
    optimizer: Literal["adam", "rmsprop", "sgd"],
    learning_rate: Positive | dict[str, Positive],
    momentum: Fraction,
    schedule: RateSchedule,
    gradient_clip: Positive | None = None,
    steps: dict[str, Count] | None = None,
    balance: dict[str, Gate] | None = None,
) -> list[ParamGroup]:
    """Return each parameter group of a model with its optimizer.

    Args:
        model: on its device already.
        learning_rate: one, or one for each group.
        momentum: of SGD and RMSprop; Adam's first beta.
        gradient_clip: see `ParamGroup.gradient_clip`.
        steps: updates of each group, in proportion: the group with most is updated in every step.
        balance: the gate of some groups: see `ParamGroup.gate`.

    Raises:
        AtlasError: if the settings name other groups than the model has.
    """
    each = group_settings(model, learning_rate=learning_rate, steps=steps, balance=balance)
    return [
        ParamGroup(
            name, params, _optimizer(optimizer, params, rate, momentum), rate, schedule, frequency, gate, gradient_clip
        )
        for (name, params), (rate, frequency, gate) in zip(model.param_groups().items(), each, strict=True)
    ]


def group_settings(
    model: Model,
    *,
    learning_rate: float | dict[str, float],
    steps: dict[str, int] | None = None,
    balance: dict[str, Gate] | None = None,
    **_: Any,
) -> list[tuple[float, float, tuple[float | None, float | None]]]:
    """Return the learning rate, frequency and gate of each parameter group; arguments as of `make_optimizers`.

    Raises:
        AtlasError: if the settings name other groups than the model has.
    """
    groups = model.param_groups()
    rates = _per_group("learning_rate", learning_rate, groups)
    counts = _per_group("steps", steps or 1, groups)
    gates = balance or {}
    for name in gates:
        if name not in groups:
            raise AtlasError(f"balance: found group {name}; the model's parameter groups are {', '.join(groups)}")
    most = max(counts.values())
    return [(rates[name], counts[name] / most, tuple(gates.get(name, (None, None)))) for name in groups]  # type: ignore[misc]


def cosine_schedule(progress: float) -> float:
    """Return the factor of the learning rate when a share `progress` of all steps is done: from 1 to `FINAL_RATE`."""
    return 0.5 * (1 + math.cos(math.pi * progress)) * (1 - FINAL_RATE) + FINAL_RATE


def _optimizer(kind: str, params: list[torch.nn.Parameter], rate: float, momentum: float) -> torch.optim.Optimizer:
    # On CUDA all that changes from step to step lies on the device, rate and count of steps included: a graph reads it
    # there, and steps without a graph do the same arithmetic.
    capturable = params[0].is_cuda
    lr = torch.tensor(rate, device=params[0].device) if capturable else rate
    if kind == "adam":
        return torch.optim.Adam(params, lr, betas=(momentum, 0.999), fused=True, capturable=capturable)
    if kind == "rmsprop":
        return torch.optim.RMSprop(params, lr, alpha=0.9, momentum=momentum, foreach=True, capturable=capturable)
    return torch.optim.SGD(params, lr, momentum=momentum, fused=True)


def _per_group(name: str, value: Any, groups: Mapping[str, Any]) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        return dict.fromkeys(groups, value)
    if set(value) != set(groups):
        raise AtlasError(
            f"{name}: found groups {', '.join(value)}; the model's parameter groups are {', '.join(groups)}"
        )
    return dict(value)
