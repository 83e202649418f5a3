"""Check of all settings before a long run, with a forecast of its time; or a look at a data set.

Every part of params.yaml is checked and every model is built, so that a mistake is refused before any work. The
forecast goes to stderr. It rests on results/seconds.json, the seconds of one whole `make repro`, scaled by a timed
step. What is outdated goes to stdout, as targets of the Makefile, the longest runs first.

With the name of a data set it prints what the data set holds, and what the networks of its runs will be, and draws a
sheet of images as the networks will see them. It needs no DVC and writes nothing else.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import time
from collections import Counter
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from atlas.core.files import AtlasError, read_json, run_stage, write_json

if TYPE_CHECKING:
    from atlas.core.settings import Run, Settings

RECORD = Path("results/seconds.json")
LOOKED_AT = 1000
"""Images that a look at a data set decodes, at most."""
LISTED = 20
"""Labels that a look at a data set lists, at most."""
DATA_STAGES = ("download", "train_judge")
RUN_STAGES = ("train", "sample", "animate", "evaluate")
FINAL_STAGES = ("compare", "export", "gallery")


def main() -> None:
    parser = argparse.ArgumentParser(description="Check all settings and forecast the time of `make repro`.")
    text = "names under `runs` in params.yaml, none means all of them; or one under `datasets`, to look at it"
    parser.add_argument("runs", nargs="*", help=text)
    parser.add_argument("--scale", help="write this scale into params.yaml first")
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time on a GPU, for the forecast (1)")
    parser.add_argument("--record", action="store_true", help=f"update {RECORD} from outputs/timings")
    options = parser.parse_args()

    from atlas.core import settings as settings_file
    from atlas.core.schema import FolderSettings
    from atlas.data import folder as folders

    if options.scale:
        settings_file.set_scale(options.scale)
    settings = settings_file.load()
    if len(options.runs) == 1 and options.runs[0] in settings.datasets.keys() - settings.runs.keys():
        look(settings, options.runs[0])
        return
    runs = [settings.run(key) for key in options.runs] or list(settings.runs.values())
    if options.record:
        record(settings)
        return
    # DVC takes seconds to compare all hashes; meanwhile the models are built.
    with subprocess.Popen(["dvc", "status", "--json"], stdout=-1, stderr=-1, text=True) as status:
        try:
            for run in runs:
                build_model(run)
            output, errors = status.communicate()
        finally:
            status.kill()
    if status.returncode:
        raise AtlasError(f"dvc status: {errors.strip()[-300:]}")
    stages = outdated(set(json.loads(output or "{}")), runs, final=not options.runs)
    if not stages:
        print(f"scale {settings.scale}: everything is up to date", file=sys.stderr)
        return
    for stage in stages:
        kind, _, name = stage.partition("@")
        if kind == "download" and isinstance(settings.datasets[name], FolderSettings):
            folders.find(name, settings.datasets[name].source)
    seconds = forecast(settings, stages, options.jobs)
    total = sum(seconds.values())
    length = f"{total / 60:.0f} minutes" if total >= 120 else f"{total:.0f} seconds"
    print(
        f"scale {settings.scale}: {len(stages)} stages to do, about {length} on this machine; what is in DVC's cache "
        "costs nothing. Ctrl-C stops it, the same command goes on where it stopped",
        file=sys.stderr,
    )
    per_run = {run.key: sum(seconds.get(f"{stage}@{run.key}", 0) for stage in RUN_STAGES) for run in runs}
    targets = [stage for stage in stages if stage.partition("@")[0] not in RUN_STAGES]
    print(*targets, *(f"run@{key}" for key in sorted(per_run, key=lambda key: -per_run[key]) if per_run[key]))


def build_model(run: "Run", data: "Data | None" = None) -> str:
    """Build a run's model as `train` does, check its settings, and say how large both are.

    Args:
        data: instead of what is in data/.

    Raises:
        AtlasError: if a setting does not fit.
    """
    from atlas.core.model import build, find_model
    from atlas.training.optimizers import group_settings, make_optimizers
    from atlas.training.schedule import Schedule, prepare

    arguments, optimization = run.arguments(find_model(run.model), make_optimizers)
    data = data or describe(run.dataset)
    model = build(run.model, data.shape, data.num_classes, arguments)
    # The optimizers themselves would import PyTorch's compiler, which takes seconds.
    group_settings(model, **optimization)
    prepare(model, run)
    run = run.resolve(data.images, data.shape)
    Schedule.of(run, steps_per_epoch=1)
    budget, weights = run.train, sum(parameter.numel() for parameter in model.parameters())
    steps = (budget.images or data.images) // budget.batch_size * budget.epochs
    return (
        f"{run.variant}, {weights:,} weights; {budget.epochs} epochs of {budget.images} images in batches of "
        f"{budget.batch_size}: {steps:,} steps"
    )


class Data(NamedTuple):
    """What decides a data set's networks and budgets."""

    images: int
    """Training images, about."""
    shape: tuple[int, int, int]
    num_classes: int


