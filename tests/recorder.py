"""Runs a stage script as `python` would and writes down what of params.yaml it asked for: recorder.py LOG SCRIPT."""

import json
import runpy
import sys
from pathlib import Path
from typing import Any

import atlas.core.settings
from atlas.core.settings import Run, Settings

ASKED: set[str] = set()


class WatchedRun(Run):
    """A run whose parts are counted to the places in params.yaml that they come from."""

    def __getattribute__(self, name: str) -> Any:
        fields = object.__getattribute__(self, "__dict__")
        places = {
            "seed": {"seed"},
            "train": {f"budgets.{Watched.scale_in_use}.train.{fields['dataset']}"},
            "settings": {f"models.{fields['model']}"},
        }
        wanted = set(places) if name == "__dict__" else {name} & set(places)
        ASKED.update({f"runs.{fields['key']}"}, *(places[part] for part in wanted))
        return super().__getattribute__(name)


class Watched(Settings):
    """Settings that write down which of their parts are read."""

    scale_in_use = ""

    def __getattribute__(self, name: str) -> Any:
        if name in ("scale", "seed", "runs", "sample", "animation"):
            ASKED.add(name)
        return super().__getattribute__(name)

    def run(self, key: str) -> Run:
        # Looking one up is not reading all.
        return object.__getattribute__(self, "__dict__")["runs"][key]


class Rows(dict):
    """The rows of a budget, or the datasets, by name."""

    def __init__(self, place: str, rows: dict[str, Any]) -> None:
        super().__init__(rows)
        self.place = place

    def __getitem__(self, name: str) -> Any:
        return Row(f"{self.place}.{name}", super().__getitem__(name))


class Row:
    """One of them, by its keys."""

    def __init__(self, place: str, row: Any) -> None:
        self._place, self._row = place, row

    def __getattr__(self, name: str) -> Any:
        ASKED.add(f"{self._place}.{name}")
        return getattr(self._row, name)


def watched(settings: Settings) -> Settings:
    """Return the same settings, watched."""
    Watched.scale_in_use = settings.scale
    copy = object.__new__(Watched)
    copy.__dict__.update(vars(settings))
    runs = {}
    for key, run in settings.runs.items():
        runs[key] = object.__new__(WatchedRun)
        object.__getattribute__(runs[key], "__dict__").update(vars(run))
    budget = {
        stage: Rows(f"budgets.{settings.scale}.{stage}", getattr(settings.budget, stage))
        for stage in type(settings.budget).model_fields
    }
    copy.__dict__.update(
        runs=runs,
        datasets=Rows("datasets", settings.datasets),
        budget=settings.budget.model_copy(update=budget),
    )
    return copy


if __name__ == "__main__":
    log, script, *words = sys.argv[1:]
    load = atlas.core.settings.load
    # Under both names by which it is called.
    atlas.core.settings.load = lambda *place: watched(load(*place))
    sys.argv = [script, *words]
    try:
        runpy.run_path(script, run_name="__main__")
    finally:
        Path(log).write_text(json.dumps(sorted(ASKED)))
