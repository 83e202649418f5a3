"""params.yaml: the real one passes, and every way of breaking it is answered with the key and what to do."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from dvc.utils.serialize import modify_yaml
from ruamel.yaml import YAML
from tests.conftest import ROOT

from atlas.core.files import AtlasError
from atlas.core.model import build, find_model
from atlas.core.settings import SCALES, Settings, check, load, set_scale
from atlas.training.optimizers import make_optimizers

GONE = object()
"""Stands for: take the key away."""
VAE, GAN = "runs.mnist_vae_2", "runs.mnist_cvae_gan_2"
TRAIN = "budgets.smoke.train"
COUNT = "a whole number from 1 up to 1000000"


MNIST = "datasets.mnist"


def _broken(raw: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    *parents, last = path.split(".")
    node = raw
    for key in parents:
        node = node[key]
    if value is GONE:
        del node[last]
    else:
        node[last] = value
    return raw


def _check_all(raw: dict[str, Any]) -> Settings:
    """Check params.yaml, and each run as its training does."""
    settings = check(raw)
    for run in settings.runs.values():
        run.arguments(find_model(run.model), make_optimizers)
    return settings


def test_the_real_file_passes_at_every_scale(raw: dict[str, Any]) -> None:
    assert set(load(ROOT / "params.yaml").runs) == set(raw["runs"])
    for scale in SCALES:
        settings = _check_all({**raw, "scale": scale})
        for key, entry in raw["runs"].items():
            budget = {"epochs": 0, "images": None, "length": 1.0, **raw["budgets"][scale]["train"]}
            changed = raw["datasets"][entry["dataset"]].get("budgets", {}).get(scale, {}).get("train", {})
            budget |= changed | ({"min_steps": 1} if "batch_size" in entry else {})
            flat = settings.flat(key)
            assert flat.pop("variant")
            assert not any(flat.pop(name) for name in ("frame_steps", "frame_map", "frame_labels")), "not set"
            assert flat == {"seed": raw["seed"], **raw["training"], **raw["models"][entry["model"]], **budget, **entry}


@pytest.mark.parametrize(
    ("run", "name"),
    [
        ("mnist_ae_2", "ae"),
        ("mnist_vae_2", "vae"),
        ("mnist_beta_vae_10", "beta_vae"),
        ("mnist_vae_iaf_32", "vae_iaf"),
        ("digits_cvae_2", "cvae"),
        ("mnist_ac_vae", "ac_vae"),
        ("mnist_cgan", "cgan"),
        ("mnist_cvae_gan_8", "cvae_gan"),
    ],
)
def test_a_variant_is_what_people_call_the_model(run: str, name: str) -> None:
    assert load(ROOT / "params.yaml").run(run).variant == name


def test_the_original_recipe_that_params_yaml_offers_passes() -> None:
    text = (ROOT / "params.yaml").read_text(encoding="utf-8")
    offer = re.findall(r"(?m)^  # (mnist_\w+_original:|  .*)$", text)
    runs = "".join(f"  {line}\n" for line in offer)
    settings = check(YAML(typ="safe", pure=True).load(re.sub(r"(?m)^runs:\n", f"runs:\n{runs}", text)))
    for key in ("mnist_cvae_8_original", "mnist_cvae_gan_8_original"):
        run = settings.run(key)
        arguments, optimization = run.arguments(find_model(run.model), make_optimizers)
        assert arguments["network"] == "original" and build(run.model, (1, 28, 28), 10, arguments).conditional
    assert optimization["steps"] == {"encoder": 3, "decoder": 3, "discriminator": 1}
    # The tutorial's L_gan is 1/4, 1/4 and 2/4 of its parts; ours is halved twice where its weights are 1.
    weights = arguments["gan_weights"]
    assert [weights["real"] / 2, weights["reconstruction"] / 4, weights["prior"] / 4] == [0.25, 0.25, 0.5]
    # 48,000 steps of the discriminator.
    assert 48_000 <= run.train.epochs * (55_000 // 64) / 3 < 48_200


def test_a_run_overrides_its_budget_its_seed_and_part_of_a_mapping(raw: dict[str, Any]) -> None:
    raw["runs"]["mnist_cvae_gan_2"] |= {"epochs": 7, "images": None, "seed": 5, "gamma": 2, "steps": {"decoder": 9}}
    settings = check(raw)
    run = settings.run("mnist_cvae_gan_2")
    assert (run.train.epochs, run.train.images, run.seed, run.settings["gamma"]) == (7, None, 5, 2.0)
    assert run.settings["steps"] == {**raw["models"]["vae_gan"]["steps"], "decoder": 9}
    assert settings.run("mnist_cvae_gan_8").settings["steps"] == raw["models"]["vae_gan"]["steps"]


def test_a_model_overrides_how_all_are_trained_and_a_run_its_model(raw: dict[str, Any]) -> None:
    raw["training"]["gradient_clip"] = 7
    raw["models"]["vae"] |= {"ema": 0.9, "patience": 3}
    raw["runs"]["mnist_vae_2"] |= {"ema": 0.5}
    settings = _check_all(raw)
    values = [
        (run.training.gradient_clip, run.training.ema, run.training.patience)
        for run in map(settings.run, ("mnist_ae_2", "mnist_vae_10", "mnist_vae_2"))
    ]
    assert values == [(7.0, 0.0, None), (7.0, 0.9, 3), (7.0, 0.5, 3)]
    assert settings.flat("mnist_vae_2")["ema"] == 0.5 and "ema" not in settings.run("mnist_vae_2").settings


def test_whole_numbers_are_fractions_too(raw: dict[str, Any]) -> None:
    """`gamma: 1` and `gamma: 1.0` mean the same."""
    run = check(_broken(raw, f"{GAN}.gamma", 1)).run("mnist_cvae_gan_2")
    (arguments, _) = run.arguments(find_model(run.model), make_optimizers)
    assert arguments["gamma"] == 1.0 and isinstance(arguments["gamma"], float)


NOT_COUNTS = [
    *(
        (f"{VAE}.epochs", value, f"{VAE}.epochs: found {value!r}; allowed: a whole number from 0")
        for value in (-1, 2.0, "2")
    ),
    *(
        (f"{VAE}.latent_dim", value, f"{VAE}.latent_dim: found {value!r}; allowed: a whole number from 1 up to 4096")
        for value in (-1, True, [2], 10**30)
    ),
]


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        *NOT_COUNTS,
        # A wrong name, with the nearest right one.
        ("run", {}, "run: unknown key, did you mean 'runs'?; allowed: scale, seed, datasets,"),
        ("scale", "smok", "scale: found 'smok', did you mean 'smoke'?; allowed: smoke, cpu, night, gpu"),
        ("scale", ["smoke"], "scale: found ['smoke']; allowed: smoke, cpu, night, gpu"),
        (f"{VAE}.model", "vea", f"{VAE}.model: found 'vea', did you mean 'vae'?; allowed: ae, vae,"),
        (f"{VAE}.dataset", "mnits", f"{VAE}.dataset: found 'mnits', did you mean 'mnist'?; allowed: mnist, cifar10"),
        (f"{VAE}.latentdim", 2, f"{VAE}.latentdim: model 'vae' has no such setting, did you mean 'latent_dim'?"),
        (f"{GAN}.gama", 2, f"{GAN}.gama: model 'vae_gan' has no such setting, did you mean 'gamma'?; allowed: dataset"),
        (f"{VAE}.epoch", 2, f"{VAE}.epoch: model 'vae' has no such setting, did you mean 'epochs'?; allowed: dataset,"),
        (f"{TRAIN}.epoch", 2, f"{TRAIN}.epoch: unknown key, did you mean 'epochs'?; allowed: epochs, images_seen,"),
        ("budgets.smoke.trian", {}, "budgets.smoke.trian: unknown key, did you mean 'train'?; allowed: train, judge,"),
        ("budgets.tiny", {}, "budgets.tiny: unknown key; allowed: smoke, cpu, night, gpu"),
        (f"{MNIST}.budgets.tiny", {}, f"{MNIST}.budgets.tiny: unknown key; allowed: smoke, cpu, night, gpu"),
        (f"{MNIST}.budgets.gpu", {"trian": {}}, f"{MNIST}.budgets.gpu.trian: unknown key, did you mean 'train'?"),
        (f"{MNIST}.budgets.gpu.train", {"images": 0}, f"{MNIST}.budgets.gpu.train.images: found 0; allowed: {COUNT}"),
        (f"{MNIST}.budgets.cpu", {"judge": {"widht": 1}}, f"{MNIST}.budgets.cpu.judge.widht: unknown key, did you m"),
        (f"{MNIST}.source", GONE, f"{MNIST}.source: missing; allowed: a folder of images, or src/atlas/data/download"),
        (f"{MNIST}.size", 64, f"{MNIST}.size: unknown key; allowed: source, validation"),
        (
            f"{MNIST}.validation",
            1.5,
            f"{MNIST}.validation: found 1.5; allowed: a whole number from 1 up to 10000000 or",
        ),
        ("datasets.my set", {}, "datasets: found 'my set'; allowed: names of letters, digits and underscores"),
        ("datasets.mnist.valid", 1, "datasets.mnist.valid: unknown key, did you mean 'validation'?"),
        ("snapshots.epoch", 1, "snapshots.epoch: unknown key, did you mean 'epochs'?"),
        ("judge.learning_rte", 1, "judge.learning_rte: unknown key, did you mean 'learning_rate'?"),
        ("evaluation.subsets", 1, "evaluation.subsets: unknown key, did you mean 'subset'?"),
        ("sample.scater", 1, "sample.scater: unknown key, did you mean 'scatter'?"),
        ("shown_labels.mnits", ["1"], "shown_labels.mnits: unknown key, did you mean 'mnist'?"),
        ("shown_labels.mnist", "1", "shown_labels.mnist: found '1'; allowed: a list"),
        (f"{VAE}.frame_steps", [[3]], f"{VAE}.frame_steps: found [[3]]; allowed: a list"),
        ("animation.fbs", 1, "animation.fbs: unknown key, did you mean 'fps'?"),
        ("training.ema", 1, "training.ema: found 1; allowed: a number from 0 and below 1"),
        ("training.shedule", "cosine", "training.shedule: unknown key, did you mean 'schedule'?"),
        ("models.vae.ema", 2, "models.vae.ema: found 2; allowed: a number from 0 and below 1"),
        (f"{VAE}.restarts", [0], f"{VAE}.restarts: found [0]; allowed: a list, each a whole number from 1"),
        (f"{VAE}.patience", 0.5, f"{VAE}.patience: found 0.5; allowed: a whole number from 1 up to 1000000 or null"),
        (f"{GAN}.gan_weights", {"reel": 1}, f"{GAN}.gan_weights.reel: unknown key, did you mean 'real'?"),
        ("models.vae.foo", 3, "models.vae.foo: unknown key; allowed: balance, beta, conditional,"),
        ("models.vae.flow_step", 3, "models.vae.flow_step: unknown key, did you mean 'flow_steps'?; allowed: "),
        # A setting of another model.
        (f"{VAE}.gamma", 1.0, f"{VAE}.gamma: model 'vae' has no such setting ('gamma' belongs to vae_gan); allowed:"),
        (f"{VAE}.steps", {"encoder": 1}, "('steps' belongs to gan, vae_gan)"),
        # A parameter group, or a value of one, that is not one.
        (f"{GAN}.learning_rate", {"decodr": 0.1}, "learning_rate.decodr: unknown key, did you mean 'decoder'?; allow"),
        (f"{GAN}.learning_rate", {"decoder": -1.0}, "learning_rate.decoder: found -1.0; allowed: a number above 0"),
        ("models.gan.network", "dct", "models.gan.network: found 'dct'; allowed: conv, original"),
        (f"{GAN}.learning_rate", "fast", "learning_rate: found 'fast'; allowed: a number above 0 or a mapping"),
        (f"{GAN}.steps", {"decoder": 1.5}, f"steps.decoder: found 1.5; allowed: {COUNT}"),
        (f"{GAN}.steps", 3, f"{GAN}.steps: found 3; allowed: a mapping"),
        # Something missing.
        ("runs", GONE, "runs: missing"),
        ("sample", GONE, "sample: missing"),
        ("runs", {}, "runs: found no entry; allowed: one or more"),
        ("models.vae", None, "models.vae: found nothing; allowed: a mapping of keys to values"),
        ("models.vae.optimizer", GONE, "models.vae.optimizer: missing"),
        ("models.vae.dropout", GONE, "models.vae.dropout: missing"),
        ("budgets.smoke", GONE, "budgets.smoke: missing (every scale needs its budgets)"),
        ("budgets.smoke.train", GONE, "budgets.smoke.train: missing"),
        (f"{TRAIN}.images_seen", GONE, f"{TRAIN}.images_seen: missing"),
        (f"{VAE}.model", GONE, f"{VAE}.model: missing; allowed: ae, vae,"),
        (VAE, None, f"{VAE}: found nothing; allowed: a mapping"),
        # Numbers out of range, and what is no number.
        (f"{TRAIN}.images", "all", f"{TRAIN}.images: found 'all'; allowed: {COUNT} or null"),
        (f"{TRAIN}.width", float("nan"), f"{TRAIN}.width: found nan; allowed: a number above 0 up to 16"),
        (f"{TRAIN}.frames", 1, f"{TRAIN}.frames: found 1; allowed: a whole number from 2 up to 10000"),
        (f"{VAE}.learning_rate", float("inf"), f"{VAE}.learning_rate: found inf; allowed: a number above 0 or"),
        (f"{VAE}.learning_rate", True, f"{VAE}.learning_rate: found True; allowed: a number above 0 or"),
        (f"{VAE}.dropout", 1.0, f"{VAE}.dropout: found 1.0; allowed: a number from 0 and below 1"),
        (f"{VAE}.conditional", 1, f"{VAE}.conditional: found 1; allowed: true or false"),
        (f"{GAN}.gamma", -1, f"{GAN}.gamma: found -1; allowed: a number from 0"),
        ("sample.map_quantile", 0.5, "sample.map_quantile: found 0.5; allowed: a number above 0 and below 0.5"),
        ("animation.fps", 0, "animation.fps: found 0; allowed: a whole number from 1 up to 60"),
        ("seed", 2**31, "seed: found 2147483648; allowed: a whole number from 0 up to 2147483647"),
        (f"{VAE}.seed", 1.5, f"{VAE}.seed: found 1.5; allowed: a whole number"),
        # Words that are not choices: of a model's own, of the optimizers, of a run and of the defaults.
        (f"{VAE}.likelihood", "bernouli", f"{VAE}.likelihood: found 'bernouli', did you mean 'bernoulli'?; allowed: b"),
        ("models.vae.likelihood", "foo", "models.vae.likelihood: found 'foo'; allowed: bernoulli, binarized, gaussian"),
        (f"{GAN}.network", "mlp", f"{GAN}.network: found 'mlp'; allowed: conv, original"),
        (f"{VAE}.optimizer", "adm", f"{VAE}.optimizer: found 'adm', did you mean 'adam'?; allowed: adam, rmsprop, sgd"),
        # Something else where a mapping belongs, and keys that are no words.
        ("budgets", 3, "budgets: found 3; allowed: a mapping of keys to values"),
        ("budgets.smoke.train", [1], "budgets.smoke.train: found [1]; allowed: a mapping"),
        (VAE, {1: 2}, f"{VAE}: found the key 1; allowed: keys that are words"),
        ("runs.a/b", {"dataset": "mnist", "model": "vae"}, "runs: found 'a/b'; allowed: names made of letters, digits"),
        # A budget's key among a model's defaults would be silently overruled by the budget.
        ("models.vae.width", 2.0, "models.vae.width: no default of a model; allowed: under budgets, or in a run"),
    ],
    ids=lambda part: str(part)[:50] if isinstance(part, str) else "",
)
def test_broken_settings_are_refused(raw: dict[str, Any], path: str, value: Any, message: str) -> None:
    with pytest.raises(AtlasError) as error:
        _check_all(_broken(raw, path, value))
    assert message in str(error.value)
    assert "\n" not in str(error.value) and "pydantic" not in str(error.value)


@pytest.mark.parametrize("path", ["", "models", "runs", "runs.mnist_vae_2", "budgets.cpu.train", "datasets", "sample"])
def test_names_with_line_ends_are_refused_in_one_line(raw: dict[str, Any], path: str) -> None:
    node = raw
    for key in path.split(".") if path else []:
        node = node[key]
    node["two\nlines\u2028\r\nthree"] = "a\nb"
    with pytest.raises(AtlasError, match=r"^params\.yaml: ") as error:
        check(raw)
    assert len(str(error.value).splitlines()) == 1


def test_an_unknown_key_is_named_before_the_key_that_it_should_have_been(raw: dict[str, Any]) -> None:
    row = raw["budgets"]["smoke"]["train"]
    row["frame"] = row.pop("frames")
    with pytest.raises(AtlasError, match=r"frame: unknown key, did you mean 'frames'\?"):
        check(raw)


@pytest.mark.parametrize("content", [None, [1], "x", {1: 2}])
def test_what_is_no_mapping_at_all_is_refused(content: Any) -> None:
    with pytest.raises(AtlasError, match=r"^params\.yaml: the file: found .*; allowed: "):
        check(content)


@pytest.mark.parametrize(
    ("content", "message"),
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
        (b"[" * 400, "is not YAML"),
        ("scale: cpu".encode("utf-16"), "is not UTF-8 text"),
        (b"seed: \x00", "is not YAML"),
    ],
    ids=lambda part: repr(part)[:20],
)
def test_what_is_no_yaml_is_refused_in_one_line(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "params.yaml"
    path.write_bytes(content)
    with pytest.raises(AtlasError, match=message) as error:
        load(path)
    assert str(path) in str(error.value) and "\n" not in str(error.value)


def test_a_missing_file_says_where_to_run(tmp_path: Path) -> None:
    with pytest.raises(AtlasError, match="is missing: run from the repository's root"):
        load(tmp_path / "params.yaml")


def test_dvc_and_the_settings_read_the_same_numbers(tmp_path: Path) -> None:
    """YAML 1.1 readers take 4e-3 for a word: the key in the cache and the number in the training would differ."""
    text = (ROOT / "params.yaml").read_text(encoding="utf-8").replace("learning_rate: 0.004", "learning_rate: 4e-3")
    (tmp_path / "params.yaml").write_text(text, encoding="utf-8")
    assert load(tmp_path / "params.yaml").run("mnist_cvae_2").settings["learning_rate"] == 0.004


def test_an_unknown_run_names_the_nearest() -> None:
    with pytest.raises(AtlasError, match=r"unknown run 'mnist_vea_2', did you mean 'mnist_vae_2'\?; there are: mnist"):
        load(ROOT / "params.yaml").run("mnist_vea_2")


def test_the_scale_is_the_only_change_that_set_scale_makes(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    text = (ROOT / "params.yaml").read_text(encoding="utf-8")
    path.write_text(text, encoding="utf-8")
    before = load(path).scale
    set_scale("gpu", path)
    assert load(path).scale == "gpu"
    assert path.read_text(encoding="utf-8").replace("scale: gpu", f"scale: {before}", 1) == text
    with pytest.raises(AtlasError, match="unknown scale 'gpus', did you mean 'gpu'"):
        set_scale("gpus", path)


def test_a_stage_ends_with_one_line_and_no_traceback(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text((ROOT / "params.yaml").read_text(encoding="utf-8"), encoding="utf-8")
    command = [sys.executable, str(ROOT / "src/train.py"), "nonsense"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    ended = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 1 and ended.stdout == ""
    assert ended.stderr.startswith("error: unknown run 'nonsense'; there are: ")
    assert len(ended.stderr.splitlines()) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["params.yaml"], "something was written"


def test_dvc_changes_one_line_where_one_value_changes(tmp_path: Path) -> None:
    """As `dvc exp run -S` does: lines that DVC's writer would reflow are laid out as it writes them."""
    file = tmp_path / "params.yaml"
    shutil.copy(ROOT / "params.yaml", file)
    with modify_yaml(str(file)) as params:
        params["runs"]["mnist_cvae_gan_8"]["gamma"] = 2
    before, after = (path.read_text(encoding="utf-8").splitlines() for path in (ROOT / "params.yaml", file))
    changed = [(old, new) for old, new in zip(before, after, strict=True) if old != new]
    assert changed == [("    gamma: 0.2", "    gamma: 2")]