@cache
def describe(name: str) -> Data:
    """Describe a data set: as it is in data/NAME, else as its folder or its official files will be read.

    Raises:
        AtlasError: if there is no such folder, or it holds no data set.
    """
    from atlas.core import settings as settings_file
    from atlas.core.datasets import Dataset
    from atlas.core.schema import FolderSettings

    if (folder := Path("data") / name).exists():
        dataset = Dataset.open(folder)
        return Data(dataset.counts["train"], dataset.shape, len(dataset.classes))
    settings = settings_file.load().datasets[name]
    if not isinstance(settings, FolderSettings):
        from atlas.data.download import SOURCES

        source = SOURCES[name]
        return Data(source.num_train, source.shape, 10)
    from atlas.data import folder as folders

    found = folders.find(name, settings.source)
    return Data(len(found.paths), folders.image_shape(settings, folders.headers(found.paths)), len(found.classes))


def look(settings: "Settings", name: str) -> None:
    """Print what a data set holds and what its runs will be, and draw some of its images into outputs/check/NAME.png.

    Raises:
        AtlasError: if it was not downloaded yet, or its folder is no data set.
    """
    import numpy as np

    from atlas.core.datasets import SPLITS, Dataset
    from atlas.core.schema import FolderSettings, shown_labels
    from atlas.data import folder as folders
    from atlas.plotting.sheets import image_rows

    entry = settings.datasets[name]
    if isinstance(entry, FolderSettings):
        found = folders.find(name, entry.source)
        heads = folders.headers(found.paths)
        shape, classes, labels = folders.image_shape(entry, heads), found.classes, found.labels
        good = [head for head in heads if isinstance(head, folders.Header)]
        broken = {path: head for path, head in zip(found.paths, heads, strict=True) if isinstance(head, str)}
        rows = np.sort(np.random.default_rng(0).permutation(len(found.paths))[:LOOKED_AT])
        images, more = folders.decode([found.paths[row] for row in rows], shape, entry)
        broken |= more
        sizes = Counter(f"{head.size[0]} x {head.size[1]}" for head in good)
        print(f"{name}: {len(found.paths)} images in {found.root}; {found.about()}")
        print(f"  sizes (width x height): {most(sizes)}; modes: {most(Counter(head.mode for head in good))}")
        print(f"  decoded {len(rows)} of them; broken: {len(broken)}")
        whole = np.array([path not in broken for path in found.paths])
        splits = folders.cut(name, entry, found, whole)
        counts = {split: np.bincount(labels[indices], minlength=len(classes)) for split, indices in splits.items()}
        notes = [*folders.thin(found, splits), *([folders.broken_line(name, broken, len(heads))] if broken else [])]
        good_rows = whole[rows]
        images, labels = images[good_rows], labels[rows][good_rows]
    else:
        dataset = Dataset.open(Path("data") / name)
        shape, classes, notes = dataset.shape, dataset.classes, []
        parts = {split: dataset.split(split) for split in SPLITS}
        counts = {split: np.bincount(part.labels, minlength=len(classes)) for split, part in parts.items()}
        images, labels = parts["train"].images[:LOOKED_AT].numpy(), parts["train"].labels[:LOOKED_AT].numpy()
        print(f"{name}: downloaded, framed as {dataset.framing}")
    print(f"  the networks see {'x'.join(map(str, shape))} (channels, height, width), {len(classes) or 'no'} labels")
    print(f"  {'':24}" + "".join(f"{split:>12}" for split in SPLITS))
    for label in range(min(len(classes), LISTED)):
        print(f"  {classes[label]:24.24}" + "".join(f"{counts[split][label]:12}" for split in SPLITS))
    if len(classes) > LISTED:
        print(f"  and {len(classes) - LISTED} more labels")
    print(f"  {'all':24}" + "".join(f"{counts[split].sum():12}" for split in SPLITS))
    for note in notes:
        print(f"  note: {note}")
    for run in settings.runs.values():
        if run.dataset == name:
            data = Data(int(counts["train"].sum()), shape, len(classes))
            print(f"  {run.key}: {build_model(run, data)}")
    if classes:
        shown = shown_labels(f"shown_labels.{name}", settings.shown_labels.get(name), classes)
        names, blocks = [classes[label] for label in shown], [images[labels == label][:10] for label in shown]
    else:
        blocks = [images[start : start + 10] for start in range(0, 50, 10)]
        names = [""] * len(blocks)
    empty = np.full((1, *shape), 255, np.uint8)
    padded = np.stack([np.concatenate([block, empty.repeat(10 - len(block), 0)]) for block in blocks])
    path = Path("outputs/check") / f"{name}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    image_rows(path, padded, names, f"{name}: as the networks see it")
    print(f"  {path}: look at it")


