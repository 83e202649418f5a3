"""The one loop: each step against a slow twin, a resumed training against an uninterrupted one."""

import copy
import itertools
import math
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from atlas.core.datasets import Split, to_unit
from atlas.core.device import DeviceConfig
from atlas.core.files import AtlasError
from atlas.core.latent import decode_uint8
from atlas.metrics.registry import known
from atlas.metrics.evaluate import evaluate
from atlas.metrics.classifier import Judge
from atlas.core import registry
from atlas.core.model import Losses, Model, Shape
from atlas.models.larsen import LIMIT
from atlas.core.model import build, register
from atlas.nn import losses as nats
from atlas.core.settings import Run, TrainBudget, check
from atlas.training import loop
from atlas.training.checkpoint import Checkpoints, fingerprint
from atlas.training.snapshots import Camera, epoch_ends, schedule, write_frames
from atlas.core.history import write_history
from atlas.training.loop import Trained, train, train_step, validate
from atlas.training.optimizers import Player, make_players, rate_factor

Build = Callable[..., Model]
Noise = Callable[..., Split]
OPTIMISERS = {"adam": torch.optim.Adam, "rmsprop": torch.optim.RMSprop, "sgd": torch.optim.SGD}


def _silent(*_: object) -> None:
    pass


# --- one step -------------------------------------------------------------------------------------------------------


def _settings(raw: dict[str, Any], member: str, **changes: Any) -> dict[str, Any]:
    return {**raw["models"][member], **changes}


def _slow_optimisers(players: list[Player], groups: dict[str, list[nn.Parameter]]) -> dict[str, torch.optim.Optimizer]:
    """The textbook's loops over single tensors, with the hyper-parameters of the fast ones."""
    slow = {}
    for player in players:
        defaults = {**player.optimiser.defaults, "fused": False, "foreach": False}
        kind = type(player.optimiser)
        slow[player.name] = kind(groups[player.name], **{k: v for k, v in defaults.items() if k in _arguments(kind)})
    return slow


def _arguments(kind: type) -> tuple[str, ...]:
    return kind.__init__.__code__.co_varnames  # type: ignore[misc]


def _slow_gradients(model: Model, player: str, images: Tensor, labels: Tensor, state: Tensor) -> list[Tensor]:
    """One player's gradients from a whole forward and backward pass of its own, in a copy of the model."""
    twin = copy.deepcopy(model)
    torch.set_rng_state(state)
    twin.losses(images, labels).players[player].backward()
    return [parameter.grad for parameter in twin.players()[player] if parameter.grad is not None]


@pytest.mark.parametrize("optimizer", OPTIMISERS)
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_a_step_is_every_players_own_gradient_step(
    make: Build,
    noise: Noise,
    raw: dict[str, Any],
    cpu: DeviceConfig,
    member: str,
    optimizer: str,
    layout: torch.memory_format,
) -> None:
    fast = make(member, latent_dim=3, dropout=0.2).to(memory_format=layout)
    slow = copy.deepcopy(fast)
    # A tolerance in parameters is one in learning rates: this one is the test's own.
    settings = _settings(raw, member, optimizer=optimizer, learning_rate=0.001)
    players = make_players(fast, settings)
    assert all(type(player.optimiser) is OPTIMISERS[optimizer] for player in players)
    for player in players:
        # Where a gradient is all but zero, dividing by its own size would make a step of the round-off.
        for group in [player.optimiser.defaults, *player.optimiser.param_groups]:
            group.update({"eps": 1e-3} if "eps" in group else {})
    slow_optimisers = _slow_optimisers(players, slow.players())
    torch.manual_seed(5)
    state = torch.get_rng_state()
    for step in range(5):
        split = noise(12, fast.shape, seed=step)
        images, labels = to_unit(split.images), split.labels
        moving = [player.name for player in players if player.moves(step)]
        gradients = {name: _slow_gradients(slow, name, images, labels, state) for name in moving}
        for name in moving:
            for parameter, gradient in zip(slow.players()[name], gradients[name], strict=True):
                parameter.grad = gradient
        for name in moving:
            slow_optimisers[name].step()
        torch.set_rng_state(state)
        train_step(fast, players, images, labels, step, cpu)
        state = torch.get_rng_state()
        # A spectral norm's estimate goes on with every forward pass, and the slow model makes none of its own.
        for mine, its in zip(slow.buffers(), fast.buffers(), strict=True):
            mine.copy_(its)
        for (name, found), expected in zip(fast.named_parameters(), slow.parameters(), strict=True):
            difference = (found - expected).abs().max().item()
            assert difference < 1e-6, f"{name} in step {step}"
            # Each step is compared from the same place: round-off must not grow until a maximum changes its pixel.
            expected.data.copy_(found.data)


