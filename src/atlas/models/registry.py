"""Names to members. A member's file registers its class; the file is imported only when its name is asked for."""

import importlib
from collections.abc import Callable, Mapping
from typing import Any

from atlas.errors import AtlasError
from atlas.models.base import Model, Shape

_MEMBERS: dict[str, type[Model]] = {}


def register(name: str) -> Callable[[type[Model]], type[Model]]:
    """Make a class known under `name`, the word that params.yaml uses."""

    def remember(kind: type[Model]) -> type[Model]:
        _MEMBERS[name] = kind
        return kind

    return remember


def member(name: str) -> type[Model]:
    """Return the class registered under `name`; `src/atlas/models/<name>.py` is imported if it is not yet.

    Raises:
        AtlasError: if there is no such member.
    """
    if name not in _MEMBERS:
        try:
            importlib.import_module(f"atlas.models.{name}")
        except ModuleNotFoundError as error:
            if error.name != f"atlas.models.{name}":
                raise
    if name not in _MEMBERS:
        raise AtlasError(f"model '{name}': src/atlas/models/{name}.py, which registers it, is missing")
    return _MEMBERS[name]


def build(name: str, shape: Shape, classes: int, settings: Mapping[str, Any]) -> Model:
    """Return a freshly initialised model.

    Args:
        name: as registered.
        shape: of an image, (C, H, W).
        classes: number of labels.
        settings: the keyword arguments of the member: its part of params.yaml, and the `width` of its networks.

    Raises:
        AtlasError: if there is no such member or a setting does not fit it.
    """
    known = member(name)
    try:
        return known(shape, classes, **settings)
    except (TypeError, ValueError) as error:
        # One line, whatever the settings' names hold.
        raise AtlasError(" ".join(f"model '{name}': {error}".split())) from error
