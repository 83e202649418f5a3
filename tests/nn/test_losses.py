"""The losses against torch.distributions, scipy, and loops too slow to be wrong."""

import math
from typing import get_args

import pytest
import torch
from scipy.stats import logistic
from torch import Tensor
from torch.distributions import Bernoulli, Normal, kl_divergence

from atlas.nn import losses
from atlas.nn.likelihood import Likelihood, LikelihoodName

N, SHAPE = 3, (2, 4, 5)


def _normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _pixels(*shape: int, seed: int = 0) -> Tensor:
    """Pixels k / 255, in which both ends occur."""
    values = torch.randint(0, 256, shape, generator=torch.Generator().manual_seed(seed)).double()
    values.view(-1)[0], values.view(-1)[-1] = 0, 255
    return values / 255


def test_bernoulli_of_binary_pixels_is_the_likelihood() -> None:
    logits = 3 * _normal(N, *SHAPE)
    images = (_normal(N, *SHAPE, seed=1) > 0).double()
    expected = -Bernoulli(logits=logits).log_prob(images).sum((1, 2, 3))
    torch.testing.assert_close(losses.bernoulli(logits, images), expected)


def test_bernoulli_of_grey_pixels_is_the_cross_entropy() -> None:
    logits, images = 2 * _normal(N, *SHAPE), _pixels(N, *SHAPE)
    for loss, image_logits, image in zip(losses.bernoulli(logits, images), logits, images, strict=True):
        slow = 0.0
        for logit, pixel in zip(image_logits.flatten().tolist(), image.flatten().tolist(), strict=True):
            p = 1 / (1 + math.exp(-logit))
            slow -= pixel * math.log(p) + (1 - pixel) * math.log(1 - p)
        assert loss.item() == pytest.approx(slow, rel=1e-10)


def test_bernoulli_stays_finite_where_the_decoder_is_sure_and_wrong() -> None:
    logits = torch.tensor([200.0, -200.0]).reshape(2, 1, 1, 1)
    assert losses.bernoulli(logits, torch.tensor([0.0, 1.0]).reshape(2, 1, 1, 1)).tolist() == [200.0, 200.0]


def test_gaussian_is_the_negative_log_density() -> None:
    means, images, log_scale = _normal(N, *SHAPE), _pixels(N, *SHAPE), _normal(2, 1, 1, seed=1)
    expected = -Normal(means, log_scale.exp()).log_prob(images).sum((1, 2, 3))
    torch.testing.assert_close(losses.gaussian(means, images, log_scale), expected)


def test_squared_error_is_the_unit_gaussian_less_its_constant() -> None:
    means, images = _normal(N, *SHAPE), _pixels(N, *SHAPE)
    constant = math.prod(SHAPE) * 0.5 * math.log(2 * math.pi)
    expected = -Normal(means, 1.0).log_prob(images).sum((1, 2, 3)) - constant
    torch.testing.assert_close(losses.squared_error(means, images), expected)


def test_gaussian_kl_is_that_of_torch_distributions() -> None:
    mean, log_variance = _normal(N, 6), _normal(N, 6, seed=1)
    posterior = Normal(mean, (0.5 * log_variance).exp())
    kl = losses.gaussian_kl(mean, log_variance)
    torch.testing.assert_close(kl, kl_divergence(posterior, Normal(torch.zeros(()).double(), 1.0)))
    assert losses.gaussian_kl(torch.zeros(2, 3), torch.zeros(2, 3)).eq(0).all(), "the prior itself has rate 0"


def test_gaussian_kl_is_the_mean_of_monte_carlo_draws() -> None:
    mean, log_variance = torch.tensor([[0.7, -1.2]]).double(), torch.tensor([[-0.9, 0.6]]).double()
    posterior = Normal(mean, (0.5 * log_variance).exp())
    torch.manual_seed(0)
    codes = posterior.sample(torch.Size([400_000]))
    draws = (posterior.log_prob(codes) - Normal(0.0, 1.0).log_prob(codes)).squeeze(1)
    error = 5 * draws.std(0) / math.sqrt(len(draws))
    assert ((losses.gaussian_kl(mean, log_variance)[0] - draws.mean(0)).abs() < error).all()


def _all_values(log_scale: float, mean: float, dtype: torch.dtype = torch.float64) -> Tensor:
    """Return -log P of each of the 256 values of one pixel."""
    images = (torch.arange(256, dtype=dtype) / 255).reshape(256, 1, 1, 1)
    means = torch.full_like(images, mean)
    return losses.discretized_logistic(means, images, torch.tensor(log_scale, dtype=dtype))


@pytest.mark.parametrize("log_scale", [-8.0, -2.0, 4.0])
@pytest.mark.parametrize("mean", [0.0, 0.3, 1.0])
def test_discretized_logistic_sums_to_one_over_the_256_values(log_scale: float, mean: float) -> None:
    assert (-_all_values(log_scale, mean)).exp().sum().item() == pytest.approx(1, abs=1e-10)


