"""What single members promise beyond what all do: losses against formulas written out, their uses, their gates."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from tests.conftest import PARAMS
from torch import Tensor, nn
from torch.nn import functional

from atlas.core.datasets import Split, to_unit
from atlas.core.device import DeviceConfig
from atlas.core.files import AtlasError
from atlas.core.latent import invert
from atlas.core.model import Model
from atlas.nn.conv import Discriminator
from atlas.nn.likelihood import Likelihood
from atlas.nn.networks import NETWORKS, decoder, encoder
from atlas.training.loop import train_step
from atlas.training.optimizers import make_players

Build = Callable[..., Model]
Noise = Callable[..., Split]


def _batch(noise: Noise, count: int = 12) -> tuple[Tensor, Tensor]:
    split = noise(count)
    return to_unit(split.images), split.labels


def _settings(member: str, **changes: Any) -> dict[str, Any]:
    return {**PARAMS["models"][member], **changes}


# --- networks -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", list(NETWORKS))
@pytest.mark.parametrize("classes", [0, 10])
def test_every_kind_of_network_fits_every_image(kind: str, shape: tuple[int, int, int], classes: int) -> None:
    places = shape[1] * shape[2] // 16
    there = encoder(kind, shape, places, places, 0.25, 0.1, classes)
    back = decoder(kind, shape, places, 0.25, 0.1, classes, 5)
    images, labels = torch.rand(3, *shape), torch.tensor([1, 2, 9])
    codes = there(images, labels)[:, :places]
    assert codes.shape == (3, places) and back(codes, labels).shape == (3, 5, *shape[1:])
    if classes:
        shares = functional.one_hot(labels, 10).float()
        torch.testing.assert_close(back.eval()(codes, labels), back(codes, shares))


def test_the_seeds_networks_are_the_seeds() -> None:
    """Layer by layer, weights counted by hand from the text: part 6, 28 x 28, width 1, d = 8, ten labels."""

    def sizes(module: nn.Module) -> list[int]:
        layers = [layer for layer in module.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
        return [sum(parameter.numel() for parameter in layer.parameters()) for layer in layers]

    shape = (1, 28, 28)
    assert sizes(encoder("seed", shape, 8, 8, 1.0, 0.3, 10)) == [
        32 * 9 + 32,
        64 * 32 * 9 + 64,
        (64 * 49 + 10) * 64 + 64,
        64 * 16 + 16,
    ]
    assert sizes(decoder("seed", shape, 8, 1.0, 0.3, 10)) == [
        18 * 49 * 128 + 49 * 128,
        64 * 128 * 25 + 64,
        32 * 64 * 9 + 32,
        32 * 25 + 1,
    ]
    assert sizes(Discriminator(shape, classes=10, exact=True)) == [
        128 * 49 + 128,
        64 * 138 * 9 + 64,
        16 * 64 * 9 + 16,
        16 * 16 + 1,
    ]


@pytest.mark.parametrize("name", ["gan", "cvae_gan"])
def test_a_network_without_a_discriminator_is_refused(make: Build, name: str) -> None:
    with pytest.raises(AtlasError, match="network: found 'mlp'; allowed: conv, seed"):
        make(name, network="mlp")


def test_spectral_norm_bounds_every_layer() -> None:
    """The largest singular value of each weight, by a full decomposition, is one once the estimate has settled."""
    torch.manual_seed(0)
    network = Discriminator((1, 16, 16), 0.125, classes=10, spectral=True)
    for _ in range(300):
        network(torch.rand(2, 1, 16, 16), torch.tensor([1, 2]))
    network.eval()
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            assert torch.linalg.svdvals(layer.weight.flatten(1))[0].item() == pytest.approx(1, abs=1e-3)


# --- likelihoods ----------------------------------------------------------------------------------------------------


def test_binarised_pixels_are_drawn_anew_with_the_probability_of_their_grey() -> None:
    likelihood = Likelihood("binarized", 1)
    images = torch.tensor([0.0, 0.25, 0.5, 1.0]).expand(20_000, 1, 1, 4)
    seen = likelihood.observe(images)
    assert set(seen.unique().tolist()) == {0.0, 1.0} and not torch.equal(seen, likelihood.observe(images))
    assert torch.equal(likelihood.observe(seen), seen)
    # 20,000 draws: four standard errors are 0.014 at most.
    torch.testing.assert_close(seen.mean(0).flatten(), images[0].flatten(), rtol=0, atol=0.015)
    assert torch.equal(Likelihood("bernoulli", 1).observe(images), images)


@pytest.mark.parametrize("kind", ["gaussian", "discretized_logistic"])
def test_the_scale_is_fixed_or_learned_or_told_by_the_decoder(kind: str) -> None:
    images = (torch.rand(4, 3, 8, 8) * 255).round() / 255
    fixed, learned, told = (Likelihood(kind, 3, noise) for noise in ("fixed", "learned", "pixel"))
    assert [sum(p.numel() for p in one.parameters()) for one in (fixed, learned, told)] == [0, 3, 3]
    assert [one.outputs for one in (fixed, learned, told)] == [3, 3, 6]
    means, extra = torch.randn(4, 3, 8, 8), torch.zeros(4, 3, 8, 8)
    torch.testing.assert_close(told(torch.cat([means, extra], 1), images), learned(means, images))
    torch.testing.assert_close(told.mean(torch.cat([means, extra], 1)), learned.mean(means))
    raised = learned.log_scale + 0.7
    with torch.no_grad():
        learned.log_scale.copy_(raised)
    torch.testing.assert_close(told(torch.cat([means, extra + 0.7], 1), images), learned(means, images))


# --- members --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("beta", [0.0, 1.0, 4.0])
def test_beta_multiplies_the_rate_in_nats(make: Build, noise: Noise, beta: float) -> None:
    model = make("beta_vae", beta=beta)
    terms = model.losses(*_batch(noise))
    expected = terms.terms["distortion"] + beta * terms.terms["rate"]
    torch.testing.assert_close(terms.players["autoencoder"], expected)
    torch.testing.assert_close(terms.terms["nelbo"], terms.terms["distortion"] + terms.terms["rate"])


def test_a_beta_vae_of_one_is_the_vae_bit_for_bit(make: Build, noise: Noise) -> None:
    found = []
    for model in (make("vae", latent_dim=4), make("beta_vae", latent_dim=4, beta=1.0)):
        torch.manual_seed(0)
        loss = model.losses(*_batch(noise)).players["autoencoder"]
        found.append([loss, *torch.autograd.grad(loss, list(model.parameters()))])
    assert all(torch.equal(first, second) for first, second in zip(*found, strict=True))


def test_the_class_coded_vae_reads_classes_and_draws_what_it_is_told(make: Build, noise: Noise) -> None:
    model = make("ac_vae", latent_dim=3, class_weight=2.5)
    images, labels = _batch(noise)
    torch.manual_seed(0)
    found = model.losses(images, labels)
    logits = model.classify(images)
    wrong = -logits.log_softmax(1)[torch.arange(12), labels].mean()
    torch.testing.assert_close(found.terms["class_cross_entropy"], wrong)
    expected = found.terms["distortion"] + found.terms["rate"] + 2.5 * wrong
    torch.testing.assert_close(found.players["autoencoder"], expected)
    assert found.terms["class_accuracy"] == (logits.argmax(1) == labels).float().mean()
    # Sure of the class, the decoder sees what one-hot labels show it.
    styles = torch.randn(12, 3)
    sure = functional.one_hot(labels, 10).float()
    torch.testing.assert_close(model.get_submodule("decoder")(styles, sure).sigmoid(), model.decode(styles, labels))


@pytest.mark.parametrize("name", ["gan", "cgan"])
@pytest.mark.parametrize("adversary", ["non_saturating", "hinge"])
def test_the_gans_losses_are_those_of_their_formulas(make: Build, noise: Noise, name: str, adversary: str) -> None:
    model = make(name, adversary=adversary, spectral_norm=False)
    images, labels = _batch(noise)
    torch.manual_seed(4)
    found = model.losses(images, labels)
    generator, discriminator = model.get_submodule("generator"), model.get_submodule("discriminator")
    torch.manual_seed(4)
    drawn = generator(torch.randn(12, model.latent_dim), labels).sigmoid()
    real, fake = discriminator(images, labels)[0].double(), discriminator(drawn, labels)[0].double()
    if adversary == "hinge":
        judge = ((1 - real).clamp(min=0) + (1 + fake).clamp(min=0)).mean() / 2
        fool = -fake.mean()
    else:
        judge = -(real.sigmoid().log() + (1 - fake.sigmoid()).log()).mean() / 2
        fool = -fake.sigmoid().log().mean()
    for player, loss in (("discriminator", judge), ("generator", fool)):
        group = model.players()[player]
        slow = torch.autograd.grad(loss, group, retain_graph=True)
        fast = torch.autograd.grad(found.players[player], group, retain_graph=True)
        assert all(torch.allclose(a, b, rtol=1e-4, atol=1e-7) for a, b in zip(fast, slow, strict=True)), player


def test_a_projection_is_an_inner_product_with_the_labels_vector(make: Build, noise: Noise) -> None:
    model = make("cgan", label_path="projection", spectral_norm=False).eval()
    images, labels = _batch(noise)
    network = model.get_submodule("discriminator")
    logits, features = network(images, labels)
    active = functional.leaky_relu(features, 0.3)
    assert isinstance(network, Discriminator) and network.projection is not None
    vectors = network.projection.weight.T[labels]
    expected = network.output(active).squeeze(1) + (vectors * active).sum(1)
    torch.testing.assert_close(logits, expected)
    assert not torch.equal(logits, network(images, (labels + 1) % 10)[0])


def test_a_search_finds_the_code_that_made_an_image(make: Build) -> None:
    model = make("cgan", latent_dim=3).eval()
    # A fresh generator hardly heeds its code.
    model.get_submodule("generator").register_forward_hook(lambda *arguments: 100 * arguments[2])
    codes, labels = 0.7 * torch.randn(5, 3, generator=torch.Generator().manual_seed(1)), torch.arange(5)
    with torch.no_grad():
        images = model.decode(codes, labels)
    weights = copy.deepcopy(model.state_dict())
    found = invert(model, images, labels, steps=150)
    with torch.no_grad():
        error = (model.decode(found, labels) - images).square().mean()
        blind = (model.decode(torch.zeros(5, 3), labels) - images).square().mean()
    assert found.shape == (5, 3) and error < 0.05 * blind
    assert torch.equal(found, invert(model, images, labels, steps=150))
    assert all(torch.equal(weights[name], value) for name, value in model.state_dict().items())


# --- gates ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("optimizer", ["adam", "rmsprop", "sgd"])
@pytest.mark.parametrize(("name", "player"), [("cgan", "generator"), ("cvae_gan", "discriminator")])
def test_a_shut_gate_leaves_a_player_bit_for_bit(
    make: Build, noise: Noise, cpu: DeviceConfig, name: str, player: str, optimizer: str
) -> None:
    """Shut in steps 1 and 2, a player ends where it would had these steps not been: parameters and optimiser alike."""
    model = make(name)
    settings = _settings(name, optimizer=optimizer, steps=1, balance={player: [None, 1000.0]})
    players = make_players(model, settings)
    (gated,) = [one for one in players if one.name == player]
    images, labels = _batch(noise)
    assert train_step(model, players, images, labels, 0, cpu).terms[f"{player}_paused"] == 0
    before = [parameter.clone() for parameter in gated.parameters]
    sums = [value.clone() for state in gated.optimiser.state.values() for value in state.values()]
    others = [p.clone() for one in players if one is not gated for p in one.parameters]
    gated.gate = (1000.0, None)
    for step in (1, 2):
        assert train_step(model, players, images, labels, step, cpu).terms[f"{player}_paused"] == 1
    after = [value for state in gated.optimiser.state.values() for value in state.values()]
    assert all(torch.equal(old, new) for old, new in zip(before, gated.parameters, strict=True))
    assert all(torch.equal(old, new) for old, new in zip(sums, after, strict=True))
    assert any(
        not torch.equal(a, b)
        for a, b in zip(others, [p for o in players if o is not gated for p in o.parameters], strict=True)
    )


@pytest.mark.parametrize("optimizer", ["adam", "rmsprop", "sgd"])
def test_an_open_gate_changes_nothing_even_if_shut_at_first(
    make: Build, noise: Noise, cpu: DeviceConfig, optimizer: str
) -> None:
    free, gated = make("gan"), make("gan")
    settings = _settings("gan", optimizer=optimizer)
    plain = make_players(free, settings)
    fenced = make_players(gated, {**settings, "balance": {"generator": [1000.0, None]}})
    images, labels = _batch(noise)
    start = copy.deepcopy(gated.state_dict())
    train_step(gated, fenced, images, labels, 0, cpu)
    gated.load_state_dict(start)
    for player, twin in zip(fenced, make_players(gated, settings), strict=True):
        if player.name == "discriminator":
            player.optimiser = twin.optimiser
        player.gate = (0.0, 1000.0)
    for step in range(3):
        torch.manual_seed(step)
        train_step(free, plain, images, labels, step, cpu)
        torch.manual_seed(step)
        train_step(gated, fenced, images, labels, step, cpu)
    for (name, one), other in zip(free.named_parameters(), gated.parameters(), strict=True):
        assert torch.equal(one, other), name


def test_a_gate_of_a_player_that_is_not_there_is_refused(make: Build) -> None:
    with pytest.raises(AtlasError, match="balance: found player encoder; the model's players are generator, discrimi"):
        make_players(make("gan"), _settings("gan", balance={"encoder": [None, 1.0]}))
