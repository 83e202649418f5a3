"""The check before a long run and the pool of runs: what is outdated, the forecast, mistakes, threads and signals."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from scripts import check
from tests.toy import ROOT

from atlas.core import settings as settings_file
from atlas.core.device import DeviceConfig
from atlas.core.files import AtlasError

SETTINGS = settings_file.load(ROOT / "params.yaml")
GAN, VAE = SETTINGS.run("mnist_gan"), SETTINGS.run("cifar10_vae")


def names(run: str, *stages: str) -> list[str]:
    return [f"{stage}@{run}" for stage in stages or check.RUN_STAGES]


@pytest.mark.parametrize(
    ("changed", "stages"),
    [
        ([], []),
        (["compare"], ["compare", "export", "gallery"]),
        (["sample@mnist_gan"], ["sample@mnist_gan", "compare", "export", "gallery"]),
        (["train@mnist_gan"], [*names("mnist_gan"), "compare", "export", "gallery"]),
        (["train_judge@cifar10"], ["train_judge@cifar10", *names("cifar10_vae"), "compare", "export", "gallery"]),
    ],
)
def test_what_follows_from_a_change_is_outdated(changed: list[str], stages: list[str]) -> None:
    assert check.outdated(set(changed), [GAN, VAE], final=True) == stages
    alone = check.outdated({*changed, "train@mnist_vae_2"}, [GAN, VAE], final=False)
    assert alone == [stage for stage in stages if stage not in check.FINAL_STAGES], "only of these runs"


@pytest.fixture
def record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    shutil.copy(ROOT / "params.yaml", tmp_path)
    content: dict[str, Any] = {"step": 2.0, "stages": {"train": 1, "sample": 10}}
    content["train"] = {"mnist_gan": {"seconds": 60, "work": check.work(GAN)}, "gone": {"seconds": 1, "work": 1}}
    check.RECORD.parent.mkdir()
    check.RECORD.write_text(json.dumps(content))
    monkeypatch.setattr(check, "step_seconds", lambda: 4.0)
    return check.RECORD


@pytest.mark.usefixtures("record")
def test_the_forecast_is_the_recorded_time_scaled_by_machine_and_work() -> None:
    assert check.forecast(SETTINGS, names("mnist_gan", "train", "sample")) == {
        "train@mnist_gan": 2 * (1 + 60),
        "sample@mnist_gan": 2 * 10,
    }
    # Without a record of its own, a run counts as a similar one, here the only one.
    (seconds,) = check.forecast(SETTINGS, ["train@mnist_cvae_gan_8"]).values()
    assert seconds == 2 * (1 + 60)
    # Jobs share cores, and are counted in the seconds of the whole machine.
    assert check.forecast(SETTINGS, ["sample@mnist_gan"], jobs=2) == {"sample@mnist_gan": 20}


@pytest.mark.usefixtures("record")
def test_runs_at_a_time_on_a_gpu_each_have_its_speed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("atlas.core.device.device_config", lambda: DeviceConfig(torch.device("cuda"), True))
    stages = ["sample@mnist_gan", "sample@cifar10_vae", "sample@mnist_vae_2"]
    for jobs, seconds in ((1, 20), (2, 10), (8, 20 / 3)):
        assert set(check.forecast(SETTINGS, stages, jobs).values()) == {seconds}


@pytest.mark.parametrize(
    ("memory", "cores", "jobs"),
    [
        ("", 16, 4),
        ("", 2, 2),
        ("143771", 16, 8),
        ("24576", 16, 5),
        ("4096", 16, 1),
        ("81920", 2, 2),
        ("no driver", 9, 4),
    ],
)
def test_make_repro_takes_as_many_jobs_as_the_machine_holds(tmp_path: Path, memory: str, cores: int, jobs: int) -> None:
    tool = tmp_path / "nvidia-smi"
    tool.write_text(f"#!/bin/sh\n{f'echo {memory}' if memory else 'exit 9'}\n")
    tool.chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "ATLAS_DEVICE": "auto"}
    command = ["make", "-n", "plan", "VENV=none", f"CORES={cores}"]
    output = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True).stdout
    assert f"scripts/check.py --jobs {jobs} " in output


def test_a_record_is_made_of_the_timings(record: Path) -> None:
    timing = Path("outputs/timings/cifar10_vae.json")
    timing.parent.mkdir(parents=True)
    cores = os.cpu_count()
    timing.write_text(json.dumps({"seconds": 90.0, "machine": f"CPU, {cores} threads, bfloat16"}))
    check.record(SETTINGS)
    content = json.loads(record.read_text())
    assert content["step"] == 4.0 and content["stages"] == {"train": 1, "sample": 10}
    assert content["train"]["cifar10_vae"] == {"seconds": 90.0, "work": check.work(VAE)}
    assert content["train"]["mnist_gan"]["seconds"] == 60


def test_the_committed_record_has_every_stage_and_run() -> None:
    content = json.loads((ROOT / check.RECORD).read_text())
    assert list(content["stages"]) == [*check.DATA_STAGES, *check.RUN_STAGES, *check.FINAL_STAGES]
    assert content["train"].keys() == SETTINGS.runs.keys() and content["step"] > 0


@pytest.mark.parametrize(
    ("run", "change", "line"),
    [
        ("mnist_gan", {"latent_dim": 0}, "runs.mnist_gan.latent_dim: "),
        ("cifar10_vae", {"latent_dim": 4000}, "latent_dim: found 4000; network 'dct' allows 1 to 3072"),
        ("mnist_gan", {"optimizer": "adamm"}, "runs.mnist_gan.optimizer: "),
        ("mnist_gan", {"patience": 2}, "runs.mnist_gan.patience: found 2; model 'gan' allows null alone"),
        ("mnist_cvae_2", {"epochs": 3, "restarts": [4]}, r"runs.mnist_cvae_2.restarts: found \[4\]; allowed: rising"),
    ],
)
def test_a_setting_that_does_not_fit_is_refused(
    raw: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: str, change: dict[str, Any], line: str
) -> None:
    """Before anything was downloaded."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(ROOT / "params.yaml", tmp_path)
    raw["runs"][run] |= change
    with pytest.raises(AtlasError, match=line):
        check.build_model(settings_file.check(raw).run(run))


