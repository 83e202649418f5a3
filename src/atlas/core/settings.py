"""Settings: params.yaml to typed values, or one line that says what is wrong, where, and what is allowed.

`models.<name>` holds a model's defaults, and may hold keys of `training` besides. Their schema is the signature of the
model's constructor and that of `make_optimizers`, which `check_arguments` turns into pydantic models. So a new model or
setting needs no edit here.
"""

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import create_model
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from atlas.core.budgets import Budgets, TrainBudget, by_scale, override
from atlas.core.files import AtlasError
from atlas.core.schema import (
    SCALES,
    AnimationSettings,
    DatasetSettings,
    EvaluationSettings,
    FolderSettings,
    InversionSettings,
    JudgeSettings,
    LabelNames,
    SampleSettings,
    Seed,
    SnapshotSettings,
    Strict,
    T,
    TrainingSettings,
    check_keys,
    check_mapping,
    did_you_mean,
    invalid_value,
    parse,
    parse_value,
    require_known,
    shown_labels,
    unknown_key,
)
from atlas.core.sizes import check_size

OFFICIAL = "src/atlas/data/download.py"
"""Source of the data sets that are downloaded by name."""
MISSING_SOURCE = f"missing; allowed: a folder of images, or {OFFICIAL} for a data set that is downloaded by its name"


def variant(model: str, settings: Mapping[str, Any]) -> str:
    """Return the name that people give a model with these settings: "cvae", "beta_vae", "vae_iaf", "cvae_gan", ..."""
    # The class-coded VAE and the autoencoder have no `conditional`.
    beta = "beta_" if settings.get("beta", 1) != 1 else ""
    conditional = "c" if settings.get("conditional") else ""
    return f"{beta}{conditional}{model}{'_iaf' if settings.get('flow_steps') else ''}"


@dataclass(frozen=True)
class Run:
    """One entry of `runs`, with everything that its training depends on."""

    key: str
    dataset: str
    model: str
    """The file of `atlas.models` that defines it."""
    seed: int
    train: TrainBudget
    training: TrainingSettings
    settings: dict[str, Any]
    """The model's defaults, with what the run changes; not yet checked against the model's constructor."""
    defaults: dict[str, Any]

    def resolve(self, count: int, shape: tuple[int, int, int]) -> "Run":
        """Return this run with the budget that it has on `count` training images of a shape: see `Budget.resolve`."""
        return replace(self, train=self.train.resolve(count, shape))

    @property
    def variant(self) -> str:
        """What people call its model: see `variant`."""
        return variant(self.model, self.settings)

    def arguments(self, *callables: Callable[..., Any]) -> list[dict[str, Any]]:
        """Return, for each callable, those settings that are its keyword-only arguments, checked by its signature.

        What comes from the budget (`width`) or from `training` counts among the settings.

        Raises:
            AtlasError: naming a key of `models` or `runs` that no callable takes, that is missing, or does not fit.
        """
        names = {name for function in callables for name in keywords(function)}
        for name in self.defaults:
            if name not in names:
                allowed = names - set(TrainBudget.model_fields) | set(TrainingSettings.model_fields)
                raise unknown_key(f"models.{self.model}", name, sorted(allowed))
        checked = []
        for function in callables:
            wanted = keywords(function)
            for path, settings in ((f"models.{self.model}", self.defaults), (f"runs.{self.key}", self.settings)):
                known = {**settings, **self.train.model_dump(), **self.training.model_dump()}
                arguments = check_arguments(path, function, {name: known[name] for name in wanted if name in known})
            checked.append(arguments)
        return checked


