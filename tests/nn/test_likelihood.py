"""Likelihoods: binarization, and where their scale comes from."""

import pytest
import torch

from atlas.nn.likelihood import Likelihood, LikelihoodName, Noise


def test_binarized_pixels_are_drawn_anew_with_the_probability_of_their_grey() -> None:
    likelihood = Likelihood("binarized", 1)
    images = torch.tensor([0.0, 0.25, 0.5, 1.0]).expand(20_000, 1, 1, 4)
    torch.manual_seed(0)
    binary = likelihood.preprocess(images)
    assert set(binary.unique().tolist()) == {0.0, 1.0} and not torch.equal(binary, likelihood.preprocess(images))
    assert torch.equal(likelihood.preprocess(binary), binary)
    # 20,000 draws: four standard errors are 0.014 at most.
    torch.testing.assert_close(binary.mean(0).flatten(), images[0].flatten(), rtol=0, atol=0.015)
    assert torch.equal(Likelihood("bernoulli", 1).preprocess(images), images)


@pytest.mark.parametrize("kind", ["gaussian", "discretized_logistic"])
def test_the_scale_is_fixed_or_learned_or_the_decoders(kind: LikelihoodName) -> None:
    images = (torch.rand(4, 3, 8, 8) * 255).round() / 255
    kinds: tuple[Noise, ...] = ("fixed", "learned", "pixel")
    fixed, learned, per_pixel = (Likelihood(kind, 3, noise) for noise in kinds)
    likelihoods = (fixed, learned, per_pixel)
    assert [sum(p.numel() for p in likelihood.parameters()) for likelihood in likelihoods] == [0, 3, 3]
    assert [likelihood.num_outputs for likelihood in likelihoods] == [3, 3, 6]
    means, extra = torch.randn(4, 3, 8, 8), torch.zeros(4, 3, 8, 8)
    torch.testing.assert_close(per_pixel(torch.cat([means, extra], 1), images), learned(means, images))
    torch.testing.assert_close(per_pixel.mean(torch.cat([means, extra], 1)), learned.mean(means))
    larger = learned.log_scale + 0.7
    with torch.no_grad():
        learned.log_scale.copy_(larger)
    torch.testing.assert_close(per_pixel(torch.cat([means, extra + 0.7], 1), images), learned(means, images))