@pytest.mark.parametrize(
    ("scale", "dataset", "train", "judge"),
    [
        ("smoke", "mnist", (1, 64, 0.125, 2560, 8, 5), (1, 100, 8, 6000)),
        ("smoke", "cifar10", (1, 64, 0.125, 2560, 8, 5), (1, 100, 8, 6000)),
        ("smoke", "digits", (2, 32, 0.125, 1258, 8, 5), (4, 32, 8, 1258)),
        ("cpu", "mnist", (4, 64, 0.5, 55000, 90, 7), (3, 100, 16, 55000)),
        ("cpu", "cifar10", (5, 64, 0.5, 45000, 60, 5), (6, 100, 16, 45000)),
        ("cpu", "digits", (40, 32, 0.5, 1258, 30, 7), (20, 64, 16, 1258)),
        ("night", "mnist", (49, 64, 0.5, 55000, 150, 7), (3, 100, 16, 55000)),
        ("night", "cifar10", (60, 64, 0.5, 45000, 150, 5), (6, 100, 16, 45000)),
        ("night", "digits", (200, 32, 0.5, 1258, 150, 7), (20, 64, 16, 1258)),
        ("gpu", "mnist", (56, 64, 1, 55000, 150, 9), (12, 100, 32, 55000)),
        ("gpu", "cifar10", (100, 64, 2, 45000, 150, 7), (40, 100, 64, 45000)),
        ("gpu", "digits", (200, 32, 1, 1258, 100, 9), (60, 32, 32, 1258)),
    ],
)
def test_the_committed_data_sets_have_the_budgets_of_their_results(
    raw: dict[str, Any], scale: str, dataset: str, train: tuple[float, ...], judge: tuple[float, ...]
) -> None:
    budgets = check({**raw, "scale": scale}).budgets[dataset]
    shape = (3, 32, 32) if dataset == "cifar10" else (1, 28, 28)
    count = {"mnist": 55000, "cifar10": 45000, "digits": 1258}[dataset]
    of_train, of_judge = (budget.resolve(count, shape) for budget in (budgets.train, budgets.judge))
    names = ("epochs", "batch_size", "width", "images", "frames", "frame_grid")
    assert tuple(getattr(of_train, name) for name in names) == train
    assert tuple(getattr(of_judge, name) for name in ("epochs", "batch_size", "width", "images")) == judge


