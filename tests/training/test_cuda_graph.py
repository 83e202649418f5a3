"""Steps from still places in memory, and when they are recorded: with stand-ins for CUDA's graphs, in the same bits."""

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

from atlas.core.datasets import Split, epoch_batches, to_unit
from atlas.core.device import DeviceConfig, device_config
from atlas.core.files import AtlasError
from atlas.core.model import Losses, Model
from atlas.training.cuda_graph import WARM_UP, GraphedStep, StillStep, stepper
from atlas.training.loop import train_step
from atlas.training.optimizers import Player, make_players

Build = Callable[..., Model]
Noise = Callable[..., Split]
STEPS = 14


def _players(raw: dict[str, Any], model: Model, member: str, **changes: Any) -> list[Player]:
    return make_players(model, {**raw["models"][member], **changes})


def _batches(split: Split) -> Iterator[tuple[int, Tensor]]:
    for step in range(STEPS):
        yield step, next(epoch_batches(len(split), 8, 1, step))


def _slow(model: Model, players: list[Player], split: Split, cpu: DeviceConfig) -> list[Losses]:
    """Each step on a batch gathered anew, as anybody would write it."""
    torch.manual_seed(3)
    return [
        train_step(model, players, to_unit(split.images[chosen]), split.labels[chosen], step, cpu)
        for step, chosen in _batches(split)
    ]


def _same(model: Model, twin: Model, found: list[Losses], expected: list[Losses]) -> None:
    for mine, its in zip(found, expected, strict=True):
        for one, other in ((mine.players, its.players), (mine.terms, its.terms)):
            assert one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)
    for mine, its in zip(model.state_dict().values(), twin.state_dict().values(), strict=True):
        assert torch.equal(mine, its)


def test_a_step_from_a_still_place_gives_the_same_bits(
    make: Build, noise: Noise, raw: dict[str, Any], cpu: DeviceConfig, member: str
) -> None:
    model = make(member, latent_dim=3, dropout=0.2).train()
    twin, split = copy.deepcopy(model), noise(43)
    players = _players(raw, model, member)
    advance = stepper(partial(train_step, model, players, machine=cpu), players, split, cpu)
    assert isinstance(advance, StillStep)
    torch.manual_seed(3)
    places, found = set(), []
    for step, chosen in _batches(split):
        found.append(advance(chosen, step))
        places.add(advance.chosen.data_ptr())
    assert len(places) == 1
    assert not any(
        value.requires_grad for losses in found for value in [*losses.players.values(), *losses.terms.values()]
    )
    _same(model, twin, found, _slow(twin, _players(raw, twin, member), split, cpu))


class Recorder:
    """CUDA's graphs as far as the host sees them: recording makes no step, launching makes it once, in one place."""

    def __init__(self, model: Model, players: list[Player], still: StillStep) -> None:
        self.model, self.players, self.still = model, players, still
        self.recorded: list[tuple[str, ...]] = []
        self.launched = 0
        self.run = still.run
        self.at = -1
        still.run = self._note  # type: ignore[method-assign]

    def _note(self, step: int) -> Losses:
        self.at = step
        self.losses = self.run(step)
        return self.losses

    @contextmanager
    def graph(self, recording: "Graph", stream: object) -> Iterator[None]:
        model = copy.deepcopy(self.model.state_dict())
        optimisers = [copy.deepcopy(player.optimiser.state_dict()) for player in self.players]
        state = torch.get_rng_state()
        yield
        self.recorded.append(tuple(player.name for player in self.players if player.moves(self.at)))
        recording.step, recording.losses = self.at, self.losses
        self.model.load_state_dict(model)
        for player, saved in zip(self.players, optimisers, strict=True):
            player.optimiser.load_state_dict(saved)
        torch.set_rng_state(state)


class Graph:
    recorder: Recorder
    step: int
    losses: Losses

    def replay(self) -> None:
        self.recorder.launched += 1
        made = self.recorder.run(self.step)
        for places, values in ((self.losses.players, made.players), (self.losses.terms, made.terms)):
            for name, value in values.items():
                places[name].copy_(value)


class Stream:
    def __init__(self, *_: object) -> None:
        pass

    def wait_stream(self, other: object) -> None:
        pass


@pytest.fixture
def streams(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "Stream", Stream)
    monkeypatch.setattr(torch.cuda, "current_stream", Stream)
    monkeypatch.setattr(torch.cuda, "stream", lambda _: nullcontext())
    monkeypatch.setattr(torch.cuda, "CUDAGraph", Graph)


@pytest.mark.usefixtures("streams")
@pytest.mark.parametrize("balance", [{}, {"decoder": [0.5, 1.5]}], ids=["free", "gated"])
def test_each_set_of_players_is_recorded_once_and_launched_from_then_on(
    make: Build,
    noise: Noise,
    raw: dict[str, Any],
    cpu: DeviceConfig,
    monkeypatch: pytest.MonkeyPatch,
    balance: dict[str, Any],
) -> None:
    model = make("cvae_gan", latent_dim=3, dropout=0.2).train()
    twin, split = copy.deepcopy(model), noise(43)
    settings = {"steps": {"encoder": 2, "decoder": 2, "discriminator": 1}, "balance": balance}
    players = _players(raw, model, "cvae_gan", **settings)
    still = StillStep(partial(train_step, model, players, machine=cpu), split)
    Graph.recorder = recorder = Recorder(model, players, still)
    monkeypatch.setattr(torch.cuda, "graph", recorder.graph)
    advance = GraphedStep(still, players)
    torch.manual_seed(3)
    found = [copy.deepcopy(advance(chosen, step)) for step, chosen in _batches(split)]
    both = ("encoder", "decoder")
    assert recorder.recorded == [both, (*both, "discriminator")]
    assert recorder.launched == STEPS - 2 * WARM_UP
    _same(model, twin, found, _slow(twin, _players(raw, twin, "cvae_gan", **settings), split, cpu))


@pytest.mark.usefixtures("streams")
def test_where_nothing_can_be_recorded_the_steps_go_on(
    make: Build,
    noise: Noise,
    raw: dict[str, Any],
    cpu: DeviceConfig,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    model = make("gan", latent_dim=3).train()
    twin, split = copy.deepcopy(model), noise(43)
    players = _players(raw, model, "gan")
    advance = GraphedStep(StillStep(partial(train_step, model, players, machine=cpu), split), players)

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
    found = [advance(chosen, step) for step, chosen in _batches(split)]
    _same(model, twin, found, _slow(twin, _players(raw, twin, "gan"), split, cpu))
    said = capsys.readouterr().out
    assert said.count("\n") == 1 and "cannot be recorded as a CUDA graph (operation not permitted" in said


def test_a_rate_that_is_a_tensor_stays_where_it_is(make: Build, raw: dict[str, Any]) -> None:
    (player,) = _players(raw, make("vae"), "vae")
    rate = torch.tensor(0.5)
    player.optimiser.param_groups[0]["lr"] = rate
    player.set_rate(0.25)
    assert player.optimiser.param_groups[0]["lr"] is rate and rate.item() == 0.25


@pytest.mark.parametrize("name", ["ATLAS_GRAPH", "ATLAS_DETERMINISTIC"])
def test_the_switches_are_read_and_refused(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv("ATLAS_DEVICE", "cpu")
    monkeypatch.setenv(name, "0")
    assert device_config() == DeviceConfig(torch.device("cpu"), device_config().bfloat16), "the CPU knows neither"
    monkeypatch.setenv(name, "off")
    with pytest.raises(AtlasError, match=f"{name}: found 'off'; allowed: 0, 1"):
        device_config()
