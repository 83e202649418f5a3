"""The training loop: each step against a slow twin, a resumed training against an uninterrupted one, divergence."""

import copy
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.conftest import PARAMS, VARIANTS, Build, Noise, optimization
from torch import Tensor, nn

from atlas.core.budgets import TrainBudget
from atlas.core.datasets import Split, to_unit
from atlas.core.device import DeviceConfig
from atlas.core.files import AtlasError
from atlas.core.history import EXPLOSION, write_history
from atlas.core.model import Losses, Model
from atlas.core.schema import SnapshotSettings, TrainingSettings
from atlas.core.settings import Run
from atlas.nn.losses import squared_error
from atlas.training import loop
from atlas.training.checkpoint import Checkpoints, fingerprint
from atlas.training.loop import TrainingResult, train, train_step, validate
from atlas.training.optimizers import ParamGroup, make_optimizers
from atlas.training.schedule import beginning

OPTIMIZERS = {"adam": torch.optim.Adam, "rmsprop": torch.optim.RMSprop, "sgd": torch.optim.SGD}
SNAPSHOTS = SnapshotSettings(map_quantile=0.05, codes=512, epochs=24, frame_bytes=2_000_000)


def _no_report(*_: object) -> None:
    pass


# --- one step ---------------------------------------------------------------------------------------------------------


def _slow_optimizers(groups: list[ParamGroup], params: dict[str, list[nn.Parameter]]) -> dict[str, Any]:
    """The textbook's loops over single tensors, with the hyper-parameters of the fast ones."""
    slow = {}
    for group in groups:
        kind: Any = type(group.optimizer)
        known = kind.__init__.__code__.co_varnames
        defaults = {**group.optimizer.defaults, "fused": False, "foreach": False}
        slow[group.name] = kind(params[group.name], **{name: defaults[name] for name in defaults if name in known})
    return slow


def _slow_gradients(model: Model, group: str, images: Tensor, labels: Tensor, state: Tensor) -> list[Tensor]:
    """One group's gradients from a forward and backward pass of its own, in a copy of the model."""
    twin = copy.deepcopy(model)
    torch.set_rng_state(state)
    twin.losses(images, labels)[group].backward()
    return [parameter.grad for parameter in twin.param_groups()[group] if parameter.grad is not None]


@pytest.mark.parametrize(
    ("name", "optimizer", "layout"),
    [
        *((name, "rmsprop", torch.channels_last) for name in VARIANTS),
        ("cvae_gan", "adam", torch.channels_last),
        ("cvae_gan", "sgd", torch.channels_last),
        ("cvae_gan", "adam", torch.contiguous_format),
        ("cvae_gan", "rmsprop", torch.contiguous_format),
        ("cvae_gan", "sgd", torch.contiguous_format),
    ],
    ids=str,
)
def test_a_step_is_every_groups_own_gradient_step(
    make: Build, noise: Noise, cpu: DeviceConfig, name: str, optimizer: str, layout: torch.memory_format
) -> None:
    fast = make(name, latent_dim=3, dropout=0.2).to(memory_format=layout)
    slow = copy.deepcopy(fast)
    # A tolerance in parameters is one in learning rates: this one is the test's own.
    groups = make_optimizers(fast, **optimization(name, optimizer=optimizer, learning_rate=0.001))
    assert all(type(group.optimizer) is OPTIMIZERS[optimizer] for group in groups)
    for group in groups:
        # Where a gradient is all but zero, dividing by its own size would make a step of the round-off.
        for options in [group.optimizer.defaults, *group.optimizer.param_groups]:
            options.update({"eps": 1e-3} if "eps" in options else {})
    slow_optimizers = _slow_optimizers(groups, slow.param_groups())
    torch.manual_seed(5)
    state = torch.get_rng_state()
    for step in range(4):
        split = noise(12, fast.shape, seed=step)
        images, labels = to_unit(split.images), split.labels
        active = [group.name for group in groups if group.updates_at(step)]
        gradients = {group: _slow_gradients(slow, group, images, labels, state) for group in active}
        for group_name in active:
            for parameter, gradient in zip(slow.param_groups()[group_name], gradients[group_name], strict=True):
                parameter.grad = gradient
        for group_name in active:
            slow_optimizers[group_name].step()
        torch.set_rng_state(state)
        train_step(fast, groups, images, labels, step, cpu)
        state = torch.get_rng_state()
        # A spectral norm's estimate goes on with every forward pass, and the slow model makes none of its own.
        for slow_buffer, buffer in zip(slow.buffers(), fast.buffers(), strict=True):
            slow_buffer.copy_(buffer)
        for (parameter_name, parameter), expected in zip(fast.named_parameters(), slow.parameters(), strict=True):
            assert (parameter - expected).abs().max().item() < 1e-6, f"{parameter_name} in step {step}"
            # Each step is compared from the same place: round-off must not grow until a maximum changes its pixel.
            expected.data.copy_(parameter.data)


