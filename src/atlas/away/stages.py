"""dvc.yaml read without DVC: what each stage runs, and what it hangs on."""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from atlas.errors import AtlasError
from atlas.jobs import PER_RUN

JUDGE = "train_judge"
KINDS = (JUDGE, *PER_RUN)
"""Of dvc.yaml's stages those that are done away: what gathers is done at home."""


@dataclass(frozen=True)
class Stage:
    """One stage of dvc.yaml, with the names filled in."""

    name: str
    """As DVC says it: train@mnist_vae_2."""
    words: tuple[str, ...]
    """Of its command, without `python`: the script's path from the root, and its arguments."""
    params: tuple[str, ...]
    deps: tuple[str, ...]
    outs: tuple[str, ...]

    @property
    def kind(self) -> str:
        return self.name.partition("@")[0]


def read(pipeline: Path, params: Mapping[str, Any], runs: Iterable[str]) -> dict[str, Stage]:
    """Return the stages of these runs by name, judges first, each after those that it needs.

    Args:
        pipeline: dvc.yaml; params: params.yaml as plain mappings, already checked.
    """
    text = YAML(typ="safe", pure=True).load(pipeline.read_text(encoding="utf-8"))["stages"]
    runs = list(runs)
    datasets = dict.fromkeys(params["runs"][run]["dataset"] for run in runs)
    found = [_stage(JUDGE, text[JUDGE]["do"], key, params["datasets"][key], params) for key in datasets]
    found += [_stage(kind, text[kind]["do"], run, params["runs"][run], params) for run in runs for kind in PER_RUN]
    return {stage.name: stage for stage in found}


def _stage(kind: str, about: Mapping[str, Any], key: str, item: Any, params: Mapping[str, Any]) -> Stage:
    names = {**params, "key": key, "item": item}

    def fill(words: str) -> str:
        return re.sub(r"\$\{([\w.]+)\}", lambda found: str(_at(names, found[1])), words)

    words = fill(about["cmd"]).split()
    lists = (tuple(map(fill, about[part])) for part in ("params", "deps", "outs"))
    return Stage(f"{kind}@{key}", tuple(words[1:]), *lists)


def _at(names: Any, path: str) -> Any:
    for step in path.split("."):
        names = names[step]
    return names


def needs(stage: Stage, stages: Mapping[str, Stage]) -> list[str]:
    """Return the names of the stages whose outputs this one reads."""
    return [
        other.name
        for other in stages.values()
        if any(dep == out or dep.startswith(f"{out}/") for dep in stage.deps for out in other.outs)
    ]


def marks(stages: Mapping[str, Stage], params: Mapping[str, Any], root: Path) -> dict[str, str]:
    """Return a hash for each stage of all that its outputs follow from: settings, code, data, and the stages before it.

    Args:
        root: where the code and `data` lie.

    Raises:
        AtlasError: if a file that a stage reads is missing.
    """
    found: dict[str, str] = {}
    contents: dict[str, str] = {}
    for name, stage in stages.items():
        before = needs(stage, stages)
        parts: list[Any] = [
            stage.words,
            {key: _at(params, key) for key in stage.params},
            [found[one] for one in before],
        ]
        for dep in stage.deps:
            if dep.startswith("outputs/"):
                continue
            if dep not in contents:
                contents[dep] = _content(root / dep)
            parts.append([dep, contents[dep]])
        found[name] = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
    return found


def _content(path: Path) -> str:
    if not path.exists():
        hint = "; bring it (see `split` and `join`)" if path.parent.name == "data" else ""
        raise AtlasError(f"{path} is missing{hint}")
    digest = hashlib.sha256()
    for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
        if file.is_file() and "__pycache__" not in file.parts:
            digest.update(str(file.relative_to(path)).encode())
            with file.open("rb") as content:
                digest.update(hashlib.file_digest(content, "sha256").digest())
    return digest.hexdigest()
