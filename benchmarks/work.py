"""Floating-point work: how much a step needs, and how much the machine can do."""

import time
from dataclasses import dataclass

import torch
from torch.nn.functional import conv2d
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.loops import Loop

# Of the large convolution: images, channels in and out, side of the picture, side of the kernel.
IMAGES, CHANNELS, SIDE, KERNEL = 64, 128, 28, 3


def count(loop: Loop, steps: int) -> float:
    """Return the floating-point operations of one step, averaged over `steps`, which the loop takes.

    Convolutions and matrix products forward and backward, a multiplication and an addition as two; not the rest, which
    is little arithmetic.
    """
    with FlopCounterMode(display=False) as counter:
        loop.advance(steps)
    return counter.get_total_flops() / steps


def synchronise(device: torch.device) -> None:
    """Wait until the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


@dataclass
class Peak:
    """A large convolution in the layout that convolutions are fastest in, again and again."""

    device: torch.device
    dtype: torch.dtype
    images: int = IMAGES

    def __post_init__(self) -> None:
        shapes = (self.images, CHANNELS, SIDE, SIDE), (CHANNELS, CHANNELS, KERNEL, KERNEL)
        self.pictures, self.kernels = (
            torch.randn(shape, device=self.device, dtype=self.dtype).to(memory_format=torch.channels_last)
            for shape in shapes
        )
        self.work = 2.0 * self.images * SIDE**2 * CHANNELS**2 * KERNEL**2

    @torch.no_grad()
    def measure(self, times: int = 3) -> float:
        """Return floating-point operations a second, the best of `times`."""
        best = 0.0
        for _ in range(times):
            synchronise(self.device)
            started = time.perf_counter()
            conv2d(self.pictures, self.kernels, padding=KERNEL // 2)
            synchronise(self.device)
            best = max(best, self.work / (time.perf_counter() - started))
        return best
