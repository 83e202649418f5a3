"""Exponential moving average (EMA) of a model's weights: what a training shows, measures and saves, if it has one."""

from typing import cast

import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel

from atlas.core.model import Model

Tensors = tuple[Tensor, ...] | list[Tensor]


class Average:
    """EMA of parameters and buffers (Polyak and Juditsky 1992; of GANs: Yazici et al. 2019).

    After each step: average <- d average + (1 - d) weights, where d is `decay`, and less in the first steps, in which
    an average over as many steps as it stands for would still hold the untrained weights: (1 + step) / (10 + step).
    With decay 0 there is no average, and the model itself is shown.

    The singular vectors that a spectral norm keeps are not averaged but copied. They turn while the weights hardly
    change; their averages are short, give too small a norm, and the layer divided by it is many times too large.
    """

    def __init__(self, model: Model, decay: float) -> None:
        self.decay = decay
        self.step = 0
        self.averaged = AveragedModel(model, multi_avg_fn=self._update, use_buffers=True) if decay else None
        self.model = model
        self.vectors = [name for name, _ in model.named_buffers() if name.endswith(("._u", "._v"))]
        self.shown = cast(Model, self.averaged.module.eval()) if self.averaged else model
        """The model of which snapshots are taken, which is validated, and saved in the end."""

    def update(self, step: int) -> None:
        """Take in the weights after a step, counted from 1. Nothing waits for the device."""
        if self.averaged:
            self.step = step
            self.averaged.update_parameters(self.model)
            for name in self.vectors:
                self.shown.get_buffer(name).copy_(self.model.get_buffer(name))

    def _update(self, averages: Tensors, weights: Tensors, _: Tensor | int) -> None:
        if averages[0].is_floating_point():
            decay = min(self.decay, (1 + self.step) / (10 + self.step))
            torch._foreach_lerp_(averages, weights, 1 - decay)
        else:
            torch._foreach_copy_(averages, weights)
