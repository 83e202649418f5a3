"""VAE/GAN: the gradient of every parameter group against the formulas, and what each group must not learn from."""

from typing import Any

import pytest
import torch
from tests.conftest import Build, Noise
from torch import Tensor
from torch.nn import functional

from atlas.core.datasets import to_unit
from atlas.core.model import Model


def _gradients(model: Model, images: Tensor, labels: Tensor) -> dict[str, list[Tensor]]:
    torch.manual_seed(9)
    losses, groups = model.losses(images, labels), model.param_groups()
    return {name: list(torch.autograd.grad(losses[name], params, retain_graph=True)) for name, params in groups.items()}


def _same(first: list[Tensor], second: list[Tensor]) -> bool:
    # By length, not number by number: behind a batch normalization many numbers are rests of large ones that cancel.
    return all((a - b).norm() <= 1e-4 * b.norm() + 1e-7 for a, b in zip(first, second, strict=True))


ORIGINAL = {
    "feature_loss": "cross_entropy",
    "adversarial_loss": "saturating",
    "gan_weights": {"real": 0.5, "reconstruction": 1, "prior": 2},
    "log_variance_bound": "original",
}


@pytest.mark.parametrize(
    "changes",
    [
        {"feature_loss": "cross_entropy"},
        {"feature_loss": "squared_error"},
        {"log_variance_bound": "free"},
        {"label_path": "classifier", "class_weight": 0.4},
        {"pixel_weight": 3.0},
        {"batch_norm": True},
        ORIGINAL,
    ],
    ids=["cross-entropy", "squared error", "free", "classifier", "pixels", "batch norm", "original"],
)
def test_every_groups_gradient_is_that_of_the_formulas(make: Build, noise: Noise, changes: dict[str, Any]) -> None:
    """The formulas of the class's docstring, written out with nothing shared; the unit is a number."""
    base = {"log_variance_bound": 2.0, "label_path": "maps"}
    model = make("cvae_gan", latent_dim=3, gamma=0.7, **{**base, **changes})
    if changes is ORIGINAL:  # log-variances of about -5 to 5: in the KL divergence all are clipped, where sampled two
        with torch.no_grad():
            model.get_parameter("encoder.dense.4.bias")[3:] = torch.tensor([-5.0, 3.0, 5.0])
    split = noise(12, model.shape)
    images, labels = to_unit(split.images), split.labels
    gradients = _gradients(model, images, labels)
    encoder, decoder, discriminator = (model.get_submodule(n) for n in ("encoder", "decoder", "discriminator"))

    torch.manual_seed(9)
    mean, log_variance = encoder(images, labels).chunk(2, 1)
    scale = (0.5 * log_variance).exp()
    if changes is ORIGINAL:
        scale, log_variance = (0.5 * log_variance).clip(-2, 2).exp(), log_variance.clip(-2, 2)
    elif changes.get("log_variance_bound") != "free":
        log_variance = 2 * torch.tanh(log_variance / 2)
        scale = (0.5 * log_variance).exp()
    codes = torch.cat([mean + scale * torch.randn_like(mean), torch.randn_like(mean)])
    reconstruction, prior_sample = decoder(codes, labels.repeat(2)).sigmoid().chunk(2)  # one batch is normalized
    real, real_features = discriminator(images, labels)
    reconstruction_logits, reconstruction_features = discriminator(reconstruction, labels)
    prior_logits, prior_features = discriminator(prior_sample, labels)
    unit = ((real_features - prior_features) ** 2).mean().sqrt().item()

    kl = 0.5 * (mean**2 + log_variance.exp() - 1 - log_variance).sum(1).mean()
    if changes.get("feature_loss") == "cross_entropy":
        # The logarithms of a sigmoid and of its complement, since a sigmoid of many units is 1 to the last digit.
        p, q = reconstruction_features.double(), real_features.double().sigmoid()
        log_p, log_not_p = -torch.log1p(torch.exp(-p)), -torch.log1p(torch.exp(p))
        distance = -(q * log_p + (1 - q) * log_not_p).sum(1).mean()
    else:
        distance = 0.5 * (((reconstruction_features - real_features) / unit) ** 2).sum(1).mean()
    log_real = real.sigmoid().log()
    log_fakes = [(1 - logits.sigmoid()).log() for logits in (reconstruction_logits, prior_logits)]
    if changes is ORIGINAL:  # the tutorial's: 1/4 log D(x) + 1/4 log(1 - D(x~)) + 2/4 log(1 - D(x_p)), saturating
        d_loss = -(log_real + log_fakes[0] + 2 * log_fakes[1]).mean() / 4
        g_loss = (log_fakes[0] + 2 * log_fakes[1]).mean() / 4
    else:
        d_loss = -(log_real + (log_fakes[0] + log_fakes[1]) / 2).mean() / 2
        g_loss = -(reconstruction_logits.sigmoid().log() + prior_logits.sigmoid().log()).mean() / 4
    distance = distance + changes.get("pixel_weight", 0) * ((reconstruction - images) ** 2).sum((1, 2, 3)).mean() / 2
    if changes.get("label_path") == "classifier":
        classify = discriminator.get_submodule("classifier")
        parts = (real_features, reconstruction_features, prior_features)
        probs = [classify(functional.leaky_relu(part, 0.3)).double().softmax(1)[range(12), labels] for part in parts]
        real_class, reconstruction_class, prior_class = (-prob.log().mean() for prob in probs)
        d_loss = d_loss + 0.4 * real_class
        g_loss = g_loss + 0.4 * (reconstruction_class + prior_class) / 2
    by_hand = {"encoder": kl + distance, "decoder": 0.7 * distance + g_loss, "discriminator": d_loss}
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