@pytest.mark.parametrize("log_scale", [-5.0, -3.0, -1.0, 1.0])
def test_discretized_logistic_is_the_difference_of_two_cumulative_probabilities(log_scale: float) -> None:
    images, means = _pixels(N, *SHAPE), _normal(N, *SHAPE).sigmoid()
    distortions = losses.discretized_logistic(means, images, torch.tensor(log_scale).double())
    for value, image, mean in zip(distortions, images, means, strict=True):
        slow = 0.0
        for pixel, center in zip(image.flatten().tolist(), mean.flatten().tolist(), strict=True):
            shape = logistic(loc=center, scale=math.exp(log_scale))
            number = round(255 * pixel)
            lower, upper = (
                (number - 0.5) / 255 if number else -math.inf,
                (number + 0.5) / 255 if number < 255 else math.inf,
            )
            # From the tail that is nearer: the difference of two numbers next to one is mostly rounding.
            near = shape.cdf(upper) - shape.cdf(lower) if pixel < center else shape.sf(lower) - shape.sf(upper)
            slow -= math.log(near)
        assert value.item() == pytest.approx(slow, rel=1e-8)


@pytest.mark.parametrize("log_scale", [-40.0, -15.0, -7.0, 0.0, 7.0, 40.0])
@pytest.mark.parametrize("mean", [0.0, 0.4])
def test_discretized_logistic_and_its_gradients_stay_finite_and_right_in_float32(log_scale: float, mean: float) -> None:
    images = (torch.arange(256) / 255).reshape(1, 1, 16, 16)
    means = torch.full_like(images, mean).requires_grad_()
    scale = torch.full((1, 1, 1), log_scale, requires_grad=True)
    loss = losses.discretized_logistic(means, images, scale)
    gradients = torch.autograd.grad(loss.sum(), [means, scale])
    assert loss.isfinite().all() and all(gradient.isfinite().all() for gradient in gradients)
    torch.testing.assert_close(loss[0].double(), _all_values(log_scale, mean).sum(), rtol=1e-3, atol=0.1)


def test_adversarial_losses_are_log_probabilities() -> None:
    logits = 4 * _normal(50)
    torch.testing.assert_close(losses.nll_real(logits), -logits.sigmoid().log())
    torch.testing.assert_close(losses.nll_fake(logits), -(1 - logits.sigmoid()).log())
    assert losses.nll_real(torch.tensor(-500.0)).item() == losses.nll_fake(torch.tensor(500.0)).item() == 500


def test_feature_cross_entropy_takes_the_target_through_a_sigmoid() -> None:
    features, target = _normal(N, 7), _normal(N, 7, seed=1)
    for loss, row, target_row in zip(losses.feature_cross_entropy(features, target), features, target, strict=True):
        slow = 0.0
        for logit, other in zip(row.tolist(), target_row.tolist(), strict=True):
            p, q = 1 / (1 + math.exp(-logit)), 1 / (1 + math.exp(-other))
            slow -= q * math.log(p) + (1 - q) * math.log(1 - p)
        assert loss.item() == pytest.approx(slow, rel=1e-10)


def test_every_loss_is_one_number_an_image_summed_over_pixels() -> None:
    """An image twice as large costs twice as much; the size of the batch changes nothing."""
    logits, images, log_scale = _normal(N, *SHAPE), _pixels(N, *SHAPE), torch.tensor(-1.0).double()
    for loss in (
        lambda a, b: losses.bernoulli(a, b),
        lambda a, b: losses.squared_error(a, b),
        lambda a, b: losses.gaussian(a, b, log_scale),
        lambda a, b: losses.discretized_logistic(a, b, log_scale),
        lambda a, b: losses.feature_cross_entropy(a, b),
    ):
        one = loss(logits, images)
        assert one.shape == (N,)
        torch.testing.assert_close(loss(logits.repeat(1, 1, 2, 1), images.repeat(1, 1, 2, 1)), 2 * one)
        torch.testing.assert_close(loss(logits[1:2], images[1:2]), one[1:2])


@pytest.mark.parametrize("kind", get_args(LikelihoodName))
def test_a_likelihood_is_best_at_the_image_itself(kind: LikelihoodName) -> None:
    likelihood = Likelihood(kind, 2).double()
    images = _pixels(1, *SHAPE).clamp(0.02, 0.98)
    logits = images.logit().requires_grad_()
    (gradient,) = torch.autograd.grad(likelihood(logits, images).sum(), logits)
    assert gradient.abs().max() < 1e-6
    assert (likelihood(logits + 0.3, images) > likelihood(logits, images)).all()


@pytest.mark.parametrize("kind", ["gaussian", "discretized_logistic"])
def test_a_likelihood_learns_a_scale_for_each_channel(kind: LikelihoodName) -> None:
    likelihood = Likelihood(kind, 2).double()
    parameters = list(likelihood.parameters())
    assert sum(parameter.numel() for parameter in parameters) == 2
    loss = likelihood(_normal(N, *SHAPE), _pixels(N, *SHAPE)).sum()
    (gradient,) = torch.autograd.grad(loss, parameters)
    assert gradient.flatten().ne(0).all() and gradient.flatten()[0] != gradient.flatten()[1]