def test_each_player_has_its_own_learning_rate(make: Build, raw: dict[str, Any]) -> None:
    model = make("cvae_gan")
    rates = {"encoder": 0.5, "decoder": 0.25, "discriminator": 0.125}
    for player in make_players(model, _settings(raw, "cvae_gan", learning_rate=rates)):
        assert player.learning_rate == rates[player.name]
        assert [id(p) for p in player.parameters] == [id(p) for p in model.players()[player.name]]
    assert {p.learning_rate for p in make_players(model, _settings(raw, "cvae_gan", learning_rate=0.1))} == {0.1}


@pytest.mark.parametrize("key", ["learning_rate", "steps"])
def test_players_that_the_model_has_not_are_refused(make: Build, raw: dict[str, Any], key: str) -> None:
    with pytest.raises(
        AtlasError, match=f"{key}: found players encodr; the model's players are encoder, decoder, disc"
    ):
        make_players(make("cvae_gan"), _settings(raw, "cvae_gan", **{key: {"encodr": 1}}))


@pytest.mark.parametrize("counts", [(1, 1, 1), (3, 3, 1), (1, 2, 5), (7, 3, 2), (1, 1, 1000)])
def test_steps_are_shares_spread_evenly(make: Build, raw: dict[str, Any], counts: tuple[int, int, int]) -> None:
    names = ("encoder", "decoder", "discriminator")
    settings = _settings(raw, "cvae_gan", steps=dict(zip(names, counts, strict=True)))
    most = max(counts)
    for player in make_players(make("cvae_gan"), settings):
        count = counts[names.index(player.name)]
        moves = [step for step in range(12 * most) if player.moves(step)]
        for done in range(0, 12 * most + 1, most):
            assert sum(step < done for step in moves) == done // most * count
        gaps = {later - earlier for earlier, later in itertools.pairwise(moves)}
        assert max(gaps) - min(gaps) <= 1


def test_the_learning_rate_follows_its_schedule() -> None:
    assert {rate_factor("constant", progress / 10) for progress in range(11)} == {1.0}
    factors = [rate_factor("cosine", progress / 100) for progress in range(101)]
    assert factors[0] == pytest.approx(1) and factors[100] == pytest.approx(0.02)
    assert factors[50] == pytest.approx((1 + 0.02) / 2)
    assert all(earlier > later for earlier, later in itertools.pairwise(factors))
    for progress, factor in enumerate(factors):
        assert factor == pytest.approx(0.02 + 0.98 * math.cos(math.pi * progress / 200) ** 2)


# --- a whole training -----------------------------------------------------------------------------------------------


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Checkpoints lie in a folder of the test's own."""
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _run(raw: dict[str, Any], member: str, **changes: Any) -> Run:
    budget = {"epochs": 3, "batch_size": 10, "width": 0.125, "images": None, "frames": 5, "frame_grid": 2}
    settings = {key: changes.pop(key) for key in list(changes) if key in raw["models"][member]}
    seed = changes.pop("seed", 3)
    assert not set(changes) - set(budget)
    return Run("a_run", "noise", member, seed, TrainBudget(**{**budget, **changes}), _settings(raw, member, **settings))


def _train(
    make: Build, noise: Noise, run: Run, cpu: DeviceConfig, report: loop.Report = _silent, **changes: Any
) -> tuple[Model, Trained]:
    model = make(run.model, seed=run.seed, latent_dim=3, dropout=0.2, **changes)
    torch.manual_seed(run.seed)
    checkpoints = Checkpoints(run.key, fingerprint(vars(run), str(cpu), files=[]))
    return model, train(model, run, noise(43), noise(15, seed=1), cpu, checkpoints, report)


