"""Networks by name: shapes for every image, the original tutorials' sizes, spectral normalization."""

from typing import get_args

import pytest
import torch
from torch import nn
from torch.nn import functional

from atlas.core.model import Shape
from atlas.nn.conv import Discriminator
from atlas.nn.layers import Dropout
from atlas.nn.networks import DECODERS, DISCRIMINATORS, ENCODERS, Network


@pytest.mark.parametrize("network", get_args(Network))
@pytest.mark.parametrize("cond_classes", [0, 10])
def test_every_network_fits_every_image(network: Network, shape: Shape, cond_classes: int) -> None:
    latent_dim = shape[1] * shape[2] // 16
    encode = ENCODERS[network](shape, latent_dim, latent_dim, 0.25, 0.1, cond_classes)
    decode = DECODERS[network](shape, latent_dim, 0.25, 0.1, cond_classes, 5)
    images, labels = torch.rand(3, *shape), torch.tensor([1, 2, 9])
    codes = encode(images, labels)[:, :latent_dim]
    assert codes.shape == (3, latent_dim) and decode(codes, labels).shape == (3, 5, *shape[1:])
    if cond_classes:
        probs = functional.one_hot(labels, 10).float()
        torch.testing.assert_close(decode.eval()(codes, labels), decode(codes, probs))


@pytest.mark.parametrize("sides", [(16, 16), (48, 96), (64, 64), (40, 128), (128, 128)], ids=str)
def test_networks_of_larger_images_grow_by_a_convolution_a_halving(sides: tuple[int, int]) -> None:
    """The smaller side ends at 4 to 8 pixels, and the weights stay within those of 32 x 32 times the longer side's."""
    shape = (3, *sides)
    encoder = ENCODERS["conv"](shape, 8, 8, 0.5)
    decoder = DECODERS["conv"](shape, 8, 0.5)
    discriminator = DISCRIMINATORS["conv"](shape, 0.5)
    assert 4 <= min(decoder.base[1:]) <= 8
    features = encoder.features[:-1](torch.rand(2, *shape))
    assert features.shape[2:] == decoder.base[1:], "as many halvings as doublings"
    assert decoder(encoder(torch.rand(2, *shape))[:, :8]).shape == (2, *shape)
    logits, layer = discriminator(torch.rand(2, *shape))
    assert logits.shape == (2,) and layer.shape[1] <= 16 * 4 * 4 * max(sides) / min(sides)

    def count(*networks: nn.Module) -> int:
        return sum(parameter.numel() for network in networks for parameter in network.parameters())

    usual = count(ENCODERS["conv"]((3, 32, 32), 8, 8, 0.5), DECODERS["conv"]((3, 32, 32), 8, 0.5))
    assert count(encoder, decoder) < 1.5 * usual * max(sides) / min(sides)


def test_sides_that_cannot_be_halved_are_refused() -> None:
    with pytest.raises(ValueError, match="image sides must be multiples of 8, found 64 x 100"):
        ENCODERS["conv"]((3, 64, 100), 8)


