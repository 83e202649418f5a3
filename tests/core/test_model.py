"""The model interface: what each of the ten models promises trainer, metrics and figures, on images of any shape."""

import json
import math
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.conftest import PARAMS, ROOT, VARIANTS, Build, Noise
from torch import Tensor
from torch.distributions import Bernoulli, Normal

from atlas.core.datasets import to_unit
from atlas.core.files import AtlasError
from atlas.core.model import Model, Shape, build, find_model, load_model, save_model
from atlas.core.settings import keywords

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


def test_every_model_has_its_defaults_in_params_yaml(raw: dict[str, Any]) -> None:
    files = (ROOT / "src/atlas/models").glob("[a-z]*.py")
    assert sorted(path.stem for path in files) == sorted(raw["models"])
    assert all(find_model(name).__module__ == f"atlas.models.{name}" for name in raw["models"])


def test_a_file_must_define_one_model(monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("atlas.models.two")
    monkeypatch.setitem(sys.modules, "atlas.models.two", module)
    with pytest.raises(AtlasError, match=r"two\.py must define one class derived from Model, not 0"):
        find_model("two")
    for name in ("First", "Second"):
        setattr(module, name, type(name, (Model,), {"__module__": "atlas.models.two"}))
    with pytest.raises(AtlasError, match=r"two\.py must define one class derived from Model, not 2"):
        find_model("two")


def test_codes_and_images_have_their_shapes_and_ranges(make: Build, noise: Noise, variant: str, shape: Shape) -> None:
    model = make(variant, shape, latent_dim=3).eval()
    images, labels = _batch(noise, shape)
    assert (model.shape, model.num_classes, model.latent_dim) == (shape, 10, 3)
    if model.can("encode"):
        codes = model.encode(images, labels)
        assert codes.shape == (6, 3) and codes.dtype == torch.float32
    for decoded in (model.decode(20 * torch.randn(6, 3), labels), model.sample(labels)):
        assert decoded.shape == (6, *shape) and decoded.dtype == torch.float32
        assert decoded.min() >= 0 and decoded.max() <= 1
    assert model.sample(labels[:1]).shape == (1, *shape)


def test_every_parameter_belongs_to_one_group_and_gets_a_gradient(
    make: Build, noise: Noise, variant: str, shape: Shape
) -> None:
    model = make(variant, shape, latent_dim=3)
    losses, groups = model.losses(*_batch(noise, shape)).groups, model.param_groups()
    assert set(losses) == set(groups)
    grouped = [id(parameter) for params in groups.values() for parameter in params]
    assert len(grouped) == len(set(grouped)), "a parameter has two groups"
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    assert set(grouped) == set(names), "a parameter has no group"
    for group, params in groups.items():
        assert losses[group].shape == ()
        gradients = torch.autograd.grad(losses[group], params, retain_graph=True)
        for parameter, gradient in zip(params, gradients, strict=True):
            assert gradient.isfinite().all() and gradient.ne(0).any(), f"{group}: {names[id(parameter)]}"


def test_terms_are_finite_scalars_and_losses_do_not_depend_on_the_size_of_the_batch(
    make: Build, noise: Noise, variant: str
) -> None:
    """Nats per image: the mean over a batch, so the same image repeated costs the same."""
    model = make(variant, latent_dim=3).eval()
    images, labels = _batch(noise, model.shape, 1)
    with torch.no_grad():
        repeated = model.losses(images.expand(1000, -1, -1, -1), labels.expand(1000))
        few = [model.losses(images.expand(20, -1, -1, -1), labels.expand(20)) for _ in range(50)]
    for name, term in repeated.terms.items():
        assert term.shape == () and term.isfinite()
        draws = torch.stack([losses.terms[name] for losses in few]).double()
        assert abs(draws.mean() - term) <= 1e-4 * abs(term) + 7 * draws.std() / 50**0.5, name


@pytest.mark.parametrize("likelihood", ["bernoulli", "binarized", "gaussian", "discretized_logistic"])
@pytest.mark.parametrize("name", ["cvae", "vae_iaf"])
def test_the_logged_bound_is_rate_plus_distortion(make: Build, noise: Noise, name: str, likelihood: str) -> None:
    model = make(name, likelihood=likelihood).eval()
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


@pytest.mark.parametrize(("name", "likelihood"), [("vae", "binarized"), ("cvae", "gaussian")])
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
    for part, slow in ((bound.rate, rates), (bound.distortion, distortions)):
        assert abs(part.double().mean() - slow.mean()) < 1e-4 * abs(slow.mean()) + 7 * slow.std() / math.sqrt(4000)


def test_conditional_models_use_the_label_and_the_others_do_not(make: Build, noise: Noise, variant: str) -> None:
    model = make(variant, latent_dim=3).eval()
    images, labels = _batch(noise, model.shape)
    others, codes = (labels + 1) % 10, torch.randn(6, 3)
    changed = (model.decode(codes, labels) - model.decode(codes, others)).flatten(1).abs().amax(1)
    assert (changed > 1e-6).all() if model.conditional else (changed == 0).all()
    if model.can("encode"):
        changed = (model.encode(images, labels) - model.encode(images, others)).abs().amax(1)
        # A model that predicts the label does not see it.
        sees_label = model.conditional and not model.can("classify")
        assert (changed > 1e-6).all() if sees_label else (changed == 0).all()


def test_can_tells_the_truth(make: Build, noise: Noise, variant: str) -> None:
    model = make(variant).eval()
    images, labels = _batch(noise, model.shape)
    for ability, use in ABILITIES.items():
        if model.can(ability):
            use(model, images, labels)
        else:
            with pytest.raises(NotImplementedError):
                use(model, images, labels)


def test_samples_follow_from_the_generator_alone(make: Build, variant: str) -> None:
    model, labels = make(variant).eval(), torch.arange(10)
    state = torch.get_rng_state()
    once, again = (model.sample(labels, torch.Generator().manual_seed(4)) for _ in range(2))
    other = model.sample(labels, torch.Generator().manual_seed(5))
    assert torch.equal(once, again) and not torch.equal(once, other)
    assert torch.equal(torch.get_rng_state(), state)


def test_dropout_acts_in_training_only(make: Build, noise: Noise, variant: str) -> None:
    model = make(variant, dropout=0.4)
    _, labels = _batch(noise, model.shape)
    codes = torch.ones(6, model.latent_dim)
    assert not torch.equal(model.decode(codes, labels), model.decode(codes, labels))
    model.eval()
    assert torch.equal(model.decode(codes, labels), model.decode(codes, labels))


def test_width_multiplies_the_networks(make: Build, variant: str) -> None:
    # A flow's units do not depend on it.
    few = {"flow_units": 8} if VARIANTS[variant][0] == "vae" else {}
    sizes = [sum(p.numel() for p in make(variant, width=width, **few).parameters()) for width in (0.125, 0.5, 1.0)]
    assert sizes == sorted(set(sizes)) and sizes[2] > 4 * sizes[0]


def test_the_same_seed_gives_the_same_model(make: Build, variant: str) -> None:
    first, same, other = (make(variant, seed=seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(first[name], same[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


def test_bfloat16_changes_the_terms_by_its_rounding_only(make: Build, noise: Noise, variant: str) -> None:
    """The sums, and differences of nearly equal numbers as in the rate, stay in float32."""
    model = make(variant, (3, 32, 32), latent_dim=64).eval()
    images, labels = _batch(noise, model.shape, 32)
    torch.manual_seed(0)
    exact = model.losses(images, labels)
    torch.manual_seed(0)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = model.losses(images, labels)
    for values, expected in ((rounded.terms, exact.terms), (rounded.groups, exact.groups)):
        for name, value in values.items():
            assert value.dtype == torch.float32, name
            assert value.item() == pytest.approx(expected[name].item(), rel=0.03, abs=1e-3), name


def test_a_saved_model_comes_back_the_same(noise: Noise, variant: str, tmp_path: Path) -> None:
    name, differences = VARIANTS[variant]
    settings = {**PARAMS["models"][name], **differences, "latent_dim": 3, "width": 0.125}
    arguments = {key: settings[key] for key in keywords(find_model(name))}
    torch.manual_seed(0)
    model = build(name, (2, 16, 20), 10, arguments).eval()
    classes = [str(label) for label in range(10)]
    save_model(model, tmp_path, run="a", dataset="b", name=name, variant=variant, classes=classes, arguments=arguments)
    loaded, names = load_model(tmp_path, torch.device("cpu"))
    assert type(loaded) is type(model) and names == classes and not loaded.training
    about = json.loads((tmp_path / "model.json").read_text())
    assert about["arguments"] == arguments and about["variant"] == variant
    states = model.state_dict(), loaded.state_dict()
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    labels, codes = noise(6).labels, torch.randn(6, 3)
    assert torch.equal(model.decode(codes, labels), loaded.decode(codes, labels))


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("vae", {"shape": (1, 27, 28)}, "model 'vae': image sides must be multiples of 4, found 27 x 28"),
        ("vae", {"latent_dim": 4000, "network": "dct"}, "model 'vae': latent_dim: found 4000; network 'dct' allows 1"),
    ],
)
def test_a_setting_that_does_not_fit_is_named(make: Build, name: str, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(AtlasError, match=message):
        make(name, **changes)


@pytest.mark.parametrize("arguments", [{"latent_dim": 2}, {"gama": 1.0}])
def test_missing_and_unknown_arguments_are_named(arguments: dict[str, Any]) -> None:
    with pytest.raises(AtlasError, match=r"model 'vae': .*('conditional'|'gama')"):
        build("vae", (1, 16, 16), 10, arguments)


@pytest.mark.parametrize("name", ["nonsense", "vae.x", ""])
def test_a_model_that_does_not_exist_says_which_file_would_hold_it(name: str) -> None:
    with pytest.raises(AtlasError, match=rf"model '{name}': src/atlas/models/{name}\.py, .*missing"):
        build(name, (1, 16, 16), 10, {})


@pytest.mark.parametrize("num_classes", [0, 1])
def test_a_conditional_model_is_refused_where_there_are_no_labels(
    make: Build, variant: str, num_classes: int, shape: Shape
) -> None:
    if variant in ("cvae", "ac_vae", "cgan", "cvae_gan"):
        with pytest.raises(AtlasError, match="is conditional, but the images have no labels to condition on; allowed"):
            make(variant, shape, num_classes=num_classes)
    else:
        model = make(variant, shape, num_classes=num_classes)
        images = torch.rand(4, *shape)
        assert all(loss.isfinite() for loss in model.losses(images, torch.zeros(4, dtype=torch.int64)).groups.values())
