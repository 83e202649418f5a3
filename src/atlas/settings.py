"""params.yaml to typed, validated settings, or one clear error.

The schema is strict where the program owns the key and open where a model does: `models.<name>` in params.yaml holds a
model's defaults, and those defaults say which keys a run of that model may set. So a new family member needs no edit
here. Keys that several models share (`latent_dim`, `dropout`, ...) are checked against the vocabulary below, wherever
they appear; a key that only one model knows must keep the type of its default.
"""

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, TypeAdapter, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from atlas.errors import AtlasError

Seed = Annotated[int, Field(ge=0, le=2**31 - 1, strict=True)]
Count = Annotated[int, Field(ge=1, le=1_000_000, strict=True)]
Positive = Annotated[FiniteFloat, Field(gt=0, strict=True)]
Weight = Annotated[FiniteFloat, Field(ge=0, strict=True)]
Fraction = Annotated[FiniteFloat, Field(ge=0, lt=1, strict=True)]

T = TypeVar("T", bound=BaseModel)
SCALES = ("smoke", "cpu", "gpu")


class Strict(BaseModel):
    """A mapping of known keys only, frozen once read."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class DatasetSettings(Strict):
    """`datasets.<name>`: how a data set is split."""

    validation: Count
    """Images cut from the official training set."""


class TrainBudget(Strict):
    """`budgets.<scale>.train.<dataset>`: what a training may cost. A run may override each key."""

    epochs: Count
    batch_size: Count
    width: Annotated[FiniteFloat, Field(gt=0, le=16, strict=True)]
    """Channels of every network, as a multiple of the seed texts' networks."""
    images: Count | None
    """Training images used; null takes all."""
    frames: Annotated[int, Field(ge=2, le=10_000, strict=True)]
    """Pictures taken for the animations."""
    frame_grid: Annotated[int, Field(ge=1, le=100, strict=True)]
    """Images along the side of a frame, per label."""


class JudgeBudget(Strict):
    """`budgets.<scale>.judge.<dataset>`: what the judging classifier may cost."""

    epochs: Count
    batch_size: Count
    width: Annotated[int, Field(ge=1, le=1024, strict=True)]
    images: Count | None


class EvaluateBudget(Strict):
    """`budgets.<scale>.evaluate.<dataset>`: test images and samples that each measure sees."""

    images: Count | None


class Budgets(Strict):
    """`budgets.<scale>`: a row for each stage, keyed by data set."""

    train: dict[str, TrainBudget]
    judge: dict[str, JudgeBudget]
    evaluate: dict[str, EvaluateBudget]


class SampleSettings(Strict):
    """`sample`: what the figures show."""

    reconstructions: Count
    per_label: Count
    map_steps: Annotated[int, Field(ge=2, le=100, strict=True)]
    map_quantile: Annotated[FiniteFloat, Field(gt=0, lt=0.5, strict=True)]
    """The map runs from this normal quantile to one minus it."""
    scatter: Count
    transfers: Count


class AnimationSettings(Strict):
    """`animation`: how the films look."""

    fps: Annotated[int, Field(ge=1, le=60, strict=True)]


# Keys that models share, and what they may hold. A run may only set those that its model's defaults hold.
VOCABULARY: dict[str, Any] = {
    "latent_dim": Annotated[int, Field(ge=1, le=4096, strict=True)],
    "dropout": Fraction,
    "reconstruction": Literal["cross_entropy", "squared_error"],
    "likelihood": Literal["bernoulli", "gaussian", "discretized_logistic"],
    "optimizer": Literal["adam", "rmsprop", "sgd"],
    "learning_rate": Positive | dict[str, Positive],
    "schedule": Literal["constant", "cosine"],
    "gamma": Weight,
    "feature_weight": Weight,
    "beta": Weight,
    "feature_loss": Literal["cross_entropy", "squared_error"],
    "steps": dict[str, Count],
}
# Keys of every model that the trainer reads.
TRAINER = ("optimizer", "learning_rate", "schedule")


