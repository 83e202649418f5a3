"""What the machine offers: device, threads, precision. From the environment, never from params.yaml."""

import os
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TypeVar

import torch

from atlas.errors import AtlasError

Module = TypeVar("Module", bound=torch.nn.Module)
PRECISIONS = ("auto", "float32", "bfloat16")


@dataclass(frozen=True)
class Machine:
    """Where a stage computes. It may change speed and the last digits of a result, never what DVC caches it under."""

    device: torch.device
    bfloat16: bool
    """Do trainings compute convolutions and products in bfloat16, with float32 weights and sums?"""

    def autocast(self) -> AbstractContextManager[None]:
        """Return the context in which a training's forward pass runs; measures and figures always use float32."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.bfloat16)

    def place(self, module: Module) -> Module:
        """Move a network to the device, in the layout that its convolutions are fastest in."""
        return module.to(self.device).to(memory_format=torch.channels_last)

    def __str__(self) -> str:
        name = torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else "CPU"
        threads = f", {torch.get_num_threads()} threads" if self.device.type == "cpu" else ""
        return f"{name}{threads}, {'bfloat16' if self.bfloat16 else 'float32'}"


def machine() -> Machine:
    """Read ATLAS_DEVICE (auto, cpu, cuda, cuda:1, ...), ATLAS_THREADS (a number) and ATLAS_PRECISION.

    `auto` takes the GPU where there is one, and bfloat16 where the hardware computes in it.

    Raises:
        AtlasError: if one of them names what is not there.
    """
    wanted = os.environ.get("ATLAS_DEVICE", "auto")
    if wanted == "auto":
        wanted = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(wanted)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise AtlasError(f"ATLAS_DEVICE: found '{wanted}', which cannot be used here ({reason}); try cpu") from None
    threads = os.environ.get("ATLAS_THREADS")
    if threads:
        if not threads.isdecimal() or int(threads) < 1:
            raise AtlasError(f"ATLAS_THREADS: found '{threads}'; allowed: a number of threads, 1 or more")
        torch.set_num_threads(int(threads))
    precision = os.environ.get("ATLAS_PRECISION", "auto")
    if precision not in PRECISIONS:
        raise AtlasError(f"ATLAS_PRECISION: found '{precision}'; allowed: {', '.join(PRECISIONS)}")
    native = torch.cuda.is_bf16_supported() if device.type == "cuda" else _cpu_has_bfloat16()
    if device.type == "cuda":
        # Same bytes every time, also where a faster algorithm would add in another order.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True)
        torch.backends.cudnn.benchmark = False
    return Machine(device, precision == "bfloat16" or (precision == "auto" and native))


def _cpu_has_bfloat16() -> bool:
    """Does the processor compute in bfloat16 itself? Emulated, it is slower than float32."""
    asks = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(getattr(torch.cpu, ask, lambda: False)() for ask in asks)
