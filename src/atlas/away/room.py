"""The folder that runs of one scale and seed are done in: like the repository's root, but for the code."""

import json
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from atlas import settings as settings_file
from atlas.away import stages as pipeline
from atlas.away.stages import Stage
from atlas.errors import AtlasError
from atlas.files import whole_file
from atlas.jobs import PER_RUN
from atlas.settings import SCALES, Settings, known

HOME = Path(".away")


@dataclass(frozen=True)
class Room:
    """`.away/SCALE/seed_N`: params.yaml with that scale and seed, `data` and the judges by link, `outputs` its own."""

    root: Path
    """The repository's."""
    scale: str
    seed: int

    @property
    def folder(self) -> Path:
        return self.root / HOME / self.scale / f"seed_{self.seed}"

    @property
    def params(self) -> dict[str, Any]:
        """params.yaml as plain mappings."""
        return YAML(typ="safe", pure=True).load((self.folder / "params.yaml").read_text(encoding="utf-8"))

    @property
    def settings(self) -> Settings:
        return settings_file.load(self.folder / "params.yaml")

    def furnish(self) -> None:
        """Make the folder ready; what was done in it stays."""
        text = (self.root / "params.yaml").read_text(encoding="utf-8")
        for key, value in (("scale", self.scale), ("seed", str(self.seed))):
            text, found = re.subn(rf"(?m)^{key}:[ \t]*\w+", f"{key}: {value}", text)
            if found != 1:
                raise AtlasError(f"params.yaml: found no line `{key}: ...` to be replaced")
        with whole_file(self.folder / "params.yaml") as aside:
            aside.write_text(text, encoding="utf-8")
        self._link(self.folder / "data", self.root / "data")
        # Seeds share the judges, which measure all of them.
        judges = self.folder.parent / "judges"
        judges.mkdir(parents=True, exist_ok=True)
        self._link(self.folder / "outputs" / "judges", judges)

    def _link(self, place: Path, target: Path) -> None:
        place.parent.mkdir(parents=True, exist_ok=True)
        if not place.is_symlink():
            place.symlink_to(os.path.relpath(target, place.parent))

    def stages(self, runs: Iterable[str]) -> dict[str, Stage]:
        """Return the stages of these runs, each after those that it needs."""
        return pipeline.read(self.root / "dvc.yaml", self.params, runs)

    def marks(self, stages: dict[str, Stage]) -> dict[str, str]:
        return pipeline.marks(stages, self.params, self.root)

    def record(self, stage: str) -> Path:
        """Return the file that says that a stage was done: its mark, the seconds it took, when."""
        place = self.folder.parent if stage.startswith(pipeline.JUDGE) else self.folder
        return place / "done" / f"{stage}.json"

    def done(self, stage: Stage, mark: str) -> bool:
        """Was the stage done with exactly this code, data and settings, and is what it wrote there?"""
        about = read_json(self.record(stage.name))
        return about.get("mark") == mark and all((self.folder / out).exists() for out in stage.outs)

    def complete(self, runs: Iterable[str]) -> list[str]:
        """Return those of the runs that are through all stages."""
        runs = list(runs)
        stages = self.stages(runs)
        marks = self.marks(stages)
        return [
            run for run in runs if all(self.done(stages[f"{kind}@{run}"], marks[f"{kind}@{run}"]) for kind in PER_RUN)
        ]


def room(root: Path, scale: str | None, seed: int | None) -> Room:
    """Return the room of this scale and seed, made ready; both default to what params.yaml says.

    Raises:
        AtlasError: on an unknown scale, a seed that is none, or broken settings.
    """
    settings = settings_file.load(root / "params.yaml")
    chosen = Room(root, known("scale", scale or settings.scale, SCALES), settings.seed if seed is None else seed)
    chosen.furnish()
    # The seed is checked where all settings are.
    assert chosen.settings.seed == chosen.seed
    return chosen


def read_json(path: Path) -> dict[str, Any]:
    """Return a JSON object; an empty one where there is none that can be read."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
