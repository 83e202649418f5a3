"""Time to quality: how good a run's samples are after so many seconds of its training."""

import time
from pathlib import Path

import torch

from atlas.core import settings as settings_file
from atlas.core.datasets import Split, epoch_batches, to_unit
from atlas.core.device import DeviceConfig
from atlas.core.model import load_weights
from atlas.core.settings import Run
from atlas.metrics.classifier import Judge
from atlas.metrics.distances import frechet_distance, laplacian_energies
from atlas.training.average import Average
from atlas.training.loop import train_step
from atlas.training.optimizers import make_optimizers
from atlas.training.schedule import Schedule, prepare
from benchmarks.cases import CLASSES, SHAPES, load_split, make_model
from benchmarks.speed import Row

RUN = "mnist_cvae_gan_8"
MOMENTS = (5, 10, 15, 20, 30, 40, 50, 60, 80, 100, 125, 150, 175, 200, 250, 300)
"""Seconds of training after which samples are measured; those after the last step are one."""


def load_judge(dataset: str, config: DeviceConfig) -> Judge:
    """Return the judge of a data set, as `evaluate` uses it."""
    width = settings_file.load().budgets[dataset].judge.width
    judge = config.to_device(Judge(SHAPES[dataset], CLASSES, width))
    load_weights(judge, Path("outputs/judges") / dataset / "weights.safetensors", f"train_judge@{dataset}")
    return judge


def measure(run: Run, judge: Judge, config: DeviceConfig, noise: int | None = None) -> list[Row]:
    """Train the run as `train` does and measure samples with the labels of the validation images; the clock stops then.

    Args:
        noise: images of noise instead of the data set, for a trial.
    """
    training, validation = (load_split(run.dataset, split, config, noise) for split in ("train", "validation"))
    run = run.resolve(len(training), SHAPES[run.dataset])
    model, optimization = make_model(run)
    groups = make_optimizers(config.to_device(model), **optimization)
    prepare(model, run)
    average, batch_size = Average(model, run.training.ema), run.train.batch_size
    schedule = Schedule.of(run, len(training) // batch_size)
    rows: list[Row] = []
    moments, seconds, step = list(map(float, MOMENTS)), 0.0, 0
    for epoch in range(run.train.epochs):
        for indices in epoch_batches(len(training), batch_size, run.seed, epoch):
            started = time.perf_counter()
            for group in groups:
                group.set_progress(schedule.progress(step))
            model.train()
            train_step(model, groups, to_unit(training.images[indices]), training.labels[indices], step, config)
            step += 1
            average.update(step)
            if config.device.type == "cuda":
                torch.cuda.synchronize()
            seconds += time.perf_counter() - started
            if seconds >= moments[0] or step == schedule.steps:
                moments = [moment for moment in moments if moment > seconds] or [float("inf")]
                rows.append({"seconds": seconds, "step": step, **quality(average, judge, validation, batch_size)})
    return rows


@torch.no_grad()
def quality(average: Average, judge: Judge, split: Split, batch_size: int) -> dict[str, float]:
    """Return label accuracy, sharpness (that of the images is 1) and Frechet distance of as many samples as images."""
    generator, shown = torch.Generator().manual_seed(0), average.shown.eval()
    samples = torch.cat([shown.sample(labels, generator) for labels in split.labels.split(batch_size)])
    images = to_unit(split.images)
    real, fake = (
        torch.cat([judge.features(part) for part in pictures.split(batch_size)]) for pictures in (images, samples)
    )
    correct = judge.logits(fake).argmax(1) == split.labels
    return {
        "label accuracy": correct.float().mean().item(),
        "sharpness": (laplacian_energies(samples).mean() / laplacian_energies(images).mean()).item(),
        "frechet": frechet_distance(real, fake),
    }
