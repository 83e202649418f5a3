"""The claims: that each verdict comes out, also the unwelcome ones, with numbers that are known beforehand."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from atlas.claims.claims import CLAIMS
from atlas.claims.verdicts import Results, Row, decide_claims, independent_difference
from atlas.core import settings as settings_file
from atlas.metrics.registry import METRICS

ACCURACIES = {"mnist": 0.99, "cifar10": 0.8}
SENTENCES = list(dict.fromkeys(claim.sentence for claim in CLAIMS))


def _run(variant: str, **changes: Any) -> dict[str, Any]:
    return {"dataset": "mnist", "variant": variant, "seed": 1, "latent_dim": 8, "likelihood": "bernoulli", **changes}


def _number(name: str, value: float, half: float = 0.0) -> dict[str, float]:
    return {name: value, f"{name}_low": value - half, f"{name}_high": value + half, f"{name}_n": 1000}


def _numbers(half: float = 0.0, **values: float) -> dict[str, float]:
    return {name: number for key, value in values.items() for name, number in _number(key, value, half).items()}


def _decide(metrics: dict[str, Any], settings: dict[str, Any], **known: Any) -> list[Row]:
    return decide_claims(Results(metrics, settings, ACCURACIES, **known))


def _sharper(half: float = 0.0, **changes: float) -> list[dict[str, Any]]:
    """The rows of the first claim, of two runs of which the second is the CVAE."""
    better = {"kernel": 0.1, "sharpness": 1.1, "label_accuracy": 0.97, "frechet": 3.0} | changes
    worse = {"kernel": 0.9, "sharpness": 0.4, "label_accuracy": 0.97, "frechet": 30.0}
    metrics = {"new": _numbers(half, **better), "old": _numbers(half, **worse)}
    rows = _decide(metrics, {"new": _run("cvae_gan"), "old": _run("cvae")})
    return [row for row in rows if row["claim"] == SENTENCES[0]]


def test_a_claim_that_its_numbers_show_holds() -> None:
    (row,) = _sharper(0.05)
    assert row["verdict"] == "holds" and row["runs"] == ["new", "old"]
    assert row["values"]["kernel"] == [0.1, 0.9] and row["values"]["frechet"] == [3.0, 30.0]
    assert row["n"]["kernel"] == [1000, 1000] and "frechet" not in row["interval"], "context decides nothing"
    low, high = row["interval"]["kernel"]
    assert (low, high) == pytest.approx((-0.8 - 0.05 * math.sqrt(2), -0.8 + 0.05 * math.sqrt(2)))
    assert "frechet 3 against 30" in row["why"] and "as if independent" in row["why"]


@pytest.mark.parametrize(
    ("changes", "verdict"),
    [
        ({"kernel": 0.92}, "not shown"),
        ({"kernel": 1.5}, "fails"),
        ({"sharpness": 2.2}, "fails"),
        ({"sharpness": 1.61}, "not shown"),
        ({"sharpness": 0.9}, "holds"),
        ({"label_accuracy": 0.95}, "holds"),
        ({"label_accuracy": 0.5}, "fails"),
    ],
)
def test_a_claim_comes_out_as_its_worst_metric(changes: dict[str, float], verdict: str) -> None:
    (row,) = _sharper(0.05, **changes)
    assert row["verdict"] == verdict and f": {verdict}" in row["why"]


def test_a_missing_metric_or_run_is_said_and_not_guessed() -> None:
    metrics = {"new": _numbers(kernel=0.1, sharpness=1.0), "old": _numbers(kernel=0.9, sharpness=0.4)}
    both = {"new": _run("cvae_gan"), "old": _run("cvae")}
    row = _decide(metrics, both)[0]
    assert row["verdict"] == "not run" and "new has no label_accuracy" in row["why"]
    for apart in ({"dataset": "cifar10"}, {"latent_dim": 2}, {"seed": 2}):
        row = _decide(metrics, both | {"old": _run("cvae", **apart)})[0]
        assert row["verdict"] == "not run" and row["runs"] == [] and "no runs of cvae_gan and cvae" in row["why"]


def test_a_number_without_an_interval_decides_and_the_row_says_so() -> None:
    metrics = {"a": {"mig": 0.4}, "b": {"mig": 0.2}}
    rows = _decide(metrics, {"a": _run("beta_vae"), "b": _run("vae")})
    (row,) = [row for row in rows if row["claim"].startswith("A beta")]
    assert row["verdict"] == "holds" and "without an interval" in row["why"] and row["n"] == {}


def test_runs_of_other_budgets_are_compared_and_the_row_says_so() -> None:
    metrics = {"a": _numbers(mig=0.4), "b": _numbers(mig=0.2)}
    rows = _decide(metrics, {"a": _run("beta_vae", epochs=4), "b": _run("vae", epochs=9)})
    (row,) = [row for row in rows if row["claim"].startswith("A beta")]
    assert "the runs differ in epochs" in row["why"]


def test_likelihoods_are_compared_on_the_same_likelihood_only() -> None:
    found = {"nelbo": 90.0, "nll_gap": 2.0, "nll": 88.0}
    metrics = {"iaf": _numbers(0.1, **found), "vae": _numbers(0.1, nelbo=92.0, nll_gap=4.0, nll=88.02)}
    runs = {"iaf": _run("vae_iaf", likelihood="binarized"), "vae": _run("vae", likelihood="binarized")}
    title = "An inverse autoregressive flow tightens the bound"
    (row,) = [row for row in _decide(metrics, runs) if row["claim"] == title]
    assert row["verdict"] == "holds"
    (row,) = [row for row in _decide(metrics, runs | {"vae": _run("vae")}) if row["claim"] == title]
    assert row["verdict"] == "not run"


def test_codes_of_eight_and_two_are_paired_that_way_round() -> None:
    metrics = {
        "small": _numbers(0.001, reconstruction_mse=0.03, kernel=0.9),
        "large": _numbers(0.001, reconstruction_mse=0.01, kernel=0.4),
    }
    runs = {"small": _run("cvae", latent_dim=2), "large": _run("cvae", latent_dim=8)}
    (row,) = [row for row in _decide(metrics, runs) if row["runs"] == ["large", "small"]]
    assert row["verdict"] == "holds" and row["values"]["kernel"] == [0.4, 0.9]


@pytest.mark.parametrize(
    ("dataset", "swapped", "verdict"),
    [("mnist", 0.95, "holds"), ("mnist", 0.9, "not shown"), ("mnist", 0.8, "fails"), ("cifar10", 0.8, "holds")],
)
def test_accuracies_are_set_against_the_judge_s_on_real_images(dataset: str, swapped: float, verdict: str) -> None:
    metrics = {"a": _numbers(0.02, swap_accuracy=swapped, style_kept=0.2, style_leak=0.2)}
    rows = _decide(metrics, {"a": _run("cvae", dataset=dataset)})
    (row,) = [row for row in rows if row["runs"] == ["a"]]
    assert row["verdict"] == verdict
    low, high = row["interval"]["swap_accuracy"]
    limit = 0.9 * ACCURACIES[dataset]
    assert (low, high) == pytest.approx((swapped - 0.02 - limit, swapped + 0.02 - limit))


def test_every_claim_has_a_row_also_where_nothing_was_run() -> None:
    rows = _decide({}, {})
    assert [row["claim"] for row in rows] == SENTENCES and len(SENTENCES) == len(CLAIMS)
    assert {row["verdict"] for row in rows} == {"not run"} and all(row["why"] for row in rows)


def test_what_no_run_has_is_one_row() -> None:
    runs = {"a": _run("vae"), "b": _run("vae", latent_dim=2)}
    rows = _decide({"a": {}, "b": {}}, runs)
    (row,) = [row for row in rows if row["claim"].startswith("Reparam")]
    assert row["verdict"] == "not run" and row["why"] == "no run has estimator_variance_ratio"


def test_the_claims_find_their_pairs_among_the_runs_of_params_yaml() -> None:
    settings = settings_file.load(Path(__file__).parents[2] / "params.yaml")
    flat = {run: settings.flat(run) for run in settings.runs}
    metrics = {run: dict.fromkeys(METRICS, 1.0) for run in flat}
    rows = decide_claims(Results(metrics, flat, dict.fromkeys(settings.datasets, 0.9)))
    for claim in CLAIMS:
        verdicts = [row["verdict"] for row in rows if row["claim"] == claim.sentence]
        assert set(verdicts) != {"not run"}, claim.sentence
        assert all(evidence.metric in METRICS for evidence in claim.evidence)


def test_a_difference_of_independent_normal_numbers_is_covered_as_often_as_it_says() -> None:
    generator = np.random.default_rng(0)
    held = 0
    for _ in range(2000):
        a, b = generator.normal(3, 0.5), generator.normal(1, 0.2)
        low, high = independent_difference((a, a - 0.98, a + 0.98), (b, b - 0.392, b + 0.392))
        held += low < 2 < high
    assert held / 2000 == pytest.approx(0.95, abs=0.015)


def test_runs_that_are_known_image_by_image_are_compared_so() -> None:
    """Images differ by far more than runs do: only the paired interval can tell the runs apart."""
    generator = np.random.default_rng(0)
    images = generator.normal(100, 30, 400)
    better = images - 0.8 + generator.normal(0, 2, 400)
    numbers = {"nelbo": 99.0, "nll": 97.0, "nll_gap": 1.0, "rate": 20.0}
    metrics = {"flow": _numbers(3.0, **numbers), "plain": _numbers(3.0, **{**numbers, "nelbo": 99.8})}
    settings = {"flow": _run("vae_iaf"), "plain": _run("vae")}
    per_image = {"flow": {"nelbo": better}, "plain": {"nelbo": images}}
    intervals = []
    for known in ({}, per_image):
        rows = _decide(metrics, settings, per_image=known)
        (row,) = [row for row in rows if row["runs"] == ["flow", "plain"]]
        intervals.append(row["interval"]["nelbo"])
        assert ("image by image)" in row["why"]) == bool(known)
    assert intervals[0][0] < 0 < intervals[0][1]
    half = 1.96 * (better - images).std(ddof=1) / 20
    mean = (better - images).mean()
    assert intervals[1] == pytest.approx([mean - half, mean + half], rel=1e-4) and intervals[1][1] < 0
