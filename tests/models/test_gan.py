"""GAN: its losses' gradients against the formulas, in both forms, with and without labels and a classifier of them."""

import importlib

import pytest
import torch
from tests.conftest import Build, Noise
from torch import Tensor
from torch.nn import functional

from atlas.core.datasets import to_unit


@pytest.mark.parametrize(("name", "label_path"), [("gan", "classifier"), ("cgan", "maps"), ("cgan", "classifier")])
@pytest.mark.parametrize("adversarial_loss", ["non_saturating", "hinge"])
def test_gradients_are_those_of_the_formulas(
    make: Build, noise: Noise, name: str, label_path: str, adversarial_loss: str
) -> None:
    changes = {"adversarial_loss": adversarial_loss, "label_path": label_path, "class_weight": 0.7}
    model = make(name, spectral_norm=False, **changes)
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
    if (name, label_path) == ("cgan", "classifier"):
        classes = discriminator.get_submodule("classifier")
        for content, weight in ((images, "discriminator"), (samples, "generator")):
            features = functional.leaky_relu(discriminator(content, labels)[1], 0.3)
            class_loss = functional.nll_loss(classes(features).double().log_softmax(1), labels)
            d_loss = d_loss + 0.7 * class_loss * (weight == "discriminator")
            g_loss = g_loss + 0.7 * class_loss * (weight == "generator")
        assert {"real_class_loss", "fake_class_loss"} <= set(losses.terms)
    for group, loss in (("discriminator", d_loss), ("generator", g_loss)):
        params = model.param_groups()[group]
        slow = torch.autograd.grad(loss, params, retain_graph=True)
        fast = torch.autograd.grad(losses[group], params, retain_graph=True)
        assert all(torch.allclose(a, b, rtol=1e-4, atol=1e-7) for a, b in zip(fast, slow, strict=True)), group


@pytest.mark.parametrize("name", ["gan", "cgan", "vae_gan", "cvae_gan"])
def test_augmentation_changes_what_the_discriminator_sees_and_nothing_else(
    make: Build, noise: Noise, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """All batches at once, so that an image and its reconstruction are changed in the same way."""
    batch = noise(8)
    images, labels = to_unit(batch.images), batch.labels
    changes = {} if "vae" in name else {"spectral_norm": False}  # which has a state of its own
    model, unaugmented = (make(name, augmented=augmented, **changes).train() for augmented in (True, False))
    torch.manual_seed(0)
    plain = unaugmented.losses(images, labels)
    calls: list[int] = []

    def unchanged(*batches: Tensor) -> tuple[Tensor, ...]:
        calls.append(len(batches))
        assert torch.equal(batches[0], images)
        return batches

    module = importlib.import_module(type(model).__module__)
    augment = module.augment
    monkeypatch.setattr(module, "augment", unchanged)
    torch.manual_seed(0)
    same = model.losses(images, labels)
    assert calls == [3 if "vae" in name else 2]
    assert all(torch.equal(same.groups[group], plain.groups[group]) for group in plain.groups)
    monkeypatch.setattr(module, "augment", augment)
    torch.manual_seed(0)
    other = model.losses(images, labels)
    assert not torch.equal(other.groups["discriminator"], plain.groups["discriminator"])
    if "vae" in name:
        assert torch.equal(other.terms["rate"], plain.terms["rate"])
