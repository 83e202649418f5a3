"""Which files of a run come home, in which order, and under which names."""

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save

from atlas.away.parcels import Item
from atlas.away.room import Room
from atlas.away.stages import JUDGE
from atlas.jobs import PER_RUN
from atlas.show.shown import SHOWN

KINDS = ("numbers", "figures", "weights", "films", "gifs")
SUFFIXES = "json|csv|npz|png|svg|gif|mp4|safetensors"
ALLOWED = re.compile(
    r"(?:smoke|cpu|gpu)/(?:done|judges|seed_\d+/done|seed_\d+/outputs/(?:models|samples|animations|metrics|per_image|"
    rf"timings))/[A-Za-z0-9_@./-]+\.(?:{SUFFIXES})"
)
"""Names of files that may come home: nothing that runs, no settings, none of DVC's outputs."""


def items(room: Room, runs: Sequence[str], kinds: Sequence[str]) -> Iterator[Item]:
    """Return the files of these runs, kind by kind, the numbers of all runs before the first figure."""
    for kind in kinds:
        if kind in ("numbers", "weights"):
            yield from _judges(room, runs, kind)
        for run in runs:
            for file in _files(room, run, kind):
                yield _item(room, file)


def _judges(room: Room, runs: Sequence[str], kind: str) -> Iterator[Item]:
    settings = room.settings
    for dataset in dict.fromkeys(settings.run(run).dataset for run in runs):
        folder = room.folder.parent / "judges" / dataset
        files = [folder / "weights.safetensors"]
        if kind == "numbers":
            files = [folder / "judge.json", room.record(f"{JUDGE}@{dataset}")]
        for file in files:
            yield _item(room, file)


def _files(room: Room, run: str, kind: str) -> list[Path]:
    outputs = room.folder / "outputs"
    model, films = outputs / "models" / run, outputs / "animations" / run
    if kind == "numbers":
        return [
            outputs / "metrics" / f"{run}.json",
            outputs / "per_image" / f"{run}.npz",
            outputs / "timings" / f"{run}.json",
            model / "history.csv",
            model / "model.json",
            *(room.record(f"{stage}@{run}") for stage in PER_RUN),
        ]
    if kind == "figures":
        shown = [room.folder / path for path in SHOWN.values() if path.startswith(f"outputs/animations/{run}/")]
        return sorted(file for file in (outputs / "samples" / run).iterdir() if file.is_file()) + shown
    if kind == "weights":
        return [model / "weights.safetensors"]
    if kind == "films":
        return [films / "captions.json", *sorted(films.glob("*.mp4"))]
    return sorted(films.glob("*.gif"))


def _item(room: Room, file: Path) -> Item:
    about = file.stat()
    return Item(
        file.relative_to(room.folder.parent.parent).as_posix(),
        (lambda: halved(file)) if file.suffix == ".safetensors" else file.read_bytes,
        f"{about.st_size} {about.st_mtime_ns}",
    )


def halved(file: Path) -> bytes:
    """Return the tensors of a safetensors file in half precision, those aside that it cannot hold."""
    found = {}
    for name, value in load_file(file).items():
        with np.errstate(over="ignore"):
            half = value.astype(np.float16) if value.dtype == np.float32 else value
        found[name] = half if np.isfinite(half).all() else value
    return save(found)


def conditions(room: Room, runs: Sequence[str]) -> dict[str, dict]:
    """Return how each run was made: its seed, the machine as its training saw it, the seconds of each stage."""
    found = {}
    for run in runs:
        records = {stage: json.loads(room.record(f"{stage}@{run}").read_text(encoding="utf-8")) for stage in PER_RUN}
        timing = json.loads((room.folder / "outputs" / "timings" / f"{run}.json").read_text(encoding="utf-8"))
        found[run] = {
            "seed": room.seed,
            "machine": timing["machine"],
            "seconds": {stage: record["seconds"] for stage, record in records.items()},
            "marks": {stage: record["mark"] for stage, record in records.items()},
        }
    return found
