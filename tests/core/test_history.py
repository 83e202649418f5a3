"""Discriminator dominance, from the rows of a history and in real trainings."""

from typing import Any

import pytest
import torch
from tests.conftest import Build, optimization

from atlas.core.device import DeviceConfig
from atlas.core.history import DOMINANCE, EXPLOSION, TROUBLE_SHARE, trouble_since, troubles
from atlas.core.model import Losses
from atlas.training.loop import log_troubles, train_step
from atlas.training.optimizers import make_optimizers


def rows(*shares: float | str | None) -> list[dict[str, Any]]:
    """A history whose epochs have these shares, with validation rows between."""
    history = []
    for epoch, share in enumerate(shares, 1):
        history.append({"epoch": epoch, "split": "train"} | ({} if share is None else {DOMINANCE: share}))
        history.append({"epoch": epoch, "split": "validation"})
    return history


@pytest.mark.parametrize(
    ("shares", "since"),
    [
        ((), None),
        ((None, None), None),
        (("", ""), None),
        ((0.0, 0.1, 0.5), None),
        ((1.0, 1.0, TROUBLE_SHARE - 0.01), None),
        ((0.0, TROUBLE_SHARE), 2),
        ((1.0, 0.2, 0.95, 1.0), 3),
        (("1", "0.2", "0.95", "1"), 3),
        ((1.0,), 1),
    ],
    ids=str,
)
def test_it_dominates_since_the_epoch_after_which_none_is_even(shares: tuple[float, ...], since: int | None) -> None:
    assert trouble_since(rows(*shares), DOMINANCE) == since


@pytest.mark.parametrize("variant_name", ["gan", "cvae_gan"])
@pytest.mark.parametrize("fair", [True, False])
def test_a_real_training_is_told_apart(make: Build, cpu: DeviceConfig, variant_name: str, fair: bool) -> None:
    """Images of one grey value against a generator that stands still: no contest. Against one that learns, one."""
    images, labels = torch.full((20, 1, 16, 16), 250 / 255), torch.arange(20) % 10
    changes = {"spectral_norm": False} if variant_name == "gan" else {}
    model = make(variant_name, latent_dim=4, **changes).train()
    settings = optimization(variant_name, schedule="constant", balance={}, steps=None)
    rates = {group: 0.01 if group == "discriminator" else 0.003 if fair else 1e-9 for group in model.param_groups()}
    groups = make_optimizers(model, **{**settings, "learning_rate": rates})
    torch.manual_seed(1)
    epochs, first_loss = [], torch.zeros(())
    for _ in range(5):
        shares = []
        for step in range(8):
            losses = train_step(model, groups, images, labels, step, cpu)
            log_troubles(losses, groups, step, first_loss)
            shares.append(losses.terms[DOMINANCE].item())
        epochs.append(sum(shares) / 8)
    assert (trouble_since(rows(*epochs), DOMINANCE) is None) == fair


def test_a_loss_that_explodes_and_stays_finite_is_said() -> None:
    first_loss = torch.zeros(())
    shares = []
    for step, value in enumerate([-200.0, 150.0, 2001.0, 3.7e10, 3.7e10]):
        losses = Losses({"autoencoder": torch.tensor(value)}, {})
        log_troubles(losses, [], step, first_loss)
        shares.append(losses.terms[EXPLOSION].item())
    assert shares == [0, 0, 1, 1, 1]
    history = [{"epoch": epoch, "split": "train", EXPLOSION: share} for epoch, share in enumerate(shares, 1)]
    assert troubles(history) == [
        "the loss has exploded: it is more than 10 times that of the first step (since epoch 3)"
    ]
    assert troubles(history[:2]) == troubles([*history, {"epoch": 6, "split": "train"}]) == []
