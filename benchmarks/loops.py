"""Training loops over the same model: the trainer's, and the one that a person writes first in PyTorch."""

import copy
from collections.abc import Iterator
from contextlib import suppress
from types import MethodType
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

from atlas.core.datasets import Split, epoch_batches, to_unit
from atlas.core.device import DeviceConfig
from atlas.core.files import AtlasError
from atlas.core.model import Losses, Model
from atlas.core.settings import Run
from atlas.nn.conv import Decoder
from atlas.nn.fast_conv import StridedConv2d, UpsampledConv2d
from atlas.nn.layers import Dropout
from atlas.training.cuda_graph import make_step_fn
from atlas.training.loop import CHECK_EVERY, train_step
from atlas.training.optimizers import make_optimizers
from atlas.training.terms import FiniteCheck, RunningMean
from benchmarks.cases import make_model


class Loop(Protocol):
    """Something that can be timed."""

    def advance(self, steps: int) -> None:
        """Make `steps` steps; the device may still be at work afterwards."""


def resolved(run: Run, split: Split) -> Run:
    """Return the run with the budget that it has on these images."""
    channels, height, width = split.images.shape[1:]
    return run.resolve(len(split), (channels, height, width))


class TrainerLoop:
    """The steps of `atlas.training.loop.train`, without the snapshots, checkpoints and validations between them."""

    def __init__(self, run: Run, split: Split, config: DeviceConfig, model: Model | None = None) -> None:
        """`model`: in place of the run's own, with the same parameters."""
        run = resolved(run, split)
        built, optimization = make_model(run)
        self.model = config.to_device(model or built).train()
        self.run, self.split, self.config = run, split, config
        self.groups = make_optimizers(self.model, **optimization)
        self.step_fn = make_step_fn(self.act, self.groups, split, config)
        self.total = len(split) // run.train.batch_size * run.train.epochs
        self.means, self.finite = RunningMean(config.device), FiniteCheck()
        self.step = 0
        self._batches = self._endless()

    def advance(self, steps: int) -> None:
        for _ in range(steps):
            for group in self.groups:
                group.set_progress(min(1.0, self.step / self.total))
            losses = self.step_fn(next(self._batches), self.step)
            self.means.add(losses.terms)
            self.step += 1
            self.finite.add(self.step, losses)
            if self.step % CHECK_EVERY == 0:
                # A training that diverges takes as long.
                with suppress(AtlasError):
                    self.finite.raise_if_broken("no checkpoint")
                self.finite.steps.clear()
                self.means.compute()

    def act(self, images: Tensor, labels: Tensor, step: int) -> Losses:
        return train_step(self.model, self.groups, images, labels, step, self.config)

    def _endless(self) -> Iterator[Tensor]:
        epoch = 0
        while True:
            yield from epoch_batches(len(self.split), self.run.train.batch_size, self.run.seed, epoch)
            epoch += 1


class PlainLoop:
    """The plain loop: DataLoader, float32, default layout, plain layers, a forward pass for each parameter group.

    The same model, parameter groups, kind of optimizer and schedule, with the loss of each group computed anew and
    every term read with `.item()` in every step.
    """

    def __init__(self, run: Run, split: Split, config: DeviceConfig) -> None:
        run = resolved(run, split)
        model, optimization = make_model(run)
        self.model = plain_copy(model).to(config.device).train()
        self.groups = make_optimizers(self.model, **optimization)
        if any(group.gate != (None, None) for group in self.groups):
            raise ValueError("balance: the plain loop has no gates")
        for group in self.groups:
            group.optimizer = plain_optimizer(group.params, group.learning_rate, **optimization)
        self.device = config.device
        self.total = len(split) // run.train.batch_size * run.train.epochs
        self.terms: dict[str, float] = {}
        self.step = 0
        self._batches = loader_batches(split, run.train.batch_size)

    def advance(self, steps: int) -> None:
        for _ in range(steps):
            images, labels = (part.to(self.device) for part in next(self._batches))
            self.update(images, labels)

    def update(self, images: Tensor, labels: Tensor) -> None:
        """Make one step with these images [N, C, H, W] in [0, 1] and labels [N]."""
        active = [group for group in self.groups if group.updates_at(self.step)]
        for group in active:
            group.set_progress(min(1.0, self.step / self.total))
            group.optimizer.zero_grad()
            losses = self.model.losses(images, labels)
            losses[group.name].backward(inputs=group.params)
            self.terms |= {name: value.item() for name, value in losses.terms.items()}
        for group in active:
            group.optimizer.step()
        self.step += 1


def loader_batches(split: Split, batch_size: int) -> Iterator[Any]:
    """Yield batches of images in [0, 1] and labels by PyTorch's loader, in random order, again and again."""
    pixels = TensorDataset(to_unit(split.images).cpu(), split.labels.cpu())
    loader = DataLoader(pixels, batch_size, shuffle=True, drop_last=True)
    while True:
        yield from loader


def plain_optimizer(
    params: list[nn.Parameter], rate: float, *, optimizer: str, momentum: float, **_: Any
) -> torch.optim.Optimizer:
    """Return the trainer's optimizer in PyTorch's default form, neither fused nor foreach."""
    if optimizer == "adam":
        return torch.optim.Adam(params, rate, betas=(momentum, 0.999))
    if optimizer == "rmsprop":
        return torch.optim.RMSprop(params, rate, alpha=0.9, momentum=momentum)
    return torch.optim.SGD(params, rate, momentum=momentum)


def plain_copy(model: Model) -> Model:
    """Return a copy with the same weights that computes every layer the usual way."""
    plain = copy.deepcopy(model)
    use_plain_convolutions(plain)
    use_default_layout(plain)
    use_plain_dropout(plain)
    return plain


def use_plain_convolutions(model: Model) -> None:
    """Have convolutions computed as written down: upsampling, then a convolution of the large image; stride two."""
    for module in model.modules():
        # By method, not by replacing the layer: spectral normalization hangs on the layer.
        if isinstance(module, UpsampledConv2d):
            module.forward = MethodType(_upsample_then_convolve, module)  # type: ignore[method-assign]
        elif isinstance(module, StridedConv2d):
            module.forward = MethodType(nn.Conv2d.forward, module)  # type: ignore[method-assign]


def use_default_layout(model: Model) -> None:
    """Have weights and feature maps in PyTorch's default layout."""
    model.to(memory_format=torch.contiguous_format)
    for module in model.modules():
        if isinstance(module, Decoder):
            module.layers.register_forward_pre_hook(lambda _, inputs: inputs[0].contiguous())


def use_plain_dropout(model: Model) -> None:
    """Have features dropped by PyTorch's own dropout."""
    for module in model.modules():
        if isinstance(module, Dropout):
            module.forward = MethodType(_torch_dropout, module)  # type: ignore[method-assign]


def _torch_dropout(layer: Dropout, features: Tensor) -> Tensor:
    return functional.dropout(features, layer.rate, layer.training)


def _upsample_then_convolve(layer: UpsampledConv2d, images: Tensor) -> Tensor:
    large = functional.interpolate(images, scale_factor=2)
    return functional.conv2d(large, layer.weight, layer.bias, padding=layer.padding)
