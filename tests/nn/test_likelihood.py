"""Likelihoods: binarization, and where their scale comes from."""

import math

import pytest
import torch
from scipy.stats import logistic

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
    images = (torch.rand(4, 2, 8, 8) * 255).round() / 255
    kinds: tuple[Noise, ...] = ("fixed", "learned", "pixel")
    fixed, learned, per_pixel = (Likelihood(kind, 2, noise) for noise in kinds)
    likelihoods = (fixed, learned, per_pixel)
    assert [sum(p.numel() for p in likelihood.parameters()) for likelihood in likelihoods] == [0, 2, 2]
    assert [likelihood.num_outputs for likelihood in likelihoods] == [2, 2, 4]
    means, extra = torch.randn(4, 2, 8, 8), torch.zeros(4, 2, 8, 8)
    torch.testing.assert_close(per_pixel(torch.cat([means, extra], 1), images), learned(means, images))
    torch.testing.assert_close(per_pixel.mean(torch.cat([means, extra], 1)), learned.mean(means))
    larger = learned.log_scale + 0.7
    with torch.no_grad():
        learned.log_scale.copy_(larger)
    torch.testing.assert_close(per_pixel(torch.cat([means, extra + 0.7], 1), images), learned(means, images))


def test_colors_depend_on_each_other_as_in_pixelcnn() -> None:
    """Each color with scipy; red does not depend on green, nor green on blue."""
    torch.manual_seed(0)
    likelihood = Likelihood("discretized_logistic", 3, "pixel")
    outputs = 0.5 * torch.randn(1, likelihood.num_outputs, 1, 1)
    assert likelihood.num_outputs == 9
    mean, log_scale, factors = (part.flatten().double() for part in outputs.split(3, 1))
    mean, scale = mean.sigmoid(), (likelihood.log_scale.detach().flatten() + log_scale).exp()

    def by_hand(color: list[int]) -> float:
        x, log_p = torch.tensor(color) / 255, 0.0
        shifts = [0, factors[0] * (x[0] - mean[0]), factors[1] * (x[0] - mean[0]) + factors[2] * (x[1] - mean[1])]
        for i in range(len(color)):
            cdf = logistic(float(mean[i] + shifts[i]), float(scale[i])).cdf
            upper = 1.0 if color[i] == 255 else cdf((color[i] + 0.5) / 255)
            log_p += math.log(upper - (0.0 if color[i] == 0 else cdf((color[i] - 0.5) / 255)))
        return -log_p

    def ours(colors: list[list[int]]) -> torch.Tensor:
        images = (torch.tensor(colors) / 255)[:, :, None, None]
        return likelihood(outputs.expand(len(colors), -1, -1, -1), images).detach()

    for color in ([0, 128, 255], [150, 90, 60], [255, 200, 0]):
        assert ours([color]).item() == pytest.approx(by_hand(color), rel=1e-3)
    # Over all values of blue the probabilities sum to that of red and green.
    total = ours([[180, 40, blue] for blue in range(256)]).double().neg().logsumexp(0)
    assert -total.item() == pytest.approx(by_hand([180, 40]), rel=1e-4)
    torch.testing.assert_close(likelihood.mean(outputs).flatten().double(), mean, rtol=0, atol=1e-6)
