"""Several processes that train one model under torchrun: DistributedDataParallel, each with its shard of every batch.

The result has the quality of one process's, not its digits: each rank draws its own random numbers, and on a CPU batch
normalization is each rank's own (PyTorch's SyncBatchNorm needs CUDA).
"""

import atexit

import numpy as np
import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from atlas.core.device import DeviceConfig
from atlas.core.files import AtlasError
from atlas.core.model import Losses, Model
from atlas.training.optimizers import ParamGroup


def world_size() -> int:
    """Return how many processes train this model."""
    return distributed.get_world_size() if distributed.is_available() and distributed.is_initialized() else 1


def rank() -> int:
    """Return which of them this is; 0 is the one that prints and writes."""
    return distributed.get_rank() if world_size() > 1 else 0


def init_process_group(config: DeviceConfig, batch_size: int) -> None:
    """Join the process group, if torchrun started this process.

    Raises:
        AtlasError: if a batch cannot be split evenly.
    """
    if config.processes == 1:
        return
    if batch_size % config.processes:
        raise AtlasError(
            f"batch_size: found {batch_size}; allowed: a multiple of {config.processes}, the number of processes"
        )
    distributed.init_process_group("nccl" if config.device.type == "cuda" else "gloo")
    atexit.register(distributed.destroy_process_group)


def wrap_ddp(model: Model, groups: list[ParamGroup], seed: int) -> None:
    """Have every group's gradient be the mean over the processes, and each process draw random numbers of its own."""
    if world_size() == 1:
        return
    seed_rank(seed)
    for group in groups:
        group.ddp = DistributedDataParallel(_LossModule(group.params))
    if groups[0].params[0].device.type == "cuda":
        nn.SyncBatchNorm.convert_sync_batchnorm(model)


def seed_rank(seed: int) -> None:
    """Seed PyTorch's generators, in each process differently."""
    # 32 bits: of a longer seed the CPU's generator takes no more.
    torch.manual_seed(int(np.random.SeedSequence((seed, rank())).generate_state(1)[0]))


class _LossModule(nn.Module):
    """A parameter group as a module whose forward pass is its loss.

    DistributedDataParallel of a whole model with several losses could not tell which gradients a backward pass brings.
    """

    def __init__(self, params: list[nn.Parameter]) -> None:
        super().__init__()
        self.params = nn.ParameterList(params)

    def forward(self, loss: Tensor) -> Tensor:
        return loss


def all_reduce_mean(losses: Losses) -> Losses:
    """Return the losses of the whole batch, detached: their means over the processes."""
    groups = {name: value.detach() for name, value in losses.groups.items()}
    terms = {name: value.detach() for name, value in losses.terms.items()}
    discriminator = None if losses.discriminator is None else losses.discriminator.detach()
    if world_size() == 1:
        return Losses(groups, terms, discriminator)
    values = [*groups.values(), *terms.values(), *([] if discriminator is None else [discriminator])]
    total = torch.stack([value.float() for value in values])
    distributed.all_reduce(total)
    means = iter((total / world_size()).unbind())
    return Losses({name: next(means) for name in groups}, {name: next(means) for name in terms}, next(means, None))
