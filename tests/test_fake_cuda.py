"""CUDA without a GPU: under PyTorch's FakeTensorMode each operation is checked and none is computed.

An operation that mixes devices fails there, and so does one that waits for the device to tell a number. Gradients need
a driver: with all else that only a card can show (numbers, graphs, speed) they are in test_cuda.py.
"""

from collections.abc import Iterator
from contextlib import nullcontext

import pytest
import torch
from tests.conftest import Build
from torch import Tensor, nn
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode

from atlas.core.datasets import to_unit
from atlas.core.device import DeviceConfig
from atlas.core.latent import encode_dataset, map_axes, map_codes
from atlas.core.model import Model
from atlas.metrics import distances, likelihood
from atlas.metrics.classifier import Judge, classify
from atlas.metrics.labels import style_transfer
from atlas.training.terms import FiniteCheck, RunningMean

CUDA = torch.device("cuda")
CONFIG = DeviceConfig(CUDA, bfloat16=True)
SHAPE = (3, 32, 32)

# Without a driver PyTorch turns autocast off.
pytestmark = pytest.mark.filterwarnings("ignore:CUDA is not available")


def _on_card(module: nn.Module) -> None:
    """Put a network's parameters and buffers on a card that is not there; `to` cannot bring fake ones there."""
    for part in module.modules():
        for name, values in part._parameters.items():
            if values is not None:
                part._parameters[name] = nn.Parameter(torch.empty(values.shape, dtype=values.dtype, device=CUDA))
        for name, buffer in part._buffers.items():
            if buffer is not None:
                part._buffers[name] = torch.empty(buffer.shape, dtype=buffer.dtype, device=CUDA)


@pytest.fixture
def model(make: Build, variant: str) -> Iterator[Model]:
    """One of the ten models on that card, inside the mode."""
    model = make(variant, SHAPE, latent_dim=3)
    with FakeTensorMode():
        _on_card(model)
        yield model


def _batch() -> tuple[Tensor, Tensor]:
    """Images, uint8 [12, C, H, W], and labels on that card."""
    return torch.zeros(12, *SHAPE, dtype=torch.uint8, device=CUDA), torch.zeros(12, dtype=torch.long, device=CUDA)


def test_mixed_devices_and_waiting_are_noticed() -> None:
    with FakeTensorMode():
        values = torch.zeros(3, device=CUDA)
        with pytest.raises(RuntimeError, match="device"):
            values + torch.zeros(3)
        with pytest.raises(DataDependentOutputException):
            values.sum().item()


def test_losses(model: Model) -> None:
    images, labels = _batch()
    means, finite = RunningMean(CUDA), FiniteCheck()
    with CONFIG.autocast():
        losses = model.train().losses(to_unit(images), labels)
    means.add(losses.terms)
    finite.add(1, losses)
    for value in [*losses.groups.values(), *losses.terms.values(), *means.sums.values()]:
        assert value.device.type == "cuda" and value.shape == ()


@pytest.mark.parametrize("name", ["cgan", "cvae_gan"])
def test_losses_of_augmented_images(make: Build, name: str) -> None:
    model = make(name, SHAPE, latent_dim=3, augmented=True)
    with FakeTensorMode():
        _on_card(model)
        images, labels = _batch()
        losses = model.train().losses(to_unit(images), labels)
        assert {value.device.type for value in losses.groups.values()} == {"cuda"}


def test_sampling_decoding_encoding(model: Model) -> None:
    images, labels = _batch()
    assert model.eval().sample(labels, torch.Generator().manual_seed(0)).device.type == "cuda"
    codes = map_codes(*map_axes(3, 0.05), 3)
    assert model.decode(codes.to(CUDA), labels[:9]).shape == (9, *SHAPE)
    if model.can("encode"):
        assert model.encode(to_unit(images), labels).device.type == "cuda"
        # Of snapshots and figures: on the host at once.
        assert encode_dataset(model, images, labels).device.type == "cpu"


def test_metrics(make: Build, variant: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """All that a metric computes on the device: its numbers are read off at the end."""
    # It reads a seed, which lies on the host.
    monkeypatch.setattr(likelihood, "posterior_seed", nullcontext)
    model, judge = make(variant, SHAPE, latent_dim=3).eval(), Judge(SHAPE, 10, 8)
    with FakeTensorMode():
        _on_card(model)
        _on_card(judge)
        results = _metrics(model, judge)
    assert all(values.device.type == "cuda" for values in results)


def _metrics(model: Model, judge: Judge) -> list[Tensor]:
    images, labels = _batch()
    images, generator = to_unit(images), torch.Generator().manual_seed(0)
    results = [*classify(judge, images), distances.laplacian_energies(images)]
    features = results[0]
    results += [*distances.prdc(features, features).values(), distances.feature_distances(features, features)]
    results.append(likelihood.binarize(images))
    if model.can("elbo"):
        results += likelihood.elbo(model, images, labels, generator)
    if model.can("rates"):
        results.append(likelihood.rates(model, images, labels, generator))
    if model.can("log_weights"):
        results += likelihood.importance_weighted(model, images, labels, 2, generator)
    if model.can("encode"):
        codes = model.encode(images, labels)
        results.append(distances.label_purity(codes, labels))
        if model.conditional:
            results += style_transfer(model, judge, images, labels)
    return results