@dataclass(frozen=True)
class Settings:
    """All of params.yaml, checked; models' own settings are checked where the model is built (`Run.arguments`)."""

    scale: str
    seed: int
    datasets: dict[str, DatasetSettings]
    budgets: dict[str, Budgets]
    """Of each data set, at the scale that is set."""
    runs: dict[str, Run]
    snapshots: SnapshotSettings
    judge: JudgeSettings
    inversion: InversionSettings
    evaluation: EvaluationSettings
    sample: SampleSettings
    animation: AnimationSettings
    shown_labels: dict[str, list[str | int]]

    def labels(self, dataset: str, classes: Sequence[str]) -> list[int]:
        """Return the labels of a data set that its figures show: see `shown_labels`."""
        return shown_labels(f"shown_labels.{dataset}", self.shown_labels.get(dataset), classes)

    def run(self, key: str) -> Run:
        """Return the run of that name.

        Raises:
            AtlasError: if there is none, naming the nearest.
        """
        return self.runs[require_known("run", key, self.runs)]

    def flat(self, key: str) -> dict[str, Any]:
        """Return every effective setting of a run as one flat mapping, for people to read; "variant" among them."""
        run = self.run(key)
        names = {"dataset": run.dataset, "model": run.model, "variant": run.variant, "seed": run.seed}
        return {**names, **run.settings, **run.train.model_dump(), **run.training.model_dump()}


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


def set_scale(scale: str, path: Path = Path("params.yaml")) -> None:
    """Write the scale into params.yaml, and nothing else of it: its comments and layout stay."""
    require_known("scale", scale, SCALES)
    text, count = re.subn(r"(?m)^scale:[ \t]*\w+", f"scale: {scale}", path.read_text(encoding="utf-8"))
    if count != 1:
        raise AtlasError(f"{path}: found no line `scale: WORD`; mend it by hand")
    path.write_text(text, encoding="utf-8")


