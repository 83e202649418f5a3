"""Schedule of a training: restarts and going on after the end, warm-up of the KL divergence, early stopping."""

from pathlib import Path
from typing import Any

import pytest
import torch
from tests.conftest import Build, Noise, optimization
from tests.training.test_loop import Stopped, bits, make_run, stop_at, train_small

from atlas.core.datasets import to_unit
from atlas.core.device import DeviceConfig
from atlas.core.files import AtlasError
from atlas.core.history import read_history
from atlas.core.model import Model
from atlas.training.checkpoint import Checkpoints
from atlas.training.optimizers import make_optimizers
from atlas.training.schedule import EarlyStopping, Schedule


def _schedule(**changes: Any) -> Schedule:
    return Schedule.of(make_run("vae", **changes), 10)


# --- restarts ---------------------------------------------------------------------------------------------------------


def test_the_schedule_begins_anew_at_each_restart() -> None:
    schedule = _schedule(epochs=8, restarts=[2, 3])
    assert schedule.steps == 80 and [schedule.progress(step) for step in (0, 10, 19, 20, 29, 30, 55, 79)] == [
        *(0.0, 0.5, 0.95, 0.0, 0.9, 0.0, 0.5, 0.98),
    ]
    assert _schedule(epochs=8).progress(40) == 0.5
    budget = make_run("vae").train
    first, whole = _schedule(epochs=2).snapshot_steps(budget, 24), schedule.snapshot_steps(budget, 24)
    assert first == [step for step in whole if step <= 20] and whole == sorted(set(whole)) and whole[-1] == 80
    assert set(schedule.epoch_ends(24)) == {*range(10, 81, 10)} <= set(whole)


@pytest.mark.parametrize("restarts", [[3], [2, 2], [2, 1], [5]])
def test_restarts_that_do_not_fit_the_epochs_are_refused(restarts: list[int]) -> None:
    with pytest.raises(AtlasError, match=r"runs.a_run.restarts: found \[.*\]; allowed: rising epochs below 3"):
        _schedule(epochs=3, restarts=restarts)


@pytest.mark.usefixtures("home", "eager")
@pytest.mark.parametrize("changes", [{"schedule": "cosine"}, {"schedule": "constant", "ema": 0.9}])
def test_a_training_that_has_ended_goes_on_from_its_kept_checkpoint(
    make: Build, noise: Noise, cpu: DeviceConfig, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any]
) -> None:
    """Two epochs, then two more: bit for bit the training of four with a restart, which none but the last two need."""
    whole = bits(*train_small(make, noise, "cvae_gan", cpu, epochs=4, restarts=[2], **changes))
    Checkpoints("a_run", "").clear()
    monkeypatch.setenv("ATLAS_KEEP_CHECKPOINTS", "1")
    ended = bits(*train_small(make, noise, "cvae_gan", cpu, epochs=2, **changes))
    steps: list[int] = []
    again = train_small(make, noise, "cvae_gan", cpu, lambda step, *_: steps.append(step), epochs=2, **changes)
    assert bits(*again) == ended and not steps, "a kept training of the same settings has nothing left to do"
    report = lambda step, *_: steps.append(step)  # noqa: E731
    longer = train_small(make, noise, "cvae_gan", cpu, report, epochs=4, restarts=[2], **changes)
    assert steps == list(range(9, 17)) and bits(*longer) == whole


