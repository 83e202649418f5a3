"""GAN: its losses' gradients against the formulas, in both forms, with and without labels."""

import pytest
import torch
from tests.conftest import Build, Noise

from atlas.core.datasets import to_unit


@pytest.mark.parametrize("name", ["gan", "cgan"])
@pytest.mark.parametrize("adversarial_loss", ["non_saturating", "hinge"])
def test_gradients_are_those_of_the_formulas(make: Build, noise: Noise, name: str, adversarial_loss: str) -> None:
    model = make(name, adversarial_loss=adversarial_loss, spectral_norm=False)
    split = noise(12)
    images, labels = to_unit(split.images), split.labels
    torch.manual_seed(4)
    losses = model.losses(images, labels)
    generator, discriminator = model.get_submodule("generator"), model.get_submodule("discriminator")
    torch.manual_seed(4)
    samples = generator(torch.randn(12, model.latent_dim), labels).sigmoid()
    real, fake = discriminator(images, labels)[0].double(), discriminator(samples, labels)[0].double()
    if adversarial_loss == "hinge":
        d_loss = ((1 - real).clamp(min=0) + (1 + fake).clamp(min=0)).mean() / 2
        g_loss = -fake.mean()
    else:
        d_loss = -(real.sigmoid().log() + (1 - fake.sigmoid()).log()).mean() / 2
        g_loss = -fake.sigmoid().log().mean()
    for group, loss in (("discriminator", d_loss), ("generator", g_loss)):
        params = model.param_groups()[group]
        slow = torch.autograd.grad(loss, params, retain_graph=True)
        fast = torch.autograd.grad(losses[group], params, retain_graph=True)
        assert all(torch.allclose(a, b, rtol=1e-4, atol=1e-7) for a, b in zip(fast, slow, strict=True)), group
