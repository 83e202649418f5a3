"""The training step and the training loop. They know a model by its interface only."""

import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from atlas.core.datasets import Split, epoch_batches, to_unit
from atlas.core.device import DeviceConfig
from atlas.core.history import DOMINANCE, DOMINANCE_LOSS, EXPLOSION, EXPLOSION_FACTOR, Row, troubles
from atlas.core.model import Losses, Model
from atlas.core.schema import SnapshotSettings
from atlas.core.settings import Run
from atlas.training.average import Average
from atlas.training.checkpoint import Checkpoints
from atlas.training.cuda_graph import make_step_fn
from atlas.training.distributed import all_reduce_mean, rank, seed_rank, world_size
from atlas.training.optimizers import ParamGroup
from atlas.training.schedule import STOPPING_LOSS, EarlyStopping, Schedule, prepare
from atlas.training.snapshots import Snapshot, SnapshotRecorder
from atlas.training.state import TrainingState
from atlas.training.terms import FiniteCheck, RunningMean

CHECK_EVERY = 50
"""Steps between two looks at the running losses: each waits for the device."""
SAVE_EVERY = 60.0
"""Seconds between two checkpoints."""

Report = Callable[[int, int, int, dict[str, float]], None]
"""Called with the steps done, all steps, the epoch and the epoch's running means."""


class TrainingResult(NamedTuple):
    """What a training leaves besides the model's parameters."""

    history: list[Row]
    snapshot_steps: list[int]
    snapshots: list[Snapshot]
    epoch_ends: list[int]
    """Of the snapshots' steps those at which an epoch ends, `SnapshotSettings.epochs` at most."""


def train_step(
    model: Model, groups: list[ParamGroup], images: Tensor, labels: Tensor, step: int, config: DeviceConfig
) -> Losses:
    """Training step: one forward pass, the gradient of each group's own loss, then all updates.

    Args:
        images: [N, C, H, W] in [0, 1]; labels: [N]; step: counted from 0.

    Returns:
        The losses, detached, in nats per image.
    """
    with config.autocast():
        losses = model.losses(images, labels)
    active = [group for group in groups if group.updates_at(step)]
    for group in active:
        group.backward(losses[group.name], retain_graph=group is not active[-1])
    losses = all_reduce_mean(losses)
    for group in active:  # only now: an updated group would change the next one's gradient
        group.step(skip=group.is_paused(losses.discriminator))
    return losses


def log_troubles(losses: Losses, groups: list[ParamGroup], step: int, first_loss: Tensor) -> None:
    """Add to the terms whether the discriminator dominates, the loss has exploded, and each gate is shut.

    Args:
        first_loss: of the first step, a scalar that is filled in step 0.
    """
    loss = losses.groups.get("encoder") if losses.discriminator is not None else sum(losses.groups.values())
    if isinstance(loss, Tensor):
        if step == 0:
            first_loss.copy_(loss)
        losses.terms[EXPLOSION] = (loss > EXPLOSION_FACTOR * first_loss.abs()).float()
    if losses.discriminator is not None:
        losses.terms[DOMINANCE] = (losses.discriminator < DOMINANCE_LOSS).float()
    for group in groups:
        paused = group.is_paused(losses.discriminator)
        if paused is not None and group.updates_at(step):
            losses.terms[f"{group.name}_paused"] = paused.float()


