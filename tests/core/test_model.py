"""What every member of the family promises the trainer, the measures and the figures, on every shape of image."""

import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.conftest import PARAMS
from torch import Tensor
from torch.distributions import Bernoulli, Normal

from atlas.core.datasets import Split, to_unit
from atlas.core.files import AtlasError
from atlas.core.model import Model, Shape
from atlas.core.model import build
from atlas.core.model import load_model, save_model
from atlas.training.optimizers import KEYS

ROOT = Path(__file__).parents[1]
Build = Callable[..., Model]
Noise = Callable[..., Split]
ABILITIES: dict[str, Callable[[Model, Tensor, Tensor], Any]] = {
    "encode": lambda model, images, labels: model.encode(images, labels),
    "decode": lambda model, images, labels: model.decode(torch.zeros(len(labels), model.latent_dim), labels),
    "elbo": lambda model, images, labels: model.elbo(images, labels),
    "log_weights": lambda model, images, labels: model.log_weights(images, labels),
    "rates": lambda model, images, labels: model.rates(images, labels),
    "classify": lambda model, images, labels: model.classify(images),
}


def _batch(noise: Noise, shape: Shape, count: int = 6) -> tuple[Tensor, Tensor]:
    split = noise(count, shape)
    return to_unit(split.images), split.labels


def test_every_registered_member_has_its_defaults_in_params_yaml(raw: dict[str, Any]) -> None:
    files = sorted((ROOT / "src/atlas/models").glob("*.py"))
    registered = {path.stem: re.findall(r'^@register\("(.+)"\)', path.read_text(), re.MULTILINE) for path in files}
    assert {stem: names for stem, names in registered.items() if names} == {name: [name] for name in raw["models"]}


def test_codes_and_images_have_their_shapes_and_ranges(make: Build, noise: Noise, member: str, shape: Shape) -> None:
    model = make(member, shape, latent_dim=3).eval()
    images, labels = _batch(noise, shape)
    assert (model.shape, model.num_classes, model.latent_dim) == (shape, 10, 3)
    if model.can("encode"):
        codes = model.encode(images, labels)
        assert codes.shape == (6, 3) and codes.dtype == torch.float32
    for drawn in (model.decode(20 * torch.randn(6, 3), labels), model.sample(labels)):
        assert drawn.shape == (6, *shape) and drawn.dtype == torch.float32
        assert drawn.min() >= 0 and drawn.max() <= 1
    assert model.sample(labels[:1]).shape == (1, *shape)


def test_every_parameter_belongs_to_one_player(make: Build, member: str, shape: Shape) -> None:
    model = make(member, shape)
    owned = [id(parameter) for group in model.players().values() for parameter in group]
    assert len(owned) == len(set(owned)), "a parameter has two players"
    assert set(owned) == {id(parameter) for parameter in model.parameters()}, "a parameter has no player"


def test_every_parameter_learns_from_its_players_loss(make: Build, noise: Noise, member: str, shape: Shape) -> None:
    model = make(member, shape, latent_dim=3)
    losses, players = model.losses(*_batch(noise, shape)).players, model.players()
    assert set(losses) == set(players)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    for player, group in players.items():
        assert losses[player].shape == ()
        for parameter, slope in zip(group, torch.autograd.grad(losses[player], group, retain_graph=True), strict=True):
            assert slope.isfinite().all() and slope.ne(0).any(), f"{player} does not teach {names[id(parameter)]}"


def test_terms_are_finite_scalars_and_losses_do_not_depend_on_the_size_of_the_batch(
    make: Build, noise: Noise, member: str
) -> None:
    """Nats per image: the mean over a batch, so the same image repeated costs the same."""
    model = make(member, latent_dim=3).eval()
    images, labels = _batch(noise, model.shape, 1)
    repeated = model.losses(images.expand(2000, -1, -1, -1), labels.expand(2000))
    few = [model.losses(images.expand(20, -1, -1, -1), labels.expand(20)) for _ in range(100)]
    for name, term in repeated.terms.items():
        assert term.shape == () and term.isfinite()
        draws = torch.stack([losses.terms[name] for losses in few]).double()
        assert abs(draws.mean() - term) <= 1e-4 * abs(term) + 7 * draws.std() / 10, name


