"""One clear error for each mistake in params.yaml: the key's path, what was found, what is allowed."""

import difflib
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, TypeAdapter, ValidationError

from atlas.errors import AtlasError

T = TypeVar("T", bound=BaseModel)


def known(what: str, name: str, names: Iterable[str]) -> str:
    """Return `name` if it is one of `names`, else say what is there and which is nearest."""
    names = list(names)
    if name in names:
        return name
    raise AtlasError(f"unknown {what} '{name}'{nearest(name, names)}; there are: {', '.join(names)}")


def typed(path: str, kind: Any, value: Any) -> Any:
    try:
        return TypeAdapter(kind).validate_python(value)
    except ValidationError as error:
        raise _refusal(path, _schema(kind), value, error) from None


def parse(path: str, schema: type[T], raw: Any) -> T:
    try:
        return schema.model_validate(mapping(path, raw))
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


def mapping(path: str, raw: Any) -> Mapping[str, Any]:
    if not isinstance(raw, Mapping):
        found = "nothing" if raw is None else f"{raw!r:.60}"
        raise AtlasError(f"{path or 'the file'}: found {found}; allowed: a mapping of keys to values")
    for key in raw:
        if not isinstance(key, str):
            raise AtlasError(f"{path or 'the file'}: found the key {key!r:.60}; allowed: keys that are words")
    return raw


def only(path: str, raw: Mapping[str, Any], allowed: Iterable[str]) -> None:
    allowed = list(allowed)
    for name in raw:
        if name not in allowed:
            raise _unknown(path, name, allowed)


def _unknown(path: str, name: str, allowed: Iterable[str]) -> AtlasError:
    where = f"{path}.{name}" if path else name
    return AtlasError(f"{where}: unknown key{nearest(name, allowed)}; allowed: {', '.join(allowed)}")


def unfit(path: str, found: Any, allowed: Iterable[str]) -> AtlasError:
    hint = nearest(found, allowed) if isinstance(found, str) else ""
    return AtlasError(f"{path}: found {found!r:.60}{hint}; allowed: {', '.join(allowed)}")


def nearest(name: str, names: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, list(names), n=1)
    return f", did you mean '{close[0]}'?" if close else ""
