"""Images a second of our trainer and of the plain loop, side by side."""

import time
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch.profiler import ProfilerActivity, profile

from atlas.core.datasets import Split
from atlas.core.device import DeviceConfig
from atlas.training.cuda_graph import WARM_UP
from benchmarks.cases import SHARE_GOAL, Case, load, make
from benchmarks.clock import Pace, Progress
from benchmarks.loops import Loop, Ours, Plain, plain_twin
from benchmarks.records import Profile, ProfileRow, Speed, SpeedRow, Spread
from benchmarks.work import IMAGES, Peak, count, synchronise

SHOWN = 12
"""Operations in a profile."""


def measure(
    chosen: Sequence[Case],
    machine: DeviceConfig,
    progress: Progress,
    pace: Pace,
    noise: int | None = None,
) -> Speed:
    """Time every case in rounds, ours, plain, ours, plain, ...

    What disturbs the machine for longer than a round disturbs both sides of the round's ratio alike.
    """
    started = time.perf_counter()
    size = IMAGES if noise is None else 1
    peaks = {dtype: Peak(machine.device, dtype, size) for dtype in (torch.float32, torch.bfloat16)}
    top = {dtype: peak.measure(5) / 1e9 for dtype, peak in peaks.items()}
    own = torch.bfloat16 if machine.bfloat16 else torch.float32
    splits: dict[str, Split] = {}
    rows = []
    for number, case in enumerate(chosen):
        if case.run.dataset not in splits:
            splits = {case.run.dataset: load(case.run.dataset, "train", machine, noise)}
        row = _row(case, splits[case.run.dataset], machine, peaks[own], pace)
        top[own] = max(top[own], row.peak)
        rows.append(row)
        progress.show(number + 1, len(chosen), f"{case.name}: {row.ratio.median:.2f} times the plain loop")
    worst = min(range(len(rows)), key=lambda place: _reached(rows[place]))
    case = chosen[worst]
    if case.run.dataset not in splits:
        splits = {case.run.dataset: load(case.run.dataset, "train", machine, noise)}
    found = where_time_goes(case, splits[case.run.dataset], machine)
    return Speed(
        machine=str(machine),
        seconds=round(time.perf_counter() - started, 1),
        float32_peak=top[torch.float32],
        bfloat16_peak=top[torch.bfloat16],
        rows=rows,
        profile=found,
    )


def _reached(row: SpeedRow) -> float:
    """Return the smallest share of a goal that was reached."""
    shares = [row.ratio.median / row.goal]
    return min([*shares, row.share.median / SHARE_GOAL] if row.sizes == "seed" else shares)


def _row(case: Case, split: Split, machine: DeviceConfig, peak: Peak, pace: Pace) -> SpeedRow:
    run = case.run
    ours: Loop = Ours(make(run), run, split, machine)
    plain: Loop = Plain(make(run), run, split, machine)
    unfolded = Ours(plain_twin(make(run)), run, split, machine)
    # Counting is the first step of each: what is set up once is not timed.
    shared_work, our_work, plain_work = (count(loop, case.period) for loop in (unfolded, ours, plain))
    if machine.device.type == "cuda":
        # Until the step is recorded.
        ours.advance((WARM_UP + 1) * case.period)
    steps = [enough(loop, case.period, pace.turn, machine.device) for loop in (ours, plain)]
    times, peaks = [], []
    for _ in pace.rounds():
        times.append(
            [seconds(loop, many, machine.device) / many for loop, many in zip((ours, plain), steps, strict=True)]
        )
        peaks.append(peak.measure())
    mine, theirs = np.array(times).T
    rates = np.array(peaks)
    return SpeedRow(
        dataset=run.dataset,
        model=run.model,
        sizes=case.sizes,
        run=run.key,
        batch_size=run.train.batch_size,
        parameters=sum(parameter.numel() for parameter in ours.model.parameters()),
        ours=run.train.batch_size / float(np.median(mine)),
        plain=run.train.batch_size / float(np.median(theirs)),
        ratio=spread(theirs / mine),
        goal=case.goal,
        plain_work=plain_work / 1e9,
        shared_work=shared_work / 1e9,
        our_work=our_work / 1e9,
        rounds=len(times),
        peak=float(np.median(rates)) / 1e9,
        share=spread(shared_work / mine / rates),
        our_share=spread(our_work / mine / rates),
    )


def spread(values: np.ndarray) -> Spread:
    """Return the median and the quartiles of values [N]."""
    low, median, high = np.quantile(values, (0.25, 0.5, 0.75))
    return Spread(median=float(median), low=float(low), high=float(high))


def seconds(loop: Loop, steps: int, device: torch.device) -> float:
    """Return how long `steps` steps take, the device's work included."""
    synchronise(device)
    started = time.perf_counter()
    loop.advance(steps)
    synchronise(device)
    return time.perf_counter() - started


def enough(loop: Loop, period: int, wanted: float, device: torch.device) -> int:
    """Return how many steps, whole periods, take about `wanted` seconds."""
    return period * max(1, round(wanted / seconds(loop, period, device)))


def side_by_side(first: Callable[[], float], second: Callable[[], float], pace: Pace) -> tuple[float, float]:
    """Return the medians of what the two give in turns."""
    pairs = [(first(), second()) for _ in pace.rounds()]
    ours, theirs = np.median(np.array(pairs), 0)
    return float(ours), float(theirs)


def where_time_goes(case: Case, split: Split, machine: DeviceConfig, steps: int = 6) -> Profile:
    """Profile our step, operation by operation, by the time that is each operation's own."""
    loop = Ours(make(case.run), case.run, split, machine)
    steps = -(-steps // case.period) * case.period
    loop.advance(case.period)
    took = seconds(loop, steps, machine.device)
    cuda = machine.device.type == "cuda"
    with profile(activities=[ProfilerActivity.CUDA if cuda else ProfilerActivity.CPU]) as seen:
        seconds(loop, steps, machine.device)
    spent = [
        (event.key, event.self_device_time_total if cuda else event.self_cpu_time_total, event.count)
        for event in seen.key_averages()
    ]
    total = sum(time for _, time, _ in spent) or 1.0
    rows = [
        ProfileRow(operation=name, share=time / total, calls=calls / steps)
        for name, time, calls in sorted(spent, key=lambda row: -row[1])[:SHOWN]
    ]
    return Profile(case=case.name, milliseconds=1000 * took / steps, rows=rows)
