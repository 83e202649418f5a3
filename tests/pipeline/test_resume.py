"""Resuming: a training killed again and again, through DVC, goes on where it was and ends in the same bytes."""

import itertools
import os
import random
import re
import signal
import subprocess
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
import torch
from tests import toy
from tests.conftest import Done
from tests.toy import RUN, content, run, stages_run

TRAIN = ("dvc", "repro", "-s", f"train@{RUN}")
OUTPUTS = [
    f"outputs/models/{RUN}/{name}" for name in ("weights.safetensors", "history.csv", "frames.npz", "model.json")
]


def long_training(done: Done, place: Path, epochs: int) -> Path:
    """Clone the toy copy, its data there, its training longer and with a checkpoint after every step."""
    clone = toy.clone(done.folder, place)
    run(clone, "dvc", "pull", "-q", "data/digits")
    params, loop = clone / "params.yaml", clone / "src/atlas/training/loop.py"
    for file, old, new in (
        (params, rf"(  {RUN}: {{)", rf"\g<1>epochs: {epochs}, "),
        (loop, r"SAVE_EVERY = [\d.]+", "SAVE_EVERY = 0.0"),
    ):
        text, count = re.subn(old, new, file.read_text())
        assert count == 1, file
        file.write_text(text)
    return clone


def checkpoint(clone: Path) -> Path | None:
    return next((clone / ".checkpoints").glob(f"{RUN}-*/state.pt"), None)


def step(clone: Path) -> int:
    """The step of the last whole checkpoint, past the digest that stands before it."""
    file = checkpoint(clone)
    if file is None:
        return 0
    with file.open("rb") as content:
        content.seek(32)
        return torch.load(content, weights_only=True)["step"]


def interrupted(clone: Path, how: signal.Signals, after: float) -> str:
    """Begin the training, let it write a checkpoint and go on for `after` seconds, end it; return what it printed."""
    last = checkpoint(clone)
    before = last.stat().st_mtime_ns if last else 0
    log = clone / "log"
    with log.open("w") as output:
        process = subprocess.Popen(
            TRAIN,
            cwd=clone,
            env=toy.environment(),
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            # Whoever runs the tests in the background may have Ctrl-C ignored, and children inherit that.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        deadline = time.monotonic() + toy.LIMIT
        while (last := checkpoint(clone)) is None or last.stat().st_mtime_ns == before:
            assert process.poll() is None and time.monotonic() < deadline, log.read_text()
            time.sleep(0.005)
        time.sleep(after)
        # All of it, as a terminal does, or a machine that is switched off.
        os.killpg(process.pid, how)
        process.wait(toy.LIMIT)
    assert process.returncode != 0, "it was done before it was to be killed"
    return log.read_text()


@pytest.fixture(scope="module")
def undisturbed(done: Done, tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], dict[str, str]]:
    """undisturbed(epochs): the outputs of the training that nobody disturbed."""

    @cache
    def train(epochs: int) -> dict[str, str]:
        clone = long_training(done, tmp_path_factory.mktemp("undisturbed") / "clone", epochs)
        assert stages_run(run(clone, *TRAIN)) == [f"train@{RUN}"]
        return content(clone, OUTPUTS)

    return train


@pytest.mark.parametrize(("kills", "epochs"), [(3, 10), pytest.param(20, 60, marks=pytest.mark.slow)])
def test_a_training_killed_at_random_moments_ends_in_the_same_bytes(
    done: Done, undisturbed: Callable[[int], dict[str, str]], tmp_path: Path, kills: int, epochs: int
) -> None:
    clone, moments = long_training(done, tmp_path / "clone", epochs), random.Random(1)
    steps, torn = [0], 0
    for _ in range(kills):
        interrupted(clone, signal.SIGKILL, moments.uniform(0, 0.15))
        torn += bool(list((clone / ".checkpoints").rglob(".*.part*")))
        steps.append(step(clone))
    assert all(later > earlier for earlier, later in itertools.pairwise(steps)), "none began anew"
    assert torn or kills < 20, "none was killed while it wrote a checkpoint"
    assert not (clone / "outputs/models" / RUN).exists(), "nothing half-done where others look"
    assert stages_run(run(clone, *TRAIN)) == [f"train@{RUN}"]
    assert content(clone, OUTPUTS) == undisturbed(epochs)
    assert not list((clone / ".checkpoints").glob("*")) and not list((clone / "outputs/models").glob(".*"))
    # What is done is not done again, and what was interrupted has no trace in what DVC knows.
    assert stages_run(run(clone, *TRAIN)) == []


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM], ids=lambda how: how.name)
def test_an_interruption_says_what_to_do_next(
    done: Done, undisturbed: Callable[[int], dict[str, str]], tmp_path: Path, how: signal.Signals
) -> None:
    clone = long_training(done, tmp_path / "clone", 60)
    output = interrupted(clone, how, 0.1)
    assert output.count("interrupted: run the same command again to go on") == 1 and "Traceback" not in output
    assert 0 < step(clone) < 39 * 60
    run(clone, *TRAIN)
    assert content(clone, OUTPUTS) == undisturbed(60)
