"""Saved run: the folder that stage train writes of a small untrained model."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from tests.conftest import PARAMS, VARIANTS

from atlas.core.model import Model, Shape, build, find_model, save_model
from atlas.core.settings import keywords

DIGITS = tuple(str(number) for number in range(10))


def save_run(
    folder: Path,
    variant: str = "cvae",
    shape: Shape = (1, 16, 16),
    classes: Sequence[str] = DIGITS,
    dataset: str = "digits",
    **changes: Any,
) -> Model:
    """Save one of the ten models, with the defaults of params.yaml but for `changes`, and return it."""
    name, differences = VARIANTS[variant]
    settings = {**PARAMS["models"][name], "width": 0.125, **differences, **changes}
    arguments = {key: settings[key] for key in keywords(find_model(name))}
    torch.manual_seed(0)
    model = build(name, shape, len(classes), arguments).eval()
    folder.mkdir(parents=True, exist_ok=True)
    save_model(
        model,
        folder,
        run=folder.name,
        dataset=dataset,
        name=name,
        variant=variant,
        classes=list(classes),
        arguments=arguments,
        framing="digit" if shape[0] == 1 else "crop",
    )
    return model
