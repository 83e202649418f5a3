"""Schema of params.yaml: its sections as pydantic models, types of numbers, and one-line errors for what does not fit.

An error names the key's path, what was found, what is allowed, and the nearest known name.
"""

import difflib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, TypeAdapter, ValidationError

from atlas.core.files import AtlasError, read_json

T = TypeVar("T", bound=BaseModel)

Seed = Annotated[int, Field(ge=0, le=2**31 - 1, strict=True)]
Count = Annotated[int, Field(ge=1, le=1_000_000, strict=True)]
Steps = Annotated[int, Field(ge=2, le=100, strict=True)]
Positive = Annotated[FiniteFloat, Field(gt=0, strict=True)]
Weight = Annotated[FiniteFloat, Field(ge=0, strict=True)]
Fraction = Annotated[FiniteFloat, Field(ge=0, lt=1, strict=True)]
Width = Annotated[FiniteFloat, Field(gt=0, le=16, strict=True)]
LatentDim = Annotated[int, Field(ge=1, le=4096, strict=True)]
LabelNames = Annotated[list[str | int], Field(min_length=1, max_length=10)]
RateSchedule = Literal["constant", "cosine"]
Scale = Literal["smoke", "cpu", "night", "gpu"]

MOST_LABELS = 10
"""Labels that a figure shows: more colors and markers can hardly be told apart."""
SCALES: tuple[str, ...] = get_args(Scale)


class Strict(BaseModel):
    """A mapping of known keys only, frozen once read. What each key does stands beside it in params.yaml."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


Part = Annotated[int, Field(ge=1, le=10_000_000, strict=True)] | Annotated[float, Field(gt=0, lt=1, strict=True)]
"""Of a data set: a number of images, or a share."""


class DatasetSettings(Strict):
    """`datasets.<name>`, less its budgets, of a data set that is downloaded."""

    source: str
    validation: Part = 0.1


class FolderSettings(DatasetSettings):
    """`datasets.<name>`, less its budgets, of a folder of images."""

    test: Part = 0.1
    size: int | list[int] = 64
    channels: Literal[1, 3] | None = None
    fit: Literal["crop", "pad", "stretch"] = "crop"
    background: Annotated[str, Field(pattern="^#[0-9a-fA-F]{6}$")] = "#ffffff"
    broken: Literal["stop", "skip"] = "stop"


class TrainingSettings(Strict):
    """`training`: how every model is trained. A model's defaults and a run may override each key."""

    schedule: RateSchedule
    restarts: list[Count] | None
    ema: Fraction
    kl_warm_up: Annotated[FiniteFloat, Field(ge=0, le=1)]
    gradient_clip: Positive | None
    patience: Count | None


class SnapshotSettings(Strict):
    """`snapshots`: what a training keeps for its animation."""

    map_quantile: Annotated[FiniteFloat, Field(gt=0, lt=0.5)]
    codes: Count
    epochs: Steps
    frame_bytes: Annotated[int, Field(ge=1000, le=10**9)]


class JudgeSettings(Strict):
    """`judge`: how the classifiers behind the metrics learn."""

    learning_rate: Positive
    weight_decay: Weight
    seed: Seed


class InversionSettings(Strict):
    """`inversion`: the search for an image's code, where a model has no encoder."""

    steps: Count
    prior_weight: Weight


class EvaluationSettings(Strict):
    """`evaluation`: how many images the expensive metrics see."""

    subset: Annotated[int, Field(ge=20, le=1_000_000)]
    probe_images: Annotated[int, Field(ge=1, le=1_000_000)]
    nll_pixels: Annotated[int, Field(ge=1, le=10**10)]
    gradient_images: Annotated[int, Field(ge=2, le=1_000_000)]
    transfers: Annotated[int, Field(ge=2, le=1_000_000)]
    confident: Fraction


class SampleSettings(Strict):
    """`sample`: what the figures show."""

    reconstructions: Count
    per_label: Count
    map_steps: Steps
    map_quantile: Annotated[FiniteFloat, Field(gt=0, lt=0.5)]
    scatter: Count
    scatter_limit: Positive
    transfers: Count
    traversals: Count
    traversal_steps: Steps
    interpolations: Count
    interpolation_steps: Steps


class AnimationSettings(Strict):
    """`animation`: how the animations look."""

    fps: Annotated[int, Field(ge=1, le=60)]


def parse(path: str, schema: type[T], raw: Any) -> T:
    """Return a mapping as a pydantic model.

    Raises:
        AtlasError: the most telling of pydantic's complaints, in one line.
    """
    try:
        return schema.model_validate(dict(check_mapping(path, raw)))
    except ValidationError as error:
        raise _invalid_by(path, schema.model_json_schema(), raw, error) from None


