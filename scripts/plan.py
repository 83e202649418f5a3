"""Say what `dvc repro` is going to do, and what it will cost on this machine, before it begins.

Every part of params.yaml is checked, and each model that is to be trained is built and takes a few real steps, so that
a setting it cannot take is refused now and the estimate is this machine's own.
"""

import argparse
import json
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from atlas.core import settings as settings_file
from atlas.core.files import AtlasError, run_stage
from atlas.jobs import PER_RUN, cores, default_jobs
from atlas.core.settings import SCALES, Run, Settings, known

PARAMS = Path("params.yaml")
# Seconds on two quiet cores, start-up included; animate's grow with the frames, export's and the gallery's with the
# runs, and the others are minor.
SECONDS = {
    "download": 12.0,
    "train_judge": 8.0,
    "train": 6.0,
    "sample": 15.0,
    "animate": 4.0,
    "evaluate": 35.0,
    "compare": 1.0,
    "export": 6.0,
    "side_by_side": 1.0,
    "gallery": 4.0,
}
SECONDS_PER_FRAME = 0.13
SECONDS_PER_RUN = {"export": 5.0, "gallery": 2.0}
DVC_SECONDS = 0.3
WARM_UP, TIMED = 2, 4


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("runs", nargs="*", help="names under `runs` in params.yaml; none means all of them")
    parser.add_argument("--jobs", type=int, default=default_jobs(), help="how many runs at a time (%(default)s)")
    parser.add_argument("--scale", help=f"write this word into params.yaml first: {', '.join(SCALES)}")
    options = parser.parse_args()
    if options.scale:
        set_scale(options.scale)
    settings = settings_file.load()
    targets = [f"{stage}@{settings.run(run).key}" for run in options.runs for stage in PER_RUN]
    stages = outdated(targets)
    if not stages:
        print(f"scale {settings.scale}: everything is up to date")
        return
    jobs = max(1, min(options.jobs, sum(stage.startswith("train@") for stage in stages)))
    minutes = sum(estimate(settings, stages, jobs).values()) / 60
    counts = ", ".join(
        f"{sum(stage.split('@')[0] == kind for stage in stages)} {kind}"
        for kind in dict.fromkeys(stage.split("@")[0] for stage in stages)
    )
    length = f"{minutes:.0f} minutes" if minutes >= 2 else f"{minutes * 60:.0f} seconds"
    print(f"scale {settings.scale}: {len(stages)} stages to do ({counts})")
    print(
        f"about {length} on this machine; what is in DVC's cache already costs nothing. Ctrl-C stops it, the same "
        "command goes on where it stopped"
    )


def set_scale(word: str) -> None:
    """Write the scale into params.yaml, and nothing else of it: its comments and layout stay."""
    known("scale", word, SCALES)
    text = PARAMS.read_text(encoding="utf-8")
    text, found = re.subn(r"(?m)^scale:[ \t]*\w+", f"scale: {word}", text)
    if found != 1:
        raise AtlasError("params.yaml: found no line `scale: WORD`; mend it by hand")
    PARAMS.write_text(text, encoding="utf-8")


def outdated(targets: list[str]) -> list[str]:
    """Return the stages that `dvc repro` would run, in no particular order.

    `dvc repro --dry` does not know them: it stops at the first input that an earlier stage has yet to write. So: what
    DVC finds changed or missing, and all that comes after it.
    """
    changed = set(json.loads(dvc("status", "--json") or "{}"))
    after: dict[str, set[str]] = {}
    before: dict[str, set[str]] = {}
    for first, then in re.findall(r'"([^"]+)" -> "([^"]+)"', dvc("dag", "--dot")):
        after.setdefault(first, set()).add(then)
        before.setdefault(then, set()).add(first)
    found = reach(changed, after)
    return sorted(found & reach(set(targets), before) if targets else found)


def reach(start: set[str], edges: dict[str, set[str]]) -> set[str]:
    """Return everything that can be reached along `edges`, the start included."""
    seen: set[str] = set()
    waiting = set(start)
    while waiting:
        stage = waiting.pop()
        seen.add(stage)
        waiting |= edges.get(stage, set()) - seen
    return seen


