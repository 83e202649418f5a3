"""Gather what other seeds of a run gave, from DVC's experiments, into results/seeds.json, which `compare` reads.

An experiment's run counts where its trained network and its measures came from the same code, data, judge and settings
as the workspace's dvc.lock states, and from another seed. What results/seeds.json holds already stays on these terms,
or where the code has changed and the workspace's own network and measures are still the same, byte for byte: what
changed then was no arithmetic.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from atlas.core import settings as settings_file
from atlas.core.files import run_stage
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
from atlas.core.files import require, write_json

TARGET = Path("results/seeds.json")


def main() -> None:
    argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None).parse_args()
    runs = list(settings_file.load().runs)
    ours = read_lock(require(Path(LOCK), "nothing: it is written by `dvc repro`").read_text(encoding="utf-8"))
    known = json.loads(TARGET.read_text(encoding="utf-8")) if TARGET.exists() else {}
    table = {run: kept(known.get(run, {}), ours, run) for run in runs if f"evaluate@{run}" in ours}
    found = 0
    for revision in experiments():
        for run, (seed, file) in others(ours, lock_of(revision), runs).items():
            table[run]["seeds"][str(seed)] = read_metrics(revision, file)
            found += 1
    write_json(TARGET, {run: about for run, about in table.items() if about["seeds"]})
    counts = ", ".join(f"{run} {len(about['seeds'])}" for run, about in table.items() if about["seeds"])
    print(f"{TARGET}: {found} from experiments; other seeds of each run: {counts or 'none'}")


def kept(before: dict[str, Any], ours: Stages, run: str) -> dict[str, Any]:
    """Return what was gathered before where it is still of the workspace's code and settings, else nothing."""
    now = {"of": fingerprint(ours, run), "own": own_bytes(run)}
    same = before.get("of") == now["of"] or (now["own"] is not None and before.get("own") == now["own"])
    if same and str(value_of(ours, run, "seed")) not in before["seeds"]:
        return {**now, "seeds": before["seeds"]}
    return {**now, "seeds": {}}


if __name__ == "__main__":
    run_stage(main)