PIPELINE = """stages:
  download: {foreach: [d], do: {cmd: "python stage.py data", outs: [data]}}
  train: {foreach: [a, b, c], do: {cmd: "python stage.py train_${item}", deps: [data], outs: ["train_${item}"]}}
  sample: {foreach: [a, b, c], do: {cmd: "python stage.py sample_${item}", outs: ["sample_${item}"]}}
  animate: {foreach: [a, b, c], do: {cmd: "python stage.py animate_${item}", outs: ["animate_${item}"]}}
  evaluate: {foreach: [a, b, c], do: {cmd: "python stage.py evaluate_${item}", outs: ["evaluate_${item}"]}}
  compare: {cmd: "python stage.py compare", deps: [evaluate_a, evaluate_b, evaluate_c], outs: [compare]}
"""
# A training waits until it is told to go on, and says that it has begun and how it ended.
STAGE = """import os, signal, sys, time
from pathlib import Path
name = sys.argv[1]
signal.signal(signal.SIGTERM, signal.default_int_handler)
if name.startswith("train"):
    Path(f"log_{name}").write_text(os.environ.get("ATLAS_THREADS", ""))
    try:
        while not Path("go_on").exists():
            time.sleep(0.05)
    except KeyboardInterrupt:
        Path(f"log_{name}").write_text("interrupted")
        sys.exit(1)
Path(name).write_text(name)
"""
CHECK = "print('download@d run@a run@b run@c compare')"


@pytest.fixture
def pool(tmp_path: Path) -> Path:
    """A small pipeline with this repository's Makefile."""
    (tmp_path / "scripts").mkdir()
    for name, text in (("dvc.yaml", PIPELINE), ("stage.py", STAGE), ("scripts/check.py", CHECK)):
        (tmp_path / name).write_text(text)
    for name in ("Makefile", "scripts/ready.py"):
        shutil.copy(ROOT / name, tmp_path / name)
    subprocess.run(["dvc", "init", "-q", "--no-scm"], cwd=tmp_path, check=True)
    return tmp_path


