"""Other seeds: what claims and tables make of them, and that the committed ones are of the committed results."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import ttest_1samp

from atlas.claims.tables import seeds_table
from atlas.claims.verdicts import Results, decide_claims, paired_interval
from atlas.core import settings as settings_file
from atlas.core.files import read_json

ROOT = Path(__file__).parents[2]
SETTINGS = settings_file.load(ROOT / "params.yaml")


def test_the_committed_seeds_are_of_the_committed_settings_and_metrics() -> None:
    """So compare never mixes seeds of other settings or code into a verdict."""
    metrics = read_json(ROOT / "results" / "metrics.json", "compare")
    for key, entry in read_json(ROOT / "results" / "seeds.json", "nothing").items():
        mend = f"{key}: run `python scripts/experiments.py seeds` again"
        run, settings = SETTINGS.run(key), entry["settings"]
        assert str(run.seed) not in entry["seeds"], mend
        assert settings["scale"] == SETTINGS.scale, mend
        budget = f"budgets.{SETTINGS.scale}.train"
        own = f"runs.{key}", f"datasets.{run.dataset}.{budget}"
        for name, value in run.train.model_dump().items():
            recorded = [settings[f"{place}.{name}"] for place in (*own, budget) if f"{place}.{name}" in settings]
            if name == "min_steps" and any(f"{place}.batch_size" in settings for place in own):
                recorded = [1]  # a batch size of one's own is not halved
            # What params.yaml does not name, or sets to null, DVC does not list.
            default = type(run.train).model_fields[name].default
            assert (recorded or [default])[0] in (value, str(value)), f"{name}: {mend}"
        for name, value in run.settings.items():
            text = settings.get(f"runs.{key}.{name}", settings.get(f"models.{run.model}.{name}"))
            assert isinstance(value, dict) or text in (value, str(value)), f"{name}: {mend}"
        for name, value in entry["own"].items():
            assert math.isclose(metrics[key][name], value, rel_tol=1e-3), f"{name}: {mend}"


def test_the_interval_over_seeds_is_student_s() -> None:
    values = [0.3, 0.5, 0.1, 0.2]
    expected = ttest_1samp(values, 0).confidence_interval(0.95)
    assert paired_interval(values) == pytest.approx((expected.low, expected.high))


def _settings(model: str, variant: str) -> dict[str, Any]:
    return {
        "dataset": "mnist",
        "model": model,
        "variant": variant,
        "seed": 1,
        "latent_dim": 10,
        "likelihood": "binarized",
        "conditional": False,
    }


ENDS = (("", 0.0), ("_low", -0.001), ("_high", 0.001))


def _gap(value: float) -> dict[str, float]:
    """Metrics of a run: the more disentangled, the more distortion."""
    numbers = {"mig": value, "distortion": 80 + 10 * value}
    return {name + end: number + more for name, number in numbers.items() for end, more in ENDS}


def _row(other_seeds: dict[str, dict[int, dict[str, float]]]) -> dict[str, Any]:
    metrics = {"beta": _gap(0.3), "plain": _gap(0.1)}
    settings = {"beta": _settings("vae", "beta_vae"), "plain": _settings("vae", "vae")}
    rows = decide_claims(Results(metrics, settings, {"mnist": 0.99}, seeds=other_seeds))
    (row,) = [row for row in rows if row["claim"].startswith("A beta above 1")]
    return row


def test_a_verdict_hangs_on_the_seeds_where_three_are_known() -> None:
    """The images alone would show it; the spread over seeds does not."""
    alone = _row({})
    assert alone["verdict"] == "holds for this pair of trainings" and alone["seeds"] == {}
    two = {"beta": {2: _gap(0.1)}, "plain": {2: _gap(0.3)}}
    assert _row(two)["verdict"] == alone["verdict"], "two seeds are too few to say anything"
    three = {"beta": {2: _gap(0.1), 3: _gap(0.25)}, "plain": {2: _gap(0.3), 3: _gap(0.1), 4: _gap(0.1)}}
    row = _row(three)
    assert row["verdict"] == "not shown" and row["seeds"] == {"mig": 3, "distortion": 3}
    assert row["interval"]["mig"] == pytest.approx(paired_interval([0.2, -0.2, 0.15]))
    assert "seed by seed, 3 seeds: 0.05 on average" in row["why"]
    steady = {"beta": {2: _gap(0.31), 3: _gap(0.29)}, "plain": {2: _gap(0.1), 3: _gap(0.1)}}
    assert _row(steady)["verdict"] == "holds"
    less = {run: {seed: {"mig": row["mig"]} for seed, row in seeds.items()} for run, seeds in steady.items()}
    assert _row(less)["verdict"] == "holds for this pair of trainings", "of the distortion one seed is known"


def test_the_table_gives_mean_and_deviation() -> None:
    table = {"mnist_gan": {"sharpness": 1.0}, "mnist_vae_2": {"sharpness": 0.5, "nelbo": 130.0}}
    own_seeds = dict.fromkeys(table, 1)
    text = seeds_table(table, own_seeds, {"mnist_gan": {2: {"sharpness": 1.2}, 5: {"sharpness": 1.1}}})
    (row,) = [line for line in text.splitlines() if line.startswith("| mnist_gan")]
    deviation = float(np.std([1.0, 1.2, 1.1], ddof=1))
    assert row == f"| mnist_gan | 1, 2, 5 | 1.10 ± {deviation:.2f} |"
    assert "-ELBO" not in text
    assert "No run" in seeds_table(table, own_seeds, {})
