"""Device, threads and precision: from the environment, never from params.yaml."""

import os
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TypeVar

import torch

from atlas.core.files import AtlasError

Module = TypeVar("Module", bound=torch.nn.Module)
PRECISIONS = ("auto", "float32", "bfloat16")


@dataclass(frozen=True)
class DeviceConfig:
    """Device configuration. It may change speed and the last digits of a result, never what DVC caches it under."""

    device: torch.device
    bfloat16: bool
    """Do trainings compute convolutions and products in bfloat16, with float32 weights and sums?"""
    deterministic: bool = True
    """On CUDA: the same bytes every time? The CPU gives them anyway."""
    graphs: bool = True
    """On CUDA: is a training's step recorded once and launched as a whole?"""
    processes: int = 1
    """How many torchrun started to train one model."""

    def autocast(self) -> AbstractContextManager[None]:
        """Return the context in which a training's forward pass runs; measures and figures always use float32."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.bfloat16)

    def to_device(self, module: Module) -> Module:
        """Move a network to the device, in the layout that its convolutions are fastest in."""
        return module.to(self.device).to(memory_format=torch.channels_last)

    def __str__(self) -> str:
        name = torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else "CPU"
        threads = f", {torch.get_num_threads()} threads" if self.device.type == "cpu" else ""
        departures = ["not deterministic"] * (not self.deterministic) + ["without graphs"] * (not self.graphs)
        name = f"{self.processes} processes, each {name}" if self.processes > 1 else name
        return ", ".join([name + threads, "bfloat16" if self.bfloat16 else "float32", *departures])


def device_config() -> DeviceConfig:
    """Read ATLAS_DEVICE (auto, cpu, cuda, cuda:1, ...), ATLAS_THREADS (a number) and ATLAS_PRECISION.

    `auto` takes the CUDA GPU where there is one, and bfloat16 where the hardware computes in it. On CUDA also
    ATLAS_DETERMINISTIC and ATLAS_GRAPH: 0 gives up determinism, or graphs, for whatever is faster. Where torchrun has
    started several processes, each takes a GPU of its own, and goes without graphs.

    Raises:
        AtlasError: if one of them names what is not there.
    """
    wanted = os.environ.get("ATLAS_DEVICE", "auto")
    if wanted == "auto":
        wanted = "cuda" if torch.cuda.is_available() else "cpu"
    processes = int(os.environ["WORLD_SIZE"]) if "TORCHELASTIC_RUN_ID" in os.environ else 1
    if wanted == "cuda" and processes > 1:
        wanted = f"cuda:{os.environ['LOCAL_RANK']}"
    deterministic, graphs = _switch("ATLAS_DETERMINISTIC"), _switch("ATLAS_GRAPH") and processes == 1
    if wanted.startswith("cuda") and deterministic:
        # cuBLAS reads it when it is first used.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    try:
        device = torch.device(wanted)
        if device.type not in ("cpu", "cuda"):
            # Apple's GPU (mps), for one: losses are summed and metrics computed in float64, which it does not have.
            raise RuntimeError("allowed: auto, cpu, cuda, cuda:1, ...")
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
        _prepare_cuda(device, deterministic)
    else:
        deterministic = graphs = True
    bfloat16 = precision == "bfloat16" or (precision == "auto" and native)
    return DeviceConfig(device, bfloat16, deterministic, graphs, processes)


def _prepare_cuda(device: torch.device, deterministic: bool) -> None:
    if device.index is not None:
        torch.cuda.set_device(device)
    # What is called float32 shall be float32: convolutions would take products of ten bits.
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.benchmark = not deterministic
    # Same bytes every time, also where a faster algorithm would add in another order.
    torch.use_deterministic_algorithms(deterministic)
    # That mode also fills all new memory with NaN, to show up what reads it unwritten: a kernel for each tensor.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]


def _switch(name: str) -> bool:
    value = os.environ.get(name, "1")
    if value not in ("0", "1"):
        raise AtlasError(f"{name}: found '{value}'; allowed: 0, 1")
    return value == "1"


def _cpu_has_bfloat16() -> bool:
    """Does the processor compute in bfloat16 itself? Emulated, it is slower than float32."""
    checks = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(getattr(torch.cpu, check, lambda: False)() for check in checks)
