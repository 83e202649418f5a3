"""What came from elsewhere, as the small files that git keeps: results/SCALE/."""

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from atlas.away.luggage import ALLOWED
from atlas.away.parcels import Parcel, check
from atlas.away.room import HOME, Room, read_json, room
from atlas.errors import AtlasError
from atlas.files import whole_file, write_json
from atlas.jobs import PER_RUN
from atlas.show.shown import SHOWN, thin

COMPARED = ("metrics.json", "judges.json", "table.csv", "table.md", "comparison.json", "claims.md", "seeds.md",
            "curves.csv")  # fmt: skip


def unpack(archives: Sequence[Path], root: Path) -> dict[Room, list[str]]:
    """Put the files of all archives into their rooms; all are checked before the first is written.

    Returns:
        Of each room that something came into, the runs.

    Raises:
        AtlasError: if one is damaged, holds what it must not, or came from no such pack.
    """
    parcels = [check(path, ALLOWED) for path in archives]
    for parcel in parcels:
        if parcel.manifest.get("kind") != "runs" or not isinstance(parcel.manifest.get("runs"), dict):
            raise AtlasError(f"{parcel.path}: no archive of runs (see `join` for data)")
    rooms: dict[Room, list[str]] = {}
    for parcel in parcels:
        here = room(root, parcel.manifest["scale"], parcel.manifest["seed"])
        rooms[here] = sorted({*rooms.get(here, []), *parcel.manifest["runs"]})
        for name, content in parcel.files():
            with whole_file(root / HOME / name) as aside:
                aside.write_bytes(content)
        _remember(here, parcel)
    return rooms


def _remember(here: Room, parcel: Parcel) -> None:
    """Keep, in git, how each run was made: who packs next knows by it what need not be done again."""
    path = record(here)
    known = read_json(path)
    made = {key: parcel.manifest[key] for key in ("hardware", "versions", "weights")}
    for run, about in parcel.manifest["runs"].items():
        known.setdefault(run, {})[str(here.seed)] = {**about, **made}
    write_json(path, {run: known[run] for run in sorted(known)})
    # By the wall's clock, of each pack once, however many archives it gave.
    calls = read_json(_calls(here))
    calls[parcel.manifest["pack"]] = {"seconds": parcel.manifest["seconds"], "gpu": parcel.manifest["hardware"]["gpu"]}
    write_json(_calls(here), calls)


def _calls(here: Room) -> Path:
    return here.root / "results" / here.scale / "calls.json"


def record(here: Room) -> Path:
    return here.root / "results" / here.scale / "conditions.json"


def at_home(here: Room, runs: Sequence[str], marks: Mapping[str, str]) -> list[str]:
    """Return those of the runs that came home already, made from exactly this code, data and settings."""
    known = read_json(record(here))
    return [
        run
        for run in runs
        if known.get(run, {}).get(str(here.seed), {}).get("marks")
        == {stage: marks[f"{stage}@{run}"] for stage in PER_RUN}
    ]


def gather(root: Path, scale: str, seed: int) -> list[str]:
    """Write results/SCALE from the runs of this scale that are at home, and return their names.

    `compare` does it as it does at home, in a folder that holds these runs alone; runs of other seeds count as seeds.

    Args:
        seed: whose numbers the table shows.
    """
    here = room(root, scale, seed)
    known = read_json(record(here))
    outputs = here.folder / "outputs"
    runs = [run for run in here.settings.runs if str(seed) in known.get(run, {})]
    runs = [run for run in runs if (outputs / "metrics" / f"{run}.json").exists()]
    if not runs:
        return []
    target = root / "results" / scale
    with tempfile.TemporaryDirectory(prefix=".compare", dir=here.folder) as name:
        desk = Path(name)
        params = here.params
        params["runs"] = {run: params["runs"][run] for run in runs}
        (desk / "params.yaml").write_text(json.dumps(params), encoding="utf-8")
        (desk / "outputs").symlink_to(outputs.resolve())
        write_json(desk / "results" / "imagenet.json", read_json(target / "imagenet.json"))
        write_json(desk / "results" / "seeds.json", _seeds(here, runs, known))
        script = (root / "src" / "compare.py").resolve()
        done = subprocess.run([sys.executable, str(script)], cwd=desk, capture_output=True, text=True, check=False)
        if done.returncode:
            raise AtlasError(f"the numbers that came cannot be compared: {done.stderr.strip()[-300:]}")
        for file in COMPARED:
            with whole_file(target / file) as aside:
                shutil.copyfile(desk / "results" / file, aside)
    with whole_file(target / "conditions.md") as aside:
        spent = sum(call["seconds"] for call in read_json(_calls(here)).values())
        aside.write_text(words(known, runs, seed, spent), encoding="utf-8")
    for picture, source in SHOWN.items():
        if (here.folder / source).exists():
            (target / "pictures").mkdir(exist_ok=True)
            with whole_file(target / "pictures" / picture) as aside:
                (thin if picture.endswith(".gif") else shutil.copyfile)(here.folder / source, aside)
    return runs


def _seeds(here: Room, runs: Sequence[str], known: Mapping[str, Any]) -> dict[str, Any]:
    """Return other seeds' measures as `src/seeds.py` gathers them at home."""
    found: dict[str, Any] = {}
    for run in runs:
        for seed in sorted(known[run], key=int):
            path = here.folder.parent / f"seed_{seed}" / "outputs" / "metrics" / f"{run}.json"
            if int(seed) != here.seed and path.exists():
                found.setdefault(run, {"of": "", "seeds": {}})["seeds"][seed] = read_json(path)
    return found


def words(known: Mapping[str, Any], runs: Sequence[str], seed: int, spent: float) -> str:
    """Say on what and how long the runs were made, in a line or two for the README.

    Args:
        spent: seconds of wall-clock, other seeds included.
    """
    about = [known[run][str(seed)] for run in runs]
    machines = dict.fromkeys(one["machine"] for one in about)
    versions = dict.fromkeys(
        ", ".join(f"{name} {version}" for name, version in one["versions"].items() if version) for one in about
    )
    training = sum(one["seconds"]["train"] for one in about) / 60
    rest = sum(sum(one["seconds"].values()) for one in about) / 60 - training
    return (
        f"Made on {' and '.join(machines)} ({' and '.join(versions)}): {len(runs)} runs, {training:.1f} minutes of "
        f"training and {rest:.1f} of figures, films and measures, side by side; {spent / 60:.1f} minutes by the clock "
        "for all that came from there, other seeds and judges included.\n"
    )