def test_small_and_large_data_cost_the_same(raw: dict[str, Any]) -> None:
    raw["datasets"]["flowers"] = {"source": "flowers"}
    raw["runs"]["flowers_vae"] = {"dataset": "flowers", "model": "vae"}
    run = check({**raw, "scale": "cpu"}).run("flowers_vae")
    small, large, huge = (
        run.resolve(count, shape).train
        for count, shape in ((240, (3, 32, 32)), (240_000, (1, 28, 28)), (240_000, (3, 64, 64)))
    )
    assert (small.images, small.batch_size, small.epochs) == (240, 16, 938)
    assert (large.images, large.batch_size, large.epochs) == (225_000, 64, 1)
    assert (huge.images, huge.batch_size, huge.epochs) == (56_250, 64, 1), (
        "an image of four times the pixels costs four"
    )
    assert run.resolve(3, (3, 16, 16)).train.batch_size == 2, "no more than there are images"


def test_a_batch_size_that_a_run_asks_for_is_kept(raw: dict[str, Any]) -> None:
    raw["runs"]["digits_cvae_2"] |= {"batch_size": 512, "epochs": 3}
    budget = check(raw).run("digits_cvae_2").resolve(1258, (1, 28, 28)).train
    assert (budget.batch_size, budget.epochs, budget.images) == (512, 3, 1258)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({}, "source: missing; allowed: a folder of images, or src/"),
        ({"source": 3}, "source: missing"),
        ({"source": "~/flowers"}, "source: found '~/flowers'; DVC does not know '~': write '/"),
        ({"source": "data/flowers"}, "source: found 'data/flowers'; allowed: a folder that does not hold data/"),
        ({"source": "."}, "source: found '.'; allowed: a folder that does not hold data/ or outputs/, nor lies in"),
        ({"size": 0}, "size: found 0; allowed: sides from 16 to 128 that the networks can halve, such as 16 or 20"),
        ({"size": 7}, "size: found 7; allowed: sides from 16 to 128 that the networks can halve, such as 16 or 20"),
        ({"size": 5000}, "size: found 5000; allowed: sides from 16 to 128 that the networks can halve, such as 128 or"),
        ({"size": 50}, "size: found 50; allowed: sides from 16 to 128 that the networks can halve, such as 48 or 56"),
        ({"size": [48, 90]}, "size: found [48, 90]; allowed: sides from 16 to 128 that the networks can halve, s"),
        ({"size": [64]}, "size: found [64]; allowed: a side from 16 to 128, or [height, width]"),
        ({"size": "64"}, "size: found '64'; allowed: a side from 16 to 128, or [height, width]"),
        ({"size": True}, "size: found True; allowed: a"),
        ({"channels": 2}, "channels: found 2; allowed: 1, 3 or null"),
        ({"fit": "cropp"}, "fit: found 'cropp', did you mean 'crop'?; allowed: crop, pad, stretch"),
        ({"background": "white"}, "background: found 'white'; allowed: "),
        ({"broken": True}, "broken: found True; allowed: stop, skip"),
        ({"test": 1.0}, "test: found 1.0; allowed: a whole number from 1 up to 10000000 or a number above 0"),
        ({"validation": 0}, "validation: found 0; allowed: a whole number from 1"),
        ({"sise": 32}, "sise: unknown key, did you mean 'size'?"),
    ],
)  # fmt: skip
def test_a_folder_that_cannot_be_is_refused(raw: dict[str, Any], entry: dict[str, Any], message: str) -> None:
    raw["datasets"]["flowers"] = {**({"source": "flowers"} if entry else {}), **entry}
    with pytest.raises(AtlasError) as error:
        check(raw)
    assert str(error.value).startswith("params.yaml: datasets.flowers.") and message in str(error.value)