@pytest.mark.parametrize("likelihood", ["bernoulli", "binarized", "gaussian", "discretized_logistic"])
def test_the_logged_bound_is_rate_plus_distortion(make: Build, noise: Noise, member: str, likelihood: str) -> None:
    model = make(member).eval()
    if not model.can("elbo"):
        assert "nelbo" not in model.losses(*_batch(noise, model.shape)).terms
        return
    model = make(member, likelihood=likelihood).eval()
    images, labels = _batch(noise, model.shape)
    torch.manual_seed(3)
    bound = model.elbo(images, labels)
    torch.manual_seed(3)
    terms = model.losses(images, labels).terms
    assert bound.rate.shape == bound.distortion.shape == (6,)
    assert bound.rate.mean() > 0
    pixels = {"bernoulli": "grey", "binarized": "binary", "gaussian": "real", "discretized_logistic": "bytes"}
    assert model.pixels == pixels[likelihood]
    torch.testing.assert_close(terms["nelbo"], (bound.rate + bound.distortion).mean())
    torch.testing.assert_close(terms["rate"], bound.rate.mean())
    torch.testing.assert_close(terms["distortion"], bound.distortion.mean())


@pytest.mark.parametrize("name", ["vae", "cvae", "beta_vae"])
@pytest.mark.parametrize("likelihood", ["bernoulli", "binarized", "gaussian"])
def test_the_bound_is_what_sampling_from_the_posterior_says(
    make: Build, noise: Noise, name: str, likelihood: str
) -> None:
    """E_q[log q(z|x) - log p(z) - log p(x|z)], each density by torch.distributions, none in closed form."""
    model = make(name, latent_dim=3, likelihood=likelihood).eval()
    images, labels = _batch(noise, model.shape, 1)
    images = images.round().expand(4000, -1, -1, -1)
    labels = labels.expand(4000)
    encoder, decoder = model.get_submodule("encoder"), model.get_submodule("decoder")
    # A fresh posterior is near the prior, and a fresh decoder hardly heeds the code: nothing could be told from it.
    shift = torch.tensor([1.0, -1.0, 0.5, 2.0, -3.0, 1.0])
    encoder.register_forward_hook(lambda *arguments: arguments[2] + shift)
    decoder.register_forward_hook(lambda *arguments: 5 * arguments[2])
    with torch.no_grad():
        mean, log_variance = encoder(images, labels).double().chunk(2, 1)
        posterior = Normal(mean, (0.5 * log_variance).exp())
        codes = posterior.sample()
        logits = decoder(codes.float(), labels).double()
        if likelihood != "gaussian":
            density = Bernoulli(logits=logits).log_prob(images.double())
        else:
            scale = dict(model.named_parameters())["likelihood.log_scale"].double().exp()
            density = Normal(logits.sigmoid(), scale).log_prob(images.double())
        rates = (posterior.log_prob(codes) - Normal(0.0, 1.0).log_prob(codes)).sum(1)
        distortions = -density.sum((1, 2, 3))
        bound = model.elbo(images, labels)
    assert rates.mean() > 5 * rates.std() / math.sqrt(4000)
    for found, slow in ((bound.rate, rates), (bound.distortion, distortions)):
        assert abs(found.double().mean() - slow.mean()) < 1e-4 * abs(slow.mean()) + 7 * slow.std() / math.sqrt(4000)


def test_conditional_members_heed_the_label_and_the_others_do_not(make: Build, noise: Noise, member: str) -> None:
    model = make(member, latent_dim=3).eval()
    images, labels = _batch(noise, model.shape)
    others, codes = (labels + 1) % 10, torch.randn(6, 3)
    changed = (model.decode(codes, labels) - model.decode(codes, others)).flatten(1).abs().amax(1)
    assert (changed > 1e-6).all() if model.conditional else (changed == 0).all()
    if model.can("encode"):
        moved = (model.encode(images, labels) - model.encode(images, others)).abs().amax(1)
        # A member that reads the label itself is not shown it.
        shown = model.conditional and not model.can("classify")
        assert (moved > 1e-6).all() if shown else (moved == 0).all()


def test_can_tells_the_truth(make: Build, noise: Noise, member: str) -> None:
    model = make(member).eval()
    images, labels = _batch(noise, model.shape)
    for ability, use in ABILITIES.items():
        if model.can(ability):
            use(model, images, labels)
        else:
            with pytest.raises(NotImplementedError):
                use(model, images, labels)