def train(
    model: Model,
    groups: list[ParamGroup],
    run: Run,
    snapshot_settings: SnapshotSettings,
    training: Split,
    validation: Split,
    config: DeviceConfig,
    checkpoints: Checkpoints,
    report: Report,
    frame_labels: Sequence[int] | None = None,
) -> TrainingResult:
    """Training loop: train `model` in place, from the last checkpoint if there is one.

    Every random draw follows from the run's seed, and the checkpoint keeps the generators' states: a resumed training
    ends in the same numbers as an uninterrupted one.

    With an average (`ema`), early stopping or both, the model that is left has the averaged weights of the best epoch.

    Args:
        frame_labels: the labels that snapshots show; None as `SnapshotRecorder` chooses.

    Raises:
        AtlasError: if a loss is no longer finite, or a setting does not fit the model.
    """
    settings = run.training
    prepare(model, run)

    def act(images: Tensor, labels: Tensor, step: int) -> Losses:
        losses = train_step(model, groups, images, labels, step, config)
        log_troubles(losses, groups, step, state.first_loss)
        return losses

    step_fn = make_step_fn(act, groups, training, config)
    batch_size, epochs = run.train.batch_size, run.train.epochs
    steps_per_epoch = len(training) // batch_size
    budget = run.train
    schedule = Schedule.of(run, steps_per_epoch)
    average, stopping = Average(model, settings.ema), EarlyStopping(settings.patience)
    recorder = SnapshotRecorder(
        average.shown, budget.frame_grid, validation, snapshot_settings, run.seed, frame_labels, budget.frame_map
    )
    snapshots_at = schedule.snapshot_steps(budget, snapshot_settings.epochs)
    first_loss = torch.zeros((), device=config.device)
    state = TrainingState(model, groups, schedule, average, stopping, RunningMean(config.device), first_loss)
    finite = FiniteCheck()
    if (saved := checkpoints.load(config.device, snapshots_at)) and state.continues(saved):
        state.load_state_dict(saved)
        if rank():  # the checkpoint holds the generators of rank 0
            seed_rank(run.seed + state.step)
    else:
        checkpoints.save_snapshot(0, recorder.record())
    last_save, kept = time.monotonic(), f"checkpoint of step {state.step} kept" if state.step else "no checkpoint yet"
    for epoch in range(state.step // steps_per_epoch, epochs):
        if stopping.is_over(state.history):
            print(f"{run.key}: ends after epoch {epoch}, since {stopping.patience} brought nothing better", flush=True)
            break
        model.train()
        for position, indices in enumerate(epoch_batches(len(training), batch_size, run.seed, epoch)):
            if epoch * steps_per_epoch + position < state.step:
                continue
            for group in groups:
                group.set_progress(schedule.progress(state.step))
            if isinstance(model.kl_weight, Tensor):
                model.kl_weight.fill_(schedule.kl_weight(state.step, settings.kl_warm_up))
            losses = step_fn(indices.chunk(world_size())[rank()], state.step)  # this process's part of the batch
            state.means.add(losses.terms)
            state.step += 1
            average.update(state.step)
            finite.add(state.step, losses)
            last_of_epoch = position + 1 == steps_per_epoch
            if state.step % CHECK_EVERY == 0 or last_of_epoch:
                finite.raise_if_broken(kept)
                report(state.step, schedule.steps, epoch + 1, state.epoch_means())
            if state.step in snapshots_at:
                checkpoints.save_snapshot(state.step, recorder.record())
            if not last_of_epoch and time.monotonic() - last_save > SAVE_EVERY:
                finite.raise_if_broken(kept)
                checkpoints.save(state.state_dict())
                last_save, kept = time.monotonic(), f"checkpoint of step {state.step} kept"
        state.end_epoch(epoch + 1, validate(average.shown, validation, batch_size, config, stopping.patience), kept)
        checkpoints.save_history(state.history)
        for trouble in troubles(state.history) if rank() == 0 and epoch + 1 < epochs else []:
            print(f"{run.key}: {trouble}", flush=True)
        if epoch + 1 < epochs and time.monotonic() - last_save > SAVE_EVERY:
            checkpoints.save(state.state_dict())
            last_save, kept = time.monotonic(), f"checkpoint of step {state.step} kept"
    if checkpoints.keeps:
        checkpoints.save(state.state_dict())
    model.load_state_dict(average.shown.state_dict())
    last = stopping.restore(model.eval(), state.history)
    snapshots_at = [step for step in snapshots_at if step <= last]
    snapshots = [checkpoints.load_snapshot(step) for step in snapshots_at] if checkpoints.writes else []
    ends = [step for step in schedule.epoch_ends(snapshot_settings.epochs) if step <= last]
    return TrainingResult(state.history, snapshots_at, snapshots, ends)


@torch.no_grad()
def validate(
    model: Model, split: Split, batch_size: int, config: DeviceConfig, patience: int | None = None
) -> dict[str, float]:
    """Validation: the means of the model's terms over a split, without disturbing the random generators.

    Early stopping needs the loss itself, among the terms.
    """
    means = RunningMean(config.device)
    batch_size = min(batch_size, len(split))
    with torch.random.fork_rng(devices=[config.device] if config.device.type == "cuda" else []), config.autocast():
        torch.manual_seed(0)
        model.eval()
        for start in range(0, len(split) - batch_size + 1, batch_size):
            batch = slice(start, start + batch_size)
            losses = model.losses(to_unit(split.images[batch]), split.labels[batch])
            loss = {STOPPING_LOSS: torch.stack([*losses.groups.values()]).sum()} if patience else {}
            means.add({**losses.terms, **loss})
        model.train()
    return means.compute()
