"""Do what `dvc repro` would do, several runs at a time: DVC itself does one stage after the other.

The data and the judges come first. Then as many DVC processes as asked for work side by side, each through the stages
of its own runs with its share of the machine's threads; DVC's lock keeps them from disturbing one another. What
gathers all runs comes last.
"""

import argparse
import os
import signal
import subprocess
import sys
from collections.abc import Sequence

from atlas import settings as settings_file
from atlas.errors import AtlasError, run_stage
from atlas.settings import Settings

FIRST = ("download", "train_judge")
PER_RUN = ("train", "sample", "animate", "evaluate")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--jobs", type=int, required=True, help="how many DVC processes work side by side")
    parser.add_argument("runs", nargs="*", help="names under `runs` in params.yaml; none means all of them")
    options = parser.parse_args()
    settings = settings_file.load()
    runs = [settings.run(run).key for run in options.runs] or list(settings.runs)
    if options.jobs < 1:
        raise AtlasError(f"--jobs: found {options.jobs}; allowed: a whole number from 1")
    datasets = dict.fromkeys(settings.run(run).dataset for run in runs)
    finish([start(["dvc", "repro", *(f"{stage}@{name}" for stage in FIRST for name in datasets)])])
    threads = max(1, len(os.sched_getaffinity(0)) // options.jobs)
    finish([start(command(group), threads) for group in shares(settings, runs, options.jobs) if group])
    last = [f"{stage}@{run}" for run in runs for stage in PER_RUN] if options.runs else []
    finish([start(["dvc", "repro", *last])])


def shares(settings: Settings, runs: Sequence[str], jobs: int) -> list[list[str]]:
    """Split runs among jobs so that each has about as many training images to get through, heavy ones first."""
    groups: list[list[str]] = [[] for _ in range(jobs)]
    loads = [0.0] * jobs
    for run in sorted(runs, key=lambda run: -cost(settings, run)):
        lightest = loads.index(min(loads))
        groups[lightest].append(run)
        loads[lightest] += cost(settings, run)
    return groups


def cost(settings: Settings, run: str) -> float:
    """Return about how long a run takes against others: a player costs about as much as an autoencoder."""
    about = settings.run(run)
    players = about.settings.get("steps", {"autoencoder": 1})
    return len(players) * about.train.epochs * about.train.width


def command(runs: Sequence[str]) -> list[str]:
    """Return DVC's command for every stage of these runs, none of what they need from others."""
    return ["dvc", "--wait-for-lock", "repro", "-s", *(f"{stage}@{run}" for run in runs for stage in PER_RUN)]


def start(words: Sequence[str], threads: int | None = None) -> subprocess.Popen[bytes]:
    """Start a command in a process group of its own: killing DVC alone would leave its stage at work."""
    shared = {"ATLAS_THREADS": str(threads), "OMP_NUM_THREADS": str(threads)} if threads else {}
    return subprocess.Popen(list(words), env={**os.environ, **shared}, start_new_session=True)


def finish(processes: Sequence[subprocess.Popen[bytes]]) -> None:
    """Wait for all; where one fails, or on Ctrl-C, stop the others.

    Raises:
        AtlasError: if one failed; it has said why.
    """
    waiting = list(processes)
    try:
        while waiting:
            for process in waiting:
                try:
                    process.wait(timeout=0.5)
                except subprocess.TimeoutExpired:
                    continue
                if process.returncode:
                    raise AtlasError("a stage failed (see above); the same command goes on where this one stopped")
            waiting = [process for process in waiting if process.returncode is None]
    finally:
        for process in waiting:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGTERM)
                process.wait()


if __name__ == "__main__":
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    run_stage(main)
