"""A discriminator that wins for good is told of: in the history, at the end of the training, on the run's page."""

from pathlib import Path
from typing import Any

import pytest
import torch
from tests.conftest import Build

from atlas.core.datasets import Split
from atlas.core.device import DeviceConfig
from atlas.core.settings import Run, TrainBudget
from atlas.training.checkpoint import Checkpoints
from atlas.core.history import FOR_GOOD, WON, discriminator_won_since
from atlas.training.loop import train


def rows(*shares: float | str | None) -> list[dict[str, Any]]:
    """A history whose epochs have these shares, with validation rows between."""
    history = []
    for epoch, share in enumerate(shares, 1):
        history.append({"epoch": epoch, "split": "train"} | ({} if share is None else {WON: share}))
        history.append({"epoch": epoch, "split": "validation"})
    return history


@pytest.mark.parametrize(
    ("shares", "since"),
    [
        ((), None),
        ((None, None), None),
        (("", ""), None),
        ((0.0, 0.1, 0.5), None),
        ((1.0, 1.0, FOR_GOOD - 0.01), None),
        ((0.0, FOR_GOOD), 2),
        ((1.0, 0.2, 0.95, 1.0), 3),
        (("1", "0.2", "0.95", "1"), 3),
        ((1.0,), 1),
    ],
    ids=str,
)
def test_it_has_won_for_good_where_no_later_epoch_is_even(shares: tuple[float, ...], since: int | None) -> None:
    assert discriminator_won_since(rows(*shares)) == since


@pytest.mark.parametrize("name", ["gan", "cgan", "vae_gan", "cvae_gan"])
@pytest.mark.parametrize("fair", [True, False])
def test_the_history_of_a_real_training_tells(
    make: Build,
    raw: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    cpu: DeviceConfig,
    name: str,
    fair: bool,
) -> None:
    """Images of one grey value against a generator that stands still: no contest. Against one that learns, one."""
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    split = Split(torch.full((200, 1, 28, 28), 250, dtype=torch.uint8), torch.arange(200) % 10)
    settings = dict(raw["models"][name], schedule="constant", balance={})
    slow = 0.003 if fair else 1e-9
    settings["learning_rate"] = {key: 0.01 if key == "discriminator" else slow for key in settings["steps"]}
    settings["steps"] = dict.fromkeys(settings["steps"], 1)
    budget = TrainBudget(epochs=12, batch_size=20, width=0.25, images=None, frames=2, frame_grid=1)
    run = Run("duel", "noise", name, 1, budget, settings)
    model = (
        make(name, (1, 28, 28), latent_dim=4, spectral_norm=False)
        if name in ("gan", "cgan")
        else make(name, (1, 28, 28), latent_dim=4)
    )
    trained = train(model, run, split, split, cpu, Checkpoints("duel", "x"), lambda *_: None)
    assert all(0 <= row[WON] <= 1 for row in trained.history if row["split"] == "train")  # type: ignore[operator]
    assert (discriminator_won_since(trained.history) is None) == fair
