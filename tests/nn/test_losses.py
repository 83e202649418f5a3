"""The losses against torch.distributions, scipy, and loops too slow to be wrong."""

import math

import pytest
import torch
from scipy.stats import logistic
from torch import Tensor
from torch.distributions import Bernoulli, Normal, kl_divergence

from atlas.nn import losses
from atlas.nn.likelihood import LIKELIHOODS, Likelihood

N, SHAPE = 3, (2, 4, 5)


def _draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _bytes(*shape: int, seed: int = 0) -> Tensor:
    """Pixels k / 255, in which both ends occur."""
    values = torch.randint(0, 256, shape, generator=torch.Generator().manual_seed(seed)).double()
    values.view(-1)[0], values.view(-1)[-1] = 0, 255
    return values / 255


def test_bernoulli_of_binary_pixels_is_the_likelihood() -> None:
    logits = 3 * _draw(N, *SHAPE)
    images = (_draw(N, *SHAPE, seed=1) > 0).double()
    expected = -Bernoulli(logits=logits).log_prob(images).sum((1, 2, 3))
    torch.testing.assert_close(losses.bernoulli(logits, images), expected)


def test_bernoulli_of_grey_pixels_is_the_cross_entropy() -> None:
    logits, images = 2 * _draw(N, *SHAPE), _bytes(N, *SHAPE)
    for found, image_logits, image in zip(losses.bernoulli(logits, images), logits, images, strict=True):
        slow = 0.0
        for logit, pixel in zip(image_logits.flatten().tolist(), image.flatten().tolist(), strict=True):
            p = 1 / (1 + math.exp(-logit))
            slow -= pixel * math.log(p) + (1 - pixel) * math.log(1 - p)
        assert found.item() == pytest.approx(slow, rel=1e-10)


def test_bernoulli_stays_finite_where_the_decoder_is_sure_and_wrong() -> None:
    logits = torch.tensor([200.0, -200.0]).reshape(2, 1, 1, 1)
    assert losses.bernoulli(logits, torch.tensor([0.0, 1.0]).reshape(2, 1, 1, 1)).tolist() == [200.0, 200.0]


def test_gaussian_is_the_negative_log_density() -> None:
    means, images, log_scale = _draw(N, *SHAPE), _bytes(N, *SHAPE), _draw(2, 1, 1, seed=1)
    expected = -Normal(means, log_scale.exp()).log_prob(images).sum((1, 2, 3))
    torch.testing.assert_close(losses.gaussian(means, images, log_scale), expected)


def test_squared_error_is_the_unit_gaussian_less_its_constant() -> None:
    means, images = _draw(N, *SHAPE), _bytes(N, *SHAPE)
    constant = math.prod(SHAPE) * 0.5 * math.log(2 * math.pi)
    expected = -Normal(means, 1.0).log_prob(images).sum((1, 2, 3)) - constant
    torch.testing.assert_close(losses.squared_error(means, images), expected)


def test_gaussian_rate_is_the_divergence_from_the_prior() -> None:
    mean, log_variance = _draw(N, 6), _draw(N, 6, seed=1)
    posterior = Normal(mean, (0.5 * log_variance).exp())
    rate = losses.gaussian_rate(mean, log_variance)
    torch.testing.assert_close(rate, kl_divergence(posterior, Normal(torch.zeros(()).double(), 1.0)))
    assert losses.gaussian_rate(torch.zeros(2, 3), torch.zeros(2, 3)).eq(0).all(), "the prior itself costs nothing"


def test_gaussian_rate_is_what_sampling_says() -> None:
    mean, log_variance = torch.tensor([[0.7, -1.2]]).double(), torch.tensor([[-0.9, 0.6]]).double()
    posterior = Normal(mean, (0.5 * log_variance).exp())
    torch.manual_seed(0)
    codes = posterior.sample(torch.Size([400_000]))
    draws = (posterior.log_prob(codes) - Normal(0.0, 1.0).log_prob(codes)).squeeze(1)
    error = 5 * draws.std(0) / math.sqrt(len(draws))
    assert ((losses.gaussian_rate(mean, log_variance)[0] - draws.mean(0)).abs() < error).all()


def _all_bytes(log_scale: float, mean: float, dtype: torch.dtype = torch.float64) -> Tensor:
    """Return -log P of each of the 256 values of one pixel."""
    images = (torch.arange(256, dtype=dtype) / 255).reshape(256, 1, 1, 1)
    means = torch.full_like(images, mean)
    return losses.discretized_logistic(means, images, torch.tensor(log_scale, dtype=dtype))


@pytest.mark.parametrize("log_scale", [-8.0, -5.0, -2.0, 0.0, 4.0])
@pytest.mark.parametrize("mean", [0.0, 0.3, 0.5, 1.0])
def test_discretized_logistic_is_a_distribution_over_the_bytes(log_scale: float, mean: float) -> None:
    assert (-_all_bytes(log_scale, mean)).exp().sum().item() == pytest.approx(1, abs=1e-10)