@dataclass(frozen=True)
class Run:
    """One entry of `runs`, with everything that its training depends on."""

    key: str
    dataset: str
    model: str
    seed: int
    train: TrainBudget
    settings: dict[str, Any]
    """The model's own settings: its defaults, with what the run changes."""


@dataclass(frozen=True)
class Settings:
    """All of params.yaml, checked."""

    scale: str
    seed: int
    datasets: dict[str, DatasetSettings]
    budget: Budgets
    runs: dict[str, Run]
    sample: SampleSettings
    animation: AnimationSettings

    def run(self, key: str) -> Run:
        """Return the run of that name.

        Raises:
            AtlasError: if there is none, naming the nearest.
        """
        return self.runs[known("run", key, self.runs)]

    def flat(self, key: str) -> dict[str, Any]:
        """Return every effective setting of a run as one flat mapping, for people to read."""
        run = self.run(key)
        return {"dataset": run.dataset, "model": run.model, "seed": run.seed, **run.settings, **run.train.model_dump()}


def known(what: str, name: str, names: Iterable[str]) -> str:
    """Return `name` if it is one of `names`, else say what is there and which is nearest."""
    names = list(names)
    if name in names:
        return name
    raise AtlasError(f"unknown {what} '{name}'{_nearest(name, names)}; there are: {', '.join(names)}")


def load(path: Path = Path("params.yaml")) -> Settings:
    """Read and check all of params.yaml, whichever part a stage needs.

    Raises:
        AtlasError: naming the key's path, what was found and what is allowed.
    """
    return check(_read(path), str(path))


def check(raw: Any, source: str = "params.yaml") -> Settings:
    """Check settings that were already read; `source` stands before every complaint."""
    try:
        return _check(raw)
    except AtlasError as error:
        # One line, whatever the keys of the file hold.
        raise AtlasError(" ".join(f"{source}: {error}".split())) from None


def _read(path: Path) -> Any:
    if not path.is_file():
        raise AtlasError(f"{path} is missing: run from the repository's root")
    try:
        # The reader that DVC uses: what keys the cache is what the stage sees (1e-3 is a number, yes is a word).
        return YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise AtlasError(f"{path} is not UTF-8 text: {error}") from None
    except YAMLError as error:
        reason = str(error).split("To suppress this check")[0].replace('in "<unicode string>", ', "")
        raise AtlasError(f"{path} is not YAML: {' '.join(reason.split())}") from None
    except (ValueError, RecursionError) as error:
        raise AtlasError(f"{path} is not YAML that can be read: {error}") from None
    except OSError as error:
        raise AtlasError(f"{path} cannot be read: {error.strerror}") from None


def _check(raw: Any) -> Settings:
    top = _mapping("", raw)
    parts = ("scale", "seed", "datasets", "budgets", "models", "runs", "sample", "animation")
    _only("", top, parts)
    for part in parts:
        if part not in top:
            raise AtlasError(f"{part}: missing")
        if top[part] == {}:
            raise AtlasError(f"{part}: found no entry; allowed: one or more")
    if top["scale"] not in SCALES:
        raise _unfit("scale", top["scale"], SCALES)
    seed = _typed("seed", Seed, top["seed"])
    datasets = {
        name: _parse(f"datasets.{name}", DatasetSettings, value)
        for name, value in _mapping("datasets", top["datasets"]).items()
    }
    budgets = _mapping("budgets", top["budgets"])
    _only("budgets", budgets, SCALES)
    # Every scale is checked, not only the chosen one: a broken row should not wait for the day it is switched to.
    rows = {scale: _budgets(f"budgets.{scale}", budgets.get(scale), datasets) for scale in SCALES}
    models = {name: _defaults(f"models.{name}", value) for name, value in _mapping("models", top["models"]).items()}
    runs = {}
    for key, value in _mapping("runs", top["runs"]).items():
        if not key.replace("_", "").isalnum():
            raise AtlasError(f"runs: found {key!r}; allowed: names made of letters, digits and underscores")
        runs[key] = _run(key, value, models, datasets, rows[top["scale"]], seed)
    return Settings(
        scale=top["scale"],
        seed=seed,
        datasets=datasets,
        budget=rows[top["scale"]],
        runs=runs,
        sample=_parse("sample", SampleSettings, top["sample"]),
        animation=_parse("animation", AnimationSettings, top["animation"]),
    )


