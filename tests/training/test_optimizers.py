"""Parameter groups: learning rates and their schedule, updates in proportion, gates."""

import copy
import itertools
import math
from typing import Any

import pytest
import torch
from tests.conftest import Build, Noise, optimization
from torch import Tensor

from atlas.core.datasets import to_unit
from atlas.core.device import DeviceConfig
from atlas.core.files import AtlasError
from atlas.core.model import Losses, Model
from atlas.training.loop import log_troubles, train_step
from atlas.training.optimizers import ParamGroup, cosine_schedule, make_optimizers


def _batch(noise: Noise) -> tuple[Tensor, Tensor]:
    split = noise(12)
    return to_unit(split.images), split.labels


def _step(model: Model, groups: list[ParamGroup], batch: tuple[Tensor, Tensor], step: int, cpu: DeviceConfig) -> Losses:
    losses = train_step(model, groups, *batch, step, cpu)
    log_troubles(losses, groups, step, torch.zeros(()))
    return losses


def test_each_group_has_its_own_learning_rate(make: Build) -> None:
    model = make("cvae_gan")
    rates = {"encoder": 0.5, "decoder": 0.25, "discriminator": 0.125}
    for group in make_optimizers(model, **optimization("cvae_gan", learning_rate=rates)):
        assert group.learning_rate == rates[group.name]
        assert [id(p) for p in group.params] == [id(p) for p in model.param_groups()[group.name]]
    groups = make_optimizers(model, **optimization("cvae_gan", learning_rate=0.1))
    assert {group.learning_rate for group in groups} == {0.1}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"learning_rate": {"encodr": 1.0}},
            "learning_rate: found groups encodr; the model's parameter groups are enc",
        ),
        ({"steps": {"encodr": 1}}, "steps: found groups encodr; the model's parameter groups are encoder, decoder"),
        ({"balance": {"generator": [None, 1.0]}}, "balance: found group generator; the model's parameter groups are"),
    ],
)
def test_groups_that_the_model_has_not_are_refused(make: Build, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(AtlasError, match=message):
        make_optimizers(make("cvae_gan"), **optimization("cvae_gan", **changes))


@pytest.mark.parametrize("counts", [(1, 1, 1), (3, 3, 1), (7, 3, 2), (1, 1, 1000)])
def test_updates_are_spread_evenly(make: Build, counts: tuple[int, int, int]) -> None:
    names = ("encoder", "decoder", "discriminator")
    settings = optimization("cvae_gan", steps=dict(zip(names, counts, strict=True)))
    most = max(counts)
    for group in make_optimizers(make("cvae_gan"), **settings):
        count = counts[names.index(group.name)]
        updates = [step for step in range(12 * most) if group.updates_at(step)]
        for done in range(0, 12 * most + 1, most):
            assert sum(step < done for step in updates) == done // most * count
        gaps = {later - earlier for earlier, later in itertools.pairwise(updates)}
        assert max(gaps) - min(gaps) <= 1


def test_the_learning_rate_follows_its_schedule(make: Build) -> None:
    factors = [cosine_schedule(progress / 100) for progress in range(101)]
    for progress, factor in enumerate(factors):
        assert factor == pytest.approx(0.02 + 0.98 * math.cos(math.pi * progress / 200) ** 2)
    for schedule, expected in (("constant", 0.1), ("cosine", 0.1 * factors[30])):
        (group,) = make_optimizers(make("ae"), **optimization("ae", learning_rate=0.1, schedule=schedule))
        group.set_progress(0.3)
        assert group.optimizer.param_groups[0]["lr"] == pytest.approx(expected)


def test_a_learning_rate_that_is_a_tensor_is_set_in_place(make: Build) -> None:
    (group,) = make_optimizers(make("vae"), **optimization("vae", learning_rate=0.5, schedule="constant"))
    rate = torch.tensor(0.1)
    group.optimizer.param_groups[0]["lr"] = rate
    group.set_progress(0.25)
    assert group.optimizer.param_groups[0]["lr"] is rate and rate.item() == 0.5


@pytest.mark.parametrize(
    ("name", "gated", "optimizer"),
    [
        ("cgan", "generator", "adam"),
        ("cgan", "generator", "rmsprop"),
        ("cgan", "generator", "sgd"),
        ("cvae_gan", "discriminator", "rmsprop"),
    ],
)
def test_a_shut_gate_leaves_a_group_bit_for_bit(
    make: Build, noise: Noise, cpu: DeviceConfig, name: str, gated: str, optimizer: str
) -> None:
    """Shut in steps 1 and 2, a group ends where it would without these steps: parameters and optimizer alike."""
    model = make(name)
    settings = optimization(name, optimizer=optimizer, steps=None, balance={gated: [None, 1000.0]})
    groups = make_optimizers(model, **settings)
    (group,) = [group for group in groups if group.name == gated]
    batch = _batch(noise)
    assert _step(model, groups, batch, 0, cpu).terms[f"{gated}_paused"] == 0
    before = [parameter.clone() for parameter in group.params]
    state = [value.clone() for state in group.optimizer.state.values() for value in state.values()]
    others = [parameter for other in groups if other is not group for parameter in other.params]
    others_before = [parameter.clone() for parameter in others]
    group.gate = (1000.0, None)
    for step in (1, 2):
        assert _step(model, groups, batch, step, cpu).terms[f"{gated}_paused"] == 1
    state_after = [value for state in group.optimizer.state.values() for value in state.values()]
    assert all(torch.equal(old, new) for old, new in zip(before, group.params, strict=True))
    assert all(torch.equal(old, new) for old, new in zip(state, state_after, strict=True))
    assert any(not torch.equal(old, new) for old, new in zip(others_before, others, strict=True))


@pytest.mark.parametrize("optimizer", ["adam", "rmsprop", "sgd"])
def test_an_open_gate_changes_nothing_even_if_shut_at_first(
    make: Build, noise: Noise, cpu: DeviceConfig, optimizer: str
) -> None:
    free, gated = make("gan"), make("gan")
    settings = optimization("gan", optimizer=optimizer)
    free_groups = make_optimizers(free, **settings)
    gated_groups = make_optimizers(gated, **{**settings, "balance": {"generator": [1000.0, None]}})
    batch = _batch(noise)
    start = copy.deepcopy(gated.state_dict())
    _step(gated, gated_groups, batch, 0, cpu)
    gated.load_state_dict(start)
    for group, fresh in zip(gated_groups, make_optimizers(gated, **settings), strict=True):
        if group.name == "discriminator":
            group.optimizer = fresh.optimizer
        group.gate = (0.0, 1000.0)
    for step in range(3):
        torch.manual_seed(step)
        _step(free, free_groups, batch, step, cpu)
        torch.manual_seed(step)
        _step(gated, gated_groups, batch, step, cpu)
    for (name, parameter), other in zip(free.named_parameters(), gated.parameters(), strict=True):
        assert torch.equal(parameter, other), name
