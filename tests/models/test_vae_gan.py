"""VAE/GAN: the gradient of every parameter group against the formulas, and what each group must not learn from."""

import pytest
import torch
from tests.conftest import Build, Noise
from torch import Tensor

from atlas.core.datasets import to_unit
from atlas.core.model import Model
from atlas.models.vae_gan import LOG_VARIANCE_BOUND


def _gradients(model: Model, images: Tensor, labels: Tensor) -> dict[str, list[Tensor]]:
    torch.manual_seed(9)
    losses, groups = model.losses(images, labels), model.param_groups()
    return {name: list(torch.autograd.grad(losses[name], params, retain_graph=True)) for name, params in groups.items()}


def _same(first: list[Tensor], second: list[Tensor]) -> bool:
    return all(torch.allclose(a, b, rtol=1e-4, atol=1e-7) for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize("feature_loss", ["cross_entropy", "squared_error"])
def test_every_groups_gradient_is_that_of_the_formulas(make: Build, noise: Noise, feature_loss: str) -> None:
    """The formulas of the class's docstring, written out with nothing shared; the unit is a number."""
    model = make("cvae_gan", latent_dim=3, gamma=0.7, feature_loss=feature_loss)
    split = noise(12, model.shape)
    images, labels = to_unit(split.images), split.labels
    gradients = _gradients(model, images, labels)
    encoder, decoder, discriminator = (model.get_submodule(n) for n in ("encoder", "decoder", "discriminator"))

    torch.manual_seed(9)
    mean, log_variance = encoder(images, labels).chunk(2, 1)
    log_variance = LOG_VARIANCE_BOUND * torch.tanh(log_variance / LOG_VARIANCE_BOUND)
    reconstruction = decoder(mean + (0.5 * log_variance).exp() * torch.randn_like(mean), labels).sigmoid()
    prior_sample = decoder(torch.randn_like(mean), labels).sigmoid()
    real, real_features = discriminator(images, labels)
    reconstruction_logits, reconstruction_features = discriminator(reconstruction, labels)
    prior_logits, prior_features = discriminator(prior_sample, labels)
    unit = ((real_features - prior_features) ** 2).mean().sqrt().item()

    kl = 0.5 * (mean**2 + log_variance.exp() - 1 - log_variance).sum(1).mean()
    if feature_loss == "cross_entropy":
        # The logarithms of a sigmoid and of its complement, since a sigmoid of many units is 1 to the last digit.
        p, q = reconstruction_features.double(), real_features.double().sigmoid()
        log_p, log_not_p = -torch.log1p(torch.exp(-p)), -torch.log1p(torch.exp(p))
        distance = -(q * log_p + (1 - q) * log_not_p).sum(1).mean()
    else:
        distance = 0.5 * (((reconstruction_features - real_features) / unit) ** 2).sum(1).mean()
    gan = (
        real.sigmoid().log() + ((1 - reconstruction_logits.sigmoid()).log() + (1 - prior_logits.sigmoid()).log()) / 2
    ).mean()
    g_loss = -(reconstruction_logits.sigmoid().log() + prior_logits.sigmoid().log()).mean() / 4
    by_hand = {"encoder": kl + distance, "decoder": 0.7 * distance + g_loss, "discriminator": -0.5 * gan}
    for name, params in model.param_groups().items():
        assert _same(gradients[name], list(torch.autograd.grad(by_hand[name], params, retain_graph=True))), name


def test_the_feature_loss_has_no_gradient_in_the_discriminator(make: Build, noise: Noise) -> None:
    split = noise(12)
    images, labels = to_unit(split.images), split.labels
    little, much = (_gradients(make("cvae_gan", gamma=gamma), images, labels) for gamma in (0.0, 100.0))
    assert _same(little["discriminator"], much["discriminator"]) and not _same(little["decoder"], much["decoder"])
    kinds = ("cross_entropy", "squared_error")
    one, other = (_gradients(make("cvae_gan", feature_loss=kind), images, labels) for kind in kinds)
    assert _same(one["discriminator"], other["discriminator"]) and not _same(one["encoder"], other["encoder"])


def test_the_adversarial_loss_has_no_gradient_in_the_encoder(make: Build, noise: Noise) -> None:
    """The discriminator's last layer changes its logits, and not the features that the encoder learns from."""
    model = make("cvae_gan")
    split = noise(12)
    before = _gradients(model, to_unit(split.images), split.labels)
    with torch.no_grad():
        for parameter in model.get_submodule("discriminator.output").parameters():
            parameter.mul_(-30).add_(1)
    after = _gradients(model, to_unit(split.images), split.labels)
    assert _same(before["encoder"], after["encoder"])
    assert not _same(before["decoder"], after["decoder"])
    assert not _same(before["discriminator"], after["discriminator"])