def dvc(*words: str) -> str:
    """Run a DVC command and return what it prints.

    Raises:
        AtlasError: with DVC's own complaint.
    """
    done = subprocess.run(["dvc", *words], capture_output=True, text=True, check=False)
    if done.returncode:
        errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
        raise AtlasError(f"dvc {words[0]}: {' '.join(errors) or done.stderr.strip()[-300:]}")
    return done.stdout


def estimate(settings: Settings, stages: list[str], jobs: int) -> dict[str, float]:
    """Return the seconds that each stage may take, trainings by real steps on this machine; `jobs` share the runs'."""
    import torch

    costs = {}
    torch.set_num_threads(max(1, cores() // jobs))
    for stage in stages:
        kind, _, name = stage.partition("@")
        costs[stage] = SECONDS.get(kind, 5.0) + DVC_SECONDS
        if kind == "train":
            costs[stage] += training_seconds(settings, settings.run(name))
        elif kind == "train_judge":
            costs[stage] += judging_seconds(settings, name)
        elif kind == "animate":
            costs[stage] += SECONDS_PER_FRAME * settings.run(name).train.frames
        else:
            costs[stage] += SECONDS_PER_RUN.get(kind, 0.0) * len(settings.runs)
        if kind in PER_RUN:
            costs[stage] /= jobs
    return costs


def training_seconds(settings: Settings, run: Run) -> float:
    """Return the seconds of all steps of a run, from a few on random images of its shape."""
    import torch

    from atlas.core.device import device_config
    from atlas.core.model import build
    from atlas.training.loop import train_step
    from atlas.training.optimizers import KEYS, make_players

    shape, images, classes = facts(run.dataset, settings)
    config = device_config()
    arguments = {name: value for name, value in run.settings.items() if name not in KEYS} | {"width": run.train.width}
    model = config.to_device(build(run.model, shape, classes, arguments))
    players = make_players(model, run.settings)
    batch = torch.rand(run.train.batch_size, *shape, device=config.device)
    labels = torch.zeros(len(batch), dtype=torch.long, device=config.device)
    steps = iter(range(1000))
    per_step = seconds(lambda: train_step(model, players, batch, labels, next(steps), config))
    return per_step * run.train.epochs * ((run.train.images or images) // run.train.batch_size)


def judging_seconds(settings: Settings, dataset: str) -> float:
    """Return the seconds of all steps of a judge's training, from a few on random images."""
    import torch

    from atlas.core.device import device_config
    from atlas.metrics.classifier import Judge

    shape, images, classes = facts(dataset, settings)
    budget = settings.budget.judge[dataset]
    config = device_config()
    judge = config.to_device(Judge(shape, classes, budget.width))
    batch = torch.rand(budget.batch_size, *shape, device=config.device)

    def step() -> None:
        with config.autocast():
            logits = judge(batch)
        logits.float().square().mean().backward()

    return seconds(step) * budget.epochs * ((budget.images or images) // budget.batch_size)


def facts(dataset: str, settings: Settings) -> tuple[tuple[int, int, int], int, int]:
    """Return shape of an image, training images and classes, before the data need be there."""
    from atlas.core.datasets import Dataset

    folder = Path("data") / dataset
    if (folder / "dataset.json").exists():
        there = Dataset.open(folder)
        return there.shape, there.counts["train"], len(there.classes)
    shape = (3, 32, 32) if dataset == "cifar10" else (1, 28, 28)
    images = {"mnist": 60000, "cifar10": 50000, "digits": 1438}.get(dataset, 60000)
    return shape, images - settings.datasets[dataset].validation, 10


def seconds(step: Callable[[], object]) -> float:
    """Return the median seconds of a step, after a warm-up."""
    import torch

    spent = []
    for _ in range(WARM_UP + TIMED):
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        started = time.perf_counter()
        step()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        spent.append(time.perf_counter() - started)
    return sorted(spent[WARM_UP:])[TIMED // 2]


if __name__ == "__main__":
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    run_stage(main)
