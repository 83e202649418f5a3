"""The flow against autograd's Jacobian, and the model built on it against the VAE."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.distributions import Normal

from atlas.core.datasets import Split, to_unit
from atlas.core.model import Model
from atlas.nn.flows import InverseAutoregressiveFlow, Made, MaskedLinear

Build = Callable[..., Model]
Noise = Callable[..., Split]
SIZES = [(1, 1), (2, 1), (5, 1), (5, 2), (5, 3), (8, 4)]


def _flow(size: int, steps: int) -> InverseAutoregressiveFlow:
    torch.manual_seed(size + 10 * steps)
    flow = InverseAutoregressiveFlow(size, 3, 23, steps).double()
    # Fresh weights leave the code nearly as it is: nothing could be told from that.
    for parameter in flow.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return flow


def _exact(module: torch.nn.Module) -> Callable[..., Any]:
    """Networks hand on float32; here they are to keep float64."""

    def call(*inputs: Tensor) -> Any:
        float32, Tensor.float = Tensor.float, Tensor.double  # type: ignore[method-assign]
        try:
            return module(*inputs)
        finally:
            Tensor.float = float32  # type: ignore[method-assign]

    return call


def _jacobian(flow: Callable[..., Any], z: Tensor, h: Tensor) -> Tensor:
    """dz'/dz [d, d] of one code [d] in its context."""
    return torch.autograd.functional.jacobian(lambda code: flow(code[None], h[None])[0][0], z)


@pytest.mark.parametrize(("size", "steps"), SIZES)
def test_the_log_determinant_is_that_of_autograds_jacobian(size: int, steps: int) -> None:
    flow = _exact(_flow(size, steps))
    z, h = torch.randn(4, size, dtype=torch.float64), torch.randn(4, 3, dtype=torch.float64)
    _, log_sigma = flow(z, h)
    for place in range(4):
        jacobian = _jacobian(flow, z[place], h[place])
        assert abs(torch.linalg.slogdet(jacobian)[1] - log_sigma[place].sum()) < 1e-5


@pytest.mark.parametrize("size", [1, 2, 5, 8])
def test_a_step_sees_only_the_dimensions_before_its_own(size: int) -> None:
    step = _flow(size, 1).steps[0]
    assert isinstance(step, Made)
    z, h = torch.randn(size, dtype=torch.float64), torch.randn(1, 3, dtype=torch.float64)
    for part in (0, 1):
        jacobian = torch.autograd.functional.jacobian(lambda code, p=part: _exact(step)(code[None], h)[p][0], z)
        assert (jacobian.triu() == 0).all()
        below = jacobian[tuple(torch.tril_indices(size, size, -1))]
        assert (below != 0).all(), "a dimension before its own that it does not see"


def test_few_units_are_spread_over_many_dimensions() -> None:
    """With 23 units for 40 dimensions, an output may miss the dimension or two just before its own, and no others."""
    step = _exact(_flow(40, 1).steps[0])
    z, h = torch.randn(40, dtype=torch.float64), torch.randn(1, 3, dtype=torch.float64)
    for part in (0, 1):
        jacobian = torch.autograd.functional.jacobian(lambda code, p=part: step(code[None], h)[p][0], z)
        assert (jacobian.triu() == 0).all()
        assert (jacobian[tuple(torch.tril_indices(40, 40, -3))] != 0).all()


@pytest.mark.parametrize("size", [2, 5])
def test_every_output_sees_the_context(size: int) -> None:
    step = _exact(_flow(size, 1).steps[0])
    z, h = torch.randn(1, size, dtype=torch.float64), torch.randn(3, dtype=torch.float64)
    for part in (0, 1):
        assert (torch.autograd.functional.jacobian(lambda c, p=part: step(z, c[None])[p][0], h) != 0).all()


