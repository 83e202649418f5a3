"""Class-coded VAE: its loss, and the class as part of the code."""

import torch
from tests.conftest import Build, Noise
from torch.nn import functional

from atlas.core.datasets import to_unit


def test_it_predicts_the_class_and_decodes_the_one_it_is_given(make: Build, noise: Noise) -> None:
    model = make("ac_vae", latent_dim=3, class_weight=2.5)
    split = noise(12)
    images, labels = to_unit(split.images), split.labels
    torch.manual_seed(0)
    losses = model.losses(images, labels)
    logits = model.classify(images)
    cross_entropy = -logits.log_softmax(1)[torch.arange(12), labels].mean()
    torch.testing.assert_close(losses.terms["class_cross_entropy"], cross_entropy)
    expected = losses.terms["distortion"] + losses.terms["rate"] + 2.5 * cross_entropy
    torch.testing.assert_close(losses["autoencoder"], expected)
    assert losses.terms["class_accuracy"] == (logits.argmax(1) == labels).float().mean()
    # The third network is apart: no other loss reaches it, nor its own any other.
    classifier = list(model.get_submodule("classifier").parameters())
    others = [*model.get_submodule("encoder").parameters(), *model.get_submodule("decoder").parameters()]
    bound = losses.terms["distortion"] + losses.terms["rate"]
    for loss, params in ((bound, classifier), (cross_entropy, others)):
        gradients = torch.autograd.grad(loss, params, retain_graph=True, allow_unused=True)
        assert all(gradient is None for gradient in gradients)
    # While it learns it is given the true class; of a new image, the one that it predicts.
    mean, log_variance = model.get_submodule("encoder")(images, labels).chunk(2, 1)
    rate = 0.5 * (mean**2 + log_variance.exp() - 1 - log_variance).sum(1).mean()
    torch.testing.assert_close(losses.terms["rate"], rate)
    predicted = model.get_submodule("encoder")(images, logits.softmax(1))[:, :3]
    torch.testing.assert_close(model.encode(images, labels), predicted)
    # The probabilities of a certain class are what the decoder sees of a one-hot label.
    styles, probs = torch.randn(12, 3), functional.one_hot(labels, 10).float()
    torch.testing.assert_close(model.get_submodule("decoder")(styles, probs).sigmoid(), model.decode(styles, labels))