class Stopped(Exception):
    pass


def _stop_at(wanted: int) -> loop.Report:
    def report(step: int, *_: object) -> None:
        if step == wanted:
            raise Stopped

    return report


@pytest.fixture
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """A checkpoint and a report after every step."""
    monkeypatch.setattr(loop, "SAVE_EVERY", -1.0)
    monkeypatch.setattr(loop, "CHECK_EVERY", 1)


def _bits(trained: Trained, model: Model) -> list[Any]:
    state = [value.numpy().tobytes() for value in model.state_dict().values()]
    return [
        state,
        trained.history,
        trained.frame_steps,
        [array.tobytes() for frame in trained.frames for array in frame],
    ]


@pytest.mark.usefixtures("home", "eager")
@pytest.mark.parametrize("stops", [(1,), (2,), (3,), (4,), (5,), (8,), (11,), (12,), (2, 3, 7)], ids=str)
@pytest.mark.parametrize("name", ["vae", "cvae_gan"])
def test_a_resumed_training_ends_in_the_same_bits(
    make: Build, noise: Noise, raw: dict[str, Any], cpu: DeviceConfig, name: str, stops: tuple[int, ...]
) -> None:
    """Twelve steps, four an epoch: stopped before the first checkpoint, within, at and after the end of an epoch."""
    whole_model, whole = _train(make, noise, _run(raw, name, seed=8), cpu)
    Checkpoints("a_run", "").clear()
    run = _run(raw, name, seed=8)
    for stop in stops:
        with pytest.raises(Stopped):
            _train(make, noise, run, cpu, _stop_at(stop))
    steps: list[int] = []
    model, trained = _train(make, noise, run, cpu, lambda step, *_: steps.append(step))
    assert steps == list(range(stops[-1], 13)), "it did not go on where the last checkpoint was"
    assert _bits(trained, model) == _bits(whole, whole_model)


@pytest.mark.usefixtures("home")
def test_how_often_checkpoints_are_made_changes_nothing(
    make: Build, noise: Noise, raw: dict[str, Any], cpu: DeviceConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = _run(raw, "cvae_gan")
    seldom = _train(make, noise, run, cpu)
    Checkpoints(run.key, "").clear()
    monkeypatch.setattr(loop, "SAVE_EVERY", -1.0)
    monkeypatch.setattr(loop, "CHECK_EVERY", 1)
    often = _train(make, noise, run, cpu)
    assert _bits(seldom[1], seldom[0]) == _bits(often[1], often[0])


@pytest.mark.usefixtures("home", "eager")
def test_the_seed_alone_makes_another_training(make: Build, noise: Noise, raw: dict[str, Any], cpu: DeviceConfig) -> None:
    model, trained = _train(make, noise, _run(raw, "vae", seed=1), cpu)
    other_model, other = _train(make, noise, _run(raw, "vae", seed=2), cpu)
    assert trained.history != other.history
    assert _bits(trained, model)[0] != _bits(other, other_model)[0]


@pytest.mark.usefixtures("home", "eager")
@pytest.mark.parametrize(
    "changes", [{"seed": 4}, {"gamma": 2.0}, {"width": 0.25}, {"epochs": 4}, {"optimizer": "adam"}]
)
def test_a_checkpoint_of_other_settings_is_not_resumed(
    make: Build, noise: Noise, raw: dict[str, Any], cpu: DeviceConfig, changes: dict[str, Any]
) -> None:
    with pytest.raises(Stopped):
        _train(make, noise, _run(raw, "cvae_gan"), cpu, _stop_at(6))
    steps: list[int] = []
    _train(make, noise, _run(raw, "cvae_gan", **changes), cpu, lambda step, *_: steps.append(step))
    assert steps[0] == 1


def test_the_fingerprint_covers_settings_machine_and_data(raw: dict[str, Any], tmp_path: Path) -> None:
    data = tmp_path / "images.npy"
    data.write_bytes(b"one")
    run = _run(raw, "vae")
    mark = fingerprint(vars(run), "CPU", files=[data])
    assert mark == fingerprint(vars(_run(raw, "vae")), "CPU", files=[data])
    assert mark != fingerprint(vars(run), "GPU", files=[data])
    data.write_bytes(b"two")
    assert mark != fingerprint(vars(run), "CPU", files=[data])


def test_clearing_removes_the_runs_own_checkpoints_only(home: Path) -> None:
    for run, mark in (("vae_2", "old"), ("vae_2", "new"), ("vae", "x"), ("vae_22", "x")):
        Checkpoints(run, mark).save({"step": 1})
    Checkpoints("vae_2", "new").clear()
    assert sorted(folder.name for folder in (home / ".checkpoints").iterdir()) == ["vae-x", "vae_22-x"]


def _flip(content: bytes, where: float) -> bytes:
    place = int(where * (len(content) - 1))
    return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]


