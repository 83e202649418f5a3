"""CUDA graphs of the step, with stand-ins for CUDA: what is captured and launched when, in the same bits."""

import copy
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any

import pytest
import torch
from tests.conftest import Build, Noise, optimization
from torch import Tensor

from atlas.core.datasets import Split, epoch_batches, to_unit
from atlas.core.device import DeviceConfig
from atlas.core.model import Losses, Model
from atlas.training.cuda_graph import WARM_UP, GraphedStep, StaticInputStep, make_step_fn
from atlas.training.loop import train_step
from atlas.training.optimizers import ParamGroup, make_optimizers

STEPS = 14


def _groups(model: Model, name: str, **changes: Any) -> list[ParamGroup]:
    return make_optimizers(model, **optimization(name, **changes))


def _batches(split: Split) -> Iterator[tuple[int, Tensor]]:
    for step in range(STEPS):
        yield step, next(epoch_batches(len(split), 8, 1, step))


def _slow(model: Model, groups: list[ParamGroup], split: Split, cpu: DeviceConfig) -> list[Losses]:
    """Each step on a batch gathered anew, as anybody would write it."""
    torch.manual_seed(3)
    return [
        train_step(model, groups, to_unit(split.images[indices]), split.labels[indices], step, cpu)
        for step, indices in _batches(split)
    ]


def _assert_same(model: Model, twin: Model, losses: list[Losses], expected: list[Losses]) -> None:
    for mine, its in zip(losses, expected, strict=True):
        for values, others in ((mine.groups, its.groups), (mine.terms, its.terms)):
            assert values.keys() == others.keys() and all(torch.equal(values[name], others[name]) for name in values)
    for weights, twin_weights in zip(model.state_dict().values(), twin.state_dict().values(), strict=True):
        assert torch.equal(weights, twin_weights)


def test_a_step_with_static_inputs_gives_the_same_bits(
    make: Build, noise: Noise, cpu: DeviceConfig, variant: str
) -> None:
    model = make(variant, latent_dim=3, dropout=0.2).train()
    twin, split = copy.deepcopy(model), noise(43)
    groups = _groups(model, variant)
    step_fn = make_step_fn(partial(train_step, model, groups, config=cpu), groups, split, cpu)
    assert isinstance(step_fn, StaticInputStep)
    torch.manual_seed(3)
    addresses, losses = set(), []
    for step, indices in _batches(split):
        losses.append(step_fn(indices, step))
        addresses.add(step_fn.indices.data_ptr())
    assert len(addresses) == 1
    assert not any(value.requires_grad for each in losses for value in [*each.groups.values(), *each.terms.values()])
    _assert_same(model, twin, losses, _slow(twin, _groups(twin, variant), split, cpu))


class FakeCapture:
    """CUDA's graphs as far as the host sees them: a capture makes no step, a launch makes it once, in one place."""

    def __init__(self, model: Model, groups: list[ParamGroup], step_fn: StaticInputStep) -> None:
        self.model, self.groups = model, groups
        self.captured: list[tuple[str, ...]] = []
        self.launches = 0
        self.run = step_fn.run
        self.step = -1
        step_fn.run = self._run  # type: ignore[method-assign]

    def _run(self, step: int) -> Losses:
        self.step = step
        self.losses = self.run(step)
        return self.losses

    @contextmanager
    def graph(self, graph: "FakeGraph", stream: object) -> Iterator[None]:
        weights = copy.deepcopy(self.model.state_dict())
        states = [copy.deepcopy(group.optimizer.state_dict()) for group in self.groups]
        generator = torch.get_rng_state()
        yield
        self.captured.append(tuple(group.name for group in self.groups if group.updates_at(self.step)))
        graph.step, graph.losses = self.step, self.losses
        self.model.load_state_dict(weights)
        for group, state in zip(self.groups, states, strict=True):
            group.optimizer.load_state_dict(state)
        torch.set_rng_state(generator)


class FakeGraph:
    capture: FakeCapture
    step: int
    losses: Losses

    def replay(self) -> None:
        self.capture.launches += 1
        losses = self.capture.run(self.step)
        for static, values in ((self.losses.groups, losses.groups), (self.losses.terms, losses.terms)):
            for name, value in values.items():
                static[name].copy_(value)


class FakeStream:
    def __init__(self, *_: object) -> None:
        pass

    def wait_stream(self, other: object) -> None:
        pass


@pytest.fixture
def streams(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "Stream", FakeStream)
    monkeypatch.setattr(torch.cuda, "current_stream", FakeStream)
    monkeypatch.setattr(torch.cuda, "stream", lambda _: nullcontext())
    monkeypatch.setattr(torch.cuda, "CUDAGraph", FakeGraph)


@pytest.mark.usefixtures("streams")
@pytest.mark.parametrize("balance", [{}, {"decoder": [0.5, 1.5]}], ids=["free", "gated"])
def test_each_set_of_groups_is_captured_once_and_launched_from_then_on(
    make: Build, noise: Noise, cpu: DeviceConfig, monkeypatch: pytest.MonkeyPatch, balance: dict[str, Any]
) -> None:
    model = make("cvae_gan", latent_dim=3, dropout=0.2).train()
    twin, split = copy.deepcopy(model), noise(43)
    settings = {"steps": {"encoder": 2, "decoder": 2, "discriminator": 1}, "balance": balance}
    groups = _groups(model, "cvae_gan", **settings)
    step_fn = StaticInputStep(partial(train_step, model, groups, config=cpu), split)
    FakeGraph.capture = capture = FakeCapture(model, groups, step_fn)
    monkeypatch.setattr(torch.cuda, "graph", capture.graph)
    graphed = GraphedStep(step_fn, groups)
    torch.manual_seed(3)
    losses = [copy.deepcopy(graphed(indices, step)) for step, indices in _batches(split)]
    both = ("encoder", "decoder")
    assert capture.captured == [both, (*both, "discriminator")]
    assert capture.launches == STEPS - 2 * WARM_UP
    _assert_same(model, twin, losses, _slow(twin, _groups(twin, "cvae_gan", **settings), split, cpu))


@pytest.mark.usefixtures("streams")
def test_where_nothing_can_be_captured_the_steps_go_on(
    make: Build,
    noise: Noise,
    cpu: DeviceConfig,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    model = make("gan", latent_dim=3).train()
    twin, split = copy.deepcopy(model), noise(43)
    groups = _groups(model, "gan")
    graphed = GraphedStep(StaticInputStep(partial(train_step, model, groups, config=cpu), split), groups)

    class Generator:
        def clone_state(self) -> str:
            return "fresh"

        def graphsafe_set_state(self, state: str) -> None:
            assert state == "fresh"

    @contextmanager
    def refuse(*_: object, **__: object) -> Iterator[None]:
        raise RuntimeError("operation not permitted when stream is capturing\nsecond line")
        yield

    monkeypatch.setattr(torch.cuda, "graph", refuse)
    monkeypatch.setattr(torch.cuda, "default_generators", {split.images.device.index: Generator()})
    monkeypatch.setattr(torch.cuda, "set_stream", lambda _: None)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda _: None)
    torch.manual_seed(3)
    losses = [graphed(indices, step) for step, indices in _batches(split)]
    _assert_same(model, twin, losses, _slow(twin, _groups(twin, "gan"), split, cpu))
    output = capsys.readouterr().out
    assert output.count("\n") == 1 and "cannot be captured as a CUDA graph (operation not permitted" in output
