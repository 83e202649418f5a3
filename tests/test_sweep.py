"""A sweep over one setting: which experiments belong to it, and the table made of them."""

import copy
from typing import Any

import pytest

import sweep
from atlas.core.files import AtlasError
from scripts.experiments import Stages, fingerprint, others, value_of

RUN = "mnist_cvae_gan_8"
FILE = f"outputs/metrics/{RUN}.json"


def lock(trained: str = "m1", seed: int = 1, dropout: float = 0.0, **own: Any) -> Stages:
    """A dvc.lock's stages of one run, in which gamma is the run's own setting and dropout its model's."""
    params: dict[str, Any] = {
        "seed": seed,
        f"runs.{RUN}": {"model": "cvae_gan", "gamma": 0.02, **own},
        "models.cvae_gan": {"gamma": 0.5, "dropout": dropout},
        "budgets.cpu.train.mnist": {"epochs": 4},
    }
    model = {"path": f"outputs/models/{RUN}", "md5": trained}
    return {
        f"train@{RUN}": {
            "cmd": "train",
            "deps": [{"path": "src", "md5": "c1"}],
            "params": {"params.yaml": copy.deepcopy(params)},
            "outs": [model],
        },
        f"evaluate@{RUN}": {
            "cmd": "evaluate",
            "deps": [model],
            "params": {"params.yaml": {key: params[key] for key in ("seed", f"runs.{RUN}")}},
            "outs": [{"path": FILE, "md5": f"of {trained}"}],
        },
    }


def test_a_setting_is_the_run_s_own_or_that_of_its_defaults() -> None:
    assert [value_of(lock(), RUN, key) for key in ("gamma", "dropout", "epochs", "seed")] == [0.02, 0.0, 4, 1]
    assert value_of(lock(epochs=9, seed=3), RUN, "epochs") == 9
    with pytest.raises(AtlasError, match="unknown setting 'gama'; allowed: dropout, epochs, gamma, seed"):
        value_of(lock(), RUN, "gama")


def test_an_experiment_belongs_where_that_setting_alone_differs() -> None:
    assert others(lock(), lock("m2", gamma=2.0), [RUN], "gamma") == {RUN: (2.0, FILE)}
    assert others(lock(), lock("m2", epochs=9), [RUN], "epochs") == {RUN: (9, FILE)}
    for other in (lock("m2", gamma=2.0, seed=2), lock("m2", gamma=2.0, epochs=9), lock("m2", gamma=2.0, dropout=0.3)):
        assert others(lock(), other, [RUN], "gamma") == {}
    assert others(lock(), lock("m2"), [RUN], "gamma") == {}, "the same value again"
    assert others(lock(), lock("m2", gamma=2.0), [RUN]) == {}, "no other seed"


def test_what_was_gathered_stays_while_it_is_of_the_same_sweep(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [{"value": value, "measures": {}} for value in (0.02, 2.0)]
    before = {"run": RUN, "key": "gamma", "of": fingerprint(lock(), RUN, "gamma"), "rows": rows}
    assert sweep.kept(before, lock(), RUN, "gamma") == rows[1:], "the workspace's own value is measured anew"
    assert sweep.kept(before, lock(gamma=2.0), RUN, "gamma") == rows[:1]
    assert sweep.kept(before, lock(seed=2), RUN, "gamma") == []
    assert sweep.kept(before, lock(), RUN, "epochs") == []
    assert sweep.kept({}, lock(), RUN, "gamma") == []
    # Other code (another seed's lock stands for it here) that makes the same network and measures.
    monkeypatch.setattr(sweep, "own_bytes", lambda run: f"bytes of {run}")
    assert sweep.kept(before | {"own": f"bytes of {RUN}"}, lock(seed=2), RUN, "gamma") == rows[1:]
    assert sweep.kept(before | {"own": "others"}, lock(seed=2), RUN, "gamma") == []


def test_the_table_has_a_row_a_value_in_order() -> None:
    measures = [{"nll": 1.0, "sharpness": 0.5, "kernel": 3.0}, {"sharpness": 1.234}]
    rows = [{"value": value, "measures": about} for value, about in zip((10.0, 2.0), measures, strict=True)]
    text = sweep.markdown(RUN, "gamma", sorted(rows, key=sweep.order), 2.0, "cpu", 1)
    assert text.splitlines() == [
        "| gamma | NLL bound ↓ | sharpness |",
        "|---:|---:|---:|",
        "| **2.0** |  | 1.23 |",
        "| 10.0 | 1.00 | 0.50 |",
        "",
        f"`{RUN}` at scale `cpu`, seed 1; in bold the value of params.yaml.",
    ]
