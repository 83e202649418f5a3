"""params.yaml: the real one passes, and every way of breaking it is answered with the key and what to do."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from atlas.core.files import AtlasError
from atlas.core.model import build
from atlas.core.settings import SCALES, check, load
from atlas.training.optimizers import KEYS

ROOT = Path(__file__).parents[1]
GONE = object()
"""Stands for: take the key away."""
VAE, GAN = "runs.mnist_vae_2", "runs.mnist_cvae_gan_2"
TRAIN = "budgets.smoke.train.mnist"
COUNT = "a whole number from 1 up to 1000000"


def _broken(raw: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    *above, last = path.split(".")
    place = raw
    for step in above:
        place = place[step]
    if value is GONE:
        del place[last]
    else:
        place[last] = value
    return raw


def test_the_real_file_passes_at_every_scale(raw: dict[str, Any]) -> None:
    assert set(load(ROOT / "params.yaml").runs) == set(raw["runs"])
    for scale in SCALES:
        settings = check({**raw, "scale": scale})
        for key, entry in raw["runs"].items():
            budget = raw["budgets"][scale]["train"][entry["dataset"]]
            expected = {"seed": raw["seed"], **raw["models"][entry["model"]], **budget, **entry}
            assert settings.flat(key) == expected


def test_the_seeds_recipe_that_params_yaml_offers_passes() -> None:
    text = (ROOT / "params.yaml").read_text(encoding="utf-8")
    offer = text[text.index("  # The seed texts' own recipe") :]
    offered = [line for line in offer.splitlines() if line.startswith("  # ")]
    text = text.replace("\n".join(offered), "\n".join(["  # as below", *(f"  {line[4:]}" for line in offered[1:])]))
    settings = check(YAML(typ="safe", pure=True).load(text))
    run = settings.run("mnist_cvae_gan_8_seed")
    assert run.settings["network"] == "seed" and run.settings["steps"] == {
        "encoder": 3,
        "decoder": 3,
        "discriminator": 1,
    }
    shape, arguments = (1, 28, 28), {name: value for name, value in run.settings.items() if name not in KEYS}
    assert build(run.model, shape, 10, {**arguments, "width": 1.0}).conditional


def test_a_run_overrides_its_budget_its_seed_and_part_of_a_mapping(raw: dict[str, Any]) -> None:
    raw["runs"]["mnist_cvae_gan_2"] |= {"epochs": 7, "images": None, "seed": 5, "gamma": 2, "steps": {"decoder": 9}}
    before = check(raw).run("mnist_cvae_gan_8")
    run = check(raw).run("mnist_cvae_gan_2")
    assert (run.train.epochs, run.train.images, run.seed, run.settings["gamma"]) == (7, None, 5, 2.0)
    assert run.settings["steps"] == {**raw["models"]["cvae_gan"]["steps"], "decoder": 9}
    assert before.settings["steps"] == raw["models"]["cvae_gan"]["steps"], "one run's settings reached another's"


def test_whole_numbers_are_fractions_too(raw: dict[str, Any]) -> None:
    """`gamma: 1` and `gamma: 1.0` mean the same."""
    gamma = check(_broken(raw, f"{GAN}.gamma", 1)).run("mnist_cvae_gan_2").settings["gamma"]
    assert gamma == 1.0 and isinstance(gamma, float)


COUNTS = [
    (f"{VAE}.{name}", value, f"{VAE}.{name}: found {value!r}; allowed: a whole number from 1 up to {most}")
    for name, most in (("latent_dim", 4096), ("epochs", 1000000), ("batch_size", 1000000))
    for value in (-1, 0, 2.0, "2", True, None, [2], 10**30)
]


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        *COUNTS,
        # A wrong name, with the nearest right one.
        ("run", {}, "run: unknown key, did you mean 'runs'?; allowed: scale, seed, datasets,"),
        ("scale", "smok", "scale: found 'smok', did you mean 'smoke'?; allowed: smoke, cpu, gpu"),
        ("scale", ["smoke"], "scale: found ['smoke']; allowed: smoke, cpu, gpu"),
        (f"{VAE}.model", "vea", f"{VAE}.model: found 'vea', did you mean 'vae'?; allowed: ae, vae,"),
        (f"{VAE}.model", ["vae"], f"{VAE}.model: found ['vae']; allowed: ae, vae,"),
        (f"{VAE}.dataset", "mnits", f"{VAE}.dataset: found 'mnits', did you mean 'mnist'?; allowed: mnist, cifar10"),
        (f"{VAE}.latentdim", 2, f"{VAE}.latentdim: model 'vae' has no such setting, did you mean 'latent_dim'?"),
        (f"{VAE}.epoch", 2, f"{VAE}.epoch: model 'vae' has no such setting, did you mean 'epochs'?; allowed: dataset,"),
        (f"{TRAIN}.epoch", 2, f"{TRAIN}.epoch: unknown key, did you mean 'epochs'?; allowed: epochs, batch_size,"),
        ("budgets.gpu.evaluate.mnist.image", 5, "budgets.gpu.evaluate.mnist.image: unknown key, did you mean 'images'"),
        ("budgets.smoke.trian", {}, "budgets.smoke.trian: unknown key, did you mean 'train'?; allowed: train, judge,"),
        ("budgets.smoke.train.mnits", {}, "budgets.smoke.train.mnits: unknown key, did you mean 'mnist'?"),
        ("budgets.tiny", {}, "budgets.tiny: unknown key; allowed: smoke, cpu, gpu"),
        ("datasets.mnist.valid", 1, "datasets.mnist.valid: unknown key, did you mean 'validation'?"),
        ("sample.scater", 1, "sample.scater: unknown key, did you mean 'scatter'?"),
        ("animation.fbs", 1, "animation.fbs: unknown key, did you mean 'fps'?"),
        # A setting of another model.
        (
            f"{VAE}.gamma",
            1.0,
            f"{VAE}.gamma: model 'vae' has no such setting ('gamma' belongs to vae_gan, cvae_gan); allowed:",
        ),
        (f"{VAE}.steps", {"encoder": 1}, "('steps' belongs to gan, cgan, vae_gan, cvae_gan)"),
        (
            "runs.mnist_ae_2.likelihood",
            "gaussian",
            "model 'ae' has no such setting ('likelihood' belongs to vae, beta_vae",
        ),
        # A player, or a value of a player, that is not one.
        (
            f"{GAN}.learning_rate",
            {"decodr": 0.1},
            "learning_rate.decodr: unknown key, did you mean 'decoder'?; allowed",
        ),
        (f"{GAN}.learning_rate", {"decoder": -1.0}, "learning_rate.decoder: found -1.0; allowed: a number above 0"),
        (f"{GAN}.learning_rate", "fast", "learning_rate: found 'fast'; allowed: a number above 0 or a mapping"),
        (f"{GAN}.steps", {"decoder": 1.5}, f"steps.decoder: found 1.5; allowed: {COUNT}"),
        (f"{GAN}.steps", 3, f"{GAN}.steps: found 3; allowed: a mapping"),
        # Something missing.
        ("runs", GONE, "runs: missing"),
        ("sample", GONE, "sample: missing"),
        ("runs", {}, "runs: found no entry; allowed: one or more"),
        ("models", {}, "models: found no entry; allowed: one or more"),
        ("models.vae", None, "models.vae: found nothing; allowed: a mapping of keys to values"),
        ("models.vae.optimizer", GONE, "models.vae.optimizer: missing"),
        ("budgets.smoke", GONE, "budgets.smoke: missing (every scale needs its budgets)"),
        ("budgets.smoke.train", GONE, "budgets.smoke.train: missing"),
        (TRAIN, GONE, f"{TRAIN}: missing (every data set needs a row)"),
        ("budgets.gpu.judge.digits", GONE, "budgets.gpu.judge.digits: missing"),
        (f"{TRAIN}.epochs", GONE, f"{TRAIN}.epochs: missing"),
        (f"{VAE}.model", GONE, f"{VAE}.model: missing; allowed: ae, vae,"),
        (f"{VAE}.dataset", GONE, f"{VAE}.dataset: missing; allowed: mnist, cifar10"),
        (VAE, None, f"{VAE}: found nothing; allowed: a mapping"),
        # Numbers out of range, and what is no number.
        (f"{TRAIN}.images", "all", f"{TRAIN}.images: found 'all'; allowed: {COUNT} or null"),
        (f"{TRAIN}.images", -5, f"{TRAIN}.images: found -5; allowed: {COUNT} or null"),
        (f"{TRAIN}.width", 17, f"{TRAIN}.width: found 17; allowed: a number above 0 up to 16"),
        (f"{TRAIN}.width", float("nan"), f"{TRAIN}.width: found nan; allowed: a number above 0 up to 16"),
        (f"{TRAIN}.frames", 1, f"{TRAIN}.frames: found 1; allowed: a whole number from 2 up to 10000"),
        (f"{VAE}.learning_rate", float("inf"), f"{VAE}.learning_rate: found inf; allowed: a number above 0 or"),
        (f"{VAE}.learning_rate", float("nan"), f"{VAE}.learning_rate: found nan; allowed: a number above 0 or"),
        (f"{VAE}.learning_rate", True, f"{VAE}.learning_rate: found True; allowed: a number above 0 or"),
        (f"{VAE}.dropout", 1.0, f"{VAE}.dropout: found 1.0; allowed: a number from 0 and below 1"),
        (f"{GAN}.gamma", -1, f"{GAN}.gamma: found -1; allowed: a number from 0"),
        ("budgets.gpu.judge.mnist.width", 0.5, "judge.mnist.width: found 0.5; allowed: a whole number from 1 up to"),
        ("sample.map_quantile", 0.5, "sample.map_quantile: found 0.5; allowed: a number above 0 and below 0.5"),
        ("animation.fps", 0, "animation.fps: found 0; allowed: a whole number from 1 up to 60"),
        ("seed", -1, "seed: found -1; allowed: a whole number from 0 up to 2147483647"),
        ("seed", 2**31, "seed: found 2147483648; allowed: a whole number from 0 up to 2147483647"),
        (f"{VAE}.seed", 1.5, f"{VAE}.seed: found 1.5; allowed: a whole number"),
        # Words that are not choices.
        (f"{VAE}.likelihood", "bernouli", f"{VAE}.likelihood: found 'bernouli'; allowed: bernoulli, binarized,"),
        ("models.vae.likelihood", "gauss", "models.vae.likelihood: found 'gauss'; allowed: bernoulli, binarized,"),
        (f"{VAE}.optimizer", "adm", f"{VAE}.optimizer: found 'adm'; allowed: adam, rmsprop, sgd"),
        (f"{VAE}.schedule", "cosin", f"{VAE}.schedule: found 'cosin'; allowed: constant, cosine"),
        (f"{GAN}.feature_loss", "mse", f"{GAN}.feature_loss: found 'mse'; allowed: cross_entropy, squared_error"),
        ("runs.mnist_ae_2.reconstruction", "mse", "reconstruction: found 'mse'; allowed: cross_entropy, squared_error"),
        # Something else where a mapping belongs, and keys that are no words.
        ("budgets", 3, "budgets: found 3; allowed: a mapping of keys to values"),
        (TRAIN, None, f"{TRAIN}: found None; allowed: a mapping"),
        ("budgets.smoke.train", [1], "budgets.smoke.train: found [1]; allowed: a mapping"),
        (VAE, {1: 2}, f"{VAE}: found the key 1; allowed: keys that are words"),
        ("runs.a-b", {"dataset": "mnist", "model": "vae"}, "runs: found 'a-b'; allowed: names made of letters, digits"),
        ("runs.a/b", {"dataset": "mnist", "model": "vae"}, "runs: found 'a/b'; allowed: names made of letters, digits"),
        # A budget's key among a model's defaults would be silently overruled by the budget.
        ("models.vae.width", 2.0, "models.vae.width: no default of a model; allowed: under budgets, or in a run"),
    ],
    ids=lambda part: str(part)[:50] if isinstance(part, str) else "",
)
def test_broken_settings_are_refused(raw: dict[str, Any], path: str, value: Any, words: str) -> None:
    with pytest.raises(AtlasError) as refusal:
        check(_broken(raw, path, value))
    message = str(refusal.value)
    assert message.startswith("params.yaml: ") and words in message
    assert "\n" not in message and "pydantic" not in message


@pytest.mark.parametrize("place", ["", "models", "runs", "runs.mnist_vae_2", "budgets.cpu.train", "datasets", "sample"])
def test_names_with_line_ends_are_refused_in_one_line(raw: dict[str, Any], place: str) -> None:
    inner = raw
    for key in place.split(".") if place else []:
        inner = inner[key]
    inner["two\nlines\u2028\r\nthree"] = "a\nb"
    with pytest.raises(AtlasError) as refusal:
        check(raw)
    assert len(str(refusal.value).splitlines()) == 1


def test_an_unknown_key_is_named_before_the_key_that_it_should_have_been(raw: dict[str, Any]) -> None:
    row = raw["budgets"]["smoke"]["train"]["mnist"]
    row["epoch"] = row.pop("epochs")
    with pytest.raises(AtlasError, match=r"epoch: unknown key, did you mean 'epochs'\?"):
        check(raw)


def test_a_setting_names_every_model_that_has_it(raw: dict[str, Any]) -> None:
    raw["models"]["beta_vae"] = {**raw["models"]["vae"], "beta": 4.0}
    raw["runs"]["mnist_beta_vae"] = {"dataset": "mnist", "model": "beta_vae", "beta": 2}
    assert check(raw).run("mnist_beta_vae").settings["beta"] == 2.0
    raw["runs"]["mnist_vae_2"]["beta"] = 2
    with pytest.raises(AtlasError, match=r"runs\.mnist_vae_2\.beta: .*'beta' belongs to beta_vae"):
        check(raw)


@pytest.mark.parametrize(
    ("default", "wrong", "allowed"),
    [(3, 2.5, "a whole number"), (-0.5, "x", "a number"), ("a", 1, "string"), (True, 1, "true or false")],
)
def test_a_new_models_own_setting_keeps_the_type_of_its_default(
    raw: dict[str, Any], default: Any, wrong: Any, allowed: str
) -> None:
    raw["models"]["toy"] = {**raw["models"]["vae"], "own": default}
    raw["runs"]["toy"] = {"dataset": "mnist", "model": "toy", "own": default}
    assert check(raw).run("toy").settings["own"] == default
    raw["runs"]["toy"]["own"] = wrong
    with pytest.raises(AtlasError, match=rf"runs\.toy\.own: found {wrong!r}; allowed: {allowed}"):
        check(raw)


@pytest.mark.parametrize("found", [None, [], [1], 3, "x", {1: 2}])
def test_what_is_no_mapping_at_all_is_refused(found: Any) -> None:
    with pytest.raises(AtlasError, match=r"^params\.yaml: the file: found .*; allowed: "):
        check(found)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "the file: found nothing"),
        (b"runs: [", r"is not YAML: .*line 1, column 8"),
        (b"\tscale: cpu", "is not YAML"),
        (b"scale: cpu\nscale: gpu\n", r"is not YAML: .*found duplicate key \"scale\""),
        (b"scale: !!python/object/apply:os.getcwd []", "is not YAML: could not determine a constructor"),
        (b"--- 1\n--- 2\n", "is not YAML: expected a single document"),
        (b"scale: *cpu", "is not YAML: found undefined alias"),
        (b"seed: 2020-13-45", "is not YAML"),
        (b"seed: " + b"9" * 5000, "is not YAML"),
        (b"[" * 5000, "is not YAML"),
        ("scale: cpu".encode("utf-16"), "is not UTF-8 text"),
        (b"seed: \x00", "is not YAML"),
    ],
    ids=lambda part: repr(part)[:20],
)
def test_what_is_no_yaml_is_refused_in_one_line(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "params.yaml"
    path.write_bytes(content)
    with pytest.raises(AtlasError, match=words) as refusal:
        load(path)
    assert str(path) in str(refusal.value) and "\n" not in str(refusal.value)


def test_a_missing_file_says_where_to_run(tmp_path: Path) -> None:
    with pytest.raises(AtlasError, match="is missing: run from the repository's root"):
        load(tmp_path / "params.yaml")


def test_dvc_and_the_settings_read_the_same_numbers(raw: dict[str, Any], tmp_path: Path) -> None:
    """YAML 1.1 readers take 4e-3 for a word: the key in the cache and the number in the training would differ."""
    text = (ROOT / "params.yaml").read_text(encoding="utf-8").replace("learning_rate: 0.004", "learning_rate: 4e-3")
    (tmp_path / "params.yaml").write_text(text, encoding="utf-8")
    assert load(tmp_path / "params.yaml").run("mnist_vae_2").settings["learning_rate"] == 0.004


def test_an_unknown_run_names_the_nearest() -> None:
    with pytest.raises(AtlasError, match=r"unknown run 'mnist_vea_2', did you mean 'mnist_vae_2'\?; there are: mnist"):
        load(ROOT / "params.yaml").run("mnist_vea_2")


def _train(folder: Path, run: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "src/train.py"), run]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize(
    ("content", "words"), [(None, "unknown run 'nonsense'; there are: mnist_ae_2, "), ("runs: [", "is not YAML")]
)
def test_a_stage_ends_with_one_line_and_no_traceback(tmp_path: Path, content: str | None, words: str) -> None:
    text = content or (ROOT / "params.yaml").read_text(encoding="utf-8")
    (tmp_path / "params.yaml").write_text(text, encoding="utf-8")
    ended = _train(tmp_path, "nonsense")
    assert ended.returncode == 1 and ended.stdout == ""
    assert len(ended.stderr.splitlines()) == 1 and ended.stderr.startswith("error: ") and words in ended.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["params.yaml"], "something was written"
