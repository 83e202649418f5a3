"""VAE: beta 1 and no flow step are the plain VAE bit for bit; the flow against autograd's Jacobian."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from tests.conftest import Build, Noise, optimization
from torch import Tensor, nn
from torch.distributions import Normal
from torch.nn import functional

from atlas.core.datasets import to_unit
from atlas.core.device import DeviceConfig
from atlas.models.vae import MADE, MAX_LOG_VARIANCE, InverseAutoregressiveFlow, MaskedLinear
from atlas.nn.networks import DECODERS, ENCODERS
from atlas.training.loop import train_step
from atlas.training.optimizers import make_optimizers

SIZES = [(1, 1), (2, 1), (5, 2), (5, 3), (8, 4)]


# --- the plain VAE ----------------------------------------------------------------------------------------------------


class PlainVAE(nn.Module):
    """The VAE as a textbook writes it: Kingma and Welling 2014, equation 10, with a cross-entropy of the pixels."""

    def __init__(self, shape: tuple[int, int, int], latent_dim: int, cond_classes: int) -> None:
        super().__init__()
        self.encoder = ENCODERS["conv"](shape, latent_dim, latent_dim, 0.125, 0.0, cond_classes)
        self.decoder = DECODERS["conv"](shape, latent_dim, 0.125, 0.0, cond_classes)

    def loss(self, images: Tensor, labels: Tensor) -> Tensor:
        mean, log_variance = self.encoder(images, labels).chunk(2, 1)
        z = mean + torch.exp(0.5 * log_variance) * torch.randn_like(mean)
        logits = self.decoder(z, labels)
        distortion = functional.binary_cross_entropy_with_logits(logits, images, reduction="none").flatten(1).sum(1)
        rate = (0.5 * (mean**2 + torch.exp(log_variance) - 1 - log_variance)).sum(1)
        return distortion.mean() + rate.mean()


@pytest.mark.parametrize("changes", [{"beta": 1.0}, {"flow_steps": 0}], ids=["beta 1", "no flow step"])
@pytest.mark.parametrize("conditional", [False, True])
def test_it_is_the_plain_vae_bit_for_bit(
    make: Build, noise: Noise, cpu: DeviceConfig, changes: dict[str, Any], conditional: bool
) -> None:
    """The same first weights, losses, gradients, and weights after steps of the optimizer."""
    name = "beta_vae" if "beta" in changes else "vae_iaf"
    model = make(name, latent_dim=5, conditional=conditional, **changes).train()
    torch.manual_seed(0)
    plain = PlainVAE(model.shape, 5, 10 if conditional else 0)
    split = noise(6)
    images, labels = to_unit(split.images), split.labels
    assert model.state_dict().keys() == plain.state_dict().keys()
    torch.manual_seed(1)
    loss = model.losses(images, labels)["autoencoder"]
    torch.manual_seed(1)
    plain_loss = plain.loss(images, labels)
    assert torch.equal(loss, plain_loss)
    gradients = torch.autograd.grad(loss, list(model.parameters()))
    plain_gradients = torch.autograd.grad(plain_loss, list(plain.parameters()))
    assert all(torch.equal(a, b) for a, b in zip(gradients, plain_gradients, strict=True))

    groups = make_optimizers(model, **optimization("vae"))
    adam = torch.optim.Adam(plain.parameters(), 0.004, betas=(0.9, 0.999), fused=True)
    for step in range(3):
        torch.manual_seed(step)
        train_step(model, groups, images, labels, step, cpu)
        torch.manual_seed(step)
        adam.zero_grad()
        plain.loss(images, labels).backward()
        adam.step()
    for weights, plain_weights in zip(model.state_dict().values(), plain.state_dict().values(), strict=True):
        assert torch.equal(weights, plain_weights)


@pytest.mark.parametrize("name", ["vae", "vae_iaf"])
@pytest.mark.parametrize("beta", [0.0, 1.0, 4.0])
def test_beta_multiplies_the_rate_in_nats(make: Build, noise: Noise, name: str, beta: float) -> None:
    split = noise(12)
    losses = make(name, beta=beta).losses(to_unit(split.images), split.labels)
    terms = losses.terms
    torch.testing.assert_close(losses["autoencoder"], terms["distortion"] + beta * terms["rate"])
    torch.testing.assert_close(terms["nelbo"], terms["distortion"] + terms["rate"])


class Extrapolating(nn.Module):
    """An encoder that meets an image unlike all others."""

    def forward(self, images: Tensor, _: Tensor) -> Tensor:
        return images.new_full((len(images), 10), 90.0)


def test_no_posterior_is_much_wider_than_the_prior(make: Build, noise: Noise) -> None:
    model, split = make("vae", latent_dim=5), noise(6)
    model.encoder = Extrapolating()
    mean, log_variance = model.posterior(to_unit(split.images), split.labels)
    assert (mean == 90).all() and (log_variance == MAX_LOG_VARIANCE).all()
    assert model.losses(to_unit(split.images), split.labels)["autoencoder"].isfinite()


# --- the flow ---------------------------------------------------------------------------------------------------------


def _flow(size: int, steps: int) -> InverseAutoregressiveFlow:
    torch.manual_seed(size + 10 * steps)
    flow = InverseAutoregressiveFlow(size, 3, 23, steps).double()
    # Fresh weights leave the code nearly as it is: nothing could be told from that.
    for parameter in flow.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return flow


def _in_float64(module: torch.nn.Module) -> Callable[..., Any]:
    """Networks return float32; here they are to keep float64."""

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
    flow = _in_float64(_flow(size, steps))
    z, h = torch.randn(4, size, dtype=torch.float64), torch.randn(4, 3, dtype=torch.float64)
    _, log_sigma = flow(z, h)
    for row in range(4):
        jacobian = _jacobian(flow, z[row], h[row])
        assert abs(torch.linalg.slogdet(jacobian)[1] - log_sigma[row].sum()) < 1e-5


@pytest.mark.parametrize("size", [1, 2, 5, 8])
def test_a_steps_jacobian_is_strictly_triangular(size: int) -> None:
    step = _flow(size, 1).steps[0]
    assert isinstance(step, MADE)
    z, h = torch.randn(size, dtype=torch.float64), torch.randn(1, 3, dtype=torch.float64)
    for part in (0, 1):
        jacobian = torch.autograd.functional.jacobian(lambda code, p=part: _in_float64(step)(code[None], h)[p][0], z)
        assert (jacobian.triu() == 0).all()
        below = jacobian[tuple(torch.tril_indices(size, size, -1))]
        assert (below != 0).all(), "a dimension before its own that it does not see"


def test_few_units_are_spread_over_many_dimensions() -> None:
    """With 23 units for 40 dimensions, an output may miss the dimension or two just before its own, and no others."""
    step = _in_float64(_flow(40, 1).steps[0])
    z, h = torch.randn(40, dtype=torch.float64), torch.randn(1, 3, dtype=torch.float64)
    for part in (0, 1):
        jacobian = torch.autograd.functional.jacobian(lambda code, p=part: step(code[None], h)[p][0], z)
        assert (jacobian.triu() == 0).all()
        assert (jacobian[tuple(torch.tril_indices(40, 40, -3))] != 0).all()


@pytest.mark.parametrize("size", [2, 5])
def test_every_output_sees_the_context(size: int) -> None:
    step = _in_float64(_flow(size, 1).steps[0])
    z, h = torch.randn(1, size, dtype=torch.float64), torch.randn(3, dtype=torch.float64)
    for part in (0, 1):
        assert (torch.autograd.functional.jacobian(lambda c, p=part: step(z, c[None])[p][0], h) != 0).all()


def test_the_order_is_reversed_between_steps() -> None:
    """One step's Jacobian is lower triangular, two steps' is not, and the last dimension leads in the second."""
    z, h = torch.randn(5, dtype=torch.float64), torch.randn(1, 3, dtype=torch.float64)
    one, two = (_jacobian(_in_float64(_flow(5, steps)), z, h[0]) for steps in (1, 2))
    assert (one.triu(1) == 0).all() and (two.triu(1) != 0).any()
    flow = _flow(5, 2)
    first, second = flow.steps
    codes = torch.randn(4, 5, dtype=torch.float64)
    contexts = torch.randn(4, 3, dtype=torch.float64)
    expected = codes
    for step in (first, second):
        m, s = _in_float64(step)(expected, contexts)
        sigma = 1 / (1 + torch.exp(-(s + 2.0)))
        expected = (sigma * expected + (1 - sigma) * m).flip(1)
    torch.testing.assert_close(_in_float64(flow)(codes, contexts)[0], expected)


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_every_parameter_of_a_fresh_flow_gets_a_gradient(steps: int) -> None:
    torch.manual_seed(0)
    flow = InverseAutoregressiveFlow(6, 4, 32, steps)
    z, log_sigma = flow(torch.randn(64, 6), torch.randn(64, 4))
    gradients = torch.autograd.grad((z**2).sum() - log_sigma.sum(), list(flow.parameters()))
    for (name, _), gradient in zip(flow.named_parameters(), gradients, strict=True):
        assert gradient.isfinite().all() and gradient.ne(0).any(), name
    # Of the masked weights exactly those that are not always zero can learn.
    loss = (flow(torch.randn(64, 6), torch.randn(64, 4))[0] ** 2).sum()
    for module in flow.modules():
        if isinstance(module, MaskedLinear):
            (gradient,) = torch.autograd.grad(loss, [module.weight], retain_graph=True)
            assert (gradient[module.mask == 0] == 0).all()


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
    for row in range(3):
        jacobian = _jacobian(flow, start[row], h[row])
        end = flow(start[row : row + 1], h[row : row + 1])[0][0]
        log_q = Normal(mean[row], (0.5 * log_variance[row]).exp()).log_prob(start[row]).sum()
        log_q = log_q - torch.linalg.slogdet(jacobian)[1]
        expected = log_q - Normal(0.0, 1.0).log_prob(end).sum()
        assert abs(rates[row].sum() - expected) < 1e-4