def _budgets(path: str, raw: Any, datasets: Mapping[str, Any]) -> Budgets:
    if raw is None:
        raise AtlasError(f"{path}: missing (every scale needs its budgets)")
    for stage, rows in _mapping(path, raw).items():
        if stage in Budgets.model_fields:
            _only(f"{path}.{stage}", _mapping(f"{path}.{stage}", rows), datasets)
    budgets = _parse(path, Budgets, raw)
    for stage in Budgets.model_fields:
        for name in datasets:
            if name not in getattr(budgets, stage):
                raise AtlasError(f"{path}.{stage}.{name}: missing (every data set needs a row)")
    return budgets


def _run(
    key: str,
    raw: Any,
    models: Mapping[str, dict[str, Any]],
    datasets: Mapping[str, Any],
    budget: Budgets,
    seed: int,
) -> Run:
    path = f"runs.{key}"
    run = dict(_mapping(path, raw))
    names = {}
    for part, choices in (("dataset", datasets), ("model", models)):
        if part not in run:
            raise AtlasError(f"{path}.{part}: missing; allowed: {', '.join(choices)}")
        name = run.pop(part)
        if not isinstance(name, str) or name not in choices:
            raise _unfit(f"{path}.{part}", name, choices)
        names[part] = name
    defaults = models[names["model"]]
    train = budget.train[names["dataset"]]
    seed = _typed(f"{path}.seed", Seed, run.pop("seed", seed))
    allowed = ["dataset", "model", "seed", *defaults, *TrainBudget.model_fields]
    for name in run:
        if name not in allowed:
            owners = [other for other, keys in models.items() if name in keys]
            owner = f" ('{name}' belongs to {', '.join(owners)})" if owners else _nearest(str(name), allowed)
            raise AtlasError(
                f"{path}.{name}: model '{names['model']}' has no such setting{owner}; allowed: {', '.join(allowed)}"
            )
    budgeted = {name: run.pop(name) for name in list(run) if name in TrainBudget.model_fields}
    return Run(
        key=key,
        dataset=names["dataset"],
        model=names["model"],
        seed=seed,
        train=_parse(path, TrainBudget, {**train.model_dump(), **budgeted}),
        settings={**defaults, **_model_settings(path, run, defaults)},
    )


def _defaults(path: str, raw: Any) -> dict[str, Any]:
    """Check `models.<name>`: what the trainer reads is there, what the budgets and runs hold is not."""
    for name in _mapping(path, raw):
        if name in ("dataset", "model", "seed", *TrainBudget.model_fields):
            raise AtlasError(f"{path}.{name}: no default of a model; allowed: under budgets, or in a run")
    for name in TRAINER:
        if name not in raw:
            raise AtlasError(f"{path}.{name}: missing")
    return _model_settings(path, raw)