# --- a whole training -------------------------------------------------------------------------------------------------


def make_run(name: str, **changes: Any) -> Run:
    budget: dict[str, Any] = {
        "epochs": 3,
        "images_seen": 1,
        "batch_size": 10,
        "min_steps": 1,
        "width": 0.125,
        "images": None,
        "frames": 5,
        "frame_grid": 2,
    }
    budget |= {key: changes.pop(key) for key in list(changes) if key in budget}
    seed = changes.pop("seed", 3)
    training = {key: changes.pop(key) for key in list(changes) if key in TrainingSettings.model_fields}
    settings = TrainingSettings(**{**PARAMS["training"], **training})
    model, differences = VARIANTS.get(name, (name, {}))
    return Run("a_run", "noise", model, seed, TrainBudget(**budget), settings, {**differences, **changes}, {})


def train_small(
    make: Build, noise: Noise, name: str, cpu: DeviceConfig, report: loop.Report = _no_report, **changes: Any
) -> tuple[Model, TrainingResult]:
    run = make_run(name, **changes)
    model = make(name, seed=run.seed, latent_dim=3, dropout=0.2)
    groups = make_optimizers(model, **optimization(name, **changes))
    torch.manual_seed(run.seed)
    checkpoints = Checkpoints(run.key, fingerprint(beginning(run), files=[]))
    return model, train(model, groups, run, SNAPSHOTS, noise(43), noise(15, seed=1), cpu, checkpoints, report)


class Stopped(Exception):
    pass


def stop_at(last: int) -> loop.Report:
    def report(step: int, *_: object) -> None:
        if step == last:
            raise Stopped

    return report


def bits(model: Model, result: TrainingResult) -> list[Any]:
    weights = [value.numpy().tobytes() for value in model.state_dict().values()]
    snapshots = [array.tobytes() for snapshot in result.snapshots for array in snapshot]
    return [weights, result.history, result.snapshot_steps, snapshots]


@pytest.mark.usefixtures("home", "eager")
@pytest.mark.parametrize("name", ["vae", "cvae_gan"])
def test_a_resumed_training_ends_in_the_same_bits(make: Build, noise: Noise, cpu: DeviceConfig, name: str) -> None:
    """Twelve steps, four an epoch: stopped before the first checkpoint, within, at and after the end of an epoch."""
    whole = bits(*train_small(make, noise, name, cpu, seed=8))
    for stops in [(1,), (3,), (4,), (5,), (12,), (2, 3, 7)]:
        Checkpoints("a_run", "").clear()
        for stop in stops:
            with pytest.raises(Stopped):
                train_small(make, noise, name, cpu, stop_at(stop), seed=8)
        steps: list[int] = []
        resumed = train_small(make, noise, name, cpu, lambda step, *_, steps=steps: steps.append(step), seed=8)
        assert steps == list(range(stops[-1], 13)), "it did not go on where the last checkpoint was"
        assert bits(*resumed) == whole, stops


