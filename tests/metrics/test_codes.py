"""Codes as the decoder sees them."""

from collections.abc import Callable

import pytest
import torch

from atlas.core.datasets import Split, to_unit
from atlas.core.latent import fitted_gaussian
from atlas.core.model import Model
from atlas.metrics.codes import aggregate_variances

Build = Callable[..., Model]
Noise = Callable[..., Split]


def test_sampled_codes_have_the_posteriors_moments(make: Build, noise: Noise, variant: str) -> None:
    """Its KL divergence from N(0, I), of the moments over many draws, is the model's own rate."""
    model = make(variant, latent_dim=3).eval()
    if not model.can("encode"):
        return
    image, label = to_unit(noise(1).images).round(), torch.tensor([7])
    many = image.expand(4000, -1, -1, -1), label.expand(4000)
    torch.manual_seed(0)
    with torch.no_grad():
        codes, mean = model.sample_posterior(*many).double(), model.encode(image, label)
    if variant == "ae":
        assert torch.equal(codes, model.encode(*many).double())
        return
    if variant != "vae_iaf":
        assert ((codes.mean(0) - mean).abs() < 4.5 * codes.std(0) / 4000**0.5).all()
    divergence = 0.5 * (codes.mean(0).square() + codes.var(0) - 1 - codes.var(0).log())
    with torch.no_grad():
        rates = model.rates(*many).double().mean(0)
    torch.testing.assert_close(divergence, rates, rtol=0.1, atol=0.1)


def test_a_fitted_gaussian_has_the_codes_mean_and_covariance() -> None:
    """Also of fewer codes than dimensions, whose covariance is singular."""
    generator = torch.Generator().manual_seed(0)
    for count, size in ((500, 3), (4, 6)):
        codes = 2 + torch.randn(count, size, generator=generator) @ torch.randn(size, size, generator=generator)
        drawn = fitted_gaussian(codes, 40_000, generator)
        scale = codes.var(0).mean().item()
        torch.testing.assert_close(drawn.mean(0), codes.mean(0), rtol=0, atol=0.05 * scale)
        torch.testing.assert_close(drawn.T.cov(), codes.T.cov(), rtol=0, atol=0.05 * scale)
        assert aggregate_variances(drawn).mean().item() == pytest.approx(scale, rel=0.05)
