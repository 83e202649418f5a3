"""Levers: what each thing that makes a step fast is worth, by the same step without it."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from torch import Tensor

from atlas.core.datasets import Split
from atlas.core.device import DeviceConfig
from atlas.core.model import Losses
from atlas.training.cuda_graph import make_step_fn
from atlas.training.distributed import all_reduce_mean
from benchmarks.cases import Case, make_model
from benchmarks.loops import (
    Loop,
    TrainerLoop,
    loader_batches,
    plain_optimizer,
    use_default_layout,
    use_plain_convolutions,
    use_plain_dropout,
)
from benchmarks.speed import Pace, Row, interleave, spread


def measure(chosen: Sequence[Case], split: Split, config: DeviceConfig, pace: Pace) -> list[Row]:
    """Return a row a lever and a column a case: how many times as long a step takes without the lever."""
    rows: dict[str, Row] = {name: {"without": name} for name in LEVERS}
    for index, case in enumerate(chosen):
        loops: dict[str, Loop] = {"": TrainerLoop(case.run, split, config)}
        loops |= {name: loop for name in LEVERS if (loop := without(name, case, split, config))}
        seconds = interleave(loops, case.period, pace, config.device)
        for name, row in rows.items():
            row[case.name] = spread(seconds[name] / seconds[""]) if name in seconds else ""
        print(f"levers: {index + 1} of {len(chosen)}, {case.name}", flush=True)
    return list(rows.values())


def without(lever: str, case: Case, split: Split, config: DeviceConfig) -> TrainerLoop | None:
    """Return the trainer's loop without a lever; None where the case has nothing for it to act on."""
    loop = TrainerLoop(case.run, split, config)
    acts = {
        "one forward pass for all parameter groups": len(loop.groups) > 1,
        "bfloat16": config.bfloat16,
        "dropout from random bytes": bool(case.run.settings["dropout"]),
    }
    if not acts.get(lever, True):
        return None
    LEVERS[lever](loop)
    return loop


def _separate_passes(loop: TrainerLoop) -> None:
    """Compute the losses anew for each parameter group."""

    def act(images: Tensor, labels: Tensor, step: int) -> Losses:
        active = [group for group in loop.groups if group.updates_at(step)]
        for group in active:
            with loop.config.autocast():
                losses = loop.model.losses(images, labels)
            group.backward(losses[group.name], retain_graph=False)
        for group in active:
            group.step()
        return all_reduce_mean(losses)

    loop.step_fn = make_step_fn(act, loop.groups, loop.split, loop.config)


def _float32(loop: TrainerLoop) -> None:
    loop.config = replace(loop.config, bfloat16=False)


def _plain_optimizers(loop: TrainerLoop) -> None:
    _, optimization = make_model(loop.run)
    for group in loop.groups:
        group.optimizer = plain_optimizer(group.params, group.learning_rate, **optimization)


def _loader(loop: TrainerLoop) -> None:
    batches = loader_batches(loop.split, loop.run.train.batch_size)

    def step_fn(indices: Tensor, step: int) -> Losses:
        images, labels = (part.to(loop.config.device) for part in next(batches))
        return loop.act(images, labels, step)

    loop.step_fn = step_fn


def _reading(loop: TrainerLoop) -> None:
    fast = loop.step_fn

    def step_fn(indices: Tensor, step: int) -> Losses:
        losses = fast(indices, step)
        for value in losses.terms.values():
            value.item()
        return losses

    loop.step_fn = step_fn


LEVERS: dict[str, Callable[[TrainerLoop], None]] = {
    "one forward pass for all parameter groups": _separate_passes,
    "bfloat16": _float32,
    "folded convolutions": lambda loop: use_plain_convolutions(loop.model),
    "channels last": lambda loop: use_default_layout(loop.model),
    "fused or foreach optimizers": _plain_optimizers,
    "dropout from random bytes": lambda loop: use_plain_dropout(loop.model),
    "batches by index, no loader": _loader,
    "losses read now and then": _reading,
}
"""Name of a lever -> what takes it out of the trainer's loop."""
