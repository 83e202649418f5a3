"""Benchmarks compare like with like: the plain loop and the trainer compute the same update. No time is asserted."""

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.conftest import ROOT, VARIANTS, Noise

from atlas.core.datasets import to_unit
from atlas.core.device import DeviceConfig
from atlas.core.files import AtlasError
from atlas.core.model import Model
from atlas.core.settings import Run, load
from atlas.nn.fast_conv import UpsampledConv2d
from atlas.nn.layers import Dropout
from atlas.training.checkpoint import Checkpoints
from atlas.training.loop import train
from benchmarks import __main__ as bench
from benchmarks import report
from benchmarks.cases import SHAPES, cases, changed, make_model
from benchmarks.levers import LEVERS, without
from benchmarks.loops import PlainLoop, TrainerLoop, plain_copy
from benchmarks.speed import count_flops

CASES = {case.name: case for case in cases(ROOT / "params.yaml")}


def small(name: str, batch_size: int = 16, **settings: Any) -> Run:
    """A case's run at an eighth of the width, without dropout, whose masks follow the layout of memory."""
    run = CASES[name].run
    settings = {**run.settings, "dropout": 0.0, **settings}
    return replace(changed(run, width=0.125, batch_size=batch_size, epochs=1), settings=settings)


@pytest.fixture
def float64(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Everything in float64: in float32 a rounding now and then lets another pixel win a max-pooling."""
    monkeypatch.setattr(torch.Tensor, "float", torch.Tensor.double)
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def losses_and_gradients(model: Model, images: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
    torch.manual_seed(1)
    losses = model.losses(images, labels)
    values = {**losses.terms, **losses.groups}
    for name, params in model.param_groups().items():
        gradients = torch.autograd.grad(losses[name], params, retain_graph=True)
        values |= {f"{name} {index}": gradient for index, gradient in enumerate(gradients)}
    return values


@pytest.mark.parametrize("case", ["mnist {}, default size", "cifar10 {}, original size"])
def test_plain_layers_give_the_same_losses_and_gradients(
    case: str, variant: str, noise: Noise, cpu: DeviceConfig, float64: None
) -> None:
    run = small(case.format(variant))
    split = noise(4, SHAPES[run.dataset])
    images = to_unit(split.images).double()
    model, _ = make_model(run)
    plain = plain_copy(model)
    ours, theirs = (losses_and_gradients(net, images, split.labels) for net in (cpu.to_device(model), plain))
    assert ours.keys() == theirs.keys()
    for term, value in ours.items():
        torch.testing.assert_close(theirs[term], value, rtol=1e-9, atol=1e-9, msg=term)


def seed_each_pass(model: Model) -> None:
    """Have every forward pass draw the same random numbers."""
    losses = model.losses

    def seeded(*batch: torch.Tensor) -> Any:
        torch.manual_seed(0)
        return losses(*batch)

    model.losses = seeded  # type: ignore[method-assign, assignment]


def check_same_update(run: Run, noise: Noise, cpu: DeviceConfig) -> None:
    split = noise(16, SHAPES[run.dataset])
    images = to_unit(split.images).double()
    trainer, plain = TrainerLoop(run, split, cpu), PlainLoop(run, split, cpu)
    start = [parameter.detach().clone() for parameter in plain.model.parameters()]
    for loop in (trainer, plain):
        loop.total = 100
        seed_each_pass(loop.model)
    for step in range(3):
        for group in trainer.groups:
            group.set_progress(step / trainer.total)
        trainer.act(images, split.labels, step)
        plain.update(images, split.labels)
    for before, ours, theirs in zip(start, trainer.model.parameters(), plain.model.parameters(), strict=True):
        assert not torch.equal(ours, before)
        torch.testing.assert_close(theirs, ours, rtol=1e-6, atol=1e-9)


def test_the_plain_loop_makes_the_trainers_update(variant: str, noise: Noise, cpu: DeviceConfig, float64: None) -> None:
    # Spectral normalization moves on with every forward pass, of which the plain loop makes more.
    changes = {"spectral_norm": False} if "gan" in variant and "vae" not in variant else {}
    check_same_update(small(f"mnist {variant}, default size", **changes), noise, cpu)


@pytest.mark.parametrize("optimizer", ["adam", "rmsprop", "sgd"])
def test_by_every_optimizer(optimizer: str, noise: Noise, cpu: DeviceConfig, float64: None) -> None:
    run = small("mnist ae, default size", optimizer=optimizer, momentum=0.5, learning_rate=1e-3)
    check_same_update(run, noise, cpu)


def test_the_timed_loop_is_the_trainers(
    noise: Noise, cpu: DeviceConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    run, split = small("mnist cvae_gan, default size", dropout=0.1), noise(80, (1, 28, 28))
    run = changed(run, frames=2, frame_grid=1)
    run = replace(run, training=run.training.model_copy(update={"ema": 0.0}))  # the loop alone
    trained, state = TrainerLoop(run, split, cpu), torch.get_rng_state()
    snapshots = load(ROOT / "params.yaml").snapshots
    checkpoints = Checkpoints(run.key, "here")
    train(trained.model, trained.groups, run, snapshots, split, split, cpu, checkpoints, lambda *_: None)
    timed = TrainerLoop(run, split, cpu)
    torch.set_rng_state(state)
    timed.advance(timed.total)
    for name, value in trained.model.state_dict().items():
        assert torch.equal(timed.model.state_dict()[name], value), name


def test_each_lever_is_left_out_and_nothing_else(noise: Noise, cpu: DeviceConfig) -> None:
    """What each changes, seen where it acts; the weights that it begins with are the same."""
    case = replace(CASES["mnist cvae_gan, default size"], run=small("mnist cvae_gan, default size", dropout=0.1))
    split, config = noise(200, (1, 28, 28)), replace(cpu, bfloat16=True)
    loops = {"": TrainerLoop(case.run, split, config)}
    loops |= {name: loop for name in LEVERS if (loop := without(name, case, split, config))}
    assert len(loops) == 1 + len(LEVERS)
    for loop in loops.values():
        torch.testing.assert_close(loop.model.state_dict(), loops[""].model.state_dict(), rtol=0, atol=0)
    passes = dict.fromkeys(loops, 0)
    for name, loop in loops.items():

        def count_pass(*_: Any, name: str = name) -> None:
            passes[name] += 1

        loop.model.get_submodule("decoder").register_forward_pre_hook(count_pass)
        loop.advance(1)
    active = sum(group.updates_at(0) for group in loops[""].groups)
    assert active > 1 and passes == dict.fromkeys(loops, 2) | {"one forward pass for all parameter groups": 2 * active}

    def replaced(loop: TrainerLoop, kind: type) -> bool:
        return any("forward" in vars(layer) for layer in loop.model.modules() if isinstance(layer, kind))

    def channels_last(loop: TrainerLoop) -> bool:
        weights = [layer.weight for layer in loop.model.modules() if isinstance(layer, UpsampledConv2d)]
        return all(weight.is_contiguous(memory_format=torch.channels_last) for weight in weights)

    differs: dict[str, Callable[[TrainerLoop], bool]] = {
        "bfloat16": lambda loop: not loop.config.bfloat16,
        "fused or foreach optimizers": lambda loop: not loop.groups[0].optimizer.defaults["foreach"],
        "folded convolutions": lambda loop: replaced(loop, UpsampledConv2d),
        "dropout from random bytes": lambda loop: replaced(loop, Dropout),
        "channels last": lambda loop: not channels_last(loop),
    }
    for lever, check in differs.items():
        assert [name for name, loop in loops.items() if check(loop)] == [lever]


def test_flops_against_a_count_by_hand(noise: Noise, cpu: DeviceConfig) -> None:
    run = small("mnist ae, original size", batch_size=8)
    split, code = noise(8, (1, 28, 28)), run.settings["latent_dim"]
    # Multiplications and additions of an image: convolutions as written down, channels at an eighth of the width.
    first = 2 * (8 * 1 * 3 * 3) * 14 * 14
    encoder = first + 2 * (8 * 8 * 3 * 3) * 7 * 7 + 2 * (8 * 7 * 7 * 8 + 8 * code)
    upsampled = 2 * (8 * 16 * 5 * 5) * 14 * 14 + 2 * (1 * 8 * 5 * 5) * 28 * 28
    forward = encoder + 2 * code * 16 * 7 * 7 + upsampled + 2 * (8 * 8 * 3 * 3) * 14 * 14
    # Backward: the gradient of the weights and that of the inputs, each as much; the images need none.
    assert count_flops(PlainLoop(run, split, cpu), 1) == 8 * (3 * forward - first)
    # Folded, 5 x 5 of the large image is 3 x 3 of the small one, four times; and the sums of the weights' taps.
    sums = 2 * 36 * 25 * (8 * 16 + 1 * 8)
    ours = 8 * (3 * (forward - upsampled * (1 - 9 / 25)) - first) + 2 * sums
    assert count_flops(TrainerLoop(run, split, cpu), 1) == ours


def test_every_variant_is_timed_on_both_data_sets_at_both_sizes() -> None:
    sizes = "default", "original"
    assert CASES.keys() == {
        f"{name} {variant}, {size} size" for name in SHAPES for variant in VARIANTS for size in sizes
    }
    for case in CASES.values():
        width, network = (1, "original") if case.size == "original" else (0.5, case.run.settings["network"])
        assert (case.run.train.width, case.run.settings["network"]) == (width, network)
    case = CASES["mnist cvae_gan, default size"]
    assert case.run.key == "mnist_cvae_gan_8" and case.period == 1
    uneven = case.run.settings | {"steps": {"encoder": 3, "decoder": 3, "discriminator": 1}}
    assert replace(case, run=replace(case.run, settings=uneven)).period == 3


def test_a_trial_measures_each_part(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, cpu: DeviceConfig) -> None:
    monkeypatch.chdir(ROOT)
    rows = {part: bench.measure(part, cpu, quick=True) for part in ("speed", "levers", "time_to_quality")}
    assert [row["case"] for row in rows["speed"]] == ["mnist ae, default size", "cifar10 vae_gan, original size"]
    for row in rows["speed"]:
        assert row["ours, images/s"] > 0 and 0 < row["ratio"]["low"] <= row["ratio"]["median"] <= row["ratio"]["high"]
    *_, last = rows["time_to_quality"]
    assert last["step"] == 2 * bench.TRIAL_IMAGES // 16 and 0 <= last["label accuracy"] <= 1 and last["frechet"] > 0
    monkeypatch.setattr(bench, "TARGET", tmp_path / "benchmarks.json")
    monkeypatch.setattr(bench, "PAGE", tmp_path / "benchmarks.md")
    for part, measured in rows.items():
        bench.write(part, measured, "a machine", 1.0)
    parts = json.loads((tmp_path / "benchmarks.json").read_text())
    assert list(parts) == list(rows) and "| mnist ae, default size |" in (tmp_path / "benchmarks.md").read_text()


def test_an_unknown_part_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["benchmarks", "sped"])
    with pytest.raises(AtlasError, match="found part 'sped'; allowed: speed, levers, startup, time_to_quality"):
        bench.main()


def test_the_page_shows_what_was_measured() -> None:
    parts = json.loads((ROOT / "results" / "benchmarks.json").read_text())
    assert (ROOT / "docs" / "benchmarks.md").read_text() == report.page(parts)
