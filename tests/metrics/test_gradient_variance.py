"""Gradient variances against closed forms of a Gaussian model, and against a slow twin."""

import math

import pytest
import torch
from torch import Tensor

from atlas.core.model import Model
from atlas.metrics.gradient_variance import gradient_variances, gradients

DIMENSIONS = 3
NOISE = 0.5


class Shift(Model):
    """x = z + noise in each pixel: the bound and all moments of its gradients have closed forms."""

    def __init__(self, mean: float = 0.3, log_variance: float = -1.0) -> None:
        super().__init__((1, 1, DIMENSIONS), 10, DIMENSIONS)
        self.at = mean, log_variance

    def posterior(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_variance = self.at
        flat = images.double().flatten(1)
        return torch.full_like(flat, mean), torch.full_like(flat, log_variance)

    def log_joint(self, images: Tensor, labels: Tensor, codes: Tensor) -> Tensor:
        flat = images.double().flatten(1)
        likely = -0.5 * ((flat - codes) / NOISE).square() - math.log(NOISE * math.sqrt(2 * math.pi))
        return (likely - 0.5 * codes.square()).sum(1)


IMAGES = torch.rand(4, 1, 1, DIMENSIONS, generator=torch.Generator().manual_seed(3))
LABELS = torch.zeros(4, dtype=torch.long)


def _seed() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def exact_gradient(model: Shift, images: Tensor) -> Tensor:
    """Of E[log p(x, z)] + entropy by mean and log-variance."""
    mean, log_variance = model.posterior(images, LABELS)
    precision = 1 / NOISE**2
    by_mean = precision * (images.double().flatten(1) - mean) - mean
    by_spread = 0.5 - 0.5 * (precision + 1) * log_variance.exp()
    return torch.cat([by_mean, by_spread], 1)


def test_all_estimate_the_same_gradient() -> None:
    model = Shift()
    torch.manual_seed(0)
    many = IMAGES[:1].expand(200_000, -1, -1, -1)
    labels = torch.zeros(len(many), dtype=torch.long)
    exact = exact_gradient(model, IMAGES[:1])[0]
    reparameterized, score, bound = gradients(model, many, labels, *model.posterior(many, labels))
    others = (bound.sum() - bound) / (len(bound) - 1)
    for found in (reparameterized, bound[:, None] * score, (bound - others)[:, None] * score):
        error = found.std(0) / math.sqrt(len(found))
        assert ((found.mean(0) - exact).abs() < 4.5 * error).all()


def test_the_reparameterized_variance_is_the_closed_form() -> None:
    """By mean: -(p + 1) sd e, of variance (p + 1)^2 sd^2. By log-variance: half sd e (a - (p + 1) sd e), a + b e^2."""
    mean, log_variance = 0.3, -1.0
    model = Shift(mean, log_variance)
    sd, slope = math.exp(log_variance / 2), 1 / NOISE**2 + 1
    pull = (IMAGES.double().flatten(1) - mean) / NOISE**2 - mean
    by_mean = torch.full_like(pull, (slope * sd) ** 2)
    by_spread = (0.5 * sd) ** 2 * (pull.square() + 2 * (slope * sd) ** 2)
    expected = torch.cat([by_mean, by_spread], 1).mean(1)
    # Each image a hundred times: 20,000 draws of it without as many calls.
    images, labels = IMAGES.repeat(100, 1, 1, 1), LABELS.repeat(100)
    variances, _, _ = gradient_variances(model, images, labels, 200, _seed())
    torch.testing.assert_close(variances.view(100, 4).mean(0), expected, rtol=0.05, atol=0)


def test_the_variances_are_those_of_a_slow_loop() -> None:
    model, draws = Shift(), 7
    found = gradient_variances(model, IMAGES, LABELS, draws, _seed())
    torch.manual_seed(int(torch.randint(2**31, (1,), generator=_seed())))
    mean, log_variance = model.posterior(IMAGES, LABELS)
    kept: list[list[Tensor]] = [[], []]
    bounds, scores = [], []
    for _ in range(draws):
        noise = torch.randn_like(mean)
        for place, reparameterized in enumerate((True, False)):
            m, v = mean.clone().requires_grad_(), log_variance.clone().requires_grad_()
            codes = m + (0.5 * v).exp() * noise
            codes = codes if reparameterized else codes.detach()
            q = torch.distributions.Normal(m, (0.5 * v).exp())
            log_q = q.log_prob(codes).sum(1) + 0.5 * DIMENSIONS * math.log(2 * math.pi)
            bound = model.log_joint(IMAGES, LABELS, codes) - log_q
            loss = bound if reparameterized else bound.detach() * log_q
            kept[place].append(torch.cat(torch.autograd.grad(loss.sum(), [m, v]), 1))
        bounds.append(bound.detach()[:, None])
        scores.append(kept[1][-1] / bounds[-1])
    with_baseline = [
        (bounds[draw] - sum(bounds[:draw] + bounds[draw + 1 :]) / (draws - 1)) * scores[draw] for draw in range(draws)
    ]
    for expected, value in zip([*kept, with_baseline], found, strict=True):
        torch.testing.assert_close(value, torch.stack(expected).var(0).mean(1))


def test_the_baseline_takes_out_what_a_constant_adds() -> None:
    """An offset of the bound, such as thousands of nats, multiplies the plain score function's variance alone."""

    class Far(Shift):
        def log_joint(self, images: Tensor, labels: Tensor, codes: Tensor) -> Tensor:
            return super().log_joint(images, labels, codes) - 9000

    near, far = (gradient_variances(model, IMAGES, LABELS, 50, _seed()) for model in (Shift(), Far()))
    torch.testing.assert_close(near[0], far[0])
    torch.testing.assert_close(near[2], far[2], rtol=1e-6, atol=0)
    assert (far[1] > 1e4 * near[1]).all() and (near[2] < near[1]).all()


def test_the_global_generator_is_left_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    gradient_variances(Shift(), IMAGES, LABELS, 2, _seed())
    assert torch.rand(1) == expected


def test_one_draw_has_no_variance() -> None:
    with pytest.raises(ValueError, match="found 1; needed: at least 2"):
        gradient_variances(Shift(), IMAGES, LABELS, 1, _seed())
