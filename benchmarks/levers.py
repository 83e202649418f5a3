"""What each thing that makes a step fast is worth: the same step without it, one at a time."""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from atlas.core.datasets import Split, to_unit
from atlas.core.device import DeviceConfig
from atlas.core.model import Losses
from benchmarks.cases import Case, make
from benchmarks.clock import Pace, Progress
from benchmarks.loops import Ours, default_layout, plain_dropout, plain_optimiser, unfold
from benchmarks.records import LeverRow, Levers
from benchmarks.speed import enough, seconds, spread

Build = Callable[[Case, Split, DeviceConfig], Ours | None]


def measure(chosen: Sequence[Case], split: Split, machine: DeviceConfig, progress: Progress, pace: Pace) -> Levers:
    """Time every case with all of them and without each, in turns."""
    started = time.perf_counter()
    rows = []
    for number, case in enumerate(chosen):
        built = {name: build(case, split, machine) for name, build in LEVERS.items()}
        without = {name: loop for name, loop in built.items() if loop}
        loops = [ours(case, split, machine), *without.values()]
        for loop in loops:
            loop.advance(case.period)
        many = [enough(loop, case.period, pace.turn, machine.device) for loop in loops]
        rounds = []
        for first in pace.rounds():
            # Each round begins with another loop: what one leaves in the caches is not always the same one's gain.
            times = np.empty(len(loops))
            for place in np.roll(np.arange(len(loops)), -first):
                times[place] = seconds(loops[place], many[place], machine.device) / many[place]
            rounds.append(times)
        whole, *others = np.array(rounds).T
        for name, those in zip(without, others, strict=True):
            rows.append(LeverRow(case=case.name, lever=name, ratio=spread(those / whole)))
        progress.show(number + 1, len(chosen), case.name)
    return Levers(machine=str(machine), seconds=round(time.perf_counter() - started, 1), rows=rows)


def ours(case: Case, split: Split, machine: DeviceConfig) -> Ours:
    return Ours(make(case.run), case.run, split, machine)


def _separately(case: Case, split: Split, machine: DeviceConfig) -> Ours | None:
    loop = Separately(make(case.run), case.run, split, machine)
    return loop if len(loop.players) > 1 else None


def _in_float32(case: Case, split: Split, machine: DeviceConfig) -> Ours:
    return ours(case, split, replace(machine, bfloat16=False))


def _as_written(case: Case, split: Split, machine: DeviceConfig) -> Ours:
    loop = ours(case, split, machine)
    unfold(loop.model)
    return loop


def _in_default_layout(case: Case, split: Split, machine: DeviceConfig) -> Ours:
    loop = ours(case, split, machine)
    default_layout(loop.model)
    return loop


def _plain_optimisers(case: Case, split: Split, machine: DeviceConfig) -> Ours:
    loop, settings = ours(case, split, machine), case.run.settings
    for player in loop.players:
        player.optimiser = plain_optimiser(
            settings["optimizer"], player.parameters, player.learning_rate, settings["momentum"]
        )
    return loop


def _plain_dropout(case: Case, split: Split, machine: DeviceConfig) -> Ours | None:
    if not case.run.settings["dropout"]:
        return None
    loop = ours(case, split, machine)
    plain_dropout(loop.model)
    return loop


def _loaded(case: Case, split: Split, machine: DeviceConfig) -> Ours:
    loop = ours(case, split, machine)
    pixels = TensorDataset(to_unit(split.images).cpu(), split.labels.cpu())
    loader: Any = DataLoader(pixels, case.run.train.batch_size, shuffle=True, drop_last=True)

    def endless() -> Any:
        while True:
            yield from loader

    batches = endless()

    def advance(chosen: Tensor, step: int) -> Losses:
        images, labels = next(batches)
        return loop.act(images.to(machine.device), labels.to(machine.device), step)

    loop.make_step = advance
    return loop


def _reading(case: Case, split: Split, machine: DeviceConfig) -> Ours:
    loop = ours(case, split, machine)
    advance = loop.make_step

    def read(chosen: Tensor, step: int) -> Losses:
        losses = advance(chosen, step)
        for value in losses.terms.values():
            value.item()
        return losses

    loop.make_step = read
    return loop


LEVERS: dict[str, Build] = {
    "one forward pass for all players": _separately,
    "bfloat16": _in_float32,
    "convolutions folded": _as_written,
    "channels last": _in_default_layout,
    "optimisers fused or by the list": _plain_optimisers,
    "dropout from random bytes": _plain_dropout,
    "batches by index, no loader": _loaded,
    "losses read now and then": _reading,
}
"""Name of a lever -> the loop without it; none where a run has nothing that it could move."""


class Separately(Ours):
    """The losses computed anew for each player that moves."""

    def act(self, images: Tensor, labels: Tensor, step: int) -> Losses:
        for player in self.players:
            if player.moves(step):
                with self.machine.autocast():
                    losses = self.model.losses(images, labels)
                player.learn(losses.players[player.name], retain_graph=False)
                player.step()
        return Losses(
            {name: value.detach() for name, value in losses.players.items()},
            {name: value.detach() for name, value in losses.terms.items()},
        )
