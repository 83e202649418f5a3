"""Do what `dvc repro` would do, several runs at a time: DVC itself does one stage after the other.

The data and the judges come first. Then as many DVC processes as there are jobs work side by side, each through the
stages of one run and then of the next that nobody has begun, with its share of the machine's threads; DVC's lock keeps
them from disturbing one another. What gathers all runs comes last.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence

from atlas import settings as settings_file
from atlas.errors import AtlasError, run_stage
from atlas.jobs import PER_RUN, cores, default_jobs
from atlas.settings import Settings

FIRST = ("download", "train_judge")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--jobs", type=int, default=default_jobs(), help="how many runs at a time (%(default)s)")
    parser.add_argument("runs", nargs="*", help="names under `runs` in params.yaml; none means all of them")
    options = parser.parse_args()
    settings = settings_file.load()
    runs = [settings.run(run).key for run in options.runs] or list(settings.runs)
    if options.jobs < 1:
        raise AtlasError(f"--jobs: found {options.jobs}; allowed: a whole number from 1")
    datasets = dict.fromkeys(settings.run(run).dataset for run in runs)
    work([["dvc", "repro", *(f"{stage}@{name}" for stage in FIRST for name in datasets)]])
    # The long ones first: none of them is then left alone at the end.
    queue = sorted(outdated(runs), key=lambda run: -cost(settings, run))
    jobs = max(1, min(options.jobs, len(queue)))
    work([command(run) for run in queue], jobs, max(1, cores() // jobs))
    work([["dvc", "repro", *([f"{stage}@{run}" for run in runs for stage in PER_RUN] if options.runs else [])]])


def outdated(runs: Sequence[str]) -> list[str]:
    """Return the runs of which DVC finds a stage changed or missing: asking once is quicker than asking of each."""
    done = subprocess.run(["dvc", "status", "--json"], capture_output=True, text=True, check=False)
    if done.returncode:
        return list(runs)
    changed = json.loads(done.stdout or "{}")
    return [run for run in runs if any(f"{stage}@{run}" in changed for stage in PER_RUN)]


def cost(settings: Settings, run: str) -> float:
    """Return about how long a run takes against others: a player costs about as much as an autoencoder."""
    about = settings.run(run)
    players = about.settings.get("steps", {"autoencoder": 1})
    return len(players) * about.train.epochs * about.train.width


def command(run: str) -> list[str]:
    """Return DVC's command for every stage of a run, none of what it needs from others."""
    return ["dvc", "--wait-for-lock", "repro", "-s", *(f"{stage}@{run}" for stage in PER_RUN)]


def start(words: Sequence[str], threads: int | None = None) -> subprocess.Popen[bytes]:
    """Start a command in a process group of its own: killing DVC alone would leave its stage at work."""
    shared = {"ATLAS_THREADS": str(threads), "OMP_NUM_THREADS": str(threads)} if threads else {}
    return subprocess.Popen(list(words), env={**os.environ, **shared}, start_new_session=True)


def work(commands: Sequence[Sequence[str]], jobs: int = 1, threads: int | None = None) -> None:
    """Do all commands in order, `jobs` at a time; where one fails, or on Ctrl-C, stop the others.

    Raises:
        AtlasError: if one failed; it has said why.
    """
    queue, working = list(commands), list[subprocess.Popen[bytes]]()
    try:
        while queue or working:
            while queue and len(working) < jobs:
                working.append(start(queue.pop(0), threads))
            time.sleep(0.05)
            if any(process.poll() for process in working):
                raise AtlasError("a stage failed (see above); the same command goes on where this one stopped")
            working = [process for process in working if process.returncode is None]
    finally:
        for process in working:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGTERM)
                process.wait()


if __name__ == "__main__":
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    run_stage(main)