def parse_value(path: str, kind: Any, value: Any) -> Any:
    """Return a single value checked against a type, with errors as `parse`."""
    adapter = TypeAdapter(kind)
    try:
        return adapter.validate_python(value)
    except ValidationError as error:
        raise _invalid_by(path, adapter.json_schema(), value, error) from None


def read(path: Path, stage: str, kind: Any) -> Any:
    """Read a JSON file that `stage` wrote and that fits a type, such as a TypedDict; it may hold further keys.

    Raises:
        AtlasError: naming the file, the key, what was found and the stage.
    """
    content = read_json(path, stage)
    try:
        TypeAdapter(kind).validate_python(content, strict=True)
    except ValidationError as error:
        complaint = error.errors()[0]
        key = ".".join(map(str, complaint["loc"])) or "the file"
        value = f"{complaint['input']!r:.60}"
        raise AtlasError(f"{path}: {key}: {complaint['msg']}, found {value}; run `dvc repro --force {stage}`") from None
    return content


def require_known(what: str, name: str, names: Iterable[str]) -> str:
    """Return `name` if it is one of `names`, else say what is there and which is nearest."""
    names = list(names)
    if name in names:
        return name
    raise AtlasError(f"unknown {what} '{name}'{did_you_mean(name, names)}; there are: {', '.join(names)}")


def shown_labels(path: str, names: Sequence[str | int] | None, classes: Sequence[str]) -> list[int]:
    """Return the labels that figures show, at most ten: those of these names, else evenly spaced; none without labels.

    Raises:
        AtlasError: naming the key at `path`, a name that is no class and the nearest that is.
    """
    if names is None or not classes:
        spaced = [round(place * (len(classes) - 1) / (MOST_LABELS - 1)) for place in range(MOST_LABELS)]
        return spaced if len(classes) > MOST_LABELS else list(range(len(classes)))
    for name in names:
        if str(name) not in classes:
            hint = did_you_mean(str(name), classes)
            raise AtlasError(f"{path}: found {name!r}{hint}; allowed: {', '.join(classes)}")
    return sorted({list(classes).index(str(name)) for name in names})


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """Return ", did you mean 'x'?" for the nearest of `names`, or nothing if none is near."""
    close = difflib.get_close_matches(name, list(names), n=1)
    return f", did you mean '{close[0]}'?" if close else ""


def check_mapping(path: str, raw: Any) -> Mapping[str, Any]:
    """Return `raw` if it is a mapping whose keys are strings, else raise."""
    if not isinstance(raw, Mapping):
        value = "nothing" if raw is None else f"{raw!r:.60}"
        raise AtlasError(f"{path or 'the file'}: found {value}; allowed: a mapping of keys to values")
    for key in raw:
        if not isinstance(key, str):
            raise AtlasError(f"{path or 'the file'}: found the key {key!r:.60}; allowed: keys that are words")
    return raw


def check_keys(path: str, raw: Mapping[str, Any], allowed: Iterable[str]) -> None:
    """Raise if a mapping has a key that is not allowed."""
    allowed = list(allowed)
    for name in raw:
        if name not in allowed:
            raise unknown_key(path, name, allowed)


def unknown_key(path: str, name: str, allowed: Iterable[str]) -> AtlasError:
    """Return the error for a key that is not allowed under `path`."""
    where = f"{path}.{name}" if path else name
    return AtlasError(f"{where}: unknown key{did_you_mean(name, allowed)}; allowed: {', '.join(allowed)}")


def invalid_value(path: str, value: Any, allowed: Iterable[str]) -> AtlasError:
    """Return the error for a value that is none of those allowed."""
    hint = did_you_mean(value, allowed) if isinstance(value, str) else ""
    return AtlasError(f"{path}: found {value!r:.60}{hint}; allowed: {', '.join(allowed)}")


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
        return unknown_key(parent, name, node["siblings"])
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
        return ", ".join(map(str, node["enum"]))
    if node.get("type") == "array" and "type" in node["items"]:
        return f"a list, each {_allowed(node['items'])}"
    kinds = {"integer": "a whole number", "number": "a number", "boolean": "true or false", "array": "a list"}
    kind = node.get("type", "object")
    bounds = {"minimum": "from", "exclusiveMinimum": "above", "maximum": "up to", "exclusiveMaximum": "and below"}
    limits = [f"{word} {node[bound]}" for bound, word in bounds.items() if bound in node]
    return " ".join([kinds.get(kind, "null" if kind == "null" else "a mapping"), *limits])
