"""CUDA graph of the training step: captured once, then launched whole.

The networks are small: launched one by one, a step's operations keep the device waiting for the host.
"""

from collections import Counter
from collections.abc import Callable

import torch
from torch import Tensor

from atlas.core.datasets import Split, to_unit
from atlas.core.device import DeviceConfig
from atlas.core.model import Losses
from atlas.training.optimizers import ParamGroup

WARM_UP = 3
"""Steps before a capture, in which libraries allocate their workspaces and optimizers their state, as PyTorch demands.
They are steps of the training like all others, so nothing has to be undone."""

Act = Callable[[Tensor, Tensor, int], Losses]
"""Trains on one batch: images [N, C, H, W] in [0, 1], labels [N] and the step to its losses, detached."""

StepFn = Callable[[Tensor, int], Losses]
"""Trains on the images with these indices (int64 [N] on the CPU, N always the same) in a step, counted from 0. The
losses lie on the device and are overwritten by the next step."""


def make_step_fn(act: Act, groups: list[ParamGroup], training: Split, config: DeviceConfig) -> StepFn:
    """Return the function that makes a training's steps, with the same numbers as `act` alone."""
    step_fn = StaticInputStep(act, training)
    return GraphedStep(step_fn, groups) if config.device.type == "cuda" and config.graphs else step_fn


class StaticInputStep:
    """A step that reads its batch's indices from one place in memory: a graph knows addresses, not tensors."""

    def __init__(self, act: Act, training: Split) -> None:
        self.act = act
        self.training = training
        self.device = training.images.device
        self.indices = torch.empty(0, dtype=torch.int64, device=self.device)

    def __call__(self, indices: Tensor, step: int) -> Losses:
        self.copy_inputs(indices)
        return self.run(step)

    def copy_inputs(self, indices: Tensor) -> None:
        """Copy the batch's indices to where `run` reads them, without waiting for the device."""
        if not len(self.indices):
            self.indices = torch.empty_like(indices, device=self.device)
        self.indices.copy_(indices, non_blocking=True)

    def run(self, step: int) -> Losses:
        """Make the step."""
        images = self.training.images.index_select(0, self.indices)
        labels = self.training.labels.index_select(0, self.indices)
        return self.act(to_unit(images), labels, step)


class GraphedStep:
    """Training steps on CUDA, a graph for each set of groups that are updated together.

    What a step's graph reads and writes lies where it lay when it was captured: the batch's indices, the learning rates
    (tensors, see `ParamGroup.set_progress`), parameters, the optimizers' state. Random numbers come from the device's
    generator, which moves on with every launch as it does with every operation: launched steps and steps made operation
    by operation give the same numbers, in any order.
    """

    def __init__(self, step_fn: StaticInputStep, groups: list[ParamGroup]) -> None:
        self.step_fn = step_fn
        self.groups = groups
        self.device = step_fn.device
        self.graphs: dict[tuple[str, ...], tuple[torch.cuda.CUDAGraph, Losses]] = {}
        self.warm_up_steps: Counter[tuple[str, ...]] = Counter()
        self.stream = torch.cuda.Stream(self.device)
        self.failed = False

    def __call__(self, indices: Tensor, step: int) -> Losses:
        self.step_fn.copy_inputs(indices)
        active = tuple(group.name for group in self.groups if group.updates_at(step))
        if active not in self.graphs and not self.failed and self.warm_up_steps[active] == WARM_UP:
            self._capture(active, step)
        if active in self.graphs:
            graph, losses = self.graphs[active]
            graph.replay()
            return losses
        self.warm_up_steps[active] += 1
        return self.step_fn.run(step) if self.failed else self._warm_up(step)

    def _warm_up(self, step: int) -> Losses:
        """Make a step on the stream that is captured later."""
        current = torch.cuda.current_stream(self.device)
        self.stream.wait_stream(current)
        with torch.cuda.stream(self.stream):
            losses = self.step_fn.run(step)
        current.wait_stream(self.stream)
        return losses

    def _capture(self, active: tuple[str, ...], step: int) -> None:
        """Capture the step, which does not make it; where that fails, say so once and go on without graphs."""
        graph = torch.cuda.CUDAGraph()
        current = torch.cuda.current_stream(self.device)
        try:
            with torch.cuda.graph(graph, stream=self.stream):
                losses = self.step_fn.run(step)
        except RuntimeError as error:
            self._fall_back(current, error)
        else:
            self.graphs[active] = (graph, losses)

    def _fall_back(self, current: torch.cuda.Stream, error: RuntimeError) -> None:
        self.failed = True
        self.graphs.clear()
        torch.cuda.set_stream(current)
        torch.cuda.synchronize(self.device)
        # Gradients of the capture lie in memory that is freed with it.
        for group in self.groups:
            group.optimizer.zero_grad()
        # The generator may still be in capture mode; a copy of its state is not.
        generator = torch.cuda.default_generators[self.device.index]
        generator.graphsafe_set_state(generator.clone_state())
        reason = (str(error) or type(error).__name__).splitlines()[0]
        print(f"the step cannot be captured as a CUDA graph ({reason}); going on without, more slowly", flush=True)