def test_samples_follow_from_the_generator_alone(make: Build, member: str) -> None:
    model, labels = make(member).eval(), torch.arange(10)
    state = torch.get_rng_state()
    once, again = (model.sample(labels, torch.Generator().manual_seed(4)) for _ in range(2))
    other = model.sample(labels, torch.Generator().manual_seed(5))
    assert torch.equal(once, again) and not torch.equal(once, other)
    assert torch.equal(torch.get_rng_state(), state)


def test_dropout_acts_in_training_only(make: Build, noise: Noise, member: str) -> None:
    model = make(member, dropout=0.4)
    _, labels = _batch(noise, model.shape)
    codes = torch.ones(6, model.latent_dim)
    assert not torch.equal(model.decode(codes, labels), model.decode(codes, labels))
    model.eval()
    assert torch.equal(model.decode(codes, labels), model.decode(codes, labels))


def test_width_multiplies_the_networks(make: Build, member: str) -> None:
    # A flow's units are its own.
    few = {"flow_units": 8} if "flow_units" in PARAMS["models"][member] else {}
    sizes = [sum(p.numel() for p in make(member, width=width, **few).parameters()) for width in (0.125, 0.5, 1.0)]
    assert sizes == sorted(set(sizes)) and sizes[2] > 4 * sizes[0]


def test_the_same_seed_gives_the_same_model(make: Build, member: str) -> None:
    first, same, other = (make(member, seed=seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(first[name], same[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


def test_bfloat16_changes_the_terms_by_its_rounding_only(make: Build, noise: Noise, member: str) -> None:
    """The sums, and differences of nearly equal numbers as in the rate, stay in float32."""
    model = make(member, (3, 32, 32), latent_dim=64).eval()
    images, labels = _batch(noise, model.shape, 32)
    torch.manual_seed(0)
    exact = model.losses(images, labels)
    torch.manual_seed(0)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = model.losses(images, labels)
    for found, expected in ((rounded.terms, exact.terms), (rounded.players, exact.players)):
        for name, value in found.items():
            assert value.dtype == torch.float32, name
            assert value.item() == pytest.approx(expected[name].item(), rel=0.03, abs=1e-3), name


def test_a_saved_member_comes_back_the_same(raw: dict[str, Any], noise: Noise, member: str, tmp_path: Path) -> None:
    arguments = {key: value for key, value in raw["models"][member].items() if key not in KEYS}
    arguments = {**arguments, "latent_dim": 3, "width": 0.125}
    torch.manual_seed(0)
    model = build(member, (2, 16, 20), 10, arguments).eval()
    classes = [str(label) for label in range(10)]
    save_model(model, tmp_path, run="a", dataset="b", name=member, classes=classes, arguments=arguments)
    loaded, names = load_model(tmp_path, torch.device("cpu"))
    assert type(loaded) is type(model) and names == classes and not loaded.training
    assert json.loads((tmp_path / "model.json").read_text())["arguments"] == arguments
    states = model.state_dict(), loaded.state_dict()
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    labels, codes = noise(6).labels, torch.randn(6, 3)
    assert torch.equal(model.decode(codes, labels), loaded.decode(codes, labels))


@pytest.mark.parametrize(
    ("name", "changes", "words"),
    [
        ("ae", {"reconstruction": "mse"}, "model 'ae': reconstruction: found 'mse'; allowed: cross_entropy, squared"),
        ("vae", {"likelihood": "poisson"}, "model 'vae': likelihood: found 'poisson'; allowed: bernoulli, binarized"),
        ("cvae_gan", {"feature_loss": "l1"}, "model 'cvae_gan': feature_loss: found 'l1'; allowed: cross_entropy,"),
        ("vae", {"gama": 1.0}, "model 'vae': .*'gama'"),
        ("vae", {"shape": (1, 27, 28)}, "model 'vae': image sides must be multiples of 4, found 27 x 28"),
    ],
)
def test_a_setting_that_does_not_fit_is_named(make: Build, name: str, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(AtlasError, match=words):
        make(name, **changes)


def test_a_setting_that_is_missing_is_named() -> None:
    with pytest.raises(AtlasError, match=r"model 'vae': .*'likelihood'"):
        build("vae", (1, 16, 16), 10, {"latent_dim": 2, "dropout": 0.0, "width": 1.0})


@pytest.mark.parametrize("name", ["nonsense", "base", "vae.x", ""])
def test_a_member_that_does_not_exist_says_which_file_would_hold_it(name: str) -> None:
    with pytest.raises(AtlasError, match=rf"model '{name}': src/atlas/models/{name}\.py, .*missing"):
        build(name, (1, 16, 16), 10, {})
