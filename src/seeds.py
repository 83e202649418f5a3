"""Gather what other seeds of a run gave, from DVC's experiments, into results/seeds.json, which `compare` reads.

An experiment's run counts where its trained network and its measures came from the same code, data, judge and settings
as the workspace's dvc.lock states, and from another seed. What results/seeds.json holds already stays on these terms.
"""

import argparse
import hashlib
import json
import re
import subprocess
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from atlas import settings as settings_file
from atlas.errors import AtlasError, run_stage
from atlas.files import need, write_json

TARGET = Path("results/seeds.json")
LOCK = "dvc.lock"
EXPERIMENT = re.compile(r"refs/exps/[0-9a-f]{2}/[0-9a-f]{38}/\S+")
Stages = dict[str, dict[str, Any]]


def main() -> None:
    argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None).parse_args()
    runs = list(settings_file.load().runs)
    ours = read_lock(need(Path(LOCK), "nothing: it is written by `dvc repro`").read_text(encoding="utf-8"))
    known = json.loads(TARGET.read_text(encoding="utf-8")) if TARGET.exists() else {}
    table = {run: kept(known.get(run, {}), ours, run) for run in runs if f"evaluate@{run}" in ours}
    found = 0
    for revision in experiments():
        theirs = read_lock(git("show", f"{revision}:{LOCK}"))
        for run, (seed, file) in others(ours, theirs, runs).items():
            table[run]["seeds"][str(seed)] = read_metrics(revision, file)
            found += 1
    write_json(TARGET, {run: about for run, about in table.items() if about["seeds"]})
    counts = ", ".join(f"{run} {len(about['seeds'])}" for run, about in table.items() if about["seeds"])
    print(f"{TARGET}: {found} from experiments; other seeds of each run: {counts or 'none'}")


def kept(before: dict[str, Any], ours: Stages, run: str) -> dict[str, Any]:
    """Return what was gathered before where it is still of the workspace's code and settings, else nothing."""
    now = fingerprint(ours, run)
    if before.get("of") == now and str(seed_of(ours, run)) not in before["seeds"]:
        return before
    return {"of": now, "seeds": {}}


def others(ours: Stages, theirs: Stages, runs: list[str]) -> dict[str, tuple[int, str]]:
    """Return {run: (seed, its metrics file)} of what another lock measured that differs from ours in its seed alone."""
    found = {}
    for run in runs:
        train, evaluate = f"train@{run}", f"evaluate@{run}"
        if not {train, evaluate} <= ours.keys() & theirs.keys() or fingerprint(ours, run) != fingerprint(theirs, run):
            continue
        model = f"outputs/models/{run}"
        trained, measured = hashes(theirs[train]["outs"])[model], hashes(theirs[evaluate]["deps"])[model]
        if trained == measured and seed_of(theirs, run) != seed_of(ours, run):
            found[run] = seed_of(theirs, run), f"outputs/metrics/{run}.json"
    return found


def fingerprint(stages: Stages, run: str) -> str:
    """Return a hash of all that a run's measures follow from, its seed and its trained network left out."""
    parts: list[Any] = []
    for stage in (stages[f"train@{run}"], stages[f"evaluate@{run}"]):
        deps = {path: value for path, value in hashes(stage["deps"]).items() if not path.startswith("outputs/models/")}
        params = {key: value for key, value in stage["params"]["params.yaml"].items() if key != "seed"}
        own = {key: value for key, value in params.pop(f"runs.{run}").items() if key != "seed"}
        parts.append([stage["cmd"], deps, params, own])
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def seed_of(stages: Stages, run: str) -> int:
    """Return the seed that a run was trained with: its own, or else that of all."""
    params = stages[f"train@{run}"]["params"]["params.yaml"]
    return params[f"runs.{run}"].get("seed", params["seed"])


def hashes(entries: list[dict[str, Any]]) -> dict[str, str]:
    """Return {path: hash} of a stage's deps or outs in the lock."""
    return {entry["path"]: entry["md5"] for entry in entries}


def read_lock(text: str) -> Stages:
    """Return a dvc.lock's stages."""
    return YAML(typ="safe").load(text)["stages"]


def experiments() -> list[str]:
    """Return the commits of all experiments that this repository holds, of whatever commit they began from."""
    rows = (row.split() for row in git("for-each-ref", "--format=%(objectname) %(refname)", "refs/exps").splitlines())
    return [revision for revision, name in rows if EXPERIMENT.fullmatch(name)]


def read_metrics(revision: str, path: str) -> dict[str, float | int]:
    """Read a metrics file as an experiment left it, from DVC's cache or remote."""
    from dvc.api import DVCFileSystem  # seconds to import, and rarely wanted
    from dvc.exceptions import DvcException

    try:
        content = DVCFileSystem(".", rev=revision).read_text(path)
    except (DvcException, OSError) as error:
        raise AtlasError(f"{path} of experiment {revision[:7]} is not in DVC's cache: {error}") from None
    return json.loads(content)


def git(*words: str) -> str:
    """Run a git command and return what it prints.

    Raises:
        AtlasError: with git's own complaint.
    """
    done = subprocess.run(["git", *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise AtlasError(f"git {words[0]}: {done.stderr.strip()}")
    return done.stdout


if __name__ == "__main__":
    run_stage(main)
