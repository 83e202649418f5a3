"""The benchmark compares like with like, counts work as a person would, and says what its numbers say.

No timing is asserted.
"""

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.conftest import PARAMS, ROOT, Build, Noise
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from atlas.core.datasets import to_unit
from atlas.core.device import DeviceConfig
from atlas.core.files import AtlasError
from atlas.core.model import Model
from atlas.nn.dropout import Dropout
from atlas.nn.fast_conv import UpsampledConv2d
from atlas.core.settings import Run
from atlas.training.checkpoint import Checkpoints
from atlas.training.loop import train
from benchmarks import processes, report
from benchmarks.__main__ import main, read, write
from benchmarks.cases import SHAPES, cases, make
from benchmarks.clock import Progress
from benchmarks.levers import LEVERS, ours
from benchmarks.loops import Ours, Plain, plain_twin
from benchmarks.quality import learn
from benchmarks.records import (
    Benchmarks,
    Learning,
    LearningRow,
    Memory,
    MemoryRow,
    Profile,
    ProfileRow,
    Quality,
    QualityRow,
    Speed,
    SpeedRow,
    Spread,
    Startup,
    StartupRow,
)
from benchmarks.scaling import changed
from benchmarks.work import count

ALL = {case.name: case for case in cases(ROOT / "params.yaml")}


def small(name: str, batch_size: int = 16, **settings: Any) -> Run:
    """A case's run at an eighth of the width, without dropout, whose masks follow the layout of memory."""
    run = ALL[name].run
    fitting = {"dropout": 0.0, **settings}
    return replace(changed(run, width=0.125, batch_size=batch_size, epochs=1), settings={**run.settings, **fitting})


