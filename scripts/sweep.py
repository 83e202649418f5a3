"""Gather what other values of one setting of a run gave, from DVC's experiments, as a table for the README.

An experiment counts on the terms of src/seeds.py, with that setting in the seed's place. Writes results/sweep.json and
results/sweep.md; what results/sweep.json holds of the same sweep stays.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from atlas.core import settings as settings_file
from atlas.core.files import AtlasError, run_stage
from scripts.experiments import (
    LOCK,
    Stages,
    experiments,
    fingerprint,
    lock_of,
    others,
    own_bytes,
    read_lock,
    read_metrics,
    value_of,
)
from atlas.core.files import require, atomic_write, write_json
from atlas.metrics.registry import METRICS

TARGET = Path("results/sweep.json")
TABLE = Path("results/sweep.md")
Row = dict[str, Any]
"""{"value": of the setting, "measures": {measure: number}}."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("run", help="a name under `runs` in params.yaml")
    parser.add_argument("key", help="the setting: a key of the run or of its defaults, such as gamma")
    options = parser.parse_args()
    settings = settings_file.load()
    run, key = settings.run(options.run).key, options.key
    ours = read_lock(require(Path(LOCK), "nothing: it is written by `dvc repro`").read_text(encoding="utf-8"))
    if f"evaluate@{run}" not in ours:
        raise AtlasError(f"run '{run}' is not measured yet; run `dvc repro evaluate@{run}` first")
    own = value_of(ours, run, key)
    before = json.loads(TARGET.read_text(encoding="utf-8")) if TARGET.exists() else {}
    rows = kept(before, ours, run, key)
    for revision in experiments():
        for value, file in others(ours, lock_of(revision), [run], key).values():
            rows = [row for row in rows if row["value"] != value]
            rows.append({"value": value, "measures": read_metrics(revision, file)})
    if not rows:
        raise AtlasError(
            f"no experiment differs from {LOCK} in the {key} of {run} alone; "
            f"run `dvc exp run -S runs.{run}.{key}=VALUE compare` first"
        )
    metrics = json.loads(require(Path(f"outputs/metrics/{run}.json"), f"evaluate@{run}").read_text(encoding="utf-8"))
    rows = sorted([*rows, {"value": own, "measures": metrics}], key=order)
    marks = {"of": fingerprint(ours, run, key), "own": own_bytes(run)}
    write_json(TARGET, {"run": run, "key": key, **marks, "rows": rows})
    with atomic_write(TABLE) as aside:
        aside.write_text(markdown(run, key, rows, own, settings.scale, settings.run(run).seed), encoding="utf-8")
    print(f"{TARGET}: {key} of {run}: {', '.join(str(row['value']) for row in rows)}")


def kept(before: dict[str, Any], ours: Stages, run: str, key: str) -> list[Row]:
    """Return what was gathered before of other values, on the terms of src/seeds.py."""
    now = {"of": fingerprint(ours, run, key), "own": own_bytes(run)}
    same = before.get("of") == now["of"] or (now["own"] is not None and before.get("own") == now["own"])
    if not same or [before.get(name) for name in ("run", "key")] != [run, key]:
        return []
    return [row for row in before["rows"] if row["value"] != value_of(ours, run, key)]


def order(row: Row) -> tuple[bool, float, str]:
    """Sort numbers by size, then whatever else there is by its text."""
    number = isinstance(row["value"], int | float)
    return not number, row["value"] if number else 0, str(row["value"])


def markdown(run: str, key: str, rows: list[Row], own: Any, scale: str, seed: int) -> str:
    """Return the sweep as a table of the headline measures, a row a value, that of params.yaml marked."""
    names = [name for name in METRICS if METRICS[name].headline and not name.endswith("_floor")]
    names = [name for name in names if any(name in row["measures"] for row in rows)]
    arrow = {"lower": " ↓", "higher": " ↑", "": ""}
    head = [key, *(METRICS[name].title + arrow[METRICS[name].better] for name in names)]
    lines = ["| " + " | ".join(head) + " |", "|" + "---:|" * len(head)]
    for row in rows:
        value = f"**{row['value']}**" if row["value"] == own else str(row["value"])
        found = row["measures"]
        cells = [f"{found[name]:.{METRICS[name].digits}f}" if name in found else "" for name in names]
        lines.append("| " + " | ".join([value, *cells]) + " |")
    lines += ["", f"`{run}` at scale `{scale}`, seed {seed}; in bold the value of params.yaml."]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    run_stage(main)
