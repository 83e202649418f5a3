"""Walks through the latent space: which codes, in which order, and what becomes of them."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy.stats import norm

from atlas.core import latent
from atlas.core.datasets import Split, to_unit
from atlas.core.model import Model

Build = Callable[..., Model]
Noise = Callable[..., Split]


@pytest.mark.parametrize(("side", "quantile"), [(15, 0.05), (2, 0.01), (7, 0.3)])
def test_a_map_has_equal_steps_of_probability(side: int, quantile: float) -> None:
    first, second = latent.map_axes(side, quantile)
    np.testing.assert_allclose(norm.cdf(first.numpy()), np.linspace(quantile, 1 - quantile, side), atol=1e-6)
    assert torch.equal(second, first.flip(0)) and first.dtype == torch.float32


@pytest.mark.parametrize("latent_dim", [1, 2, 5])
def test_without_a_prior_the_map_covers_where_the_codes_are(latent_dim: int) -> None:
    codes = 3 * torch.randn(1000, latent_dim, generator=torch.Generator().manual_seed(0)) + torch.arange(latent_dim)
    first, second = latent.map_axes(5, 0.1, codes)
    for axis, values in ((0, first), (min(1, latent_dim - 1), second.flip(0))):
        low, high = np.quantile(codes[:, axis].numpy(), [0.1, 0.9])
        np.testing.assert_allclose(values.numpy(), np.linspace(low, high, 5), atol=1e-5)


@pytest.mark.parametrize("latent_dim", [1, 2, 4])
def test_a_map_is_laid_out_as_it_is_drawn(latent_dim: int) -> None:
    """Row by row from the top, where the second dimension is largest; the dimensions that are not drawn stay zero."""
    codes = latent.map_codes(torch.tensor([1.0, 2, 3]), torch.tensor([20.0, 10]), latent_dim)
    expected = [[1, 20], [2, 20], [3, 20], [1, 10], [2, 10], [3, 10]]
    assert codes.tolist() == [[*row, 0, 0][:latent_dim] for row in expected]


def test_codes_and_pictures_are_those_of_the_model_in_any_number(
    make: Build, noise: Noise, monkeypatch: pytest.MonkeyPatch, member: str
) -> None:
    model = make(member).eval()
    split = noise(23)
    images = to_unit(split.images)
    codes = torch.randn(23, model.latent_dim)
    with torch.no_grad():
        expected = model.decode(codes, split.labels)
        expected_codes = model.encode(images, split.labels) if model.can("encode") else None
    monkeypatch.setattr(latent, "BATCH", 5)
    pictures = latent.decode_uint8(model, codes, split.labels, torch.device("cpu"))
    assert pictures.dtype == np.uint8 and pictures.shape == (23, *model.shape)
    assert np.abs(pictures / 255 - expected.numpy()).max() <= 0.5 / 255 + 1e-5
    same = latent.decode_uint8(model, codes, 3, torch.device("cpu"))
    assert np.array_equal(same, latent.decode_uint8(model, codes, torch.full((23,), 3), torch.device("cpu")))
    if expected_codes is not None:
        torch.testing.assert_close(latent.encode_dataset(model, images, split.labels), expected_codes)


def test_pixels_become_the_nearest_byte() -> None:
    images = torch.tensor([0.0, 1.0, 0.5, 1 / 255, 254.4 / 255, 254.6 / 255, -0.1, 1.1])
    assert latent.to_uint8(images).tolist() == [0, 255, 128, 1, 254, 255, 0, 255]
    every = torch.arange(256, dtype=torch.uint8)
    assert np.array_equal(latent.to_uint8(to_unit(every)), every.numpy())
