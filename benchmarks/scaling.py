"""What an image costs as the batch and the networks grow, and an epoch as the data set does."""

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from atlas.core.datasets import Split
from atlas.core.device import DeviceConfig
from atlas.core.settings import Run
from benchmarks.cases import Case, make
from benchmarks.clock import Pace, Progress
from benchmarks.loops import Ours, Plain
from benchmarks.records import Scaling, ScalingRow, Table
from benchmarks.speed import enough, seconds, side_by_side

BATCHES = (16, 32, 64, 128, 256, 512)
WIDTHS = (0.125, 0.25, 0.5, 1.0)
IMAGES = (2560, 5120, 10240)


def measure(
    chosen: Sequence[Case],
    split: Split,
    machine: DeviceConfig,
    progress: Progress,
    pace: Pace,
    limit: int | None = None,
) -> Scaling:
    """Return three tables a case, all of one data set; with `limit`, the first rows only."""
    started = time.perf_counter()
    plan = [("batch_size", BATCHES[:limit]), ("width", WIDTHS[:limit]), ("images", IMAGES[:limit])]
    total = len(chosen) * sum(len(values) for _, values in plan)
    tables, done = [], 0
    for case in chosen:
        for over, values in plan:
            rows = []
            for value in values:
                if over == "images":
                    rows.append(_epoch(case, split, machine, int(value)))
                else:
                    rows.append(_cost(changed(case.run, **{over: value}), case, split, machine, pace, value))
                done += 1
                progress.show(done, total, f"{case.run.key}, {over} {value}")
            tables.append(Table(run=case.run.key, over=over, rows=rows))
    return Scaling(machine=str(machine), seconds=round(time.perf_counter() - started, 1), tables=tables)


def changed(run: Run, **budget: Any) -> Run:
    """Return the run with other keys of its budget."""
    return replace(run, train=run.train.model_copy(update=budget))


def _cost(run: Run, case: Case, split: Split, machine: DeviceConfig, pace: Pace, value: float) -> ScalingRow:
    loops = Ours(make(run), run, split, machine), Plain(make(run), run, split, machine)
    for loop in loops:
        loop.advance(case.period)
    many = [enough(loop, case.period, pace.turn, machine.device) for loop in loops]
    ours, plain = side_by_side(
        lambda: seconds(loops[0], many[0], machine.device) / many[0],
        lambda: seconds(loops[1], many[1], machine.device) / many[1],
        pace,
    )
    image = 1e6 / run.train.batch_size
    return ScalingRow(value=value, ours=ours * image, plain=plain * image)


def _epoch(case: Case, split: Split, machine: DeviceConfig, images: int) -> ScalingRow:
    part = Split(split.images[:images], split.labels[:images])
    loops = Ours(make(case.run), case.run, part, machine), Plain(make(case.run), case.run, part, machine)
    steps = len(part) // case.run.train.batch_size
    for loop in loops:
        loop.advance(case.period)
    ours, plain = (seconds(loop, steps, machine.device) for loop in loops)
    return ScalingRow(value=len(part), ours=ours, plain=plain)
