"""Two loops over the same model: our trainer's, and the one that a person writes first in PyTorch."""

import copy
from collections.abc import Iterator
from contextlib import suppress
from types import MethodType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

from atlas.core.datasets import Split, epoch_batches, to_unit
from atlas.core.device import DeviceConfig
from atlas.core.files import AtlasError
from atlas.core.model import Losses, Model
from atlas.nn.conv import Decoder
from atlas.nn.dropout import Dropout
from atlas.nn.fast_conv import HalvingConv2d, UpsampledConv2d
from atlas.core.settings import Run
from atlas.training.cuda_graph import stepper
from atlas.core.history import Averages, Watch
from atlas.training.loop import CHECK_EVERY, train_step
from atlas.training.optimizers import make_players, rate_factor


class Ours:
    """`atlas.training.loop.train` step by step, without what it does between steps: pictures, checkpoints, validation.

    `model` is moved to where the trainer would put it.
    """

    def __init__(self, model: Model, run: Run, split: Split, machine: DeviceConfig) -> None:
        self.model, self.run, self.split, self.machine = machine.place(model).train(), run, split, machine
        self.players = make_players(self.model, run.settings)
        self.make_step = stepper(self.act, self.players, split, machine)
        self.per_epoch = len(split) // run.train.batch_size
        self.total = self.per_epoch * run.train.epochs
        self.averages, self.watch = Averages(machine.device), Watch()
        self.step = 0
        self._batches = self._endless()

    def advance(self, steps: int) -> None:
        """Do `steps` steps; the device may still be at work afterwards."""
        for _ in range(steps):
            for player in self.players:
                factor = rate_factor(self.run.settings["schedule"], min(1.0, self.step / self.total))
                player.set_rate(player.learning_rate * factor)
            losses = self.make_step(next(self._batches), self.step)
            self.averages.add(losses.terms)
            self.step += 1
            self.watch.note(self.step, losses)
            if self.step % CHECK_EVERY == 0:
                # A training that diverges takes as long.
                with suppress(AtlasError):
                    self.watch.check("no checkpoint")
                self.watch.seen.clear()
                self.averages.read()

    def act(self, images: Tensor, labels: Tensor, step: int) -> Losses:
        return train_step(self.model, self.players, images, labels, step, self.machine)

    def _endless(self) -> Iterator[Tensor]:
        epoch = 0
        while True:
            yield from epoch_batches(len(self.split), self.run.train.batch_size, self.run.seed, epoch)
            epoch += 1


class Plain:
    """The plain loop: DataLoader, float32, default layout, and for each player a forward pass and a step of its own.

    The same model, players, optimisers and schedule; each player's losses are computed anew, its gradient is taken for
    its own parameters alone (what detaching by hand achieves), and every term is logged with `.item()`. `model` is
    copied.
    """

    def __init__(self, model: Model, run: Run, split: Split, machine: DeviceConfig) -> None:
        self.model, self.run, self.device = plain_twin(model).to(machine.device).train(), run, machine.device
        # Which player moves in which step, and how fast, is the run's; the optimisers are replaced by plain ones.
        self.players = make_players(self.model, run.settings)
        if any(player.gated for player in self.players):
            raise ValueError("balance: the plain loop has no gates")
        settings = run.settings
        self.optimisers = [
            plain_optimiser(settings["optimizer"], player.parameters, player.learning_rate, settings["momentum"])
            for player in self.players
        ]
        self.total = len(split) // run.train.batch_size * run.train.epochs
        pixels = TensorDataset(to_unit(split.images).cpu(), split.labels.cpu())
        self.loader: Any = DataLoader(pixels, run.train.batch_size, shuffle=True, drop_last=True)
        self.log: dict[str, float] = {}
        self.step = 0
        self._batches = self._endless()

    def advance(self, steps: int) -> None:
        """Do `steps` steps."""
        for _ in range(steps):
            images, labels = (part.to(self.device) for part in next(self._batches))
            factor = rate_factor(self.run.settings["schedule"], min(1.0, self.step / self.total))
            for player, optimiser in zip(self.players, self.optimisers, strict=True):
                if player.moves(self.step):
                    for group in optimiser.param_groups:
                        group["lr"] = player.learning_rate * factor
                    optimiser.zero_grad()
                    losses = self.model.losses(images, labels)
                    losses.players[player.name].backward(inputs=player.parameters)
                    optimiser.step()
                    self.log |= {name: value.item() for name, value in losses.terms.items()}
            self.step += 1

    def _endless(self) -> Iterator[Any]:
        while True:
            yield from self.loader


Loop = Ours | Plain


def plain_optimiser(kind: str, group: list[nn.Parameter], rate: float, momentum: float) -> torch.optim.Optimizer:
    """Return the trainer's optimiser in PyTorch's default form, neither fused nor foreach."""
    if kind == "adam":
        return torch.optim.Adam(group, rate, betas=(momentum, 0.999))
    if kind == "rmsprop":
        return torch.optim.RMSprop(group, rate, alpha=0.9, momentum=momentum)
    return torch.optim.SGD(group, rate, momentum=momentum)


def plain_twin(model: Model) -> Model:
    """Return a copy with the same weights in which everything is computed as it is written down, the usual way."""
    twin = copy.deepcopy(model)
    unfold(twin)
    default_layout(twin)
    plain_dropout(twin)
    return twin


def unfold(model: Model) -> None:
    """Have folded convolutions computed as they are written down.

    Upsampling and then a convolution of the large picture; a convolution of stride two.
    """
    for module in model.modules():
        # By method, not by replacing the layer: spectral normalisation hangs on the layer.
        if isinstance(module, UpsampledConv2d):
            module.forward = MethodType(_upsample_then_convolve, module)  # type: ignore[method-assign]
        elif isinstance(module, HalvingConv2d):
            module.forward = MethodType(nn.Conv2d.forward, module)  # type: ignore[method-assign]


def default_layout(model: Model) -> None:
    """Have weights and pictures in PyTorch's default layout."""
    model.to(memory_format=torch.contiguous_format)
    for module in model.modules():
        if isinstance(module, Decoder):
            module.layers.register_forward_pre_hook(lambda _, pictures: pictures[0].contiguous())


def plain_dropout(model: Model) -> None:
    """Have features dropped by PyTorch's own means."""
    for module in model.modules():
        if isinstance(module, Dropout):
            module.forward = MethodType(_drop, module)  # type: ignore[method-assign]


def _drop(layer: Dropout, features: Tensor) -> Tensor:
    return functional.dropout(features, layer.rate, layer.training)


def _upsample_then_convolve(layer: UpsampledConv2d, pictures: Tensor) -> Tensor:
    large = functional.interpolate(pictures, scale_factor=2)
    return functional.conv2d(large, layer.weight, layer.bias, padding=layer.padding)