def gradients(model: Model, images: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
    """Every loss and term, and every player's gradient."""
    torch.manual_seed(1)
    losses = model.losses(images, labels)
    found = {**losses.terms, **losses.players}
    for name, group in model.players().items():
        found |= {
            f"{name} {place}": gradient
            for place, gradient in enumerate(torch.autograd.grad(losses.players[name], group, retain_graph=True))
        }
    return found


@pytest.mark.parametrize("name", list(ALL))
def test_the_plain_twin_has_the_same_losses_and_gradients(
    name: str, noise: Noise, cpu: DeviceConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    # In float64 throughout: in float32 a rounding now and then lets another pixel win a max-pooling.
    monkeypatch.setattr(torch.Tensor, "float", torch.Tensor.double)
    run = small(name)
    split = noise(4, SHAPES[run.dataset])
    images, labels = to_unit(split.images).double(), split.labels
    torch.set_default_dtype(torch.float64)
    try:
        model = make(run)
        twin = plain_twin(model)
        ours, theirs = gradients(cpu.place(model), images, labels), gradients(twin, images, labels)
    finally:
        torch.set_default_dtype(torch.float32)
    assert ours.keys() == theirs.keys()
    for term, value in ours.items():
        torch.testing.assert_close(theirs[term], value, rtol=1e-9, atol=1e-9, msg=term)


def test_the_twins_weights_are_its_own(make: Build) -> None:
    model = make("cvae_gan")
    twin = plain_twin(model)
    with torch.no_grad():
        next(twin.parameters()).add_(1)
    assert not torch.equal(next(twin.parameters()), next(model.parameters()))


@pytest.mark.parametrize("name", ["mnist vae_iaf, default sizes", "mnist cvae_gan, default sizes"])
def test_our_loop_is_the_trainers(
    name: str, noise: Noise, cpu: DeviceConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    run, split = small(name, dropout=0.1), noise(80, (1, 28, 28))
    run = changed(run, frames=2, frame_grid=1)
    trained = cpu.place(make(run))
    state = torch.get_rng_state()
    train(trained, run, split, split, cpu, Checkpoints(run.key, "here"), lambda *_: None)
    loop = Ours(make(run), run, split, cpu)
    torch.set_rng_state(state)
    loop.advance(loop.total)
    for place, value in trained.state_dict().items():
        assert torch.equal(loop.model.state_dict()[place], value), place


@pytest.mark.parametrize("optimizer", ["adam", "rmsprop", "sgd"])
def test_the_plain_loop_moves_as_ours_does(optimizer: str, noise: Noise, cpu: DeviceConfig) -> None:
    # An autoencoder draws nothing, and one batch is all images: both see the same, in whatever order.
    run = small("mnist ae, default sizes", optimizer=optimizer, momentum=0.5, learning_rate=1e-3)
    run, split = changed(run, epochs=4), noise(16, (1, 28, 28))
    loops = Ours(make(run), run, split, cpu), Plain(make(run), run, split, cpu)
    start = [parameter.detach().clone() for parameter in make(run).parameters()]
    for loop in loops:
        loop.advance(4)
    moves = [
        torch.cat([(now - before).flatten() for now, before in zip(loop.model.parameters(), start, strict=True)])
        for loop in loops
    ]
    apart = (moves[0] - moves[1]).norm() / moves[0].norm()
    assert moves[0].norm() > 0 and apart < 0.02
    assert set(loops[1].log) == {"reconstruction"} and np.isfinite(list(loops[1].log.values())).all()


def test_the_plain_loop_lets_players_rest_as_ours_does(noise: Noise, cpu: DeviceConfig) -> None:
    run = small("mnist vae_gan, default sizes")
    loop = Plain(make(run), run, noise(16, (1, 28, 28)), cpu)
    assert run.settings["steps"] == {"encoder": 3, "decoder": 3, "discriminator": 1}
    kept = [parameter.detach().clone() for parameter in loop.model.players()["discriminator"]]
    loop.advance(2)
    for before, now in zip(kept, loop.model.players()["discriminator"], strict=True):
        assert torch.equal(before, now)
    loop.advance(1)
    assert not torch.equal(kept[0], loop.model.players()["discriminator"][0])


def test_each_lever_is_left_out_and_nothing_else(noise: Noise, cpu: DeviceConfig) -> None:
    """What each changes, seen where it acts; the weights that it begins with are the same."""
    case = replace(ALL["mnist cvae_gan, default sizes"], run=small("mnist cvae_gan, default sizes", dropout=0.1))
    split, machine = noise(200, (1, 28, 28)), replace(cpu, bfloat16=True)
    built = {name: build(case, split, machine) for name, build in LEVERS.items()}
    whole = ours(case, split, machine)
    loops = {"": whole} | {name: loop for name, loop in built.items() if loop}
    assert len(loops) == 1 + len(LEVERS)
    passes: dict[str, int] = dict.fromkeys(loops, 0)

    def counted(name: str) -> None:
        passes[name] += 1

    for name, loop in loops.items():
        torch.testing.assert_close(loop.model.state_dict(), whole.model.state_dict(), rtol=0, atol=0)
        _decoder(loop).register_forward_pre_hook(lambda *_, name=name: counted(name))
    for loop in loops.values():
        loop.advance(1)
    moving = sum(player.moves(0) for player in whole.players)
    alone = "one forward pass for all players"
    assert moving > 1 and passes == dict.fromkeys(loops, 2) | {alone: 2 * moving}
    assert [name for name, loop in loops.items() if not loop.machine.bfloat16] == ["bfloat16"]
    last = {name: _weight(loop).is_contiguous(memory_format=torch.channels_last) for name, loop in loops.items()}
    assert [name for name in last if not last[name]] == ["channels last"]
    by_list = {name: loop.players[0].optimiser.defaults["foreach"] for name, loop in loops.items()}
    assert [name for name in by_list if not by_list[name]] == ["optimisers fused or by the list"]
    for kind, lever in ((UpsampledConv2d, "convolutions folded"), (Dropout, "dropout from random bytes")):
        for name, loop in loops.items():
            replaced = ["forward" in vars(layer) for layer in loop.model.modules() if isinstance(layer, kind)]
            assert replaced and all(replaced) == any(replaced) == (name == lever)


def _decoder(loop: Ours) -> nn.Module:
    return loop.model.get_submodule("decoder")


def _weight(loop: Ours) -> torch.Tensor:
    return next(layer.weight for layer in _decoder(loop).modules() if isinstance(layer, UpsampledConv2d))


def test_work_against_a_count_by_hand(noise: Noise, cpu: DeviceConfig) -> None:
    run = small("mnist ae, seed sizes", batch_size=8)
    split = noise(8, (1, 28, 28))
    code, batch = run.settings["latent_dim"], 8
    # Multiplications and additions of an image: convolutions as written down, channels at an eighth of the width.
    first = 2 * (8 * 1 * 3 * 3) * 14 * 14
    encoder = first + 2 * (8 * 8 * 3 * 3) * 7 * 7 + 2 * (8 * 7 * 7 * 8 + 8 * code)
    upsampled = 2 * (8 * 16 * 5 * 5) * 14 * 14
    last = 2 * (1 * 8 * 5 * 5) * 28 * 28
    decoder = 2 * code * 16 * 7 * 7 + upsampled + 2 * (8 * 8 * 3 * 3) * 14 * 14 + last
    forward = encoder + decoder
    # Backward: the gradient of the weights and that of the inputs, each as much; the images need none.
    assert count(Plain(make(run), run, split, cpu), 1) == batch * (3 * forward - first)
    # Folded, 5 x 5 of the large picture is 3 x 3 of the small one, four times; and the sums of the weights' taps.
    saved = (upsampled + last) * (1 - 9 / 25)
    sums = 2 * 36 * 25 * (8 * 16 + 1 * 8)
    assert count(Ours(make(run), run, split, cpu), 1) == batch * (3 * (forward - saved) - first) + 2 * sums


def test_the_plain_loops_work_is_a_forward_pass_more_for_each_player_more(noise: Noise, cpu: DeviceConfig) -> None:
    run = small("mnist cvae_gan, seed sizes")
    split = noise(16, (1, 28, 28))
    unfolded = Ours(plain_twin(make(run)), run, split, cpu)

    with FlopCounterMode(display=False) as counter, torch.no_grad():
        unfolded.model.losses(to_unit(split.images), split.labels)
    forward = counter.get_total_flops()
    assert count(Plain(make(run), run, split, cpu), 1) == count(unfolded, 1) + 2 * forward > 0


def test_every_member_is_timed_on_both_data_sets_at_both_sizes() -> None:
    found = {(case.run.dataset, case.run.model, case.sizes) for case in ALL.values()}
    assert found == {
        (dataset, model, sizes)
        for dataset in ("mnist", "cifar10")
        for model in PARAMS["models"]
        for sizes in ("default", "seed")
    }
    for case in ALL.values():
        if case.sizes == "seed":
            assert (case.run.settings["network"], case.run.train.width, case.run.train.batch_size) == ("seed", 1, 64)
        else:
            assert case.run.train.width == 0.5
    assert ALL["mnist cvae_gan, seed sizes"].run.settings["latent_dim"] == 8
    assert ALL["mnist cvae_gan, default sizes"].run.key == "mnist_cvae_gan_8"
    assert ALL["mnist cvae_gan, default sizes"].period == 3 and ALL["mnist cvae_gan, seed sizes"].period == 1
    assert {case.period for case in ALL.values()} == {1, 3}
    assert ALL["mnist cvae_gan, default sizes"].goal == 4 and ALL["mnist gan, default sizes"].goal == 2


def test_a_peak_is_the_childs_own() -> None:
    ours = np.ones(100_000_000)  # 0.8 GB, which a child that is forked from here would seem to have had
    peak = processes.peak_memory([sys.executable, "-c", "b = bytes(b'x' * 300_000_000)"])
    assert len(ours) and 0.3 < peak < 0.5


def test_a_stage_that_fails_is_told_in_one_line() -> None:
    with pytest.raises(AtlasError, match=r"status 1: no such run$"):
        processes.peak_memory([sys.executable, "-c", "import sys; sys.exit('no such run')"])


def test_imports_are_counted_by_package() -> None:
    found = processes.slowest([sys.executable, "-c", "import torch"])
    assert next(iter(found)) == "torch" and "pandas" not in found


def test_stages_are_measured_in_a_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "train.py").write_text("pass")
    text = (ROOT / "params.yaml").read_text(encoding="utf-8").replace("scale: cpu", "scale: smoke")
    (tmp_path / "params.yaml").write_text(text, encoding="utf-8")
    for name in ("data", "outputs/judges"):
        (tmp_path / name).mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    with processes.copied({"mnist_vae_2": 1}) as folder:
        settings = json.loads(json.dumps(read_yaml(folder / "params.yaml")))
        assert settings["scale"] == "cpu" and settings["runs"]["mnist_vae_2"]["epochs"] == 1
        assert (folder / "src" / "train.py").is_file() and (folder / "data").is_dir()
    assert (tmp_path / "params.yaml").read_text(encoding="utf-8") == text and not folder.exists()


def read_yaml(path: Path) -> Any:
    from ruamel.yaml import YAML

    return YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))