def keywords(function: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    """Return the keyword-only parameters of a function or a class's constructor."""
    parameters = inspect.signature(function).parameters.values()
    return {parameter.name: parameter for parameter in parameters if parameter.kind is parameter.KEYWORD_ONLY}


def check_arguments(path: str, function: Callable[..., Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return `values` checked against the types of a function's keyword-only parameters.

    Raises:
        AtlasError: naming the key under `path`, what was found and what is allowed.
    """
    fields: dict[str, Any] = {
        name: (parameter.annotation, ... if parameter.default is parameter.empty else parameter.default)
        for name, parameter in keywords(function).items()
    }
    schema = create_model("Arguments", __base__=Strict, **fields)
    return {name: getattr(parse(path, schema, values), name) for name in fields}


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


SECTIONS: dict[str, type[Strict]] = {
    "snapshots": SnapshotSettings,
    "judge": JudgeSettings,
    "inversion": InversionSettings,
    "evaluation": EvaluationSettings,
    "sample": SampleSettings,
    "animation": AnimationSettings,
}


def _check(raw: Any) -> Settings:
    top = check_mapping("", raw)
    parts = ("scale", "seed", "datasets", "budgets", "training", "models", "runs", "shown_labels", *SECTIONS)
    check_keys("", top, parts)
    for part in parts:
        if part not in top:
            raise AtlasError(f"{part}: missing")
        if top[part] == {} and part != "shown_labels":
            raise AtlasError(f"{part}: found no entry; allowed: one or more")
    if top["scale"] not in SCALES:
        raise invalid_value("scale", top["scale"], SCALES)
    seed = parse_value("seed", Seed, top["seed"])
    budgets = check_mapping("budgets", top["budgets"])
    check_keys("budgets", budgets, SCALES)
    datasets, rows = {}, {}
    for name, raw_dataset in check_mapping("datasets", top["datasets"]).items():
        own = dict(check_mapping(f"datasets.{name}", raw_dataset))
        # Every scale is checked, not only the chosen one: a mistake should not wait for the day it is switched to.
        rows[name] = by_scale(f"datasets.{name}.budgets", budgets, own.pop("budgets", {}))[top["scale"]]
        datasets[name] = _dataset(f"datasets.{name}", own)
    training = parse("training", TrainingSettings, top["training"])
    models = {
        name: _defaults(f"models.{name}", value) for name, value in check_mapping("models", top["models"]).items()
    }
    trainings = {name: _overlay(f"models.{name}", training, own) for name, own in models.items()}
    runs = {}
    for key, value in check_mapping("runs", top["runs"]).items():
        if not key.replace("_", "").isalnum():
            raise AtlasError(f"runs: found {key!r}; allowed: names made of letters, digits and underscores")
        runs[key] = _run(key, value, models, trainings, datasets, rows, seed)
    sections: dict[str, Any] = {name: parse(name, schema, top[name]) for name, schema in SECTIONS.items()}
    check_keys("shown_labels", check_mapping("shown_labels", top["shown_labels"]), datasets)
    shown = {
        name: parse_value(f"shown_labels.{name}", LabelNames, value) for name, value in top["shown_labels"].items()
    }
    return Settings(top["scale"], seed, datasets, rows, runs, **sections, shown_labels=shown)


def _dataset(path: str, raw: Mapping[str, Any]) -> DatasetSettings:
    """Return what a data set says of itself: one that code of this project downloads, or a folder of images."""
    if not path.split(".", 1)[1].replace("_", "").isalnum():
        raise AtlasError(
            f"datasets: found {path.split('.', 1)[1]!r}; allowed: names of letters, digits and underscores"
        )
    source = raw.get("source")
    if not isinstance(source, str) or not source:
        raise AtlasError(f"{path}.source: {MISSING_SOURCE}")
    if source == OFFICIAL:
        return parse(path, DatasetSettings, raw)
    if source.startswith("~"):
        raise AtlasError(
            f"{path}.source: found {source!r}; DVC does not know '~': write {str(Path(source).expanduser())!r}"
        )
    place = Path(source).resolve()
    for own in (Path("data").resolve(), Path("outputs").resolve()):
        if place in own.parents or own in (place, *place.parents):
            raise AtlasError(
                f"{path}.source: found {source!r}; allowed: a folder that does not hold data/ or outputs/, nor lies in "
                "them: the pipeline writes there"
            )
    check_size(f"{path}.size", raw.get("size", 64))
    return parse(path, FolderSettings, raw)


def _run(
    key: str,
    raw: Any,
    models: Mapping[str, dict[str, Any]],
    trainings: Mapping[str, TrainingSettings],
    datasets: Mapping[str, Any],
    budgets: Mapping[str, Budgets],
    seed: int,
) -> Run:
    path = f"runs.{key}"
    own = dict(check_mapping(path, raw))
    names = {}
    for part, choices in (("dataset", datasets), ("model", models)):
        if part not in own:
            raise AtlasError(f"{path}.{part}: missing; allowed: {', '.join(choices)}")
        name = own.pop(part)
        if not isinstance(name, str) or name not in choices:
            raise invalid_value(f"{path}.{part}", name, choices)
        names[part] = name
    defaults = models[names["model"]]
    seed = parse_value(f"{path}.seed", Seed, own.pop("seed", seed))
    allowed = ["dataset", "model", "seed", *defaults, *TrainBudget.model_fields, *TrainingSettings.model_fields]
    for name in own:
        if name not in allowed:
            owners = [other for other, keys in models.items() if name in keys]
            owner = f" ('{name}' belongs to {', '.join(owners)})" if owners else did_you_mean(str(name), allowed)
            raise AtlasError(
                f"{path}.{name}: model '{names['model']}' has no such setting{owner}; allowed: {', '.join(allowed)}"
            )
    train = _overlay(path, budgets[names["dataset"]].train, own)
    training = _overlay(path, trainings[names["model"]], own)
    return Run(
        key=key,
        dataset=names["dataset"],
        model=names["model"],
        seed=seed,
        train=train,
        training=training,
        settings=defaults | {name: _merged(f"{path}.{name}", defaults[name], value) for name, value in own.items()},
        defaults=defaults,
    )


def _overlay(path: str, defaults: T, own: dict[str, Any]) -> T:
    """Take the keys of `defaults` out of a model's or a run's own entry, and return the defaults with them."""
    changes = {name: own.pop(name) for name in list(own) if name in type(defaults).model_fields}
    return override(path, defaults, changes)


def _merged(path: str, default: Any, value: Any) -> Any:
    """Return what a run sets, with what a mapping leaves out taken from the default."""
    if not (isinstance(default, Mapping) and isinstance(value, Mapping)):
        return value
    check_keys(path, check_mapping(path, value), default)
    return {**default, **value}


def _defaults(path: str, raw: Any) -> dict[str, Any]:
    """Return `models.<name>`, which must hold none of the keys that budgets and runs hold."""
    for name in check_mapping(path, raw):
        if name in ("dataset", "model", "seed", *TrainBudget.model_fields):
            raise AtlasError(f"{path}.{name}: no default of a model; allowed: under budgets, or in a run")
    return dict(raw)
