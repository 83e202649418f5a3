"""One training in several processes, each with its share of every batch: what is taken over all of them.

Gradients are DistributedDataParallel's business (`atlas.training.together`). Here is the rest that a batch's images
have in common, so that the processes together do what one does with the whole batch: means, normalisation, and random
numbers. In a single process nothing here does anything.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.overrides import TorchFunctionMode

LIKE = {torch.randn_like, torch.rand_like, torch.bernoulli, torch.Tensor.random_, nn.functional.dropout}
SIZED = {torch.randn, torch.rand}


def count() -> int:
    """Return how many processes train this model."""
    return distributed.get_world_size() if distributed.is_available() and distributed.is_initialized() else 1


def rank() -> int:
    """Return which of them this is; the first, 0, is the one that speaks and writes."""
    return distributed.get_rank() if count() > 1 else 0


def share(batch: Tensor) -> Tensor:
    """Return this process's part of a batch [N, ...]: [N / count(), ...]."""
    return batch.chunk(count())[rank()]


def mean(value: Tensor) -> Tensor:
    """Return the mean over the processes of what each found in its share; without a gradient."""
    if count() == 1:
        return value
    total = value.detach().clone()
    distributed.all_reduce(total)
    return total / count()


@contextmanager
def first_alone() -> Iterator[None]:
    """Let the first process do the block before the others do it."""
    if rank():
        distributed.barrier()
    yield
    if count() > 1 and not rank():
        distributed.barrier()


def draws() -> AbstractContextManager[Any]:
    """Return the context in which a process draws its share of the whole batch's random numbers."""
    return _Draws() if count() > 1 else nullcontext()


class _Draws(TorchFunctionMode):
    """Every draw is made for the whole batch, in every process from the same seed, and its share is kept.

    The first dimension of whatever is drawn must be the images'.
    """

    def __torch_function__(self, func: Callable, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in LIKE:
            # What an image gets hangs on its place in the batch, not on what the other places hold.
            return share(func(torch.cat([args[0]] * count()), *args[1:], **(kwargs or {})))
        if func in SIZED:
            return share(func(args[0] * count(), *args[1:], **(kwargs or {})))
        return func(*args, **(kwargs or {}))


class BatchNorm2d(nn.BatchNorm2d):
    """Batch normalisation (Ioffe and Szegedy 2015) over the whole batch; PyTorch's SyncBatchNorm refuses CPUs."""

    def forward(self, pictures: Tensor) -> Tensor:
        """Pictures [N, C, H, W] to the same."""
        if not self.training or count() == 1:
            return super().forward(pictures)
        centred = pictures.float()
        middle = _mean_learnt(centred.mean((0, 2, 3)))
        centred = centred - middle[:, None, None]
        variance = _mean_learnt(centred.square().mean((0, 2, 3)))
        with torch.no_grad():
            assert self.running_mean is not None and self.running_var is not None
            assert self.num_batches_tracked is not None and self.momentum is not None
            pixels = count() * pictures.numel() // pictures.shape[1]
            self.running_mean.lerp_(middle, self.momentum)
            self.running_var.lerp_(variance * (pixels / (pixels - 1)), self.momentum)
            self.num_batches_tracked += 1
        scale = self.weight * (variance + self.eps).rsqrt()
        return (centred * scale[:, None, None] + self.bias[:, None, None]).to(pictures.dtype)


def _mean_learnt(value: Tensor) -> Tensor:
    """Return the mean over the processes, through which gradients flow to all of them."""
    # Here, since it is slow to import.
    from torch.distributed.nn.functional import all_reduce

    return all_reduce(value) / count()
