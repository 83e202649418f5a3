"""Latent maps, decoding and encoding in batches, principal components, inversion."""

import copy

import numpy as np
import pytest
import torch
from scipy.stats import norm
from tests.conftest import Build, Noise
from tests.figures.linear import Linear

from atlas.core import latent
from atlas.core.datasets import to_unit
from atlas.core.schema import InversionSettings


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


def test_batches_change_no_code_and_no_image(
    make: Build, noise: Noise, monkeypatch: pytest.MonkeyPatch, variant: str
) -> None:
    model = make(variant).eval()
    split = noise(23)
    images = to_unit(split.images)
    codes = torch.randn(23, model.latent_dim)
    with torch.no_grad():
        expected = model.decode(codes, split.labels)
        expected_codes = model.encode(images, split.labels) if model.can("encode") else None
    monkeypatch.setattr(latent, "BATCH_SIZE", 5)
    decoded = latent.decode_uint8(model, codes, split.labels, torch.device("cpu"))
    assert decoded.dtype == np.uint8 and decoded.shape == (23, *model.shape)
    assert np.abs(decoded / 255 - expected.numpy()).max() <= 0.5 / 255 + 1e-5
    same = latent.decode_uint8(model, codes, 3, torch.device("cpu"))
    assert np.array_equal(same, latent.decode_uint8(model, codes, torch.full((23,), 3), torch.device("cpu")))
    if expected_codes is not None:
        torch.testing.assert_close(latent.encode_dataset(model, images, split.labels), expected_codes)


def test_pixels_are_rounded_to_the_nearest_of_256_values() -> None:
    images = torch.tensor([0.0, 1.0, 0.5, 1 / 255, 254.4 / 255, 254.6 / 255, -0.1, 1.1])
    assert latent.to_uint8(images).tolist() == [0, 255, 128, 1, 254, 255, 0, 255]
    values = torch.arange(256, dtype=torch.uint8)
    assert np.array_equal(latent.to_uint8(to_unit(values)), values.numpy())


def test_inversion_finds_the_code_that_made_an_image(make: Build) -> None:
    model = make("cgan", latent_dim=3).eval()
    # A fresh generator hardly depends on its code.
    model.get_submodule("generator").register_forward_hook(lambda *arguments: 100 * arguments[2])
    codes, labels = 0.7 * torch.randn(5, 3, generator=torch.Generator().manual_seed(1)), torch.arange(5)
    with torch.no_grad():
        images = model.decode(codes, labels)
    weights = copy.deepcopy(model.state_dict())
    inverted = latent.invert(model, images, labels, InversionSettings(steps=150, prior_weight=1.0))
    with torch.no_grad():
        error = (model.decode(inverted, labels) - images).square().mean()
        baseline = (model.decode(torch.zeros(5, 3), labels) - images).square().mean()
    assert inverted.shape == (5, 3) and error < 0.05 * baseline
    assert torch.equal(inverted, latent.invert(model, images, labels, InversionSettings(steps=150, prior_weight=1.0)))
    assert all(torch.equal(weights[name], value) for name, value in model.state_dict().items())


def test_inversion_finds_the_most_probable_code(noise: Noise) -> None:
    """Of a decoder that copies the code to pixels, z minimizes |x - z|^2 + w |z|^2 at x / (1 + w)."""
    images = to_unit(noise(6, (1, 4, 4)).images)
    for weight in (1.0, 0.01):
        settings = InversionSettings(steps=200, prior_weight=weight)
        codes = latent.invert(Linear(), images, torch.zeros(6, dtype=torch.long), settings)
        torch.testing.assert_close(codes, images.flatten(1)[:, :4] / (1 + weight), atol=0.01, rtol=0)


def test_principal_components_are_those_of_a_singular_value_decomposition() -> None:
    generator = torch.Generator().manual_seed(0)
    codes = torch.randn(300, 5, generator=generator) * torch.tensor([1.0, 4.0, 2.0, 0.5, 3.0]) + 7
    center, components, share = latent.pca(codes, 2)
    torch.testing.assert_close(center, codes.mean(0))
    _, sizes, rows = np.linalg.svd((codes - center).double().numpy())
    assert np.abs(np.diag(rows[:2] @ components.double().numpy())) == pytest.approx([1, 1], abs=1e-5)
    assert share == pytest.approx((sizes[:2] ** 2).sum() / (sizes**2).sum())
    # The same direction when all signs of the data are turned.
    torch.testing.assert_close(latent.pca(-codes, 2)[1], components)