@pytest.mark.usefixtures("home")
def test_how_often_checkpoints_are_made_changes_nothing(
    make: Build, noise: Noise, cpu: DeviceConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    seldom = train_small(make, noise, "cvae_gan", cpu)
    Checkpoints("a_run", "").clear()
    monkeypatch.setattr(loop, "SAVE_EVERY", -1.0)
    monkeypatch.setattr(loop, "CHECK_EVERY", 1)
    assert bits(*seldom) == bits(*train_small(make, noise, "cvae_gan", cpu))


@pytest.mark.usefixtures("home", "eager")
def test_the_seed_alone_makes_another_training(make: Build, noise: Noise, cpu: DeviceConfig) -> None:
    first, second = (train_small(make, noise, "vae", cpu, seed=seed) for seed in (1, 2))
    assert first[1].history != second[1].history
    assert bits(*first)[0] != bits(*second)[0]


@pytest.mark.usefixtures("home", "eager")
@pytest.mark.parametrize("changes", [{"seed": 4}, {"optimizer": "adam"}, {"epochs": 4}])
def test_a_checkpoint_of_other_settings_is_not_resumed(
    make: Build, noise: Noise, cpu: DeviceConfig, changes: dict[str, Any]
) -> None:
    with pytest.raises(Stopped):
        train_small(make, noise, "vae", cpu, stop_at(6))
    steps: list[int] = []
    train_small(make, noise, "vae", cpu, lambda step, *_: steps.append(step), **changes)
    assert steps[0] == 1


@pytest.mark.usefixtures("home", "eager")
def test_a_damaged_checkpoint_begins_the_training_anew(
    make: Build, noise: Noise, cpu: DeviceConfig, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(Stopped):
        train_small(make, noise, "vae", cpu, stop_at(6))
    (path,) = home.glob(".checkpoints/*/state.pt")
    path.write_bytes(path.read_bytes()[:-1])
    steps: list[int] = []
    anew = train_small(make, noise, "vae", cpu, lambda step, *_: steps.append(step))
    assert (
        steps[0] == 1
        and "cannot be resumed from (state.pt is damaged): training begins anew" in capsys.readouterr().out
    )
    Checkpoints("a_run", "").clear()
    assert bits(*anew) == bits(*train_small(make, noise, "vae", cpu))


@pytest.mark.usefixtures("home", "eager")
def test_a_snapshot_that_vanishes_during_the_training_is_one_line(
    make: Build, noise: Noise, cpu: DeviceConfig, home: Path
) -> None:
    def remove(*_: object) -> None:
        for path in home.glob(".checkpoints/*/snapshot_00000003"):
            path.unlink()

    with pytest.raises(AtlasError, match="snapshot_00000003 was changed meanwhile") as error:
        train_small(make, noise, "vae", cpu, remove)
    assert "\n" not in str(error.value)


@pytest.mark.usefixtures("home")
def test_the_history_holds_each_epochs_means(
    make: Build, noise: Noise, cpu: DeviceConfig, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    steps: list[dict[str, Tensor]] = []

    def spy(*arguments: Any) -> Losses:
        losses = train_step(*arguments)
        steps.append(losses.terms)
        return losses

    monkeypatch.setattr(loop, "train_step", spy)
    model, result = train_small(make, noise, "vae", cpu)
    rows = [(row["epoch"], row["step"], row["split"]) for row in result.history]
    assert rows == [(epoch, 4 * epoch, split) for epoch in (1, 2, 3) for split in ("train", "validation")]
    assert len(steps) == 12 and not model.training
    for epoch, row in enumerate(result.history[::2]):
        for name in set(steps[0]) - {EXPLOSION}:  # of what did not happen nothing is said
            values = [terms[name].item() for terms in steps[4 * epoch : 4 * epoch + 4]]
            assert row[name] == pytest.approx(sum(values) / 4, rel=1e-6)
    write_history(tmp_path / "history.csv", result.history)
    lines = (tmp_path / "history.csv").read_text().splitlines()
    assert len(lines) == 7 and lines[0].startswith("epoch,step,split,") and lines[2].startswith("1,4,validation,")
    assert set(lines[0].split(",")[3:]) == set(steps[0]) - {EXPLOSION}


@pytest.mark.usefixtures("home")
def test_training_lowers_the_loss(make: Build, noise: Noise, cpu: DeviceConfig) -> None:
    """One image only, learned by heart."""
    image = noise(1).images.expand(40, -1, -1, -1).contiguous() // 128 * 255
    split = Split(image, torch.zeros(40, dtype=torch.long))
    model = make("ae")
    groups = make_optimizers(model, **optimization("ae", learning_rate=0.01))
    run = make_run("ae", epochs=20)
    result = train(model, groups, run, SNAPSHOTS, split, split, cpu, Checkpoints("a_run", "x"), _no_report)
    assert result.history[-1]["reconstruction"] < 0.8 * result.history[1]["reconstruction"]


def test_validation_changes_nothing_that_training_draws_from(
    make: Build, noise: Noise, cpu: DeviceConfig, variant: str
) -> None:
    model = make(variant, dropout=0.2).train()
    weights = [value.clone() for value in model.state_dict().values()]
    state = torch.get_rng_state()
    terms = validate(model, noise(25), 10, cpu)
    assert torch.equal(torch.get_rng_state(), state) and model.training
    assert all(torch.equal(before, after) for before, after in zip(weights, model.state_dict().values(), strict=True))
    assert terms == validate(model, noise(25), 10, cpu) and all(math.isfinite(value) for value in terms.values())
    assert validate(model, noise(4), 10, cpu), "fewer images than a batch"


# --- divergence -------------------------------------------------------------------------------------------------------


class Toy(Model):
    """Two pixels are the code; the loss is no longer finite from step `breaks_at` on."""

    def __init__(self, breaks_at: int = 0) -> None:
        super().__init__((1, 8, 8), 10, 2)
        self.scale = nn.Parameter(torch.ones(2))
        self.shift = nn.Parameter(torch.zeros(10))
        self.breaks_at = breaks_at
        self.calls = 0

    def param_groups(self) -> dict[str, list[nn.Parameter]]:
        return {"scale": [self.scale], "shift": [self.shift]}

    def decode(self, codes: Tensor, labels: Tensor) -> Tensor:
        pixels = nn.functional.pad(codes * self.scale, (0, 62))
        return (pixels + self.shift[labels, None]).sigmoid().view(-1, *self.shape)

    def losses(self, images: Tensor, labels: Tensor) -> Losses:
        self.calls += self.training
        error = squared_error(self.decode(images.flatten(1)[:, :2], labels), images).mean()
        if self.training and self.calls >= self.breaks_at > 0:
            error = error / 0
        return Losses({"scale": error, "shift": 2 * error}, {"error": error, "size": self.scale.norm()})


def _train_toy(
    noise: Noise, cpu: DeviceConfig, checkpoints: Checkpoints, breaks_at: int = 0, rate: float = 0.01
) -> None:
    model, split = Toy(breaks_at), noise(100, (1, 8, 8))
    groups = make_optimizers(model, optimizer="sgd", learning_rate=rate, momentum=0.9, schedule="constant")
    train(model, groups, make_run("toy"), SNAPSHOTS, split, split, cpu, checkpoints, _no_report)


@pytest.mark.usefixtures("home")
@pytest.mark.parametrize("check_every", [1, 7, 50])
@pytest.mark.parametrize("step", [1, 10, 17, 30])
def test_a_loss_that_is_not_finite_stops_the_run(
    noise: Noise, cpu: DeviceConfig, monkeypatch: pytest.MonkeyPatch, step: int, check_every: int
) -> None:
    monkeypatch.setattr(loop, "CHECK_EVERY", check_every)
    message = rf"diverged in step {step}: scale's loss \(.*\), shift's loss \(.*\), error .*learning_rate"
    with pytest.raises(AtlasError, match=message) as error:
        _train_toy(noise, cpu, Checkpoints("a_run", "x"), breaks_at=step)
    assert "\n" not in str(error.value)


@pytest.mark.usefixtures("home")
def test_weights_that_are_not_finite_are_noticed_in_the_validation(noise: Noise, cpu: DeviceConfig) -> None:
    with pytest.raises(AtlasError, match="diverged"):
        _train_toy(noise, cpu, Checkpoints("a_run", "x"), rate=1e38)


@pytest.mark.usefixtures("home")
def test_no_checkpoint_holds_what_is_not_finite(
    noise: Noise, cpu: DeviceConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "SAVE_EVERY", -1.0)
    checkpoints = Checkpoints("a_run", "x")
    with pytest.raises(AtlasError, match=r"diverged in step 17: .* checkpoint of step 16 kept"):
        _train_toy(noise, cpu, checkpoints, breaks_at=17)
    state = checkpoints.load(torch.device("cpu"), [])
    assert state is not None and state["step"] == 16
    assert all(value.isfinite().all() for value in state["model"].values())
