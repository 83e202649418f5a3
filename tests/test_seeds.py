"""Other seeds: what of DVC's experiments counts as the same run, and what claims and tables make of it."""

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import ttest_1samp

import compare
import seeds
from atlas.core import settings as settings_file
from atlas.claims.claims import judge_claims
from atlas.claims.verdicts import seeds_interval

SETTINGS = settings_file.load(Path(__file__).parents[1] / "params.yaml")
RUN = "mnist_gan"


def lock(
    seed: int = 1, own: int | None = None, trained: str = "m1", measured: str = "m1", **changes: str
) -> seeds.Stages:
    """A dvc.lock's stages of one run, with every part that decides what it measures."""
    parts = {"code": "c1", "data": "d1", "judge": "j1", "model": "gan", "latent_dim": "8"} | changes
    params: dict[str, Any] = {"seed": seed, f"runs.{RUN}": {"model": parts["model"], "latent_dim": parts["latent_dim"]}}
    if own is not None:
        params[f"runs.{RUN}"]["seed"] = own

    def entries(**hashes: str) -> list[dict[str, Any]]:
        return [{"path": path.replace("__", "/"), "md5": value, "hash": "md5"} for path, value in hashes.items()]

    model = {f"outputs__models__{RUN}": trained}
    return {
        f"train@{RUN}": {
            "cmd": "train",
            "deps": entries(src__train=parts["code"], data__mnist=parts["data"]),
            "params": {"params.yaml": copy.deepcopy(params)},
            "outs": entries(**model),
        },
        f"evaluate@{RUN}": {
            "cmd": "evaluate",
            "deps": entries(outputs__judges__mnist=parts["judge"], **{f"outputs__models__{RUN}": measured}),
            "params": {"params.yaml": copy.deepcopy(params)},
            "outs": entries(outputs__metrics=f"of {trained}"),
        },
    }


def test_a_run_that_differs_in_its_seed_alone_counts() -> None:
    ours = lock()
    assert seeds.others(ours, lock(seed=2, trained="m2", measured="m2"), [RUN]) == {
        RUN: (2, f"outputs/metrics/{RUN}.json")
    }
    assert seeds.others(ours, lock(own=3, trained="m2", measured="m2"), [RUN])[RUN][0] == 3


@pytest.mark.parametrize("part", ["code", "data", "judge", "model", "latent_dim"])
def test_one_that_differs_in_anything_else_does_not(part: str) -> None:
    changes: dict[str, Any] = {part: "another"}
    assert seeds.others(lock(), lock(2, trained="m2", measured="m2", **changes), [RUN]) == {}


def test_nor_does_one_with_the_same_seed_or_with_measures_of_another_training() -> None:
    assert seeds.others(lock(), lock(), [RUN]) == {}
    assert seeds.others(lock(), lock(2, trained="m2", measured="m1"), [RUN]) == {}
    assert seeds.others(lock(), {}, [RUN]) == {}


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """The workspace's network and measures."""
    monkeypatch.chdir(tmp_path)
    files = Path("outputs/models") / RUN / "weights.safetensors", Path("outputs/metrics") / f"{RUN}.json"
    for file in files:
        file.parent.mkdir(parents=True)
        file.write_bytes(b"some bytes")
    return files


@pytest.mark.usefixtures("own")
def test_what_was_gathered_stays_while_code_and_settings_do() -> None:
    ours = lock()
    before = {**seeds.kept({}, ours, RUN), "seeds": {"2": {"kernel": 1.0}}}
    assert before["of"] == seeds.fingerprint(ours, RUN)
    assert seeds.kept(before, ours, RUN) == before
    # The workspace now has that seed itself.
    assert seeds.kept(before, lock(2), RUN)["seeds"] == {}