@pytest.mark.usefixtures("home", "eager")
@pytest.mark.parametrize(
    "damage",
    [
        lambda content: None,
        lambda content: b"",
        lambda content: content[:100],
        lambda content: content[:-1],
        lambda content: content + b"0",
        *(lambda content, where=where: _flip(content, where) for where in (0.0, 0.001, 0.3, 0.6, 0.99, 1.0)),
    ],
)
@pytest.mark.parametrize("name", ["state.pt", "frame_00000000", "frame_00000003"])
def test_a_training_begins_anew_where_a_checkpoint_is_damaged(
    make: Build, noise: Noise, raw: dict[str, Any], cpu: DeviceConfig, home: Path, capsys: Any, name: str, damage: Any
) -> None:
    run = _run(raw, "vae")
    with pytest.raises(Stopped):
        _train(make, noise, run, cpu, _stop_at(6))
    (path,) = home.glob(f".checkpoints/*/{name}")
    content = damage(path.read_bytes())
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)
    steps: list[int] = []
    model, trained = _train(make, noise, run, cpu, lambda step, *_: steps.append(step))
    said = capsys.readouterr().out
    assert steps[0] == 1
    if content is not None or name != "state.pt":
        assert said.count("\n") == 1 and re.search(r"cannot be resumed from \(.+\): training begins anew", said), said
    Checkpoints("a_run", "").clear()
    whole_model, whole = _train(make, noise, run, cpu)
    assert _bits(trained, model) == _bits(whole, whole_model)