def test_the_order_is_reversed_between_steps() -> None:
    """One step's Jacobian is lower triangular, two steps' is not, and the last dimension leads in the second."""
    z, h = torch.randn(5, dtype=torch.float64), torch.randn(1, 3, dtype=torch.float64)
    one, two = (_jacobian(_exact(_flow(5, steps)), z, h[0]) for steps in (1, 2))
    assert (one.triu(1) == 0).all() and (two.triu(1) != 0).any()
    flow = _flow(5, 2)
    first, second = flow.steps
    codes = torch.randn(4, 5, dtype=torch.float64)
    contexts = torch.randn(4, 3, dtype=torch.float64)
    expected = codes
    for step in (first, second):
        m, s = _exact(step)(expected, contexts)
        sigma = 1 / (1 + torch.exp(-(s + 2.0)))
        expected = (sigma * expected + (1 - sigma) * m).flip(1)
    torch.testing.assert_close(_exact(flow)(codes, contexts)[0], expected)


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_every_parameter_of_a_fresh_flow_gets_a_gradient(steps: int) -> None:
    torch.manual_seed(0)
    flow = InverseAutoregressiveFlow(6, 4, 32, steps)
    z, log_sigma = flow(torch.randn(64, 6), torch.randn(64, 4))
    slopes = torch.autograd.grad((z**2).sum() - log_sigma.sum(), list(flow.parameters()))
    for (name, _), slope in zip(flow.named_parameters(), slopes, strict=True):
        assert slope.isfinite().all() and slope.ne(0).any(), name
    # Of the masked weights exactly those that are not always zero can learn.
    loss = (flow(torch.randn(64, 6), torch.randn(64, 4))[0] ** 2).sum()
    for module in flow.modules():
        if isinstance(module, MaskedLinear):
            (slope,) = torch.autograd.grad(loss, [module.weight], retain_graph=True)
            assert (slope[module.mask == 0] == 0).all()


def test_a_posterior_without_a_flow_step_is_the_vaes_bit_for_bit(make: Build, noise: Noise) -> None:
    split = noise(6)
    images, labels = to_unit(split.images), split.labels
    plain, flowing = make("vae", latent_dim=5), make("vae_iaf", latent_dim=5, flow_steps=0)
    weights, others = plain.state_dict(), flowing.state_dict()
    assert weights.keys() == others.keys() and all(torch.equal(weights[name], others[name]) for name in weights)
    found = []
    for model in (plain, flowing):
        torch.manual_seed(1)
        losses = model.losses(images, labels)
        slopes = torch.autograd.grad(losses.players["autoencoder"], list(model.parameters()))
        torch.manual_seed(1)
        found.append([*losses.terms.values(), *slopes, model.encode(images, labels), model.log_weights(images, labels)])
    assert all(torch.equal(first, second) for first, second in zip(*found, strict=True))


def test_the_rate_is_the_density_ratio_at_the_sample(make: Build, noise: Noise) -> None:
    """log q(z|x) - log p(z), q's density by the change of variables from autograd's Jacobian."""
    model = make("vae_iaf", latent_dim=3, flow_steps=2).eval()
    for parameter in model.get_submodule("flow").parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    split = noise(3)
    images, labels = to_unit(split.images), split.labels
    flow = model.get_submodule("flow")
    torch.manual_seed(2)
    rates = model.rates(images, labels)
    torch.manual_seed(2)
    elbo = model.elbo(images, labels)
    torch.manual_seed(2)
    weights = model.log_weights(images, labels)
    torch.testing.assert_close(rates.sum(1), elbo.rate)
    torch.testing.assert_close(-elbo.rate - elbo.distortion, weights)
    mean, log_variance, h = model.get_submodule("encoder")(images).split([3, 3, 64], 1)
    torch.manual_seed(2)
    start = mean + (0.5 * log_variance).exp() * torch.randn_like(mean)
    for place in range(3):
        jacobian = _jacobian(flow, start[place], h[place])
        end = flow(start[place : place + 1], h[place : place + 1])[0][0]
        log_q = Normal(mean[place], (0.5 * log_variance[place]).exp()).log_prob(start[place]).sum()
        log_q = log_q - torch.linalg.slogdet(jacobian)[1]
        expected = log_q - Normal(0.0, 1.0).log_prob(end).sum()
        assert abs(rates[place].sum() - expected) < 1e-4
