"""Bounds of atlas.metrics.likelihood against a model whose likelihood is known exactly, and against a slow loop."""

import math

import pytest
import torch
from torch import Tensor

from atlas.core.latent import BATCH_SIZE
from atlas.core.model import Bound, Model
from atlas.metrics.likelihood import active_units, binarize, elbo, importance_weighted


class Linear(Model):
    """x = W z + noise: p(x) is a Gaussian in closed form. The posterior is too wide by a factor, on purpose."""

    def __init__(self, too_wide: float = 1.3) -> None:
        super().__init__((1, 2, 3), 10, 2)
        generator = torch.Generator().manual_seed(0)
        self.weight = torch.randn(6, 2, generator=generator).double()
        self.noise = 0.7
        self.too_wide = too_wide
        precision = torch.eye(2).double() + self.weight.T @ self.weight / self.noise**2
        self.covariance = torch.linalg.inv(precision)
        self.root = too_wide * torch.linalg.cholesky(self.covariance)

    def evidence(self, images: Tensor) -> Tensor:
        covariance = self.weight @ self.weight.T + self.noise**2 * torch.eye(6).double()
        zero = torch.zeros(6).double()
        return torch.distributions.MultivariateNormal(zero, covariance).log_prob(images.double().flatten(1))

    def log_weights(self, images: Tensor, labels: Tensor) -> Tensor:
        flat = images.double().flatten(1)
        mean = flat @ self.weight @ self.covariance / self.noise**2
        draw = torch.randn(len(flat), 2).double()
        codes = mean + draw @ self.root.T
        log_q = -0.5 * draw.square().sum(1) - math.log(2 * math.pi) - torch.linalg.slogdet(self.root)[1]
        log_p = -0.5 * codes.square().sum(1) - math.log(2 * math.pi)
        likely = torch.distributions.Normal(codes @ self.weight.T, self.noise).log_prob(flat).sum(1)
        return likely + log_p - log_q

    def elbo(self, images: Tensor, labels: Tensor) -> Bound:
        return Bound(-self.log_weights(images, labels), torch.zeros(len(images)))


def _data(count: int) -> tuple[Tensor, Tensor]:
    return torch.rand(count, 1, 2, 3, generator=torch.Generator().manual_seed(1)), torch.zeros(count, dtype=torch.long)


def _seed(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_the_bounds_are_in_order_and_the_tighter_reaches_the_truth() -> None:
    model, (images, labels) = Linear(), _data(300)
    truth = -model.evidence(images).mean().item()
    nelbo = elbo(model, images, labels, _seed()).rate.mean().item()
    few, mean, _ = (values.mean().item() for values in importance_weighted(model, images, labels, 5, _seed()))
    many = importance_weighted(model, images, labels, 500, _seed())[0].mean().item()
    # The exact gap: KL(q || p(z|x)) of two Gaussians with one mean and covariances in proportion.
    gap = model.too_wide**2 - 1 - 2 * math.log(model.too_wide)
    assert nelbo == pytest.approx(truth + gap, abs=0.15) and mean == pytest.approx(truth + gap, abs=0.1)
    assert truth < few < mean and many < few
    assert many == pytest.approx(truth, abs=0.01)


def test_with_the_true_posterior_every_bound_is_the_truth() -> None:
    model, (images, labels) = Linear(too_wide=1.0), _data(20)
    for samples in (1, 7):
        *bounds, effective = importance_weighted(model, images, labels, samples, _seed())
        for values in bounds:
            torch.testing.assert_close(values, -model.evidence(images))
        assert effective.tolist() == pytest.approx([samples] * 20), "all weights are equal"


def test_the_weighted_bound_is_what_a_slow_loop_says_also_across_batches() -> None:
    count = BATCH_SIZE + 3
    draws = 40 * torch.randn(4, count, generator=_seed(), dtype=torch.float64)

    class Given(Linear):
        def __init__(self) -> None:
            super().__init__()
            self.turn: dict[int, int] = {}

        def log_weights(self, images: Tensor, labels: Tensor) -> Tensor:
            first = int(labels[0])
            self.turn[first] = self.turn.get(first, -1) + 1
            return draws[self.turn[first], labels] - 2000

    images, _ = _data(count)
    found, mean, effective = importance_weighted(Given(), images, torch.arange(count), 4, _seed())
    for i in range(count):
        weights = [float(draw) for draw in draws[:, i]]
        top = max(weights)
        slow = 2000 - top - math.log(sum(math.exp(weight - top) for weight in weights) / 4)
        assert found[i].item() == pytest.approx(slow, abs=1e-9)
        assert mean[i].item() == pytest.approx(2000 - sum(weights) / 4, abs=1e-3)
        shares = [math.exp(weight - top) for weight in weights]
        assert effective[i].item() == pytest.approx(sum(shares) ** 2 / sum(share**2 for share in shares))


def test_no_samples_are_refused() -> None:
    with pytest.raises(ValueError, match="importance samples: found 0"):
        importance_weighted(Linear(), *_data(3), 0, _seed())


def test_the_binarization_is_one_for_all_and_follows_the_grey_values() -> None:
    images = torch.tensor([0.0, 0.25, 1.0]).expand(4000, 1, 1, 3)
    drawn = binarize(images)
    assert set(drawn.unique().tolist()) == {0.0, 1.0} and drawn.dtype == images.dtype
    assert drawn[..., 0].sum() == 0 and drawn[..., 2].mean() == 1
    assert drawn[..., 1].mean().item() == pytest.approx(0.25, abs=0.03)
    assert torch.equal(binarize(images), drawn) and torch.equal(binarize(drawn, seed=3), drawn)
    assert torch.equal(binarize(images[:100]), drawn[:100]), "a part of the images is a part of the set"


def test_active_units_are_those_that_vary() -> None:
    codes = torch.randn(1000, 5, generator=_seed()) * torch.tensor([1.0, 0.5, 0.2, 0.05, 0.0]) + 9
    assert active_units(codes) == 3
    with pytest.raises(ValueError, match="at least 2 codes; found 1"):
        active_units(codes[:1])
