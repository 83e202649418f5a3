"""Settings: params.yaml to typed values, or one line that says what is wrong, where, and what is allowed.

`models.<name>` holds a model's defaults, and the keyword arguments of the model's constructor (and of `make_optimizers`)
are the schema of those defaults: `check_arguments` makes a pydantic model of a signature. So a new model or a new setting
needs no edit here.
"""

import difflib
import inspect
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, TypeAdapter, ValidationError, create_model
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from atlas.core.files import AtlasError

T = TypeVar("T", bound=BaseModel)

Seed = Annotated[int, Field(ge=0, le=2**31 - 1, strict=True)]
Count = Annotated[int, Field(ge=1, le=1_000_000, strict=True)]
Steps = Annotated[int, Field(ge=2, le=100, strict=True)]
Positive = Annotated[FiniteFloat, Field(gt=0, strict=True)]
Weight = Annotated[FiniteFloat, Field(ge=0, strict=True)]
Fraction = Annotated[FiniteFloat, Field(ge=0, lt=1, strict=True)]
Width = Annotated[FiniteFloat, Field(gt=0, le=16, strict=True)]
LatentDim = Annotated[int, Field(ge=1, le=4096, strict=True)]
Scale = Literal["smoke", "cpu", "gpu"]

SCALES: tuple[str, ...] = get_args(Scale)


class Strict(BaseModel):
    """A mapping of known keys only, frozen once read. What each key does stands beside it in params.yaml."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class DatasetSettings(Strict):
    """`datasets.<name>`."""

    validation: Count


class TrainBudget(Strict):
    """`budgets.<scale>.train.<dataset>`. A run may override each key."""

    epochs: Count
    batch_size: Count
    width: Width
    images: Count | None
    frames: Annotated[int, Field(ge=2, le=10_000)]
    frame_grid: Annotated[int, Field(ge=1, le=100)]


class JudgeBudget(Strict):
    """`budgets.<scale>.judge.<dataset>`."""

    epochs: Count
    batch_size: Count
    width: Annotated[int, Field(ge=1, le=1024)]
    images: Count | None


class EvaluateBudget(Strict):
    """`budgets.<scale>.evaluate.<dataset>`."""

    images: Count | None
    importance_samples: Annotated[int, Field(ge=1, le=100_000)]
    inversions: Count


class Budgets(Strict):
    """`budgets.<scale>`: a row for each stage, keyed by data set."""

    train: dict[str, TrainBudget]
    judge: dict[str, JudgeBudget]
    evaluate: dict[str, EvaluateBudget]


class SnapshotSettings(Strict):
    """`snapshots`: what a training keeps for its animation."""

    map_quantile: Annotated[FiniteFloat, Field(gt=0, lt=0.5)]
    codes: Count
    epochs: Steps


class JudgeSettings(Strict):
    """`judge`: how the classifiers behind the metrics learn."""

    learning_rate: Positive
    weight_decay: Weight
    seed: Seed


class EvaluationSettings(Strict):
    """`evaluation`: how many images the expensive metrics see."""

    subset: Annotated[int, Field(ge=20, le=1_000_000)]
    nll_pixels: Annotated[int, Field(ge=1, le=10**10)]
    gradient_images: Annotated[int, Field(ge=2, le=1_000_000)]
    transfers: Annotated[int, Field(ge=2, le=1_000_000)]
    inversion_steps: Count
    confident: Fraction


class SampleSettings(Strict):
    """`sample`: what the figures show."""

    reconstructions: Count
    per_label: Count
    map_steps: Steps
    map_quantile: Annotated[FiniteFloat, Field(gt=0, lt=0.5)]
    scatter: Count
    transfers: Count
    traversals: Count
    traversal_steps: Steps
    interpolations: Count
    interpolation_steps: Steps
    inversion_steps: Count


class AnimationSettings(Strict):
    """`animation`: how the animations look."""

    fps: Annotated[int, Field(ge=1, le=60)]


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
    settings: dict[str, Any]
    """The model's defaults, with what the run changes; not yet checked against the model's constructor."""
    defaults: dict[str, Any]

    @property
    def variant(self) -> str:
        """What people call its model: see `variant`."""
        return variant(self.model, self.settings)

    def arguments(self, *callables: Callable[..., Any]) -> list[dict[str, Any]]:
        """Return, for each callable, those settings that are its keyword-only arguments, checked by its signature.

        `width` counts among the settings: it comes from the budget.

        Raises:
            AtlasError: naming a key of `models` or `runs` that no callable takes, that is missing, or does not fit.
        """
        names = {name for function in callables for name in keywords(function)}
        for name in self.defaults:
            if name not in names:
                raise _unknown(f"models.{self.model}", name, sorted(names - set(TrainBudget.model_fields)))
        checked = []
        for function in callables:
            wanted = keywords(function)
            for path, settings in ((f"models.{self.model}", self.defaults), (f"runs.{self.key}", self.settings)):
                known = {**settings, **self.train.model_dump()}
                arguments = check_arguments(path, function, {name: known[name] for name in wanted if name in known})
            checked.append(arguments)
        return checked


@dataclass(frozen=True)
class Settings:
    """All of params.yaml, checked; models' own settings are checked where the model is built (`Run.arguments`)."""

    scale: str
    seed: int
    datasets: dict[str, DatasetSettings]
    budget: Budgets
    runs: dict[str, Run]
    snapshots: SnapshotSettings
    judge: JudgeSettings
    evaluation: EvaluationSettings
    sample: SampleSettings
    animation: AnimationSettings

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
        return {**names, **run.settings, **run.train.model_dump()}


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


