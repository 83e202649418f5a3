"""params.yaml broken at random, in its values and in its text: one clear line, or runs that train."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.conftest import PARAMS, ROOT

from atlas.core.device import DeviceConfig
from atlas.core.files import AtlasError
from atlas.core.model import build, find_model
from atlas.core.settings import Run, Settings, check, load
from atlas.training.loop import train_step
from atlas.training.optimizers import make_optimizers

TEXT = (ROOT / "params.yaml").read_text(encoding="utf-8")
SHAPES = {"mnist": (1, 28, 28), "cifar10": (3, 32, 32), "digits": (1, 28, 28)}
REAL = check(json.loads(json.dumps(PARAMS)))
CPU = DeviceConfig(torch.device("cpu"), bfloat16=False)
ODD = " :{}[]&*#'\"-,|>%@`!?\n\t\0\r0ab\u00e9\u2028\ufeff"
"""Characters that mean something to YAML, and some that mean nothing."""
MAX_SIZE = 300
"""Dimensions of a code, or units of a flow, above which a run is not tried: it would train, slowly."""

Keys = tuple[Any, ...]


def key_paths(tree: Any, above: Keys = ()) -> list[Keys]:
    """The paths of all nodes of a tree of mappings, the root left out."""
    if not isinstance(tree, dict):
        return []
    return [path for key in tree for path in [(*above, key), *key_paths(tree[key], (*above, key))]]


KEY_PATHS = key_paths(PARAMS)
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-3, 40)
    | st.sampled_from([0, -1, 10**7, 2**31, 2**63, 10**400, -0.0, 1e-300, 1e300, math.nan, math.inf, -math.inf, 0.5])
    | st.floats(0, 2)
    | st.sampled_from(["", "mnist", "vae", "vae_gan", "adam", "conv", "mlp", "dct", "gaussian", "1e-3", "null"])
    | st.text(max_size=8)
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=4,
)
changes = st.sampled_from(["set", "set", "set", "remove", "add", "rename", "swap"])


def broken(draw: Any) -> Any:
    """params.yaml with one to three nodes changed."""
    tree = json.loads(json.dumps(PARAMS))
    for _ in range(draw(st.integers(1, 3))):
        *above, last = draw(st.sampled_from(KEY_PATHS))
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
                parent[draw(st.sampled_from([last[:-1], last + "s", last.upper()]))] = parent.pop(last)
            case "swap":
                other = draw(st.sampled_from(sorted(parent, key=str)))
                parent[last], parent[other] = parent[other], parent[last]
    return tree


def assert_one_line(error: AtlasError, source: str) -> None:
    message = str(error)
    assert message.startswith(source) and "\n" not in message and len(message) > len(source) + 8, message


def changed_runs(settings: Settings) -> list[Run]:
    """The runs that train otherwise than those of the real file, and can be tried in a moment."""
    real = {(run.model, run.dataset, repr(run.settings)) for run in REAL.runs.values()}
    runs = {(run.model, run.dataset, repr(run.settings)): run for run in settings.runs.values()}
    return [run for key, run in runs.items() if key not in real]


def assert_trains(run: Run) -> None:
    """Take one step of a narrow twin; what the model cannot be is refused in one line."""
    torch.manual_seed(0)
    shape = SHAPES.get(run.dataset, (1, 28, 28))
    try:
        arguments, optimization = run.arguments(find_model(run.model), make_optimizers)
        sizes = [value for name, value in arguments.items() if name in ("latent_dim", "flow_units", "flow_context")]
        if max(sizes) > MAX_SIZE:
            return
        model = build(run.model, shape, 10, {**arguments, "width": 0.125})
        groups = make_optimizers(model, **optimization)
    except AtlasError as error:
        assert_one_line(error, "")
        return
    losses = train_step(model, groups, torch.rand(4, *shape), torch.arange(4), 0, CPU)
    assert all(value.shape == () for value in losses.terms.values())


def check_values(data: Any) -> None:
    """Values broken at random: refused in one line, or runs that train."""
    tree = broken(data.draw)
    try:
        settings_ = check(tree)
    except AtlasError as error:
        assert_one_line(error, "params.yaml: ")
        return
    for run in changed_runs(settings_):
        assert_trains(run)


def check_text(data: Any, folder: Path) -> None:
    """Text broken at random: refused in one line, or it means something."""
    draw = data.draw
    start = draw(st.integers(0, len(TEXT)))
    cut = draw(st.sampled_from([0, 1, 1, 2, 5, 40, 400, 10**6]))
    inserted = draw(st.text(ODD, max_size=3))
    path = folder / "params.yaml"
    path.write_text(TEXT[:start] + inserted + TEXT[start + cut :], encoding="utf-8", newline="")
    try:
        settings_ = load(path)
    except AtlasError as error:
        assert_one_line(error, str(path))
        return
    for run in changed_runs(settings_):
        assert_trains(run)


OPTIONS: dict[str, Any] = {"deadline": None, "derandomize": True, "suppress_health_check": list(HealthCheck)}


@given(data=st.data())
@settings(max_examples=40, **OPTIONS)
def test_broken_values_are_refused_in_one_line_or_train(data: Any) -> None:
    check_values(data)


@pytest.mark.slow
@given(data=st.data())
@settings(max_examples=400, **OPTIONS)
def test_many_broken_values_are_refused_in_one_line_or_train(data: Any) -> None:
    check_values(data)


@given(data=st.data())
@settings(max_examples=20, **OPTIONS)
def test_broken_text_is_refused_in_one_line_or_means_something(
    data: Any, tmp_path_factory: pytest.TempPathFactory
) -> None:
    check_text(data, tmp_path_factory.getbasetemp())


@pytest.mark.slow
@given(data=st.data())
@settings(max_examples=200, **OPTIONS)
def test_much_broken_text_is_refused_in_one_line_or_means_something(
    data: Any, tmp_path_factory: pytest.TempPathFactory
) -> None:
    check_text(data, tmp_path_factory.getbasetemp())
