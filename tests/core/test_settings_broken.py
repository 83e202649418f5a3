"""params.yaml broken at random, in its values and in its text: one clear line, or runs that train."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some
from tests.conftest import PARAMS

from atlas.core.device import DeviceConfig
from atlas.core.files import AtlasError
from atlas.core.model import build
from atlas.core.settings import Run, Settings, check, load
from atlas.training.loop import train_step
from atlas.training.optimizers import KEYS, make_players

TEXT = (Path(__file__).parents[1] / "params.yaml").read_text(encoding="utf-8")
SHAPES = {"mnist": (1, 28, 28), "cifar10": (3, 32, 32), "digits": (1, 28, 28)}
WHOLE = check(json.loads(json.dumps(PARAMS)))
ODD = " :{}[]&*#'\"-,|>%@`!?\n\t\0\r0ab\u00e9\u2028\ufeff"
"""Characters that mean something to YAML, and some that mean nothing."""
MOST = 300
"""Dimensions of a code from which on a run is not tried: it would train, slowly."""

Path_ = tuple[Any, ...]


def places(tree: Any, above: Path_ = ()) -> list[Path_]:
    """The paths of all nodes of a tree of mappings, the root left out."""
    if not isinstance(tree, dict):
        return []
    return [place for key in tree for place in [(*above, key), *places(tree[key], (*above, key))]]


PLACES = places(PARAMS)
scalars = (
    some.none()
    | some.booleans()
    | some.integers(-3, 40)
    | some.sampled_from([0, -1, 10**7, 2**31, 2**63, 10**400, -0.0, 1e-300, 1e300, math.nan, math.inf, -math.inf, 0.5])
    | some.floats(0, 2)
    | some.sampled_from(["", "mnist", "vae", "cvae_gan", "adam", "conv", "mlp", "dct", "gaussian", "1e-3", "null"])
    | some.text(max_size=8)
)
values = some.recursive(
    scalars,
    lambda inner: some.lists(inner, max_size=3) | some.dictionaries(some.text(max_size=5), inner, max_size=3),
    max_leaves=4,
)
changes = some.sampled_from(["set", "set", "set", "remove", "add", "rename", "swap"])


def broken(draw: Any) -> Any:
    """params.yaml with one to three nodes changed."""
    tree = json.loads(json.dumps(PARAMS))
    for _ in range(draw(some.integers(1, 3))):
        *above, last = draw(some.sampled_from(PLACES))
        parent = tree
        for key in above:
            parent = parent.get(key) if isinstance(parent, dict) else None
        if not isinstance(parent, dict) or last not in parent:
            continue
        match draw(changes):
            case "set":
                parent[last] = draw(values)
            case "remove":
                del parent[last]
            case "add":
                parent[draw(scalars)] = draw(values)
            case "rename":
                parent[draw(some.sampled_from([last[:-1], last + "s", last.upper()]))] = parent.pop(last)
            case "swap":
                other = draw(some.sampled_from(sorted(parent, key=str)))
                parent[last], parent[other] = parent[other], parent[last]
    return tree


def one_line(refusal: AtlasError, source: str) -> None:
    said = str(refusal)
    assert said.startswith(source) and "\n" not in said and len(said) > len(source) + 8, said


def changed(found: Settings) -> list[Run]:
    """The runs that train otherwise than those of the real file, and can be tried in a moment."""
    known = {(run.model, run.dataset, json.dumps(run.settings)): run for run in WHOLE.runs.values()}
    new = {(run.model, run.dataset, json.dumps(run.settings)): run for run in found.runs.values()}
    return [run for mark, run in new.items() if mark not in known and run.settings.get("latent_dim", 1) <= MOST]


def trains(run: Run) -> None:
    """Take one step of a narrow twin; the model itself may refuse what it cannot be."""
    torch.manual_seed(0)
    arguments = {name: value for name, value in run.settings.items() if name not in KEYS}
    shape = SHAPES.get(run.dataset, (1, 28, 28))
    try:
        model = build(run.model, shape, 10, {**arguments, "width": 0.125})
        players = make_players(model, run.settings)
    except AtlasError as refusal:
        one_line(refusal, "")
        return
    losses = train_step(model, players, torch.rand(4, *shape), torch.arange(4), 0, DeviceConfig(torch.device("cpu"), False))
    assert all(value.shape == () for value in losses.terms.values())


@given(data=some.data())
@settings(max_examples=400, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_broken_values_are_refused_in_one_line_or_train(data: Any) -> None:
    tree = broken(data.draw)
    try:
        found = check(tree)
    except AtlasError as refusal:
        one_line(refusal, "params.yaml: ")
        return
    for run in changed(found):
        trains(run)


@given(data=some.data())
@settings(max_examples=200, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_broken_text_is_refused_in_one_line_or_means_something(
    data: Any, tmp_path_factory: pytest.TempPathFactory
) -> None:
    draw = data.draw
    start = draw(some.integers(0, len(TEXT)))
    cut = draw(some.sampled_from([0, 1, 1, 2, 5, 40, 400, 10**6]))
    put = draw(some.text(ODD, max_size=3))
    path = tmp_path_factory.getbasetemp() / "params.yaml"
    path.write_text(TEXT[:start] + put + TEXT[start + cut :], encoding="utf-8", newline="")
    try:
        found = load(path)
    except AtlasError as refusal:
        one_line(refusal, str(path))
        return
    for run in changed(found):
        trains(run)