class Bomb:
    """Unpickled, it makes a folder."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.place),)


def test_a_checkpoint_that_would_run_code_is_not_read(home: Path, capsys: Any) -> None:
    checkpoints = Checkpoints("run", "mark")
    checkpoints.save({"step": 1, "weights": Bomb(home / "harm")})
    assert checkpoints.load(torch.device("cpu"), []) is None
    assert not (home / "harm").exists() and not checkpoints.folder.exists()
    assert "training begins anew" in capsys.readouterr().out


@pytest.mark.usefixtures("home", "eager")
def test_a_frame_that_vanishes_during_the_training_is_one_line(
    make: Build, noise: Noise, raw: dict[str, Any], cpu: DeviceConfig, home: Path
) -> None:
    def remove(step: int, *_: object) -> None:
        for path in home.glob(".checkpoints/*/frame_00000003"):
            path.unlink()

    with pytest.raises(AtlasError, match="frame_00000003 was changed meanwhile") as refusal:
        _train(make, noise, _run(raw, "vae"), cpu, remove)
    assert "\n" not in str(refusal.value)


@pytest.mark.usefixtures("home")
def test_the_history_holds_each_epochs_means(
    make: Build, noise: Noise, raw: dict[str, Any], cpu: DeviceConfig, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    seen: list[dict[str, Tensor]] = []

    def spy(*arguments: Any) -> Losses:
        losses = train_step(*arguments)
        seen.append(losses.terms)
        return losses

    monkeypatch.setattr(loop, "train_step", spy)
    model, trained = _train(make, noise, _run(raw, "vae"), cpu)
    rows = [(row["epoch"], row["step"], row["split"]) for row in trained.history]
    assert rows == [(epoch, 4 * epoch, split) for epoch in (1, 2, 3) for split in ("train", "validation")]
    assert len(seen) == 12 and not model.training
    for epoch, row in enumerate(trained.history[::2]):
        for name, values in {
            name: [terms[name].item() for terms in seen[4 * epoch : 4 * epoch + 4]] for name in seen[0]
        }.items():
            assert row[name] == pytest.approx(sum(values) / 4, rel=1e-6)
    write_history(tmp_path / "history.csv", trained.history)
    lines = (tmp_path / "history.csv").read_text().splitlines()
    assert len(lines) == 7 and lines[0].startswith("epoch,step,split,") and lines[2].startswith("1,4,validation,")
    assert set(lines[0].split(",")[3:]) == set(seen[0])


@pytest.mark.usefixtures("home")
def test_learning_makes_it_better(make: Build, noise: Noise, raw: dict[str, Any], cpu: DeviceConfig) -> None:
    """One image only, learned by heart."""
    run = _run(raw, "ae", epochs=30, schedule="cosine", learning_rate=0.01)
    image = noise(1).images.expand(40, -1, -1, -1).contiguous() // 128 * 255
    split = Split(image, torch.zeros(40, dtype=torch.long))
    model = make("ae")
    trained = train(model, run, split, split, cpu, Checkpoints("a_run", "x"), _silent)
    first, last = trained.history[1]["reconstruction"], trained.history[-1]["reconstruction"]
    assert isinstance(first, float) and isinstance(last, float) and last < 0.8 * first


def test_validation_changes_nothing_that_training_draws_from(
    make: Build, noise: Noise, cpu: DeviceConfig, member: str
) -> None:
    model = make(member, dropout=0.2).train()
    weights = [value.clone() for value in model.state_dict().values()]
    state = torch.get_rng_state()
    found = validate(model, noise(25), 10, cpu)
    assert torch.equal(torch.get_rng_state(), state) and model.training
    assert all(torch.equal(before, after) for before, after in zip(weights, model.state_dict().values(), strict=True))
    assert found == validate(model, noise(25), 10, cpu) and all(math.isfinite(value) for value in found.values())
    assert validate(model, noise(4), 10, cpu), "fewer images than a batch"


# --- a member of the family that nobody knew ------------------------------------------------------------------------


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> type[Model]:
    """A model in a few lines: the code is two pixels, the image is the code."""
    monkeypatch.setattr(registry, "_MEMBERS", dict(registry._MEMBERS))

    @register("toy")
    class Toy(Model):
        conditional = True

        def __init__(self, shape: Shape, classes: int, *, latent_dim: int, width: float, breaks_at: int) -> None:
            super().__init__(shape, classes, latent_dim)
            self.scale = nn.Parameter(torch.ones(latent_dim))
            self.shift = nn.Parameter(torch.zeros(classes))
            self.breaks_at = breaks_at
            self.calls = 0

        def players(self) -> dict[str, list[nn.Parameter]]:
            return {"scale": [self.scale], "shift": [self.shift]}

        def encode(self, images: Tensor, labels: Tensor) -> Tensor:
            return images.flatten(1)[:, : self.latent_dim] * self.scale

        def decode(self, codes: Tensor, labels: Tensor) -> Tensor:
            pixels = codes.new_zeros(len(codes), math.prod(self.shape))
            pixels[:, : self.latent_dim] = codes
            return (pixels + self.shift[labels, None]).sigmoid().view(-1, *self.shape)

        def losses(self, images: Tensor, labels: Tensor) -> Losses:
            self.calls += self.training
            error = nats.squared_error(self.decode(self.encode(images, labels), labels), images).mean()
            if self.training and self.calls >= self.breaks_at > 0:
                error = error / 0
            return Losses({"scale": error, "shift": 2 * error}, {"error": error, "size": self.scale.norm()})

    return Toy


def _toy_run(raw: dict[str, Any], **changes: Any) -> Run:
    raw["models"]["toy"] = {
        "latent_dim": 2, "optimizer": "sgd", "learning_rate": 0.01, "momentum": 0.9, "schedule": "constant",
        "breaks_at": 0,
    }  # fmt: skip
    budget = {"epochs": 3, "batch_size": 10, "width": 1.0, "images": None, "frames": 4, "frame_grid": 3}
    raw["runs"]["a_toy"] = {"dataset": "digits", "model": "toy", **budget, **changes}
    return check(raw).run("a_toy")


def _build_toy(run: Run) -> Model:
    arguments = {"latent_dim": 2, "breaks_at": run.settings["breaks_at"]}
    return build("toy", (1, 8, 8), 10, {**arguments, "width": run.train.width})


@pytest.mark.usefixtures("home", "toy")
def test_a_new_member_is_one_class_and_one_entry(
    noise: Noise, raw: dict[str, Any], cpu: DeviceConfig, tmp_path: Path
) -> None:
    run = _toy_run(raw)
    model = _build_toy(run)
    trained = train(model, run, noise(100, (1, 8, 8)), noise(20, (1, 8, 8)), cpu, Checkpoints("a_toy", "x"), _silent)
    assert trained.history[-1]["error"] < trained.history[1]["error"]  # type: ignore[operator]
    assert trained.frame_kind == "map" and trained.frames[0].images.shape == (10, 3, 3, 1, 8, 8)
    labels = noise(80, (1, 8, 8)).labels.numpy()
    classes = list("abcdefghij")
    write_frames(tmp_path / "frames.npz", trained.frame_steps, trained.frames, labels, classes, trained.frame_kind, 10)
    with np.load(tmp_path / "frames.npz", allow_pickle=False) as frames:
        assert frames["images"].shape == (len(trained.frames), 10, 3, 3, 1, 8, 8) and frames["images"].dtype == np.uint8
        assert frames["steps"].tolist() == trained.frame_steps and frames["steps"][-1] == 30
        assert frames["epoch_ends"].tolist() == [10, 20, 30]
        assert frames["labels"].tolist() == classes and frames["kind"].item() == "map"
    judge = Judge((1, 8, 8), 10, 4)
    found = evaluate(model, judge, noise(80, (1, 8, 8)), noise(90, (1, 8, 8), seed=1), torch.Generator())
    assert all(map(known, found))
    assert {"label_accuracy", "reconstruction_mse", "frechet"} <= set(found) and "nelbo" not in found
    codes = torch.tensor([[0.0, 100.0], [-100.0, 0.0]])
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    pictures = decode_uint8(model, codes, 3, torch.device("cpu"))
    assert pictures.dtype == np.uint8 and pictures[:, 0, 0, :2].tolist() == [[128, 255], [0, 128]]


@pytest.mark.usefixtures("home", "toy")
@pytest.mark.parametrize("looks", [1, 7, 50])
@pytest.mark.parametrize("step", [1, 2, 10, 17, 30])
def test_a_loss_that_is_not_finite_stops_the_run(
    noise: Noise, raw: dict[str, Any], cpu: DeviceConfig, monkeypatch: pytest.MonkeyPatch, step: int, looks: int
) -> None:
    monkeypatch.setattr(loop, "CHECK_EVERY", looks)
    run = _toy_run(raw, breaks_at=step)
    split = noise(100, (1, 8, 8))
    with pytest.raises(
        AtlasError, match=rf"diverged in step {step}: scale's loss \(.*\), shift's loss \(.*\), error .*learning_rate"
    ) as refusal:
        train(_build_toy(run), run, split, split, cpu, Checkpoints("a_toy", "x"), _silent)
    assert "\n" not in str(refusal.value)


@pytest.mark.usefixtures("home", "toy")
def test_a_step_that_breaks_the_weights_is_noticed_even_if_it_is_the_last(
    noise: Noise, raw: dict[str, Any], cpu: DeviceConfig
) -> None:
    run = _toy_run(raw, learning_rate=1e38, epochs=1)
    split = noise(10, (1, 8, 8))
    with pytest.raises(AtlasError, match="diverged"):
        train(_build_toy(run), run, split, split, cpu, Checkpoints("a_toy", "x"), _silent)


@pytest.mark.usefixtures("toy", "home")
def test_no_checkpoint_holds_what_is_not_finite(
    noise: Noise, raw: dict[str, Any], cpu: DeviceConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "SAVE_EVERY", -1.0)
    run = _toy_run(raw, breaks_at=17)
    split, checkpoints = noise(100, (1, 8, 8)), Checkpoints("a_toy", "x")
    with pytest.raises(AtlasError, match=r"diverged in step 17: .* checkpoint of step 16 kept"):
        train(_build_toy(run), run, split, split, cpu, checkpoints, _silent)
    state = checkpoints.load(torch.device("cpu"), [])
    assert state is not None and state["step"] == 16
    assert all(value.isfinite().all() for value in state["model"].values())


# --- the pictures ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("steps", "frames"), [(40, 8), (48_000, 150), (5154, 90), (10, 60), (1, 2), (2, 8)])
def test_pictures_are_taken_from_first_to_last_and_more_often_early(steps: int, frames: int) -> None:
    taken = schedule(steps, frames, steps)
    gaps = [later - earlier for earlier, later in itertools.pairwise(taken)]
    assert taken[0] == 0 and taken[-1] == steps and len(taken) <= frames and min(gaps) > 0
    assert all(isinstance(step, int) for step in taken)
    if steps > 4 * frames:
        assert len(taken) > 0.8 * frames
        assert sum(step < steps / 4 for step in taken) >= len(taken) * 0.45
        assert all(later >= earlier - 1 for earlier, later in itertools.pairwise(gaps))


@pytest.mark.parametrize(("epochs", "shown"), [(1, 1), (4, 4), (24, 24), (56, 24), (1000, 24)])
def test_pictures_are_taken_at_the_ends_of_epochs(epochs: int, shown: int) -> None:
    ends = epoch_ends(epochs * 7, 7)
    assert len(ends) == shown and ends[-1] == epochs * 7 and all(end % 7 == 0 for end in ends)
    assert set(ends) <= set(schedule(epochs * 7, 3, 7))
    gaps = {later - earlier for earlier, later in itertools.pairwise(ends)}
    assert not gaps or max(gaps) - min(gaps) <= 7


@pytest.mark.parametrize("latent_dim", [1, 2, 5])
def test_taking_a_picture_disturbs_nothing(make: Build, noise: Noise, member: str, latent_dim: int) -> None:
    model = make(member, latent_dim=latent_dim, dropout=0.3).train()
    split = noise(20)
    camera = Camera(model, 3, to_unit(split.images), split.labels, seed=4)
    weights = [value.clone() for value in model.state_dict().values()]
    state = torch.get_rng_state()
    first, second = camera.take(), camera.take()
    assert torch.equal(torch.get_rng_state(), state) and model.training
    assert all(torch.equal(before, after) for before, after in zip(weights, model.state_dict().values(), strict=True))
    assert all(parameter.grad is None for parameter in model.parameters())
    assert all(map(np.array_equal, first, second)), "the same model is drawn the same"
    labels = 10 if model.conditional else 1
    assert first.images.shape == (labels, 3, 3, *model.shape) and first.images.dtype == np.uint8
    assert first.codes.shape == (20 if model.can("encode") else 0, latent_dim) and first.codes.dtype == np.float16
    if model.can("encode"):
        with torch.no_grad():
            codes = model.eval().encode(to_unit(split.images), split.labels)
        assert np.array_equal(first.codes, codes.half().numpy())
    assert camera.kind == ("map" if latent_dim == 2 else "samples")
    model.eval()
    camera.take()
    assert not model.training


@pytest.mark.usefixtures("toy")
def test_a_map_rises_rightwards_and_up_and_keeps_its_label(noise: Noise, raw: dict[str, Any]) -> None:
    model = _build_toy(_toy_run(raw))
    with torch.no_grad():
        dict(model.named_parameters())["shift"].copy_(torch.linspace(-1, 1, 10))
    split = noise(20, (1, 8, 8))
    picture = Camera(model, 5, to_unit(split.images), split.labels, seed=0).take().images[:, :, :, 0, 0, :3].astype(int)
    assert (np.diff(picture[..., 0], axis=2) > 0).all(), "the first code dimension ascends from left to right"
    assert (np.diff(picture[..., 1], axis=1) < 0).all(), "the second code dimension is largest in the top row"
    assert (np.diff(picture[..., 2], axis=0) > 0).all(), "each label is drawn as itself"
    # From the 5 % to the 95 % quantile of N(0, 1), the middle at the mean.
    expected = torch.tensor([-1.6449, 0, 1.6449]).sigmoid() * 255
    shifted = Camera(model, 5, to_unit(split.images), split.labels, seed=0)
    with torch.no_grad():
        dict(model.named_parameters())["shift"].zero_()
    assert np.abs(shifted.take().images[0, 0, ::2, 0, 0, 0] - expected.numpy()).max() < 1
