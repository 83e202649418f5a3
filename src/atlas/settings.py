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

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError, create_model
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from atlas.errors import AtlasError

Count = Annotated[int, Field(gt=0, strict=True)]
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
    frames: Annotated[int, Field(ge=2, strict=True)]
    """Pictures taken for the animations."""
    frame_grid: Count
    """Images along the side of a frame, per label."""


class JudgeBudget(Strict):
    """`budgets.<scale>.judge.<dataset>`: what the judging classifier may cost."""

    epochs: Count
    batch_size: Count
    width: Count
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
    map_steps: Annotated[int, Field(ge=2, strict=True)]
    map_quantile: Annotated[FiniteFloat, Field(gt=0, lt=0.5, strict=True)]
    """The map runs from this normal quantile to one minus it."""
    scatter: Count
    transfers: Count


class AnimationSettings(Strict):
    """`animation`: how the films look."""

    fps: Annotated[int, Field(gt=0, le=60, strict=True)]


# Keys that models share, and what they may hold. A run may only set those that its model's defaults hold.
VOCABULARY: dict[str, Any] = {
    "latent_dim": Count,
    "dropout": Fraction,
    "likelihood": Literal["bernoulli", "gaussian", "discretized_logistic"],
    "optimizer": Literal["adam", "rmsprop", "sgd"],
    "learning_rate": Positive | dict[str, Positive],
    "schedule": Literal["constant", "cosine"],
    "gamma": Weight,
    "beta": Weight,
    "feature_loss": Literal["cross_entropy", "squared_error"],
    "steps": dict[str, Count],
}


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
        raise AtlasError(f"{source}: {error}") from None


def _read(path: Path) -> Any:
    if not path.is_file():
        raise AtlasError(f"{path} is missing: run from the repository's root")
    try:
        # The reader that DVC uses: what keys the cache is what the stage sees (1e-3 is a number, yes is a word).
        return YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
    except YAMLError as error:
        raise AtlasError(f"{path} is not YAML: {' '.join(str(error).split())}") from None
    except UnicodeDecodeError as error:
        raise AtlasError(f"{path} is not UTF-8 text: {error}") from None


def _check(raw: Any) -> Settings:
    top = _mapping("", raw)
    parts = ("scale", "seed", "datasets", "budgets", "models", "runs", "sample", "animation")
    _only("", top, parts)
    for part in parts:
        if part not in top:
            raise AtlasError(f"{part}: missing")
    if top["scale"] not in SCALES:
        raise AtlasError(f"scale: found {top['scale']!r}; allowed: {', '.join(SCALES)}")
    seed = _typed("seed", Annotated[int, Field(ge=0, lt=2**31, strict=True)], top["seed"])
    datasets = {
        name: _parse(f"datasets.{name}", DatasetSettings, value)
        for name, value in _mapping("datasets", top["datasets"]).items()
    }
    budgets = _mapping("budgets", top["budgets"])
    _only("budgets", budgets, SCALES)
    # Every scale is checked, not only the chosen one: a broken row should not wait for the day it is switched to.
    rows = {scale: _budgets(f"budgets.{scale}", budgets.get(scale), datasets) for scale in SCALES}
    models = {
        name: _model_settings(f"models.{name}", value) for name, value in _mapping("models", top["models"]).items()
    }
    runs = {}
    for key, value in _mapping("runs", top["runs"]).items():
        if not isinstance(key, str) or not key.replace("_", "").isalnum():
            raise AtlasError(f"runs: a run's name is made of letters, digits and underscores; found {key!r}")
        runs[key] = _run(key, value, models, datasets, rows[top["scale"]], seed)
    if not runs:
        raise AtlasError("runs: at least one is needed")
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
    budgets = _parse(path, Budgets, raw)
    for stage in ("train", "judge", "evaluate"):
        row = getattr(budgets, stage)
        _only(f"{path}.{stage}", row, datasets)
        for name in datasets:
            if name not in row:
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
            raise AtlasError(
                f"{path}.{part}: found {name!r}{_nearest(str(name), choices)}; allowed: {', '.join(choices)}"
            )
        names[part] = name
    defaults = models[names["model"]]
    train = budget.train[names["dataset"]]
    seed = _typed(f"{path}.seed", Annotated[int, Field(ge=0, lt=2**31, strict=True)], run.pop("seed", seed))
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
    for kind, wanted in ((bool, bool), (int, int), (float, Weight), (str, str)):
        if isinstance(default, kind):
            return Annotated[wanted, Field(strict=True)]
    if isinstance(default, dict | list):
        return type(default)
    raise AtlasError(f"{path}: found {default!r}; allowed: a number, a word, true or false, or a mapping of them")


def _typed(path: str, kind: Any, value: Any) -> Any:
    return _parse(path, create_model("Value", value=(kind, ...)), {"value": value}, inner=True).value  # type: ignore[attr-defined]


def _parse(path: str, schema: type[T], raw: Any, inner: bool = False) -> T:
    try:
        return schema.model_validate(raw if inner else _mapping(path, raw))
    except ValidationError as error:
        first = error.errors()[0]
        steps = [str(step) for step in first["loc"]]
        steps = [step for step in steps[1 if inner else 0 :] if "[" not in step and step not in ("float", "int")]
        where = ".".join([path, *steps])
        if first["type"] == "extra_forbidden":
            fields = _fields_at(schema, first["loc"][:-1])
            raise AtlasError(
                f"{where}: unknown key{_nearest(steps[-1], fields)}; allowed: {', '.join(fields)}"
            ) from None
        if first["type"] == "missing":
            raise AtlasError(f"{where}: missing") from None
        wanted = first["msg"].replace("Input should be ", "")
        raise AtlasError(f"{where}: found {first['input']!r}; allowed: {wanted}") from None


def _fields_at(schema: type[BaseModel], steps: tuple[int | str, ...]) -> list[str]:
    """Return the keys that the schema allows at a place inside it."""
    for step in steps:
        field = schema.model_fields.get(str(step))
        kinds = [field.annotation] if field else []
        for kind in kinds:
            values = getattr(kind, "__args__", (kind,))
            schema = next((value for value in values if isinstance(value, type) and issubclass(value, BaseModel)), schema)
    return list(schema.model_fields)


def _mapping(path: str, raw: Any) -> Mapping[str, Any]:
    if not isinstance(raw, Mapping):
        raise AtlasError(f"{path or 'the file'}: found {raw!r:.60}; allowed: a mapping of keys to values")
    return raw


def _only(path: str, raw: Mapping[str, Any], allowed: Iterable[str]) -> None:
    allowed = list(allowed)
    for name in raw:
        if name not in allowed:
            where = f"{path}.{name}" if path else str(name)
            raise AtlasError(f"{where}: unknown key{_nearest(str(name), allowed)}; allowed: {', '.join(allowed)}")


def _nearest(name: str, names: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, list(names), n=1)
    return f", did you mean '{close[0]}'?" if close else ""
