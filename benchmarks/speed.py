"""Speed: images a second of the trainer and of the plain loop, timed in turns."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from atlas.core.datasets import Split
from atlas.core.device import DeviceConfig
from atlas.training.cuda_graph import WARM_UP
from benchmarks.cases import Case, load_split, make_model
from benchmarks.loops import Loop, PlainLoop, TrainerLoop, plain_copy

Row = dict[str, Any]
PEAK_IMAGES = 64
"""Images in the convolution that measures the machine's peak."""


@dataclass(frozen=True)
class Pace:
    """How long loops are timed. Turns are short: the quicker they change, the better a disturbance cancels."""

    turn: float
    """Seconds of one loop before the next one's turn; a step where that is longer."""
    rounds: int
    """Rounds at least; each gives every loop a turn."""
    seconds: float
    """After which no round begins but for those."""


def measure(chosen: Sequence[Case], config: DeviceConfig, pace: Pace, noise: int | None = None) -> list[Row]:
    """Time every case; "of peak" is the work of one forward and backward pass as written down, over our time."""
    dtype = torch.bfloat16 if config.bfloat16 else torch.float32
    peak = Peak(config.device, dtype, PEAK_IMAGES if noise is None else 1)
    splits: dict[str, Split] = {}
    rows: list[Row] = []
    for index, case in enumerate(chosen):
        run = case.run
        split = splits.setdefault(run.dataset, load_split(run.dataset, "train", config, noise))
        work = count_flops(TrainerLoop(run, split, config, plain_copy(make_model(run)[0])), case.period)
        loops: dict[str, Loop] = {
            "ours": TrainerLoop(run, split, config),
            "plain": PlainLoop(run, split, config),
            "peak": peak,
        }
        seconds = interleave(loops, case.period, pace, config.device)
        ratio = spread(seconds["plain"] / seconds["ours"])
        rows.append(
            {
                "case": case.name,
                "ours, images/s": run.train.batch_size / float(np.median(seconds["ours"])),
                "plain, images/s": run.train.batch_size / float(np.median(seconds["plain"])),
                "ratio": ratio,
                "GFLOP a step": work / 1e9,
                "of peak": spread(work / seconds["ours"] / (peak.flops / seconds["peak"])),
            }
        )
        print(f"speed: {index + 1} of {len(chosen)}, {case.name}: {ratio['median']:.2f} times as fast", flush=True)
    return rows


def interleave(
    loops: Mapping[str, Loop], period: int, pace: Pace, device: torch.device
) -> dict[str, np.ndarray[Any, Any]]:
    """Return the seconds of a step of every loop, [rounds] each: the loops take turns.

    What disturbs the machine for longer than a round disturbs all loops alike, so ratios are taken round by round. Each
    round begins with another loop: what one leaves in the caches is not always the same one's gain.
    """
    for loop in loops.values():
        # What is set up once is not timed; on CUDA, the steps until the graph is captured.
        loop.advance((WARM_UP + 1) * period if device.type == "cuda" else period)
    steps = {name: period * max(1, round(pace.turn / time_steps(loop, period, device))) for name, loop in loops.items()}
    names, started = list(loops), time.monotonic()
    rounds: list[dict[str, float]] = []
    while len(rounds) < pace.rounds or time.monotonic() - started < pace.seconds:
        first = len(rounds) % len(names)
        order = names[first:] + names[:first]
        rounds.append({name: time_steps(loops[name], steps[name], device) / steps[name] for name in order})
    return {name: np.array([seconds[name] for seconds in rounds]) for name in names}


def time_steps(loop: Loop, steps: int, device: torch.device) -> float:
    """Return the seconds that `steps` steps take, the device's work included."""
    synchronize(device)
    started = time.perf_counter()
    loop.advance(steps)
    synchronize(device)
    return time.perf_counter() - started


def synchronize(device: torch.device) -> None:
    """Wait until the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def spread(values: np.ndarray[Any, Any]) -> dict[str, float]:
    """Return the median and the quartiles of values [N]."""
    low, median, high = np.quantile(values, (0.25, 0.5, 0.75)).tolist()
    return {"median": median, "low": low, "high": high}


def count_flops(loop: Loop, steps: int) -> float:
    """Return the floating-point operations of one step, averaged over `steps`, which the loop makes.

    Convolutions and matrix products forward and backward, a multiplication and an addition as two; the rest is little.
    """
    with FlopCounterMode(display=False) as counter:
        loop.advance(steps)
    return counter.get_total_flops() / steps


class Peak:
    """A large convolution in the layout that convolutions are fastest in: what the machine can do at most."""

    def __init__(self, device: torch.device, dtype: torch.dtype, images: int) -> None:
        self.images, self.kernels = (
            torch.randn(shape, device=device, dtype=dtype).to(memory_format=torch.channels_last)
            for shape in ((images, 128, 28, 28), (128, 128, 3, 3))
        )
        self.flops = 2.0 * self.images.numel() * self.kernels[0].numel()

    @torch.no_grad()
    def advance(self, steps: int) -> None:
        for _ in range(steps):
            torch.nn.functional.conv2d(self.images, self.kernels, padding=1)
