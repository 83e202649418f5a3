"""What whole commands cost: their peak memory and how long they take to start."""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from ruamel.yaml import YAML

from atlas.core.files import AtlasError
from atlas.core.files import require
from atlas.jobs import cores, default_jobs
from benchmarks.clock import Progress
from benchmarks.records import Memory, MemoryRow, Startup, StartupRow

RUNS = ("mnist_vae_32", "mnist_vae_gan_8", "cifar10_cvae_gan")
STAGES = ("train", "sample", "animate", "evaluate")
LONGER = ("digits_cvae_2", 2, 8)
"""A run whose peak is compared between two numbers of epochs."""
# A process between: what a child inherits of its parent's peak must not count, and this parent is large.
WATCH = """
import json, resource, subprocess, sys
done = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
print(json.dumps([done.returncode, peak * 1024 / 1e9, done.stderr[-2000:]]))
"""
SLOW = 0.02
"""Seconds: packages whose import takes less are not named."""


def peak_memory(command: Sequence[str], folder: Path = Path(), environment: Mapping[str, str] | None = None) -> float:
    """Run a command in a folder and return its peak of resident memory in GB, or that of the greatest it started.

    Raises:
        AtlasError: if it fails, with its last words.
    """
    watched = [sys.executable, "-c", WATCH, *command]
    done = subprocess.run(watched, cwd=folder, env=environment, capture_output=True, text=True, check=True)
    status, peak, words = json.loads(done.stdout)
    if status:
        raise AtlasError(f"{' '.join(command)}: ended with status {status}: {' '.join(words.split())[-300:]}")
    return peak


@contextmanager
def copied(epochs: dict[str, int]) -> Iterator[Path]:
    """Give a copy of the program at scale `cpu` to run stages in, with that many epochs for each run named."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shutil.copytree("src", folder / "src", ignore=shutil.ignore_patterns("__pycache__"))
        yaml = YAML()
        content = yaml.load(Path("params.yaml").read_text(encoding="utf-8"))
        content["scale"] = "cpu"
        for run, count in epochs.items():
            content["runs"][run]["epochs"] = count
        with (folder / "params.yaml").open("w", encoding="utf-8") as file:
            yaml.dump(content, file)
        (folder / "outputs").mkdir()
        for place in ("data", "outputs/judges"):
            (folder / place).symlink_to(require(Path(place), "train_judge").resolve())
        yield folder


def memory(machine: str, progress: Progress, runs: Sequence[str] = RUNS, stages: Sequence[str] = STAGES) -> Memory:
    """Return the peak of every stage of some default runs, trained for one epoch, and of one run trained longer.

    Runs go side by side as in `make repro`, each with its share of the cores, and every process is watched by itself.
    """
    started = time.perf_counter()
    longer, *counts = LONGER
    jobs = min(default_jobs(), len(runs) + 1)
    threads = str(max(1, cores() // jobs))
    environment = {**_environment(), "ATLAS_THREADS": threads, "OMP_NUM_THREADS": threads}
    rows: list[MemoryRow] = []
    total = len(runs) * len(stages) + len(counts)

    def watch(run: str, wanted: Sequence[str], epochs: int) -> None:
        with copied({run: epochs}) as folder:
            for stage in wanted:
                begun = time.perf_counter()
                peak = peak_memory([sys.executable, f"src/{stage}.py", run], folder, environment)
                took = round(time.perf_counter() - begun, 1)
                rows.append(MemoryRow(run=run, stage=stage, epochs=epochs, peak=peak, seconds=took))
                progress.show(len(rows), total, f"{stage} {run}: {peak:.2f} GB")

    with ThreadPoolExecutor(jobs) as workers:
        # Those that take longest first.
        waiting = [workers.submit(watch, run, stages, 1) for run in reversed(runs)]
        waiting += [workers.submit(watch, longer, ["train"], count) for count in counts]
        try:
            for done in waiting:
                done.result()
        except BaseException:
            workers.shutdown(wait=False, cancel_futures=True)
            raise
    order = {run: place for place, run in enumerate([*runs, longer])}
    rows.sort(key=lambda row: (order[row.run], row.epochs))
    return Memory(machine=machine, seconds=round(time.perf_counter() - started, 1), rows=rows)


def startup(machine: str, progress: Progress, tries: int = 2, dvc: bool = True) -> Startup:
    """Return how long a bare interpreter, torch, each stage's script and `dvc repro` with nothing to do take."""
    started = time.perf_counter()
    pipeline = require(Path("dvc.yaml"), "nothing: it comes with the repository").read_text(encoding="utf-8")
    scripts = list(YAML(typ="safe", pure=True).load(pipeline)["stages"])
    imported = "import sys; sys.path.insert(0, 'src'); import "
    plan: list[tuple[str, list[str]]] = [
        ("python", [sys.executable, "-c", ""]),
        ("import torch", [sys.executable, "-c", "import torch"]),
        ("python src/train.py --help", [sys.executable, "src/train.py", "--help"]),
        *((f"import of src/{name}.py", [sys.executable, "-c", imported + name]) for name in scripts),
    ]
    rows: list[StartupRow] = []
    for name, command in plan:
        least = min(_elapsed(command) for _ in range(tries))
        packages = slowest(command) if name.startswith("import of") else {}
        rows.append(StartupRow(command=name, seconds=round(least, 3), packages=packages))
        progress.show(len(rows), len(plan) + dvc, f"{name}: {least:.2f} s")
    if dvc:
        rows.append(_nothing_to_do(tries))
        progress.show(len(rows), len(rows), f"{rows[-1].command}: {rows[-1].seconds} s {rows[-1].note}".strip())
    return Startup(machine=machine, seconds=round(time.perf_counter() - started, 1), rows=rows)


def slowest(command: Sequence[str]) -> dict[str, float]:
    """Return the seconds that a Python command's imports spend in each package itself, those above `SLOW`."""
    done = subprocess.run(
        [command[0], "-X", "importtime", *command[1:]], capture_output=True, text=True, check=True, env=_environment()
    )
    own: dict[str, float] = {}
    for microseconds, module in re.findall(r"import time:\s+(\d+) \|\s+\d+ \|\s+(\S+)", done.stderr):
        package = module.split(".")[0]
        own[package] = own.get(package, 0.0) + int(microseconds) / 1e6
    return {name: round(spent, 3) for name, spent in sorted(own.items(), key=lambda row: -row[1]) if spent >= SLOW}


def _nothing_to_do(tries: int) -> StartupRow:
    name = "dvc repro, nothing to do"
    state = subprocess.run(["dvc", "status", "--json"], capture_output=True, text=True, check=False)
    if state.returncode or json.loads(state.stdout or "{}"):
        return StartupRow(command=name, seconds=None, note="not measured: there is something to do")
    least = min(_elapsed(["dvc", "repro", "-q"]) for _ in range(tries))
    return StartupRow(command=name, seconds=round(least, 3))


def _elapsed(command: Sequence[str]) -> float:
    started = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=_environment())
    if done.returncode:
        raise AtlasError(f"{' '.join(command)}: {' '.join(done.stderr.split())[-300:]}")
    return time.perf_counter() - started


def _environment() -> dict[str, str]:
    # Scripts import each other and atlas from src/, not this package.
    return {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