def test_the_clock_stands_still_during_measuring(noise: Noise, cpu: DeviceConfig, capsys: Any) -> None:
    run, split = small("mnist ae, default sizes"), noise(160, (1, 28, 28))
    seen: list[bool] = []

    def measure(model: Model) -> dict[str, float]:
        seen.append(model.training)
        return {"label_accuracy": len(seen) / 10}

    found = learn(changed(run, epochs=6), split, measure, cpu, Progress("learning"), marks=(0,))
    # After the first ten steps, since no mark is looked for between them, and at the end.
    assert [row.step for row in found.rows] == [10, 60] and found.rows[0].seconds <= found.rows[1].seconds
    assert [row.measures["label_accuracy"] for row in found.rows] == [0.1, 0.2]


def test_a_trial_writes_what_can_be_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "benchmarks.json"
    monkeypatch.chdir(ROOT)
    for part in ("speed", "levers", "scaling"):
        monkeypatch.setattr(sys, "argv", ["benchmarks", part, "--quick", "--output", str(target)])
        main()
    found = read(target)
    assert found.speed and found.levers and found.scaling and not found.memory
    # A CVAE has one player and, by default, no dropout.
    unmoved = ("one forward pass for all players", "dropout from random bytes")
    assert [row.lever for row in found.levers.rows] == [name for name in LEVERS if name not in unmoved] and all(
        row.ratio.low > 0 for row in found.levers.rows
    )
    for row in found.speed.rows:
        assert row.ours > 0 and row.plain > 0 and row.ratio.low <= row.ratio.median <= row.ratio.high
        assert row.plain_work >= row.shared_work > row.our_work > 0
    assert [row.run for row in found.speed.rows] == ["mnist_ae_2", "cifar10_cvae_gan_seed"]
    assert found.speed.profile.rows and 0.5 < sum(row.share for row in found.speed.profile.rows) <= 1
    assert [(table.over, len(table.rows)) for table in found.scaling.tables] == [
        ("batch_size", 2),
        ("width", 2),
        ("images", 2),
    ]
    assert "2 of 2" in capsys.readouterr().out
    assert (tmp_path / "speed.md").read_text() == report.readme(found)
    assert "Scaling" in (tmp_path / "benchmarks.md").read_text()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["sped"], r"part 'sped'; allowed: speed, levers, scaling, memory, startup, quality, learning"),
        (["speed", "--models", "vea"], r"--models: found 'vea'; allowed: ae, vae, "),
    ],
)
def test_words_that_are_none_are_refused(words: list[str], told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(sys, "argv", ["benchmarks", *words, "--quick"])
    with pytest.raises(AtlasError, match=told):
        main()


@pytest.mark.parametrize(
    ("content", "told"), [('{"speed": 3}', "speed: "), ('{"spead": {}}', "spead: Extra inputs"), ("{", "Invalid JSON")]
)
def test_other_files_are_refused(content: str, told: str, tmp_path: Path) -> None:
    path = tmp_path / "benchmarks.json"
    path.write_text(content)
    with pytest.raises(AtlasError, match=told):
        read(path)


def speed_row(model: str, sizes: str, ratio: float, goal: float, share: float) -> SpeedRow:
    spread = Spread(median=ratio, low=ratio - 0.1, high=ratio + 0.1)
    shares = Spread(median=share, low=share, high=share)
    return SpeedRow(
        dataset="mnist",
        model=model,
        sizes=sizes,
        run=model,
        batch_size=64,
        parameters=1000,
        ours=4000.0,
        plain=4000.0 / ratio,
        rounds=7,
        ratio=spread,
        goal=goal,
        plain_work=3.0,
        shared_work=2.0,
        our_work=1.0,
        peak=800.0,
        share=shares,
        our_share=shares,
    )


def filled() -> Benchmarks:
    """Every part that the README tells of, in numbers that decide a verdict each."""
    about: dict[str, Any] = {"machine": "CPU, 2 threads, bfloat16", "seconds": 1.0}
    return Benchmarks(
        speed=Speed(
            **about,
            float32_peak=400.0,
            bfloat16_peak=800.0,
            rows=[
                speed_row("vae", "default", 2.5, 2, 0.3),
                speed_row("vae", "seed", 1.5, 2, 0.3),
                speed_row("cvae_gan", "default", 4.5, 4, 0.5),
                speed_row("cvae_gan", "seed", 3.5, 4, 0.5),
            ],
            profile=Profile(
                case="mnist vae, seed sizes",
                milliseconds=30.0,
                rows=[ProfileRow(operation="aten::mm", share=0.6, calls=2.0)],
            ),
        ),
        memory=Memory(
            **about,
            rows=[
                MemoryRow(run="a", stage="evaluate", epochs=1, peak=3.5, seconds=1.0),
                MemoryRow(run="b", stage="train", epochs=2, peak=0.9, seconds=1.0),
                MemoryRow(run="b", stage="train", epochs=8, peak=0.8, seconds=1.0),
            ],
        ),
        startup=Startup(
            **about,
            rows=[
                StartupRow(command="dvc repro", note="not up to date"),
                StartupRow(command="import of src/train.py", seconds=1.7, packages={"torch": 1.2}),
            ],
        ),
        quality=Quality(
            **about,
            run="mnist_cvae_2",
            epochs=2,
            rows=[
                QualityRow(
                    loop=loop,
                    seed=seed,
                    measures={"nelbo": nelbo + seed, "label_accuracy": right + seed / 1000},
                    seconds=1.0,
                )
                for loop, nelbo, right in (("ours", 130.0, 0.9), ("plain", 131.0, 0.8))
                for seed in (1, 2, 3)
            ],
        ),
        learning=Learning(
            **about,
            run="mnist_cvae_gan_8",
            rows=[
                LearningRow(seconds=s, step=s, measures={"label_accuracy": right, "sharpness": 1.0})
                for s, right in ((5, 0.96), (10, 0.5), (60, 0.954), (90, 0.97))
            ],
        ),
    )


def test_the_words_are_what_the_numbers_say() -> None:
    text = report.readme(filled())
    assert "| mnist vae | 4,000 | 1,600 | 2.5 (2.4–2.6) | 4,000 | 2,667 | **1.5** (1.4–1.6) | 30 % |" in text
    assert "for the VAE/GANs: reached in 1 of 2 cases, from 3.5 (mnist cvae_gan, seed sizes) to 4.5" in text
    assert "for the others: reached in 1 of 2 cases, from 1.5 (mnist vae, seed sizes)" in text
    assert "40 % of the peak at the seed's sizes: reached in 1 of 2 cases, from 30 %" in text
    assert "evaluate of a, takes 3.50 GB, above the goal of 3;" in text and "8 epochs takes 0.80, one of 2" in text
    assert "nelbo 132 ± 1 beside 133 ± 1, within the spread" in text
    assert "label accuracy 0.902 ± 0.001 beside 0.802 ± 0.001, beyond the spread" in text
    assert "95.4 % for good after 60 s of training" in text and "ends after 90 s with 97.0 %" in text


def test_what_was_not_measured_is_not_told() -> None:
    assert report.readme(Benchmarks()) == ""
    assert "## Speed" not in report.details(Benchmarks())


def test_the_numbers_survive_the_file(tmp_path: Path) -> None:
    path = tmp_path / "benchmarks.json"
    write(path, filled())
    found = read(path)
    assert found.speed and [row.plain for row in found.speed.rows] == [1600.0, 2667.0, 888.9, 1143.0]
    # Four digits are all there is, so that what is read is what its tables say.
    write(path, found)
    assert read(path) == found and (tmp_path / "speed.md").read_text() == report.readme(found)


def test_the_readme_shows_what_was_measured() -> None:
    text = report.readme(read(ROOT / "results" / "benchmarks.json"))
    assert f"<!-- speed -->\n{text}<!-- end of speed -->" in (ROOT / "README.md").read_text(), "make readme mends it"
