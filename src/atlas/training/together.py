"""One training in several processes that torchrun starts: each learns from its share of every batch.

Together they make the steps that one process makes with the whole batch, but for the order of sums. Every process holds
the whole data and the whole model and moves it in the same way; the first alone speaks and writes.
"""

import atexit

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from atlas.device import Machine
from atlas.errors import AtlasError
from atlas.models.base import Losses
from atlas.nn import processes
from atlas.training.optimisers import Player


def meet(machine: Machine) -> None:
    """Have the processes find one another, where torchrun has started this one."""
    if machine.processes > 1:
        distributed.init_process_group("nccl" if machine.device.type == "cuda" else "gloo")
        atexit.register(distributed.destroy_process_group)


def check_batch(run: str, batch_size: int) -> None:
    """Refuse a batch that cannot be shared out evenly.

    Raises:
        AtlasError: naming the setting.
    """
    if batch_size % processes.count():
        raise AtlasError(
            f"runs.{run}.batch_size: found {batch_size}; "
            f"allowed: a multiple of {processes.count()}, the number of processes"
        )


def teach_together(players: list[Player]) -> None:
    """Have every player's gradient be the mean over the processes."""
    if processes.count() > 1:
        for player in players:
            player.together = DistributedDataParallel(_Taught(player.parameters))


class _Taught(nn.Module):
    """A player's parameters as a module whose forward pass is its loss.

    Of a whole model with several losses DistributedDataParallel could not tell which gradients a backward pass brings.
    """

    def __init__(self, parameters: list[nn.Parameter]) -> None:
        super().__init__()
        self.parameters_taught = nn.ParameterList(parameters)

    def forward(self, loss: Tensor) -> Tensor:
        return loss


def over_all(losses: Losses) -> Losses:
    """Return the losses of the whole batch, detached: the means over the processes."""
    players = {name: value.detach() for name, value in losses.players.items()}
    terms = {name: value.detach() for name, value in losses.terms.items()}
    gauge = None if losses.gauge is None else losses.gauge.detach()
    if processes.count() == 1:
        return Losses(players, terms, gauge)
    values = [*players.values(), *terms.values(), *([] if gauge is None else [gauge])]
    means = iter(processes.mean(torch.stack([value.float() for value in values])).unbind())
    return Losses({name: next(means) for name in players}, {name: next(means) for name in terms}, next(means, None))
