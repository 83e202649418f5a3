"""The one training loop. It knows a model by its interface only."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import torch

from atlas.datasets import Split, epoch_batches, to_unit
from atlas.device import Machine
from atlas.models.base import Losses, Model
from atlas.nn import processes
from atlas.settings import Run
from atlas.training.checkpoint import Checkpoints
from atlas.training.duel import WON, WON_BELOW
from atlas.training.frames import HELD_OUT, Camera, Frame, schedule
from atlas.training.graph import stepper
from atlas.training.history import Averages, Row, Watch, check_finite
from atlas.training.optimisers import Player, make_players, rate_factor
from atlas.training.together import over_all, teach_together

CHECK_EVERY = 50
"""Steps between two looks at the running losses: each is a wait for the device."""
SAVE_EVERY = 60.0
"""Seconds between two checkpoints."""


@dataclass
class Trained:
    """What a training leaves besides the model's parameters."""

    history: list[Row] = field(default_factory=list)
    frame_steps: list[int] = field(default_factory=list)
    frames: list[Frame] = field(default_factory=list)
    frame_kind: str = ""
    per_epoch: int = 0
    """Steps in an epoch."""


Report = Callable[[int, int, int, dict[str, float]], None]
"""Told the steps done, all steps, the epoch and the epoch's running means."""


def train_step(
    model: Model, players: list[Player], images: torch.Tensor, labels: torch.Tensor, step: int, machine: Machine
) -> Losses:
    """One forward pass, each player's loss differentiated for its own parameters alone, then all players move.

    Args:
        images: [N, C, H, W] in [0, 1]; labels: [N]; step: counted from 0.

    Returns:
        The losses, detached, in nats per image; among the terms those of the contest, which are shares.
    """
    with machine.autocast(), processes.draws():
        losses = model.losses(images, labels)
    moving = [player for player in players if player.moves(step)]
    for player in moving:
        player.learn(losses.players[player.name], retain_graph=player is not moving[-1])
    # Only now: a player that moved first would change the graph under the next one's gradient.
    losses = over_all(losses)
    if losses.gauge is not None:
        losses.terms[WON] = (losses.gauge < WON_BELOW).float()
    for player in moving:
        if player.gated and losses.gauge is not None:
            paused = player.pauses(losses.gauge)
            player.step(paused)
            losses.terms[f"{player.name}_paused"] = paused.float()
        else:
            player.step()
    return losses


def train(
    model: Model,
    run: Run,
    training: Split,
    validation: Split,
    machine: Machine,
    checkpoints: Checkpoints,
    report: Report,
) -> Trained:
    """Train `model` in place as the run's settings say, from the last checkpoint if there is one.

    Every random draw follows from the run's seed, and the checkpoint keeps the generators' states: a resumed training
    ends in the same numbers as an uninterrupted one.

    Raises:
        AtlasError: if a loss is no longer finite.
    """
    device, batch_size = machine.device, run.train.batch_size
    players = make_players(model, run.settings)
    teach_together(players)

    def act(images: torch.Tensor, labels: torch.Tensor, step: int) -> Losses:
        return train_step(model, players, images, labels, step, machine)

    advance = stepper(act, players, training, machine)
    per_epoch = len(training) // batch_size
    total = per_epoch * run.train.epochs
    held_out = to_unit(validation.images[:HELD_OUT]), validation.labels[:HELD_OUT]
    camera = Camera(model, run.train.frame_grid, *held_out, run.seed)
    frame_steps = schedule(total, run.train.frames, per_epoch)
    averages, watch, history = Averages(device), Watch(), []
    step = 0
    with processes.first_alone():
        saved = checkpoints.load(device, frame_steps)
    if saved:
        step, history = saved["step"], saved["history"]
        _restore(model, players, averages, saved)
    else:
        checkpoints.keep_frame(0, camera.take())
    last_save, kept = time.monotonic(), f"checkpoint of step {step} kept" if step else "no checkpoint yet"
    for epoch in range(step // per_epoch, run.train.epochs):
        model.train()
        for position, chosen in enumerate(epoch_batches(len(training), batch_size, run.seed, epoch)):
            if epoch * per_epoch + position < step:
                continue
            for player in players:
                player.set_rate(player.learning_rate * rate_factor(run.settings["schedule"], step / total))
            losses = advance(processes.share(chosen), step)
            averages.add(losses.terms)
            step += 1
            watch.note(step, losses)
            if step % CHECK_EVERY == 0 or position + 1 == per_epoch:
                watch.check(kept)
                report(step, total, epoch + 1, averages.read())
            if step in frame_steps:
                checkpoints.keep_frame(step, camera.take())
            if position + 1 < per_epoch and time.monotonic() - last_save > SAVE_EVERY:
                watch.check(kept)
                checkpoints.save(_state(model, players, averages, step, history))
                last_save, kept = time.monotonic(), f"checkpoint of step {step} kept"
        where: Row = {"epoch": epoch + 1, "step": step}
        history.append({**where, "split": "train", **averages.read()})
        # The last step's own doing shows here first.
        found = validate(model, validation, batch_size, machine)
        check_finite(found, f"in the validation after step {step}", kept)
        history.append({**where, "split": "validation", **found})
        averages = Averages(device)
        if epoch + 1 < run.train.epochs and time.monotonic() - last_save > SAVE_EVERY:
            checkpoints.save(_state(model, players, averages, step, history))
            last_save, kept = time.monotonic(), f"checkpoint of step {step} kept"
    model.eval()
    frames = [checkpoints.frame(taken) for taken in frame_steps] if checkpoints.writes else []
    return Trained(history, frame_steps, frames, camera.kind, per_epoch)


@torch.no_grad()
def validate(model: Model, split: Split, batch_size: int, machine: Machine) -> dict[str, float]:
    """Return the means of the model's terms over a split, without learning from it or disturbing the generators."""
    averages = Averages(machine.device)
    devices = [machine.device] if machine.device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(0)
        model.eval()
        batch_size = min(batch_size, len(split))
        for start in range(0, len(split) - batch_size + 1, batch_size):
            images, labels = split.images[start : start + batch_size], split.labels[start : start + batch_size]
            with machine.autocast():
                averages.add(model.losses(to_unit(images), labels).terms)
        model.train()
    return averages.read()


def _state(model: Model, players: list[Player], averages: Averages, step: int, history: list[Row]) -> dict:
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    return {
        "step": step,
        "history": history,
        "model": model.state_dict(),
        "optimisers": {player.name: player.optimiser.state_dict() for player in players},
        "averages": averages.state(),
        "generators": [torch.get_rng_state(), *cuda],
    }


def _restore(model: Model, players: list[Player], averages: Averages, saved: dict) -> None:
    model.load_state_dict(saved["model"])
    for player in players:
        player.optimiser.load_state_dict(saved["optimisers"][player.name])
    averages.restore(saved["averages"])
    host, *cuda = [state.cpu() for state in saved["generators"]]
    torch.set_rng_state(host)
    if cuda:
        torch.cuda.set_rng_state_all(cuda)