def require_known(what: str, name: str, names: Iterable[str]) -> str:
    """Return `name` if it is one of `names`, else say what is there and which is nearest."""
    names = list(names)
    if name in names:
        return name
    raise AtlasError(f"unknown {what} '{name}'{did_you_mean(name, names)}; there are: {', '.join(names)}")


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """Return ", did you mean 'x'?" for the nearest of `names`, or nothing if none is near."""
    close = difflib.get_close_matches(name, list(names), n=1)
    return f", did you mean '{close[0]}'?" if close else ""


def parse(path: str, schema: type[T], raw: Any) -> T:
    """Return a mapping as a pydantic model, or the most telling of pydantic's complaints as one `AtlasError`."""
    try:
        return schema.model_validate(dict(_mapping(path, raw)))
    except ValidationError as error:
        raise _invalid_by(path, schema.model_json_schema(), raw, error) from None


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
    "evaluation": EvaluationSettings,
    "sample": SampleSettings,
    "animation": AnimationSettings,
}


def _check(raw: Any) -> Settings:
    top = _mapping("", raw)
    parts = ("scale", "seed", "datasets", "budgets", "models", "runs", *SECTIONS)
    _only("", top, parts)
    for part in parts:
        if part not in top:
            raise AtlasError(f"{part}: missing")
        if top[part] == {}:
            raise AtlasError(f"{part}: found no entry; allowed: one or more")
    if top["scale"] not in SCALES:
        raise _invalid("scale", top["scale"], SCALES)
    seed = _typed("seed", Seed, top["seed"])
    datasets = {
        name: parse(f"datasets.{name}", DatasetSettings, value)
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
    sections: dict[str, Any] = {name: parse(name, schema, top[name]) for name, schema in SECTIONS.items()}
    return Settings(top["scale"], seed, datasets, rows[top["scale"]], runs, **sections)


def _budgets(path: str, raw: Any, datasets: Mapping[str, Any]) -> Budgets:
    if raw is None:
        raise AtlasError(f"{path}: missing (every scale needs its budgets)")
    for stage, rows in _mapping(path, raw).items():
        if stage in Budgets.model_fields:
            _only(f"{path}.{stage}", _mapping(f"{path}.{stage}", rows), datasets)
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
    own = dict(_mapping(path, raw))
    names = {}
    for part, choices in (("dataset", datasets), ("model", models)):
        if part not in own:
            raise AtlasError(f"{path}.{part}: missing; allowed: {', '.join(choices)}")
        name = own.pop(part)
        if not isinstance(name, str) or name not in choices:
            raise _invalid(f"{path}.{part}", name, choices)
        names[part] = name
    defaults = models[names["model"]]
    seed = _typed(f"{path}.seed", Seed, own.pop("seed", seed))
    allowed = ["dataset", "model", "seed", *defaults, *TrainBudget.model_fields]
    for name in own:
        if name not in allowed:
            owners = [other for other, keys in models.items() if name in keys]
            owner = f" ('{name}' belongs to {', '.join(owners)})" if owners else did_you_mean(str(name), allowed)
            raise AtlasError(
                f"{path}.{name}: model '{names['model']}' has no such setting{owner}; allowed: {', '.join(allowed)}"
            )
    train = budget.train[names["dataset"]].model_dump()
    train |= {name: own.pop(name) for name in list(own) if name in TrainBudget.model_fields}
    return Run(
        key=key,
        dataset=names["dataset"],
        model=names["model"],
        seed=seed,
        train=parse(path, TrainBudget, train),
        settings=defaults | {name: _merged(f"{path}.{name}", defaults[name], value) for name, value in own.items()},
        defaults=defaults,
    )


def _merged(path: str, default: Any, value: Any) -> Any:
    """Return what a run sets, with what a mapping leaves out taken from the default."""
    if not (isinstance(default, Mapping) and isinstance(value, Mapping)):
        return value
    _only(path, _mapping(path, value), default)
    return {**default, **value}


def _defaults(path: str, raw: Any) -> dict[str, Any]:
    """Return `models.<name>`, which must hold none of the keys that budgets and runs hold."""
    for name in _mapping(path, raw):
        if name in ("dataset", "model", "seed", *TrainBudget.model_fields):
            raise AtlasError(f"{path}.{name}: no default of a model; allowed: under budgets, or in a run")
    return dict(raw)


def _typed(path: str, kind: Any, value: Any) -> Any:
    adapter = TypeAdapter(kind)
    try:
        return adapter.validate_python(value)
    except ValidationError as error:
        raise _invalid_by(path, adapter.json_schema(), value, error) from None


def _invalid_by(path: str, schema: dict[str, Any], raw: Any, error: ValidationError) -> AtlasError:
    """Return the error for the most telling of pydantic's complaints: an unknown key first, then the deepest."""
    complaints = []
    for complaint in error.errors():
        where, node, value = path, schema, raw
        for step in complaint["loc"]:
            # Between the keys, a location also holds the names of a union's branches.
            if complaint["type"] == "missing" or (isinstance(value, Mapping) and step in value):
                where, node = f"{where}.{step}", _child(schema, node, str(step))
                value = value.get(step)
        complaints.append((complaint["type"] == "extra_forbidden", where.count("."), where, node, value, complaint))
    _, _, where, node, value, complaint = max(complaints, key=lambda item: item[:2])
    if complaint["type"] == "extra_forbidden":
        parent, name = where.rsplit(".", 1)
        return _unknown(parent, name, node["siblings"])
    if complaint["type"] == "missing":
        return AtlasError(f"{where}: missing")
    hint = did_you_mean(value, node["enum"]) if isinstance(value, str) and "enum" in node else ""
    return AtlasError(f"{where}: found {value!r:.60}{hint}; allowed: {_allowed(node)}")


def _child(schema: dict[str, Any], node: dict[str, Any], step: str) -> dict[str, Any]:
    """Return the JSON schema of a key inside a node, or, for a key that has none, the names of those that have."""
    for branch in node.get("anyOf", [node]):
        names = branch.get("properties", {})
        inner = names.get(step, branch.get("additionalProperties"))
        if isinstance(inner, dict):
            return schema["$defs"][inner["$ref"].rsplit("/", 1)[1]] if "$ref" in inner else inner
    return {"siblings": list(node.get("properties", {}))}


def _allowed(node: Mapping[str, Any]) -> str:
    """Say what a JSON schema allows."""
    if "anyOf" in node:
        return " or ".join(_allowed(branch) for branch in node["anyOf"])
    if "enum" in node:
        return ", ".join(node["enum"])
    kinds = {"integer": "a whole number", "number": "a number", "boolean": "true or false", "object": "a mapping"}
    kind = node.get("type", "object")
    bounds = {"minimum": "from", "exclusiveMinimum": "above", "maximum": "up to", "exclusiveMaximum": "and below"}
    limits = [f"{word} {node[bound]}" for bound, word in bounds.items() if bound in node]
    return " ".join([kinds.get(kind, kind), *limits])


def _mapping(path: str, raw: Any) -> Mapping[str, Any]:
    if not isinstance(raw, Mapping):
        value = "nothing" if raw is None else f"{raw!r:.60}"
        raise AtlasError(f"{path or 'the file'}: found {value}; allowed: a mapping of keys to values")
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
    return AtlasError(f"{where}: unknown key{did_you_mean(name, allowed)}; allowed: {', '.join(allowed)}")


def _invalid(path: str, value: Any, allowed: Iterable[str]) -> AtlasError:
    hint = did_you_mean(value, allowed) if isinstance(value, str) else ""
    return AtlasError(f"{path}: found {value!r:.60}{hint}; allowed: {', '.join(allowed)}")