def test_the_original_networks_are_the_tutorials() -> None:
    """Layer by layer, weights counted by hand from the text: part 6, 28 x 28, width 1, d = 8, ten labels."""

    def sizes(module: nn.Module) -> list[int]:
        layers = [layer for layer in module.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
        return [sum(parameter.numel() for parameter in layer.parameters()) for layer in layers]

    shape = (1, 28, 28)
    assert sizes(ENCODERS["original"](shape, 8, 8, 1.0, 0.3, 10)) == [
        32 * 9 + 32,
        64 * 32 * 9 + 64,
        (64 * 49 + 10) * 64 + 64,
        64 * 16 + 16,
    ]
    assert sizes(DECODERS["original"](shape, 8, 1.0, 0.3, 10)) == [
        18 * 49 * 128 + 49 * 128,
        64 * 128 * 25 + 64,
        32 * 64 * 9 + 32,
        32 * 25 + 1,
    ]
    assert sizes(DISCRIMINATORS["original"](shape, 1.0, 0.3, 10)) == [
        128 * 49 + 128,
        64 * 138 * 9 + 64,
        16 * 64 * 9 + 16,
        16 * 16 + 1,
    ]


def test_spectral_norm_bounds_every_layer() -> None:
    """The largest singular value of each weight, by a full decomposition, is one once the estimate has settled."""
    torch.manual_seed(0)
    network = Discriminator((1, 16, 16), 0.125, cond_classes=10, spectral_norm=True)
    for _ in range(300):
        network(torch.rand(2, 1, 16, 16), torch.tensor([1, 2]))
    network.eval()
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            assert torch.linalg.svdvals(layer.weight.flatten(1))[0].item() == pytest.approx(1, abs=1e-3)


def test_a_projection_is_an_inner_product_with_the_labels_vector() -> None:
    torch.manual_seed(0)
    network = Discriminator((1, 16, 16), 0.125, cond_classes=10, label_path="projection").eval()
    images, labels = torch.rand(12, 1, 16, 16), torch.arange(12) % 10
    logits, features = network(images, labels)
    active = functional.leaky_relu(features, 0.3)
    assert network.projection is not None
    vectors = network.projection.weight.T[labels]
    torch.testing.assert_close(logits, network.output(active).squeeze(1) + (vectors * active).sum(1))
    assert not torch.equal(logits, network(images, (labels + 1) % 10)[0])


def test_a_classifier_reads_the_label_from_the_features_and_the_logit_knows_none() -> None:
    torch.manual_seed(0)
    network = Discriminator((1, 16, 16), 0.125, cond_classes=10, label_path="classifier").eval()
    images, labels = torch.rand(12, 1, 16, 16), torch.arange(12) % 10
    logits, features = network(images, labels)
    assert torch.equal(logits, network(images, (labels + 1) % 10)[0]) and network.classifier is not None
    odds = network.classifier(functional.leaky_relu(features, 0.3)).double().exp()
    by_hand = -(odds[torch.arange(12), labels] / odds.sum(1)).log()
    losses = network.class_losses(features, torch.cat([features, features[:6], features[:6]]), labels)
    assert losses["real_class_loss"].item() == pytest.approx(by_hand.mean().item(), rel=1e-5)
    again = -(odds[:6][torch.arange(6), labels[6:]] / odds[:6].sum(1)).log()
    expected = torch.cat([by_hand, by_hand[:6], again]).mean()
    assert losses["fake_class_loss"].item() == pytest.approx(expected.item(), rel=1e-5)
    plain = Discriminator((1, 16, 16), 0.125, cond_classes=10)
    assert plain.classifier is None and plain.class_losses(features, features, labels) == {}


def test_the_originals_drop_out_where_the_tutorial_does() -> None:
    """Nine places: of the discriminator after max-pooling and after layer l, whose features keep all."""
    shape, labels = (1, 28, 28), torch.tensor([1, 2])
    encoder, decoder = (
        networks["original"](shape, 8, dropout=0.3, cond_classes=10) for networks in (ENCODERS, DECODERS)
    )
    discriminator = DISCRIMINATORS["original"](shape, dropout=0.3, cond_classes=10)

    def before_dropout(network: nn.Module, *inputs: torch.Tensor) -> list[str]:
        order: list[nn.Module] = []
        for module in network.modules():
            if not list(module.children()):
                module.register_forward_hook(lambda layer, *_: order.append(layer))
        network(*inputs, labels)
        layers = [layer for layer in order if not isinstance(layer, nn.Identity)]
        return [
            f"{before.__class__.__name__} {sum(isinstance(other, nn.Conv2d | nn.Linear) for other in layers[:place])}"
            for place, before in enumerate(layers[:-1], 1)
            if isinstance(layers[place], Dropout)
        ]

    images = torch.rand(2, *shape)
    assert before_dropout(encoder, images) == ["LeakyReLU 1", "LeakyReLU 2", "LeakyReLU 3"]
    assert before_dropout(decoder, torch.randn(2, 8)) == ["LeakyReLU 1", "LeakyReLU 2", "LeakyReLU 3"]
    # Pooling and leaky ReLU commute: here pooling comes first.
    assert before_dropout(discriminator, images) == ["LeakyReLU 1", "LeakyReLU 2", "Conv2d 3"]
    assert [type(layer).__name__ for layer in discriminator.first][1:] == ["MaxPool2d", "LeakyReLU", "Dropout"]
    assert (discriminator(images, labels)[1] != 0).all()