def _model_settings(path: str, raw: Any, defaults: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Check each key by the vocabulary, or, where only one model knows it, by the type of its default."""
    checked = {}
    for name, value in _mapping(path, raw).items():
        where = f"{path}.{name}"
        default = value if defaults is None else defaults[name]
        checked[name] = _typed(where, VOCABULARY[name] if name in VOCABULARY else _like(where, default), value)
        if isinstance(default, dict) and isinstance(value, dict):
            _only(where, value, default)
            checked[name] = {**default, **checked[name]}
    return checked


def _like(path: str, default: Any) -> Any:
    """Return the type that a setting with this default must have."""
    for kind, wanted in ((bool, bool), (int, int), (float, FiniteFloat), (str, str)):
        if isinstance(default, kind):
            return Annotated[wanted, Field(strict=True)]
    if isinstance(default, dict | list):
        return type(default)
    raise AtlasError(f"{path}: found {default!r}; allowed: a number, a word, true or false, or a mapping of them")


def _typed(path: str, kind: Any, value: Any) -> Any:
    try:
        return TypeAdapter(kind).validate_python(value)
    except ValidationError as error:
        raise _refusal(path, _schema(kind), value, error) from None


def _parse(path: str, schema: type[T], raw: Any) -> T:
    try:
        return schema.model_validate(_mapping(path, raw))
    except ValidationError as error:
        raise _refusal(path, _schema(schema), raw, error) from None


def _schema(kind: Any) -> dict[str, Any]:
    return TypeAdapter(kind).json_schema()


def _refusal(path: str, schema: dict[str, Any], raw: Any, error: ValidationError) -> AtlasError:
    """Say what the most telling of pydantic's complaints means: an unknown key first, then whatever lies deepest."""
    complaints = []
    for complaint in error.errors():
        where, node, value = path, schema, raw
        for step in complaint["loc"]:
            # Between the keys, a location also holds the names of a union's branches.
            if complaint["type"] == "missing" or (isinstance(value, Mapping) and step in value):
                where, node = f"{where}.{step}", _child(schema, node, str(step))
                value = value.get(step)
        complaints.append((complaint["type"] == "extra_forbidden", where.count("."), where, node, value, complaint))
    _, _, where, node, value, complaint = max(complaints, key=lambda found: found[:2])
    if complaint["type"] == "extra_forbidden":
        parent, name = where.rsplit(".", 1)
        return _unknown(parent, name, node["siblings"])
    if complaint["type"] == "missing":
        return AtlasError(f"{where}: missing")
    return AtlasError(f"{where}: found {value!r:.60}; allowed: {_words(node)}")


def _child(schema: dict[str, Any], node: dict[str, Any], step: str) -> dict[str, Any]:
    """Return the JSON schema of a key inside a node, or, for a key that has none, the names of those that have."""
    for branch in node.get("anyOf", [node]):
        names = branch.get("properties", {})
        inner = names.get(step, branch.get("additionalProperties"))
        if isinstance(inner, dict):
            return schema["$defs"][inner["$ref"].rsplit("/", 1)[1]] if "$ref" in inner else inner
    return {"siblings": list(node.get("properties", {}))}


def _words(node: Mapping[str, Any]) -> str:
    """Say what a JSON schema allows."""
    if "anyOf" in node:
        return " or ".join(_words(branch) for branch in node["anyOf"])
    if "enum" in node:
        return ", ".join(node["enum"])
    kinds = {"integer": "a whole number", "number": "a number", "boolean": "true or false", "object": "a mapping"}
    kind = node.get("type", "object")
    bounds = {"minimum": "from", "exclusiveMinimum": "above", "maximum": "up to", "exclusiveMaximum": "and below"}
    limits = [f"{word} {node[bound]}" for bound, word in bounds.items() if bound in node]
    return " ".join([kinds.get(kind, kind), *limits])


def _mapping(path: str, raw: Any) -> Mapping[str, Any]:
    if not isinstance(raw, Mapping):
        found = "nothing" if raw is None else f"{raw!r:.60}"
        raise AtlasError(f"{path or 'the file'}: found {found}; allowed: a mapping of keys to values")
    for key in raw:
        if not isinstance(key, str):
            raise AtlasError(f"{path or 'the file'}: found the key {key!r:.60}; allowed: keys that are words")
    return raw


def _only(path: str, raw: Mapping[str, Any], allowed: Iterable[str]) -> None:
    allowed = list(allowed)
    for name in raw:
        if name not in allowed:
            raise _unknown(path, name, allowed)


def _unknown(path: str, name: str, allowed: Iterable[str]) -> AtlasError:
    where = f"{path}.{name}" if path else name
    return AtlasError(f"{where}: unknown key{_nearest(name, allowed)}; allowed: {', '.join(allowed)}")


def _unfit(path: str, found: Any, allowed: Iterable[str]) -> AtlasError:
    nearest = _nearest(found, allowed) if isinstance(found, str) else ""
    return AtlasError(f"{path}: found {found!r:.60}{nearest}; allowed: {', '.join(allowed)}")


def _nearest(name: str, names: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, list(names), n=1)
    return f", did you mean '{close[0]}'?" if close else ""
