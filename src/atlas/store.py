"""Trained models as folders: weights in safetensors, and the few words that rebuild the network."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save

from atlas.errors import AtlasError
from atlas.files import need, whole_file, write_json
from atlas.models.base import Model
from atlas.models.registry import build


def save_weights(module: torch.nn.Module, path: Path) -> None:
    """Write a module's parameters and buffers as safetensors."""
    state = {name: value.detach().cpu().contiguous() for name, value in module.state_dict().items()}
    with whole_file(path) as aside:
        aside.write_bytes(save(state))


def load_weights(module: torch.nn.Module, path: Path, stage: str) -> None:
    """Fill a module from a file that `stage` wrote.

    Raises:
        AtlasError: if the file is missing, damaged, or of another network.
    """
    try:
        module.load_state_dict(load_file(need(path, stage)))
    except (SafetensorError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise AtlasError(f"{path} does not fit ({reason}); run `dvc repro --force {stage}`") from None


def save_model(
    model: Model, folder: Path, *, run: str, dataset: str, name: str, classes: list[str], arguments: dict[str, Any]
) -> None:
    """Write `weights.safetensors` and `model.json` into a folder.

    Args:
        name: the member's registered name; arguments: the keyword arguments that it was built with.
    """
    save_weights(model, folder / "weights.safetensors")
    content = {
        "run": run,
        "dataset": dataset,
        "model": name,
        "shape": list(model.shape),
        "classes": classes,
        "arguments": arguments,
    }
    write_json(folder / "model.json", content)


def load_model(folder: Path, device: torch.device) -> tuple[Model, list[str]]:
    """Return a trained model, ready to encode, decode and sample, and the names of its classes.

    Raises:
        AtlasError: if the folder lacks a file or a file is damaged.
    """
    stage = f"train@{folder.name}"
    path = need(folder / "model.json", stage)
    try:
        about = json.loads(path.read_text(encoding="utf-8"))
        model = build(about["model"], tuple(about["shape"]), len(about["classes"]), about["arguments"])
    except (AtlasError, KeyError, TypeError, ValueError) as error:
        raise AtlasError(f"{path} is damaged ({error}); run `dvc repro --force {stage}`") from None
    load_weights(model, folder / "weights.safetensors", stage)
    return model.to(device).eval(), about["classes"]