@pytest.mark.parametrize("change", [None, 0, 1, "missing"])
def test_other_code_that_gives_the_same_bytes_keeps_it_too(own: tuple[Path, Path], change: int | str | None) -> None:
    before = {**seeds.kept({}, lock(), RUN), "seeds": {"2": {"kernel": 1.0}}}
    if isinstance(change, int):
        own[change].write_bytes(b"other bytes")
    elif change:
        own[0].unlink()
    now = seeds.kept(before, lock(code="another"), RUN)
    assert now["of"] != before["of"]
    assert now["seeds"] == (before["seeds"] if change is None else {})
    if change == "missing":
        # What cannot be compared is not taken for the same, now or later.
        assert now["own"] is None and seeds.kept({**now, "seeds": {"2": {}}}, lock(), RUN)["seeds"] == {}


def test_the_committed_seeds_are_of_the_committed_lock() -> None:
    root = Path(__file__).parents[1]
    found = json.loads((root / "results" / "seeds.json").read_text())
    ours = seeds.read_lock((root / "dvc.lock").read_text())
    for run, about in found.items():
        assert about["of"] == seeds.fingerprint(ours, run), f"{run}: run `python src/seeds.py` again"


def test_the_interval_over_seeds_is_student_s() -> None:
    values = [0.3, 0.5, 0.1, 0.2]
    expected = ttest_1samp(values, 0).confidence_interval(0.95)
    assert seeds_interval(values) == pytest.approx((expected.low, expected.high))


def _about(model: str) -> dict[str, Any]:
    return {"dataset": "mnist", "model": model, "seed": 1, "latent_dim": 10, "likelihood": "binarized"}


def _gap(value: float) -> dict[str, float]:
    return {"mig": value, "mig_low": value - 0.001, "mig_high": value + 0.001, "mig_n": 1000, "distortion": 90.0}


def _row(other_seeds: dict[str, dict[int, dict[str, float]]]) -> dict[str, Any]:
    metrics = {"beta": _gap(0.3), "plain": _gap(0.1)}
    settings = {"beta": _about("beta_vae"), "plain": _about("vae")}
    rows = judge_claims(metrics, settings, {"mnist": 0.99}, seeds=other_seeds)
    (row,) = [row for row in rows if row["claim"].startswith("A beta above 1")]
    return row


def test_a_verdict_hangs_on_the_seeds_where_three_are_known() -> None:
    """The images alone would show it; the spread over seeds does not."""
    alone = _row({})
    assert alone["verdict"] == "holds" and alone["seeds"] == {}
    two = {"beta": {2: _gap(0.1)}, "plain": {2: _gap(0.3)}}
    assert _row(two)["verdict"] == "holds", "two seeds are too few to say anything"
    three = {"beta": {2: _gap(0.1), 3: _gap(0.25)}, "plain": {2: _gap(0.3), 3: _gap(0.1), 4: _gap(0.1)}}
    row = _row(three)
    assert row["verdict"] == "not shown" and row["seeds"] == {"mig": 3}
    assert row["interval"]["mig"] == pytest.approx(seeds_interval([0.2, -0.2, 0.15]))
    assert "seed by seed, 3 seeds: 0.05 on average" in row["why"]
    steady = {"beta": {2: _gap(0.31), 3: _gap(0.29)}, "plain": {2: _gap(0.1), 3: _gap(0.1)}}
    assert _row(steady)["verdict"] == "holds"


def test_the_table_gives_mean_and_deviation() -> None:
    table: compare.Table = {RUN: {"sharpness": 1.0}, "mnist_vae_2": {"sharpness": 0.5, "nelbo": 130.0}}
    text = compare.seeds_table(table, SETTINGS, {RUN: {2: {"sharpness": 1.2}, 5: {"sharpness": 1.1}}})
    (row,) = [line for line in text.splitlines() if line.startswith(f"| {RUN}")]
    deviation = float(np.std([1.0, 1.2, 1.1], ddof=1))
    assert row == f"| {RUN} | 1, 2, 5 | 1.10 ± {deviation:.2f} |"
    assert "-ELBO" not in text
    assert "No run" in compare.seeds_table(table, SETTINGS, {})