@pytest.mark.usefixtures("home", "eager")
def test_a_checkpoint_behind_another_restart_is_not_resumed(
    make: Build, noise: Noise, cpu: DeviceConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(Stopped):
        train_small(make, noise, "vae", cpu, stop_at(10), epochs=4, restarts=[2])
    steps: list[int] = []
    train_small(make, noise, "vae", cpu, lambda step, *_: steps.append(step), epochs=2)
    assert steps[0] == 1 and "not resumed from step 9: its `restarts` or `epochs` differ" in capsys.readouterr().out


@pytest.mark.usefixtures("eager")
def test_the_history_grows_while_the_training_runs(make: Build, noise: Noise, cpu: DeviceConfig, home: Path) -> None:
    with pytest.raises(Stopped):
        train_small(make, noise, "vae", cpu, stop_at(9))
    (path,) = home.glob(".checkpoints/a_run-*/history.csv")
    rows = read_history(path, "train")
    assert [(row["epoch"], row["split"]) for row in rows] == [
        (str(epoch), split) for epoch in (1, 2) for split in ("train", "validation")
    ]


# --- warm-up, clipping ------------------------------------------------------------------------------------------------


def test_the_weight_of_the_kl_divergence_rises_to_one() -> None:
    schedule = _schedule(epochs=4, restarts=[2])
    assert [schedule.kl_weight(step, 0.5) for step in (0, 4, 9, 10, 39)] == [0.1, 0.5, 1.0, 1.0, 1.0]


@pytest.mark.parametrize("name", ["vae", "beta_vae", "cvae", "ac_vae", "cvae_gan"])
def test_the_warm_up_weighs_the_rate_and_nothing_else(make: Build, noise: Noise, name: str) -> None:
    model, split = make(name).train(), noise(6)
    group = next(iter(model.param_groups()))

    def losses() -> Any:
        torch.manual_seed(1)
        return model.losses(to_unit(split.images), split.labels)

    full, beta = losses(), 4.0 if name == "beta_vae" else 1.0
    model.kl_weight = torch.tensor(0.25)
    less = losses()
    torch.testing.assert_close(less[group], full[group] - 0.75 * beta * full.terms["rate"])
    model.eval()
    evaluated = losses()
    model.kl_weight = 1.0
    assert torch.equal(evaluated[group], losses()[group]), "validation counts the rate in full"


@pytest.mark.usefixtures("home", "eager")
def test_warm_up_and_clipping_resume_in_the_same_bits(make: Build, noise: Noise, cpu: DeviceConfig) -> None:
    changes: dict[str, Any] = {"kl_warm_up": 0.8, "gradient_clip": 5.0, "seed": 8}
    plain = bits(*train_small(make, noise, "cvae_gan", cpu, seed=8))
    whole = bits(*train_small(make, noise, "cvae_gan", cpu, **changes))
    assert whole[0] != plain[0]
    Checkpoints("a_run", "").clear()
    with pytest.raises(Stopped):
        train_small(make, noise, "cvae_gan", cpu, stop_at(7), **changes)
    assert bits(*train_small(make, noise, "cvae_gan", cpu, **changes)) == whole


@pytest.mark.parametrize(("limit", "factor"), [(0.5, 0.1), (50.0, 1.0), (None, 1.0)])
def test_a_longer_gradient_is_scaled_down_to_the_limit(make: Build, limit: float | None, factor: float) -> None:
    model = make("ae")
    settings = optimization("ae", optimizer="sgd", momentum=0.0, learning_rate=1.0, gradient_clip=limit)
    (group,) = make_optimizers(model, **settings)
    gradients = [torch.randn_like(parameter) for parameter in group.params]
    norm = torch.cat([gradient.flatten() for gradient in gradients]).norm()
    before = [parameter.detach().clone() for parameter in group.params]
    for parameter, gradient in zip(group.params, gradients, strict=True):
        gradient.mul_(5 / norm)
        parameter.grad = gradient.clone()
    group.step()
    for parameter, old, gradient in zip(group.params, before, gradients, strict=True):
        torch.testing.assert_close(parameter, old - factor * gradient)


@pytest.mark.usefixtures("home")
@pytest.mark.parametrize(("name", "key", "value"), [("cvae_gan", "patience", 1), ("gan", "kl_warm_up", 0.5)])
def test_what_means_nothing_to_a_model_is_refused(
    make: Build, noise: Noise, cpu: DeviceConfig, name: str, key: str, value: Any
) -> None:
    with pytest.raises(AtlasError, match=f"runs.a_run.{key}: found {value}; model '\\w+' allows .* alone"):
        train_small(make, noise, name, cpu, **{key: value})


# --- early stopping ---------------------------------------------------------------------------------------------------


@pytest.fixture
def losses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Validations whose third epoch is the best, however well the model does."""

    def validate(model: Model, *_: Any) -> dict[str, float]:
        validate.calls += 1  # type: ignore[attr-defined]
        return {"loss": [9.0, 8.0, 3.0, 5.0, 4.0, 3.0, 1.0][validate.calls % 7]}  # type: ignore[attr-defined]

    validate.calls = -1  # type: ignore[attr-defined]
    monkeypatch.setattr("atlas.training.loop.validate", validate)


@pytest.mark.usefixtures("home", "eager", "losses")
@pytest.mark.parametrize("ema", [0.0, 0.9])
def test_a_training_that_gets_no_better_ends_with_its_best_weights(
    make: Build, noise: Noise, cpu: DeviceConfig, monkeypatch: pytest.MonkeyPatch, ema: float
) -> None:
    changes: dict[str, Any] = {"schedule": "constant", "ema": ema}
    stopped, result = train_small(make, noise, "vae", cpu, epochs=7, patience=3, **changes)
    assert [row["epoch"] for row in result.history[1::2]] == [1, 2, 3, 4, 5, 6]
    assert result.snapshot_steps[-1] == 12 and result.epoch_ends == [4, 8, 12] and len(result.snapshots) > 3
    monkeypatch.setattr("atlas.training.loop.validate", lambda *_: {"loss": 0.0})
    best, _ = train_small(make, noise, "vae", cpu, epochs=3, **changes)
    assert all(map(torch.equal, stopped.state_dict().values(), best.state_dict().values()))


@pytest.mark.usefixtures("home", "eager")
def test_early_stopping_looks_at_the_loss_in_the_validation(make: Build, noise: Noise, cpu: DeviceConfig) -> None:
    _, result = train_small(make, noise, "ac_vae", cpu, patience=3)
    for row in result.history[1::2]:
        assert row["loss"] == pytest.approx(row["distortion"] + row["rate"] + 100 * row["class_cross_entropy"])


def test_without_patience_it_never_ends(make: Build) -> None:
    stopping, rows = EarlyStopping(None), [{"split": "validation", "step": 4}]
    stopping.update(rows, make("ae"))
    assert not stopping.is_over(rows) and stopping.weights is None and stopping.restore(make("ae"), rows) == 4
