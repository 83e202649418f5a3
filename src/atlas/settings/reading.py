"""params.yaml to typed, validated settings, or one clear error.

`models.<name>` in params.yaml holds a model's defaults, and those defaults say which keys a run of that model may set.
So a new family member needs no edit here. Keys that several models share (`latent_dim`, `dropout`, ...) are checked
against the vocabulary of `schema`, wherever they appear; a key that only one model knows must keep the type of its
default.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, FiniteFloat
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from atlas.errors import AtlasError
from atlas.settings.refusals import known, mapping, nearest, only, parse, typed, unfit
from atlas.settings.schema import (
    SCALES,
    TRAINER,
    VOCABULARY,
    AnimationSettings,
    Budgets,
    DatasetSettings,
    SampleSettings,
    Seed,
    TrainBudget,
)


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
    top = mapping("", raw)
    parts = ("scale", "seed", "datasets", "budgets", "models", "runs", "sample", "animation")
    only("", top, parts)
    for part in parts:
        if part not in top:
            raise AtlasError(f"{part}: missing")
        if top[part] == {}:
            raise AtlasError(f"{part}: found no entry; allowed: one or more")
    if top["scale"] not in SCALES:
        raise unfit("scale", top["scale"], SCALES)
    seed = typed("seed", Seed, top["seed"])
    datasets = {
        name: parse(f"datasets.{name}", DatasetSettings, value)
        for name, value in mapping("datasets", top["datasets"]).items()
    }
    budgets = mapping("budgets", top["budgets"])
    only("budgets", budgets, SCALES)
    # Every scale is checked, not only the chosen one: a broken row should not wait for the day it is switched to.
    rows = {scale: _budgets(f"budgets.{scale}", budgets.get(scale), datasets) for scale in SCALES}
    models = {name: _defaults(f"models.{name}", value) for name, value in mapping("models", top["models"]).items()}
    runs = {}
    for key, value in mapping("runs", top["runs"]).items():
        if not key.replace("_", "").isalnum():
            raise AtlasError(f"runs: found {key!r}; allowed: names made of letters, digits and underscores")
        runs[key] = _run(key, value, models, datasets, rows[top["scale"]], seed)
    return Settings(
        scale=top["scale"],
        seed=seed,
        datasets=datasets,
        budget=rows[top["scale"]],
        runs=runs,
        sample=parse("sample", SampleSettings, top["sample"]),
        animation=parse("animation", AnimationSettings, top["animation"]),
    )


def _budgets(path: str, raw: Any, datasets: Mapping[str, Any]) -> Budgets:
    if raw is None:
        raise AtlasError(f"{path}: missing (every scale needs its budgets)")
    for stage, rows in mapping(path, raw).items():
        if stage in Budgets.model_fields:
            only(f"{path}.{stage}", mapping(f"{path}.{stage}", rows), datasets)
    budgets = parse(path, Budgets, raw)
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
    run = dict(mapping(path, raw))
    names = {}
    for part, choices in (("dataset", datasets), ("model", models)):
        if part not in run:
            raise AtlasError(f"{path}.{part}: missing; allowed: {', '.join(choices)}")
        name = run.pop(part)
        if not isinstance(name, str) or name not in choices:
            raise unfit(f"{path}.{part}", name, choices)
        names[part] = name
    defaults = models[names["model"]]
    train = budget.train[names["dataset"]]
    seed = typed(f"{path}.seed", Seed, run.pop("seed", seed))
    allowed = ["dataset", "model", "seed", *defaults, *TrainBudget.model_fields]
    for name in run:
        if name not in allowed:
            owners = [other for other, keys in models.items() if name in keys]
            owner = f" ('{name}' belongs to {', '.join(owners)})" if owners else nearest(str(name), allowed)
            raise AtlasError(
                f"{path}.{name}: model '{names['model']}' has no such setting{owner}; allowed: {', '.join(allowed)}"
            )
    budgeted = {name: run.pop(name) for name in list(run) if name in TrainBudget.model_fields}
    return Run(
        key=key,
        dataset=names["dataset"],
        model=names["model"],
        seed=seed,
        train=parse(path, TrainBudget, {**train.model_dump(), **budgeted}),
        settings={**defaults, **_model_settings(path, run, defaults)},
    )


def _defaults(path: str, raw: Any) -> dict[str, Any]:
    """Check `models.<name>`: what the trainer reads is there, what the budgets and runs hold is not."""
    for name in mapping(path, raw):
        if name in ("dataset", "model", "seed", *TrainBudget.model_fields):
            raise AtlasError(f"{path}.{name}: no default of a model; allowed: under budgets, or in a run")
    for name in TRAINER:
        if name not in raw:
            raise AtlasError(f"{path}.{name}: missing")
    return _model_settings(path, raw)


def _model_settings(path: str, raw: Any, defaults: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Check each key by the vocabulary, or, where only one model knows it, by the type of its default."""
    checked = {}
    for name, value in mapping(path, raw).items():
        where = f"{path}.{name}"
        default = value if defaults is None else defaults[name]
        checked[name] = typed(where, VOCABULARY[name] if name in VOCABULARY else _like(where, default), value)
        if isinstance(default, dict) and isinstance(value, dict):
            only(where, value, default)
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
