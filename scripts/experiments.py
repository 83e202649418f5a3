"""DVC's experiments, read from git: what one measured, and whether it differs from the workspace in one setting only.

Two runs count as alike where their locks name the same code, data and judge and the same settings but for that one.
`dvc exp show` would not do: of an experiment that did not reach stage `compare` it shows the measures of the commit
that the experiment began from.
"""

import hashlib
import json
import re
import subprocess
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from atlas.core.files import AtlasError

LOCK = "dvc.lock"
EXPERIMENT = re.compile(r"refs/exps/[0-9a-f]{2}/[0-9a-f]{38}/\S+")
Stages = dict[str, dict[str, Any]]


def others(ours: Stages, theirs: Stages, runs: list[str], key: str = "seed") -> dict[str, tuple[Any, str]]:
    """Return {run: (value of `key`, its metrics file)} of what another lock measured where ours differs there alone.

    Args:
        ours: the workspace's lock.
        theirs: the experiment's.
        key: a setting of a run, as it stands in the run's entry or in its defaults.
    """
    found = {}
    for run in runs:
        train, evaluate = f"train@{run}", f"evaluate@{run}"
        if not {train, evaluate} <= ours.keys() & theirs.keys():
            continue
        if fingerprint(ours, run, key) != fingerprint(theirs, run, key):
            continue
        model = f"outputs/models/{run}"
        trained, measured = hashes(theirs[train]["outs"])[model], hashes(theirs[evaluate]["deps"])[model]
        if trained == measured and value_of(theirs, run, key) != value_of(ours, run, key):
            found[run] = value_of(theirs, run, key), f"outputs/metrics/{run}.json"
    return found


def fingerprint(stages: Stages, run: str, key: str = "seed") -> str:
    """Return a hash of all that a run's measures follow from, one setting and its trained network left out."""
    parts: list[Any] = []
    for stage in (stages[f"train@{run}"], stages[f"evaluate@{run}"]):
        deps = {path: value for path, value in hashes(stage["deps"]).items() if not path.startswith("outputs/models/")}
        params = {name: value for name, value in stage["params"]["params.yaml"].items() if name != key}
        own = {name: value for name, value in params.pop(f"runs.{run}").items() if name != key}
        parts.append([stage["cmd"], deps, params, own])
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def value_of(stages: Stages, run: str, key: str) -> Any:
    """Return a setting that a run was trained with: its own, or else that of all runs, its model or its budget.

    Raises:
        AtlasError: if there is none of that name.
    """
    params = stages[f"train@{run}"]["params"]["params.yaml"]
    own = params[f"runs.{run}"]
    shared = [value for name, value in params.items() if name.startswith(("models.", "budgets."))]
    for place in (own, params, *shared):
        if key in place:
            return place[key]
    allowed = sorted({*own, *(name for place in shared for name in place), "seed"} - {"dataset", "model"})
    raise AtlasError(f"run {run}: unknown setting '{key}'; allowed: {', '.join(allowed)}")


def hashes(entries: list[dict[str, Any]]) -> dict[str, str]:
    """Return {path: hash} of a stage's deps or outs in the lock."""
    return {entry["path"]: entry["md5"] for entry in entries}


def own_bytes(run: str) -> str | None:
    """Return a hash of the workspace's trained network and of its measures, or None where they are not there."""
    files = [Path("outputs/models") / run / "weights.safetensors", Path("outputs/metrics") / f"{run}.json"]
    if not all(file.is_file() for file in files):
        return None
    return hashlib.sha256(b"".join(hashlib.sha256(file.read_bytes()).digest() for file in files)).hexdigest()


def read_lock(text: str) -> Stages:
    """Return a dvc.lock's stages."""
    return YAML(typ="safe").load(text)["stages"]


def experiments() -> list[str]:
    """Return the commits of all experiments that this repository holds, of whatever commit they began from."""
    rows = (row.split() for row in git("for-each-ref", "--format=%(objectname) %(refname)", "refs/exps").splitlines())
    return [revision for revision, name in rows if EXPERIMENT.fullmatch(name)]


def lock_of(revision: str) -> Stages:
    """Return the lock's stages as a commit left them."""
    return read_lock(git("show", f"{revision}:{LOCK}"))


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