def most(counts: Counter[str], named: int = 4) -> str:
    """Say what is most frequent, how often, and how much else there is."""
    words = [f"{name} ({count})" for name, count in counts.most_common(named)]
    return ", ".join(words) + (f" and {len(counts) - named} more" if len(counts) > named else "")


def outdated(changed: set[str], runs: list["Run"], final: bool) -> list[str]:
    """Return what DVC finds changed or missing among the stages of these runs, and what follows from it."""
    datasets = dict.fromkeys(run.dataset for run in runs)
    stages = [name for dataset in datasets for stage in DATA_STAGES if (name := f"{stage}@{dataset}") in changed]
    for run in runs:
        names = [f"{stage}@{run.key}" for stage in RUN_STAGES]
        before = {names[0], *(f"{stage}@{run.dataset}" for stage in DATA_STAGES)}
        stages += names if before & changed else [name for name in names if name in changed]
    return stages + list(FINAL_STAGES if final and changed else ())


def forecast(settings: "Settings", stages: list[str], jobs: int = 1) -> dict[str, float]:
    """Return about how many seconds of the whole machine each stage takes, from those on record.

    A training without a record counts as that of a similar run; changed settings count by `work`. Of the `jobs` runs
    that share a GPU each has its speed, since one alone leaves most of it idle; those that share cores divide them.
    """
    from atlas.core.device import device_config

    recorded = read_json(RECORD, "nothing: it comes with the repository")
    factor = step_seconds() / recorded["step"]
    runs = len({stage.partition("@")[2] for stage in stages if stage.partition("@")[0] in RUN_STAGES})
    at_once = min(jobs, max(1, runs)) if device_config().device.type == "cuda" else 1
    trained = [settings.runs[key] for key in recorded["train"] if key in settings.runs]
    seconds = {}
    for stage in stages:
        kind, _, key = stage.partition("@")
        seconds[stage] = recorded["stages"][kind] * factor
        if kind == "train" and trained:
            run = settings.run(key)
            similar = max(trained, key=lambda other: likeness(other, run))
            of_similar = recorded["train"][similar.key]
            seconds[stage] += of_similar["seconds"] * work(run) / of_similar["work"] * factor
        if kind in RUN_STAGES:
            seconds[stage] /= at_once
    return seconds


def likeness(one: "Run", other: "Run") -> tuple[bool, bool, bool, bool, int]:
    """Return how alike two runs are, what counts most first: themselves, variant, model, data set, settings."""
    settings = sum(value == other.settings.get(name) for name, value in one.settings.items())
    return (
        one.key == other.key, one.variant == other.variant, one.model == other.model, one.dataset == other.dataset,
        settings,
    )  # fmt: skip


def work(run: "Run") -> float:
    """Return the work of a training relative to that of a similar run: pixels seen times the networks' width."""
    data = describe(run.dataset)
    budget = run.train.resolve(data.images, data.shape)
    assert budget.images
    return budget.epochs * budget.images * data.shape[1] * data.shape[2] * budget.width


def step_seconds() -> float:
    """Return the seconds of a small network's step, forward and backward, on this machine: the least of some tries.

    As in a training, its layers wait for memory as much as they compute: a convolution alone, which stays in the cache,
    promises too much of a processor that multiplies matrices fast.
    """
    import torch
    from torch import nn

    from atlas.core.device import device_config

    config = device_config()
    down, up = nn.Conv2d(16, 64, 4, 2, 1), nn.ConvTranspose2d(64, 16, 4, 2, 1)
    network = config.to_device(nn.Sequential(down, nn.BatchNorm2d(64), nn.ReLU(), up, nn.BatchNorm2d(16), nn.ReLU()))
    images = torch.rand(64, 16, 28, 28, device=config.device)
    threads = torch.get_num_threads()
    # One thread, as if the others did as much: on a busy machine, threads that wait for each other tell nothing.
    torch.set_num_threads(1)
    tries = []
    for _ in range(30):
        started = time.perf_counter()
        with config.autocast():
            loss = network(images).float().square().mean()
        loss.backward()
        loss.item()  # Waits for the device.
        tries.append(time.perf_counter() - started)
    torch.set_num_threads(threads)
    return min(tries) / (threads if config.device.type == "cpu" else 1)


def record(settings: "Settings") -> None:
    """Update results/seconds.json: trainings from outputs/timings, and this machine's step."""
    recorded = read_json(RECORD, "nothing: it comes with the repository")
    for run in settings.runs.values():
        if (path := Path("outputs/timings") / f"{run.key}.json").exists():
            timing = read_json(path, f"train@{run.key}")
            # A run of the pool has some of the machine's threads: count it as if it had all of them.
            threads = re.search(r"(\d+) threads", timing["machine"])
            share = int(threads[1]) / (os.cpu_count() or 1) if threads else 1.0
            recorded["train"][run.key] = {"seconds": round(timing["seconds"] * share, 1), "work": work(run)}
    write_json(RECORD, {**recorded, "step": round(step_seconds(), 5)})


if __name__ == "__main__":
    run_stage(main)
