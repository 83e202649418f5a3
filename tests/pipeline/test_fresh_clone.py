"""The README's commands in a fresh clone: the whole pipeline at smoke scale, on the real data where it can be had."""

import json
import os
import re
import sys
from pathlib import Path

import pytest
from tests import toy
from tests.toy import ROOT

from atlas.core import settings as settings_file

LIMIT = 2000
"""Seconds that a command may take: the longest makes every run, about ten minutes on a quiet machine."""
FINAL = {"compare", "export", "gallery"}
CORES = str(os.cpu_count())
RUNS = settings_file.load(ROOT / "params.yaml").runs


def mirror() -> str | None:
    """Where the official files lie on this machine, if they do."""
    place = os.environ.get("ATLAS_MIRROR")
    return str((ROOT / place).resolve()) if place else None


def run(clone: Path, *command: str) -> str:
    """Run a command in the clone, on all cores, and return what it printed."""
    # At home, where npm is told of its registry: the gallery's runtime comes from there.
    home = {name: value for name, value in os.environ.items() if name == "HOME" or name.lower().startswith("npm_")}
    variables = {**home, "ATLAS_THREADS": "", "OMP_NUM_THREADS": CORES}
    if place := mirror():
        variables["ATLAS_MIRROR"] = place
    return toy.run(clone, *command, limit=LIMIT, variables=variables)


def would_run(clone: Path) -> set[str]:
    return set(re.findall(r"Running stage '([^']+)'", run(clone, "dvc", "repro", "--dry")))


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone of the last commit, with what is not committed yet laid over it, and its `make repro SCALE=smoke`."""
    place = toy.last_commit(tmp_path_factory.mktemp("fresh") / "latent-atlas")
    # The environment is the one that the tests run in: making it is tried by whoever runs `make test`.
    (place / ".venv").symlink_to(sys.prefix)
    # Not newer than that: `make` would install into the environment that the tests run in.
    os.utime(place / "requirements.txt", (0, 0))
    return place


@pytest.mark.skipif(mirror() is None, reason="MNIST and CIFAR-10 need ATLAS_MIRROR: a copy of the official files")
@pytest.mark.slow
def test_make_repro_does_everything_once(clone: Path) -> None:
    output = run(clone, "make", "repro", "SCALE=smoke")
    assert re.search(r"about \d+ (minutes|seconds) on this machine", output), output[:2000]

    metrics = json.loads((clone / "results" / "metrics.json").read_text())
    assert list(metrics) == list(RUNS)
    for key, about in RUNS.items():
        assert 0 < metrics[key]["frechet_floor"] < metrics[key]["frechet"]
        for kind in ("samples", "animations"):
            folder = clone / "outputs" / kind / key
            captions = json.loads((folder / "captions.json").read_text())
            assert captions and all((folder / caption["file"]).stat().st_size > 1000 for caption in captions)
        drawn = (clone / "outputs" / "samples" / key / "transfer.png").exists()
        assert drawn == (about.model == "ac_vae" or about.settings.get("conditional", False))
    page = (clone / "outputs" / "gallery" / "index.html").read_text()
    assert all(key in page for key in RUNS)

    # A second time runs nothing, and says so; git sees nothing that DVC should have hidden.
    assert "Data and pipelines are up to date" in run(clone, "dvc", "repro")
    assert "up to date" in run(clone, "make", "plan")
    untracked = run(clone, "git", "ls-files", "--others", "--exclude-standard").split()
    assert {name for name in untracked if name.startswith(("data", "outputs", ".checkpoints"))} == set()

    # One run's setting redoes that run and what compares it, and no other.
    params = clone / "params.yaml"
    before = params.read_text()
    params.write_text(before.replace("conditional: true, latent_dim: 2}", "conditional: true, latent_dim: 3}", 1))
    assert params.read_text() != before
    again = would_run(clone)
    assert "train@mnist_cvae_2" in again
    assert {stage.split("@")[1] for stage in again if "@" in stage} == {"mnist_cvae_2"}
    per_run = {f"{stage}@mnist_cvae_2" for stage in ("train", "sample", "animate", "evaluate")}
    assert again - per_run == FINAL
    # A metric's setting measures again, and trains nothing.
    params.write_text(before.replace("importance_samples: 5,", "importance_samples: 6,"))
    # (Whether what gathers all runs changes too is known only once there are other numbers.)
    assert {stage.split("@")[0] for stage in would_run(clone)} - FINAL == {"evaluate"}
    params.write_text(before.replace("fps: 10", "fps: 12"))
    # A look retrains nothing. (That the gallery changes too is known only once there are other animations.)
    assert {stage.split("@")[0] for stage in would_run(clone)} - FINAL == {"animate"}
    params.write_text(before)


@pytest.mark.slow
def test_one_run_without_network(clone: Path) -> None:
    output = run(clone, "make", "repro", "SCALE=smoke", "RUNS=digits_cvae_2")
    assert "outputs/gallery/index.html" in output
    assert (clone / "outputs" / "samples" / "digits_cvae_2" / "transfer.png").exists()
    assert (clone / "outputs" / "animations" / "digits_cvae_2" / "all.mp4").exists()


@pytest.mark.slow
def test_a_run_that_diverges_keeps_no_other_from_being_done(clone: Path) -> None:
    params = clone / "params.yaml"
    before = params.read_text()
    bad = "  digits_bad: {dataset: digits, model: vae, epochs: 30, learning_rate: 90000}\n"
    params.write_text(before.replace("  digits_cvae_2:", f"{bad}  digits_cvae_2:"))
    metrics = clone / "outputs" / "metrics" / "digits_cvae_2.json"
    metrics.unlink(missing_ok=True)
    try:
        with pytest.raises(AssertionError) as refusal:
            run(clone, "make", "repro", "SCALE=smoke", "RUNS=digits_bad digits_cvae_2", "JOBS=1")
    finally:
        params.write_text(before)
    output = str(refusal.value)
    assert "training diverged" in output and metrics.exists()
    assert output.index("'train@digits_bad'") < output.index("'train@digits_cvae_2'"), "the other one was done before"


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (["make", "repro", "RUNS=mnist_cvae_88"], "unknown run 'mnist_cvae_88', did you mean 'mnist_cvae_8'?"),
        (["make", "repro", "SCALE=cpuu"], "unknown scale 'cpuu', did you mean 'cpu'?"),
        (["make", "plan", "RUNS=nonsense"], "unknown run 'nonsense'"),
    ],
)
def test_a_mistake_is_one_clear_line(clone: Path, command: list[str], words: str) -> None:
    with pytest.raises(AssertionError) as refusal:
        run(clone, *command)
    assert words in str(refusal.value)
    assert "Traceback" not in str(refusal.value)


def test_a_clone_of_git_for_windows_has_the_same_bytes(tmp_path: Path) -> None:
    """DVC hashes files as they lie on the disk: other line ends would make every stage stale."""
    origin = toy.last_commit(tmp_path / "origin")
    toy.run(tmp_path, "git", "-c", "core.autocrlf=true", "clone", "-q", str(origin), "clone")
    for file in ("params.yaml", "dvc.yaml", "src/train.py", "src/atlas/gallery/static/gallery.js"):
        assert (tmp_path / "clone" / file).read_bytes() == (ROOT / file).read_bytes(), file
