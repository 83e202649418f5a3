"""Exponential moving average of the weights: against a slow twin; it is what is validated, shown and saved."""

import copy
from pathlib import Path

import pytest
import torch
from tests.conftest import Build, Noise
from tests.training.test_loop import train_small
from torch import nn

from atlas.core.device import DeviceConfig
from atlas.training.average import Average


def test_the_average_is_the_formulas(make: Build) -> None:
    """A slow twin, number by number: buffers too, and few steps do not hold the first weights."""
    model = make("gan").train()  # batch normalization and spectral norm have buffers, one of them a whole number
    average, decay = Average(model, 0.9), 0.9
    assert average.shown is not model and not average.shown.training
    slow = {name: value.double().clone() for name, value in model.state_dict().items()}
    for step in range(1, 31):
        for value in model.state_dict().values():
            value.copy_(torch.randn(value.shape) if value.is_floating_point() else step)
        average.update(step)
        for name, value in model.state_dict().items():
            weight = 0.0 if step == 1 else min(decay, (1 + step) / (10 + step))
            kept = name.endswith(("._u", "._v")) or not value.is_floating_point()
            slow[name] = value.double() if kept else weight * slow[name] + (1 - weight) * value
    for name, value in average.shown.state_dict().items():
        torch.testing.assert_close(value.double(), slow[name], rtol=1e-4, atol=1e-5)


def test_without_decay_the_model_itself_is_shown(make: Build) -> None:
    model = make("vae")
    average = Average(model, 0.0)
    average.update(1)
    assert average.shown is model and average.averaged is None


@pytest.mark.usefixtures("home", "eager")
def test_the_average_is_validated_shown_and_saved(
    make: Build, noise: Noise, cpu: DeviceConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    updates: list[list[torch.Tensor]] = []
    update = Average.update

    def spy(average: Average, step: int) -> None:
        update(average, step)
        updates.append([copy.deepcopy(list(shown.parameters())) for shown in (average.shown, average.model)])  # type: ignore[misc]

    monkeypatch.setattr(Average, "update", spy)
    model, result = train_small(make, noise, "cvae_gan", cpu, ema=0.9)
    (averages, weights), plain = updates[-1], train_small(make, noise, "cvae_gan", cpu)
    assert all(map(torch.equal, model.parameters(), averages)) and not any(map(torch.equal, averages, weights))
    # The training itself takes no notice of it.
    assert all(map(torch.equal, weights, plain[0].parameters()))
    assert result.history[0] == plain[1].history[0] and result.history[1] != plain[1].history[1]
    same = [(a.images == b.images).all() for a, b in zip(result.snapshots, plain[1].snapshots, strict=True)]
    assert same[0] and same[1] and not any(same[2:]), "after the first step the average is the weights"


def test_a_parametrized_network_is_averaged_as_it_is_evaluated(make: Build, noise: Noise, tmp_path: Path) -> None:
    """Under a spectral norm the average of equal weights is these weights, in what the network gives."""
    model = make("cgan").eval()
    average = Average(model, 0.9)
    for step in range(1, 20):
        average.update(step)
    images = noise(4).images / 255
    networks: list[nn.Module] = [model.get_submodule("discriminator"), average.shown.get_submodule("discriminator")]
    first, second = (network(images, torch.arange(4))[0] for network in networks)
    torch.testing.assert_close(first, second)


def test_an_averaged_layer_keeps_its_spectral_norm(make: Build) -> None:
    """The largest singular value is one, by a full decomposition, while the singular vectors turn in full circles."""
    model = make("gan").train()
    average = Average(model, 0.99)
    layer, averaged = (shown.get_submodule("discriminator.second.0") for shown in (model, average.shown))
    assert isinstance(layer, nn.Conv2d) and isinstance(averaged, nn.Conv2d)
    original = layer.get_parameter("parametrizations.weight.original")
    rows, columns = original.flatten(1).shape
    for step in range(1, 200):
        angle = torch.tensor(step / 10)
        left, right = torch.zeros(rows), torch.zeros(columns)
        left[:2] = right[:2] = torch.stack([angle.cos(), angle.sin()])
        with torch.no_grad():
            original.copy_((torch.eye(rows, columns) + 0.2 * left.outer(right)).view_as(original))
        for _ in range(20):
            layer(torch.rand(1, layer.in_channels, 8, 8))
        average.update(step)
    assert torch.linalg.svdvals(averaged.weight.flatten(1))[0].item() == pytest.approx(1, rel=0.1)
