"""What makes one step of the loop; on CUDA a step recorded once as a graph, which the host launches whole.

The networks are small: launched one by one, a step's operations keep the device waiting for the host.
"""

from collections import Counter
from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from atlas.datasets import Split, to_unit
from atlas.device import Machine
from atlas.models.base import Losses
from atlas.training.optimisers import Player

WARM_UP = 3
"""Steps before a recording, in which libraries make their workspaces and optimisers their sums, as PyTorch demands.
They are steps of the training like all others, so nothing has to be put back."""

Act = Callable[[Tensor, Tensor, int], Losses]
"""Moves the players by one batch: images [N, C, H, W] in [0, 1], labels [N] and the step to its losses, detached."""


class Advance(Protocol):
    """Makes a step."""

    def __call__(self, chosen: Tensor, step: int) -> Losses:
        """Learn from the images `chosen` (int64 [N] on the CPU, N always the same) in `step`, counted from 0.

        Returns:
            Its losses and terms, on the device; they hold until the next step.
        """


def stepper(act: Act, players: list[Player], training: Split, machine: Machine) -> Advance:
    """Return what makes the steps of a training on this machine; everywhere in the same numbers as `act` alone."""
    still = StillStep(act, training)
    return GraphedStep(still, players) if machine.device.type == "cuda" and machine.graphs else still


class StillStep:
    """A step that looks for its batch in one place in memory: a graph knows addresses, not tensors."""

    def __init__(self, act: Act, training: Split) -> None:
        self.act = act
        self.training = training
        self.device = training.images.device
        self.chosen = torch.empty(0, dtype=torch.int64, device=self.device)

    def __call__(self, chosen: Tensor, step: int) -> Losses:
        self.place(chosen)
        return self.run(step)

    def place(self, chosen: Tensor) -> None:
        """Put the batch's indices where `run` looks for them, without waiting for the device."""
        if not len(self.chosen):
            self.chosen = torch.empty_like(chosen, device=self.device)
        self.chosen.copy_(chosen, non_blocking=True)

    def run(self, step: int) -> Losses:
        """Make the step."""
        images = self.training.images.index_select(0, self.chosen)
        labels = self.training.labels.index_select(0, self.chosen)
        return self.act(to_unit(images), labels, step)


class GraphedStep:
    """Steps on CUDA, a graph for each set of players that move together.

    What a step's graph reads and writes lies where it lay when it was recorded: the batch's indices, the learning rates
    (tensors, see `Player.set_rate`), parameters, the optimisers' sums. Random numbers come from the device's generator,
    which moves on with every launch as it does with every operation, so that a launched step and one made operation by
    operation give the same numbers, in any order.
    """

    def __init__(self, still: StillStep, players: list[Player]) -> None:
        self.still = still
        self.players = players
        self.device = still.device
        self.graphs: dict[tuple[str, ...], tuple[torch.cuda.CUDAGraph, Losses]] = {}
        self.made: Counter[tuple[str, ...]] = Counter()
        self.stream = torch.cuda.Stream(self.device)
        self.refused = False

    def __call__(self, chosen: Tensor, step: int) -> Losses:
        self.still.place(chosen)
        moving = tuple(player.name for player in self.players if player.moves(step))
        if moving not in self.graphs and not self.refused and self.made[moving] == WARM_UP:
            self._record(moving, step)
        if moving in self.graphs:
            graph, losses = self.graphs[moving]
            graph.replay()
            return losses
        self.made[moving] += 1
        return self.still.run(step) if self.refused else self._aside(step)

    def _aside(self, step: int) -> Losses:
        """Make a step on the stream that is recorded later."""
        current = torch.cuda.current_stream(self.device)
        self.stream.wait_stream(current)
        with torch.cuda.stream(self.stream):
            losses = self.still.run(step)
        current.wait_stream(self.stream)
        return losses

    def _record(self, moving: tuple[str, ...], step: int) -> None:
        """Record the step, which is not made thereby; where that cannot be done, say so once and go on without."""
        graph = torch.cuda.CUDAGraph()
        current = torch.cuda.current_stream(self.device)
        try:
            with torch.cuda.graph(graph, stream=self.stream):
                losses = self.still.run(step)
        except RuntimeError as error:
            self._give_up(current, error)
        else:
            self.graphs[moving] = (graph, losses)

    def _give_up(self, current: torch.cuda.Stream, error: RuntimeError) -> None:
        self.refused = True
        self.graphs.clear()
        torch.cuda.set_stream(current)
        torch.cuda.synchronize(self.device)
        # Gradients of the recording lie in memory that goes with it.
        for player in self.players:
            player.optimiser.zero_grad()
        # The generator may still believe that it is recorded; a copy of its state does not.
        generator = torch.cuda.default_generators[self.device.index]
        generator.graphsafe_set_state(generator.clone_state())
        reason = (str(error) or type(error).__name__).splitlines()[0]
        print(f"the step cannot be recorded as a CUDA graph ({reason}); going on without, more slowly", flush=True)