@pytest.mark.parametrize("log_scale", [-5.0, -3.0, -1.0, 1.0])
def test_discretized_logistic_is_the_difference_of_two_cumulative_probabilities(log_scale: float) -> None:
    images, means = _bytes(N, *SHAPE), _draw(N, *SHAPE).sigmoid()
    found = losses.discretized_logistic(means, images, torch.tensor(log_scale).double())
    for value, image, mean in zip(found, images, means, strict=True):
        slow = 0.0
        for pixel, centre in zip(image.flatten().tolist(), mean.flatten().tolist(), strict=True):
            shape = logistic(loc=centre, scale=math.exp(log_scale))
            number = round(255 * pixel)
            lower, upper = (
                (number - 0.5) / 255 if number else -math.inf,
                (number + 0.5) / 255 if number < 255 else math.inf,
            )
            # From the tail that is nearer: the difference of two numbers next to one is mostly rounding.
            near = shape.cdf(upper) - shape.cdf(lower) if pixel < centre else shape.sf(lower) - shape.sf(upper)
            slow -= math.log(near)
        assert value.item() == pytest.approx(slow, rel=1e-8)


@pytest.mark.parametrize("log_scale", [-40.0, -15.0, -7.0, 0.0, 7.0, 15.0, 40.0])
@pytest.mark.parametrize("mean", [0.0, 0.4, 1.0])
def test_discretized_logistic_and_its_gradients_stay_finite_and_right_in_float32(log_scale: float, mean: float) -> None:
    images = (torch.arange(256) / 255).reshape(1, 1, 16, 16)
    means = torch.full_like(images, mean).requires_grad_()
    scale = torch.full((1, 1, 1), log_scale, requires_grad=True)
    loss = losses.discretized_logistic(means, images, scale)
    gradients = torch.autograd.grad(loss.sum(), [means, scale])
    assert loss.isfinite().all() and all(gradient.isfinite().all() for gradient in gradients)
    torch.testing.assert_close(loss[0].double(), _all_bytes(log_scale, mean).sum(), rtol=1e-3, atol=0.1)


def test_adversarial_losses_are_log_probabilities() -> None:
    logits = 4 * _draw(50)
    torch.testing.assert_close(losses.real(logits), -logits.sigmoid().log())
    torch.testing.assert_close(losses.fake(logits), -(1 - logits.sigmoid()).log())
    assert losses.real(torch.tensor(-500.0)).item() == losses.fake(torch.tensor(500.0)).item() == 500


def test_feature_cross_entropy_takes_the_target_through_a_sigmoid() -> None:
    features, target = _draw(N, 7), _draw(N, 7, seed=1)
    for found, row, wanted in zip(losses.feature_cross_entropy(features, target), features, target, strict=True):
        slow = 0.0
        for logit, other in zip(row.tolist(), wanted.tolist(), strict=True):
            p, q = 1 / (1 + math.exp(-logit)), 1 / (1 + math.exp(-other))
            slow -= q * math.log(p) + (1 - q) * math.log(1 - p)
        assert found.item() == pytest.approx(slow, rel=1e-10)


def test_every_loss_is_one_number_an_image_summed_over_pixels() -> None:
    """An image twice as large costs twice as much; the size of the batch changes nothing."""
    logits, images, log_scale = _draw(N, *SHAPE), _bytes(N, *SHAPE), torch.tensor(-1.0).double()
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


@pytest.mark.parametrize("kind", LIKELIHOODS)
def test_a_likelihood_is_best_at_the_image_itself(kind: str) -> None:
    likelihood = Likelihood(kind, 2).double()
    images = _bytes(1, *SHAPE).clamp(0.02, 0.98)
    logits = images.logit().requires_grad_()
    (slope,) = torch.autograd.grad(likelihood(logits, images).sum(), logits)
    assert slope.abs().max() < 1e-6
    assert (likelihood(logits + 0.3, images) > likelihood(logits, images)).all()


@pytest.mark.parametrize("kind", ["gaussian", "discretized_logistic"])
def test_a_likelihood_learns_a_scale_for_each_channel(kind: str) -> None:
    likelihood = Likelihood(kind, 2).double()
    parameters = list(likelihood.parameters())
    assert sum(parameter.numel() for parameter in parameters) == 2
    loss = likelihood(_draw(N, *SHAPE), _bytes(N, *SHAPE)).sum()
    (slope,) = torch.autograd.grad(loss, parameters)
    assert slope.flatten().ne(0).all() and slope.flatten()[0] != slope.flatten()[1]


def test_an_unknown_likelihood_is_refused() -> None:
    with pytest.raises(ValueError, match="likelihood: found 'poisson'; allowed: bernoulli, binarized"):
        Likelihood("poisson", 1)
