"""The README's commands in a fresh clone: the whole pipeline at smoke scale, on the real data where it can be had."""

import json
import os
import re
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from atlas import settings as settings_file
from atlas.models.registry import member

ROOT = Path(__file__).parent.parent
RUNS = settings_file.load(ROOT / "params.yaml").runs


def mirror() -> str | None:
    """Where the official files lie on this machine, if they do."""
    place = os.environ.get("ATLAS_MIRROR")
    return str((ROOT / place).resolve()) if place else None


def run(clone: Path, *command: str) -> str:
    """Run a command in the clone, in the environment that already is there, and return what it printed."""
    environment = {name: value for name, value in os.environ.items() if name not in ("DVC_ROOT", "ATLAS_MIRROR")}
    environment["PATH"] = f"{ROOT / '.venv' / 'bin'}:{environment['PATH']}"
    if place := mirror():
        environment["ATLAS_MIRROR"] = place
    done = subprocess.run(command, cwd=clone, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout + done.stderr


def would_run(clone: Path) -> set[str]:
    return set(re.findall(r"Running stage '([^']+)'", run(clone, "dvc", "repro", "--dry")))


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone of the last commit, with what is not committed yet laid over it, and its `make repro SCALE=smoke`."""
    place = tmp_path_factory.mktemp("fresh") / "latent-atlas"
    run(ROOT, "git", "clone", "-q", str(ROOT), str(place))
    changed = run(ROOT, "git", "ls-files", "--modified", "--others", "--exclude-standard").splitlines()
    for name in changed:
        if (ROOT / name).is_file():
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, place / name)
        else:
            (place / name).unlink(missing_ok=True)
    # The environment is the one that the tests run in: making it is tried by whoever runs `make test`.
    (place / ".venv").symlink_to(ROOT / ".venv")
    return place


@pytest.mark.skipif(mirror() is None, reason="MNIST and CIFAR-10 need ATLAS_MIRROR: a copy of the official files")
@pytest.mark.slow
def test_make_repro_does_everything_once(clone: Path) -> None:
    said = run(clone, "make", "repro", "SCALE=smoke")
    assert re.search(r"about \d+ (minutes|seconds) on this machine", said), said[:2000]

    metrics = json.loads((clone / "results" / "metrics.json").read_text())
    assert list(metrics) == list(RUNS)
    for key, setting in RUNS.items():
        assert 0 < metrics[key]["frechet_floor"] < metrics[key]["frechet"]
        for kind in ("samples", "animations"):
            folder = clone / "outputs" / kind / key
            captions = json.loads((folder / "captions.json").read_text())
            assert captions and all((folder / caption["file"]).stat().st_size > 1000 for caption in captions)
        drawn = (clone / "outputs" / "samples" / key / "transfer.png").exists()
        assert drawn == member(setting.model).conditional
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
    params.write_text(before.replace("model: vae, latent_dim: 2}", "model: vae, latent_dim: 3}", 1))
    assert params.read_text() != before
    again = would_run(clone)
    assert "train@mnist_vae_2" in again
    assert {stage.split("@")[1] for stage in again if "@" in stage} == {"mnist_vae_2"}
    assert again - {f"{stage}@mnist_vae_2" for stage in ("train", "sample", "animate", "evaluate")} == {
        "compare",
        "export",
        "gallery",
    }
    # A measure's setting measures again, and trains nothing.
    params.write_text(before.replace("importance_samples: 5,", "importance_samples: 6,"))
    # (Whether `compare` and the gallery change too is known only once there are other numbers.)
    assert {stage.split("@")[0] for stage in would_run(clone)} - {"compare", "gallery"} == {"evaluate"}
    params.write_text(before.replace("fps: 10", "fps: 12"))
    # A look retrains nothing. (That the gallery changes too is known only once there are other films.)
    assert {stage.split("@")[0] for stage in would_run(clone)} - {"gallery"} == {"animate"}
    params.write_text(before)


def test_one_run_without_network(clone: Path) -> None:
    said = run(clone, "make", "repro", "SCALE=smoke", "RUNS=digits_cvae_2")
    assert "outputs/gallery/index.html" in said
    assert (clone / "outputs" / "samples" / "digits_cvae_2" / "transfer.png").exists()
    assert (clone / "outputs" / "animations" / "digits_cvae_2" / "all.mp4").exists()


@pytest.mark.slow
def test_another_seed_is_an_experiment_that_compare_can_use(clone: Path) -> None:
    """The README's commands for other seeds, of the one run that needs no network."""
    run(clone, "make", "repro", "SCALE=smoke", "RUNS=digits_cvae_2")
    own = json.loads((clone / "outputs" / "metrics" / "digits_cvae_2.json").read_text())
    before = run(clone, "git", "status", "--short")
    run(clone, "dvc", "exp", "run", "--queue", "-S", "seed=2", "evaluate@digits_cvae_2")
    run(clone, "dvc", "queue", "start", "-j", "2")
    for _ in range(600):
        if not re.search("Queued|Running", status := run(clone, "dvc", "queue", "status")):
            break
        time.sleep(1)
    assert "Success" in status, status + run(clone, "dvc", "queue", "logs", "--all")
    # It was trained elsewhere: here, nothing has changed.
    assert run(clone, "git", "status", "--short") == before
    run(clone, "python", "src/seeds.py")
    gathered = json.loads((clone / "results" / "seeds.json").read_text())["digits_cvae_2"]["seeds"]
    assert list(gathered) == ["2"] and gathered["2"].keys() == own.keys()
    assert gathered["2"]["nelbo"] != own["nelbo"] and gathered["2"]["frechet_floor"] == own["frechet_floor"]


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