def make(folder: Path) -> subprocess.Popen[bytes]:
    environment = {name: value for name, value in os.environ.items() if name != "ATLAS_THREADS"}
    environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
    command = ["make", "repro", "VENV=none", "JOBS=2", "CORES=4"]

    def as_a_terminal_does() -> None:
        # What runs the tests may ignore Ctrl-C, as nohup in the background does, and a shell cannot trap it then.
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    return subprocess.Popen(command, cwd=folder, env=environment, start_new_session=True, preexec_fn=as_a_terminal_does)


def logs(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.glob("log_*")}


def wait_for(folder: Path, count: int) -> None:
    deadline = time.monotonic() + 120
    while len(logs(folder)) < count:
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize("signal_number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)])
def test_a_signal_stops_every_stage_and_the_same_command_goes_on(pool: Path, signal_number: signal.Signals) -> None:
    process = make(pool)
    wait_for(pool, 2)
    if signal_number == signal.SIGINT:
        # As a terminal does on Ctrl-C.
        os.killpg(process.pid, signal_number)
    else:
        process.terminate()
    assert process.wait(60) != 0
    deadline = time.monotonic() + 60
    while set(logs(pool).values()) != {"interrupted"}:
        assert time.monotonic() < deadline, logs(pool)
        time.sleep(0.05)
    assert len(logs(pool)) == 2, "two at a time"
    (pool / "go_on").touch()
    assert make(pool).wait(120) == 0
    # Two jobs share four cores.
    assert logs(pool) == {f"log_train_{key}": "2" for key in "abc"}
    assert (pool / "compare").exists()


@pytest.mark.parametrize(
    ("words", "threads"),
    [
        (["JOBS=2", "CORES=8", "OUTDATED=run@a run@b run@c"], "4"),
        (["JOBS=4", "CORES=8", "OUTDATED=run@a"], "8"),
        (["JOBS=4", "CORES=2", "OUTDATED=run@a run@b run@c"], "1"),
        (["ATLAS_THREADS=3", "OUTDATED=run@a"], None),
    ],
)
def test_jobs_share_the_threads_unless_the_user_has_set_them(words: list[str], threads: str | None) -> None:
    variables = {name: value for name, value in os.environ.items() if name != "ATLAS_THREADS"}
    command = ["make", "-n", "gather", "VENV=none", *words]
    output = subprocess.run(command, cwd=ROOT, env=variables, capture_output=True, text=True, check=True).stdout
    share = f"ATLAS_THREADS={threads} OMP_NUM_THREADS={threads} " if threads else " "
    assert f"{{ {share}dvc --wait-for-lock repro -s train@a sample@a animate@a evaluate@a; }}" in output


def test_a_look_at_a_folder_says_what_is_there_and_draws_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, raw: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for label, count in (("rose", 30), ("tulip", 3)):
        (tmp_path / "my flowers" / label).mkdir(parents=True)
        for i in range(count):
            Image.new("RGB", (20, 30), (9 * i, 90, 40)).save(tmp_path / "my flowers" / label / f"{i}.png")
    (tmp_path / "my flowers" / "rose" / "broken.png").write_bytes(b"text")
    raw["datasets"]["flowers"] = {"source": "my flowers", "size": [16, 24]}
    raw["runs"]["flowers_cvae"] = {"dataset": "flowers", "model": "vae", "conditional": True}
    check.look(settings_file.check(raw), "flowers")
    output = capsys.readouterr().out
    for part in (
        "flowers: 34 images in my flowers; nothing passed over",
        "sizes (width x height): 20 x 30 (33); modes: RGB (33)",
        "broken: 1",
        "the networks see 3x16x24",
        "broken.png (no image)",
        "too few images to be in every split: tulip",
        "flowers_cvae: cvae, ",
        "epochs of 27 images in batches of 16",
    ):
        assert part in output
    with Image.open(tmp_path / "outputs" / "check" / "flowers.png") as sheet:
        assert sheet.width > 200 and len(sheet.getcolors(1_000_000) or []) > 20
