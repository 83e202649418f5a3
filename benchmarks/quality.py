"""What speed is for: the same quality as the plain loop, and how soon it is there."""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from atlas.core.datasets import Split, to_unit
from atlas.core.device import DeviceConfig
from atlas.metrics.classifier import Judge, read
from atlas.metrics.distances import frechet, laplacian_energies
from atlas.core.model import Model
from atlas.core.settings import Run
from atlas.core.model import load_weights
from atlas.training.loop import validate
from benchmarks.cases import CLASSES, SHAPES, make
from benchmarks.clock import Progress
from benchmarks.loops import Loop, Ours, Plain
from benchmarks.records import Learning, LearningRow, Quality, QualityRow
from benchmarks.scaling import changed
from benchmarks.speed import seconds
from benchmarks.work import synchronise

MARKS = (5, 10, 20, 30, 45, 60, 80, 100, 125, 150, 175, 200, 250, 300, 400, 500, 600)
"""Seconds of training after which the pictures are measured."""
DRAWN = 5000
"""Pictures that a measure sees, and real images."""

Metric = Callable[[Model], dict[str, float]]


def judged(dataset: str, width: int, validation: Split, machine: DeviceConfig) -> Metric:
    """Return what reads the pictures of a model: with the judge of outputs/judges, beside validation images."""
    judge = Judge(SHAPES[dataset], CLASSES, width)
    load_weights(judge, Path("outputs/judges") / dataset / "weights.safetensors", f"train_judge@{dataset}")
    judge = machine.place(judge).eval()
    images, labels = to_unit(validation.images[:DRAWN]), validation.labels[:DRAWN]
    real, energy = read(judge, images)[0], laplacian_energies(images).mean()

    @torch.no_grad()
    def measure(model: Model) -> dict[str, float]:
        training = model.training
        model.eval()
        generator = torch.Generator().manual_seed(0)
        pictures = torch.cat([model.sample(part, generator) for part in labels.split(500)])
        model.train(training)
        features, found = read(judge, pictures)
        return {
            "label_accuracy": _mean(found == labels),
            "sharpness": (laplacian_energies(pictures).mean() / energy).item(),
            "frechet": frechet(real, features),
        }

    return measure


def _mean(right: Tensor) -> float:
    return right.double().mean().item()


def compare(
    run: Run,
    training: Split,
    validation: Split,
    measure: Metric,
    machine: DeviceConfig,
    progress: Progress,
    epochs: int,
    seeds: Sequence[int] = (1, 2, 3),
) -> Quality:
    """Train with both loops from the same weights, seed by seed; validation terms and pictures in float32 for both."""
    started = time.perf_counter()
    kinds: list[tuple[str, type[Loop]]] = [("ours", Ours), ("plain", Plain)]
    wide = DeviceConfig(machine.device, bfloat16=False)
    rows: list[QualityRow] = []
    for seed in seeds:
        for name, kind in kinds:
            about = replace(changed(run, epochs=epochs), seed=seed)
            loop = kind(make(about), about, training, machine)
            took = seconds(loop, epochs * (len(training) // run.train.batch_size), machine.device)
            found = validate(loop.model, validation, 500, wide) | measure(loop.model)
            rows.append(QualityRow(loop=name, seed=seed, measures=found, seconds=round(took, 1)))
            told = ", ".join(f"{term} {value:.4g}" for term, value in found.items())
            progress.show(len(rows), len(seeds) * len(kinds), f"{name}, seed {seed}: {told}")
    return Quality(
        machine=str(machine), seconds=round(time.perf_counter() - started, 1), run=run.key, epochs=epochs, rows=rows
    )


def learn(
    run: Run,
    training: Split,
    measure: Metric,
    machine: DeviceConfig,
    progress: Progress,
    marks: Sequence[float] = MARKS,
) -> Learning:
    """Train the run as it is, and measure its pictures at the marks and at the end; the clock stops meanwhile."""
    begun = time.perf_counter()
    loop = Ours(make(run), run, training, machine)
    waiting, spent, rows = list(marks), 0.0, list[LearningRow]()
    while loop.step < loop.total:
        started = time.perf_counter()
        while loop.step < loop.total:
            loop.advance(1)
            if loop.step % 10 == 0:
                synchronise(machine.device)
                if waiting and spent + time.perf_counter() - started >= waiting[0]:
                    break
        synchronise(machine.device)
        spent += time.perf_counter() - started
        waiting = [mark for mark in waiting if mark > spent]
        rows.append(LearningRow(seconds=round(spent, 1), step=loop.step, measures=measure(loop.model)))
        told = ", ".join(f"{name} {value:.4g}" for name, value in rows[-1].measures.items())
        progress.show(loop.step, loop.total, f"{spent:.0f} s of training: {told}")
    return Learning(machine=str(machine), seconds=round(time.perf_counter() - begun, 1), run=run.key, rows=rows)
