"""Experiments: which count as another seed or another value of a setting, and the commands of the docs on DVC's own."""

import csv
import io
import json
import os
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from scripts.experiments import Gathered, Row, write_beside, write_seeds, write_sweep
from tests import toy
from tests.conftest import Done
from tests.toy import RUN, run, stages_run

from atlas.core import settings as settings_file
from atlas.core.files import AtlasError

SETTINGS = settings_file.load(toy.ROOT / "params.yaml")
GAN = "mnist_cvae_gan_8"
SCRIPT = "scripts/experiments.py"
PATIENCE = 600.0
"""Seconds that the queue may take for two experiments."""


def row(frechet: float, name: str | None = "some", /, **changes: Any) -> Row:
    """A row of `dvc.api.exp_show` with what decides the metrics of one run, and what does not."""
    columns = {
        "Experiment": name,
        f"{GAN}.frechet": frechet,
        f"{GAN}.frechet_n": 1000.0,
        "scale": "cpu",
        "seed": 1.0,
        f"runs.{GAN}.gamma": 0.02,
        f"runs.{GAN}.seed": "None",
        "models.vae_gan.dropout": 0.0,
        "budgets.cpu.train.images_seen": 4.0,
        "datasets.mnist.budgets.cpu.train.frames": "None",
        "src/atlas/models/vae_gan.py": "c1",
        "src/atlas/core": "c2",
        "data/mnist": "d1",
        "judge.seed": 1.0,
        "training.ema": 0.0,
        "inversion.steps": 200.0,
        "runs.mnist_gan.latent_dim": 64.0,
        "src/atlas/gallery": "c3",
    }
    names = {name.replace("/", "_").replace(".", "_"): name for name in columns}
    return columns | {names[name]: value for name, value in changes.items()}


OWN, HEAD = row(3.0, None), row(3.0, None)


def gathered(*experiments: Row, key: str = "seed", own: Row = OWN) -> Gathered:
    return Gathered([own, HEAD, *experiments], "cpu", SETTINGS.run(GAN), key)


@pytest.mark.parametrize(
    ("key", "changes", "value"),
    [
        ("seed", {"seed": 2.0}, 2),
        ("seed", {f"runs_{GAN}_seed": 3.0}, 3),
        ("seed", {"seed": 2.0, "runs_mnist_gan_latent_dim": 8.0, "src_atlas_gallery": "another"}, 2),
        ("gamma", {f"runs_{GAN}_gamma": 2.0}, 2),
        ("dropout", {"models_vae_gan_dropout": 0.3}, 0.3),
        ("images_seen", {"budgets_cpu_train_images_seen": 9.0}, 9),
        ("ema", {"training_ema": 0.999}, 0.999),
    ],
)
def test_an_experiment_that_differs_in_that_setting_alone_counts(key: str, changes: Row, value: float) -> None:
    assert gathered(row(4.0, **changes), key=key).metrics == {value: {"frechet": 4.0, "frechet_n": 1000.0}}


@pytest.mark.parametrize(
    "name", ["scale", "data_mnist", "src_atlas_core", "src_atlas_models_vae_gan_py", "judge_seed", f"runs_{GAN}_gamma",
             "models_vae_gan_dropout", "budgets_cpu_train_images_seen", "datasets_mnist_budgets_cpu_train_frames",
             "training_ema", "inversion_steps"]
)  # fmt: skip
def test_one_that_differs_in_anything_else_that_matters_does_not(name: str) -> None:
    assert gathered(row(4.0, seed=2.0, **{name: "another"})).metrics == {}


def test_nor_does_one_with_the_same_value_or_without_metrics_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    assert gathered(row(4.0)).metrics == {}
    assert capsys.readouterr().out == ""
    # DVC shows the metrics of the commit that it began from.
    assert gathered(row(3.0, "short", seed=2.0)).metrics == {}
    assert capsys.readouterr().out == "experiment short did not end at `compare`: left out\n"


def test_seeds_gathered_before_stay_while_settings_and_metrics_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)

    def seeds(*experiments: Row, own: Row = OWN) -> list[str]:
        write_seeds([gathered(*experiments, own=own)])
        table = json.loads(Path("results/seeds.json").read_text())
        return list(table[GAN]["seeds"]) if table else []

    assert seeds() == []
    assert seeds(row(5.0, seed=10.0), row(4.0, seed=2.0)) == ["2", "10"]
    # Another commit: DVC no longer lists them. A column that other experiments bring along changes nothing.
    assert seeds(row(4.5, seed=3.0), own=OWN | {f"runs.{GAN}.dropout": "None"}) == ["2", "3", "10"]
    assert seeds(own=row(3.0 * (1 + 1e-6), None)) == ["2", "3", "10"], "rounding"
    committed = Path("results/seeds.json").read_text()
    changes: list[Row] = [row(3.1, None), row(3.0, None, scale="gpu"), row(3.0, None, models_vae_gan_dropout=0.1)]
    for own in (*changes, {name: value for name, value in OWN.items() if "frechet" not in name}):
        Path("results/seeds.json").write_text(committed)
        assert seeds(own=own) == []
        assert f"{GAN}: its settings or metrics have changed" in capsys.readouterr().out


def test_a_sweep_is_a_table_with_a_row_a_value(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(AtlasError, match=f"no experiment differs from the workspace in gamma of {GAN} alone; run `dvc"):
        write_sweep(gathered(key="gamma"))
    name = f"runs_{GAN}_gamma"
    write_sweep(gathered(row(4.0, **{name: 10.0}), row(2.0, **{name: 2.0}), key="gamma"))
    # Gathered before, and another one.
    write_sweep(gathered(row(1.25, **{name: 0.002}), key="gamma"))
    assert Path("results/sweep.md").read_text().splitlines() == [
        "| gamma | Frechet ↓ |",
        "|---:|---:|",
        "| 0.002 | 1.25 |",
        "| **0.02** | 3.00 |",
        "| 2 | 2.00 |",
        "| 10 | 4.00 |",
        "",
        f"`{GAN}` at scale `cpu`, seed 1; in bold the value of params.yaml.",
    ]
    content = json.loads(Path("results/sweep.json").read_text())
    assert [line["value"] for line in content["rows"]] == [0.002, 0.02, 2, 10]
    # A sweep of another setting takes its place.
    write_sweep(gathered(row(4.0, models_vae_gan_dropout=0.5), key="dropout"))
    content = json.loads(Path("results/sweep.json").read_text())
    assert (content["key"], [line["value"] for line in content["rows"]]) == ("dropout", [0, 0.5])


def clone_of(done: Done, place: Path) -> Path:
    """A clone that a colleague has just pulled."""
    folder = toy.clone(done.folder, place)
    run(folder, "dvc", "pull")
    return folder


def experiments(folder: Path) -> dict[str, dict[str, Any]]:
    """Return {name: what `dvc exp show` tells of it}, the workspace and the commit with the experiments."""
    (workspace, head) = json.loads(run(folder, "dvc", "exp", "show", "--json"))
    rows = {"workspace": workspace["data"], "head": head["data"]}
    for experiment in head["experiments"] or []:
        rows[experiment["name"]] = experiment["revs"][0]["data"]
    return rows


def latent_dim(about: dict[str, Any]) -> int:
    return about["params"]["params.yaml"]["data"]["runs"][RUN]["latent_dim"]


def nelbo(about: dict[str, Any]) -> float:
    return about["metrics"]["results/metrics.json"]["data"][RUN]["nelbo"]


def gather(folder: Path, *words: str) -> Any:
    run(folder, "python", SCRIPT, *words, variables={"PYTHONPATH": "src"})
    return json.loads((folder / "results" / f"{'seeds' if words == ('seeds',) else 'sweep'}.json").read_text())


@pytest.mark.xdist_group("pipeline")
def test_an_experiment_is_run_gathered_and_applied(done: Done, tmp_path: Path) -> None:
    clone = clone_of(done, tmp_path / "clone")
    output = run(clone, "dvc", "exp", "run", "-n", "three", "-S", f"runs.{RUN}.latent_dim=3", "compare")
    assert stages_run(output) == [f"train@{RUN}", f"evaluate@{RUN}", "compare"], "nothing else hangs on it"
    run(clone, "git", "checkout", "-q", ".")
    run(clone, "dvc", "checkout", "-q")
    run(clone, "dvc", "exp", "run", "-n", "two", "-S", "seed=2", "compare")
    run(clone, "git", "checkout", "-q", ".")
    run(clone, "dvc", "checkout", "-q")
    table = experiments(clone)
    assert {name: latent_dim(about) for name, about in table.items()} == {
        "workspace": 2,
        "head": 2,
        "three": 3,
        "two": 2,
    }
    values = {name: nelbo(about) for name, about in table.items()}
    assert values["workspace"] == values["head"] and len(set(values.values())) == 3
    rows = gather(clone, "sweep", RUN, "latent_dim")["rows"]
    assert {row["value"]: row["metrics"]["nelbo"] for row in rows} == {2: values["head"], 3: values["three"]}
    seeds = gather(clone, "seeds")[RUN]["seeds"]
    own = json.loads((clone / "outputs" / "metrics" / f"{RUN}.json").read_text())
    assert list(seeds) == ["2"] and seeds["2"]["nelbo"] == values["two"]
    assert seeds["2"].keys() == own.keys() and seeds["2"]["frechet_floor"] == own["frechet_floor"]
    run(clone, "dvc", "repro", "compare")
    assert f"| {RUN} | 1, 2 |" in (clone / "docs" / "results.md").read_text()
    run(clone, "git", "checkout", "-q", ".")
    run(clone, "dvc", "exp", "apply", "three")
    assert nelbo(experiments(clone)["workspace"]) == values["three"]
    own = json.loads((clone / "outputs" / "metrics" / f"{RUN}.json").read_text())
    assert own["nelbo"] == values["three"]


@pytest.fixture
def queue_clone(done: Done, tmp_path: Path) -> Iterator[Path]:
    folder = clone_of(done, tmp_path / "clone")
    yield folder
    # No worker outlives the tests, whatever became of them.
    for file in (folder / ".dvc/tmp/exps/celery").glob("*.pid"):
        try:
            os.killpg(int(file.read_text()), signal.SIGKILL)
        except (ProcessLookupError, PermissionError, ValueError):
            continue


def wait_for_queue(folder: Path, seconds: float = PATIENCE) -> str:
    """Wait until the queue is done; return its last status.

    Raises:
        AssertionError: after some time, or where an experiment failed, with what the queue and its workers wrote.
    """
    deadline = time.monotonic() + seconds
    while True:
        status = run(folder, "dvc", "queue", "status", limit=60)
        if not re.search("Queued|Running", status):
            break
        assert time.monotonic() < deadline, f"not done after {seconds} seconds\n{status}\n{logs(folder)}"
        time.sleep(1)
    assert "Failed" not in status, f"{status}\n{logs(folder)}"
    return status


def logs(folder: Path) -> str:
    """Return the end of each log that the queue's workers and tasks wrote."""
    files = sorted((folder / ".dvc/tmp/exps").rglob("*.out"))
    return "\n".join(f"--- {file.name}\n{file.read_text(errors='replace')[-3000:]}" for file in files)


@pytest.mark.slow
@pytest.mark.xdist_group("pipeline")
def test_experiments_from_the_queue_to_a_colleague(queue_clone: Path, done: Done, tmp_path: Path) -> None:
    """One story, since each step needs those before it; first of a user whom git does not know."""
    clone = queue_clone
    with pytest.raises(toy.Failed):
        run(clone, "git", "config", "user.name")
    # The queue sets uncommitted work aside as git's stash does, and so needs a name: DVC says so, and nothing is left
    # behind.
    (clone / "README.md").write_text("Not committed yet\n", encoding="utf-8")
    sweep = ("dvc", "exp", "run", "--queue", "-S", f"runs.{RUN}.latent_dim=4,5", "compare")
    with pytest.raises(toy.Failed, match="Git user name and email must be configured"):
        run(clone, *sweep)
    assert "No experiment tasks" in run(clone, "dvc", "queue", "status")
    assert run(clone, "git", "diff", "--name-only").split() == ["README.md"]
    run(clone, "git", "checkout", "-q", "README.md")
    run(clone, "git", "config", "user.name", "a")
    run(clone, "git", "config", "user.email", "a@b.example")

    # Two at a time, in copies: the workspace does not change.
    assert run(clone, *sweep).count("Queued experiment") == 2
    run(clone, "dvc", "queue", "start", "-j", "2", limit=60)
    assert wait_for_queue(clone).count("Success") == 2
    assert run(clone, "git", "status", "--porcelain") == ""
    assert toy.UP_TO_DATE in run(clone, "dvc", "status")

    table = experiments(clone)
    names = {latent_dim(about): name for name, about in table.items() if name != "workspace"}
    assert set(names) == {2, 4, 5}
    values = {number: nelbo(table[name]) for number, name in names.items()}
    assert len(set(values.values())) == 3 and nelbo(table["workspace"]) == values[2]
    rows = list(csv.DictReader(io.StringIO(run(clone, "dvc", "exp", "show", "--csv"))))
    sizes = {row["Experiment"]: row[f"runs.{RUN}.latent_dim"] for row in rows}
    assert sizes[names[4]] == "4" and sizes[names[5]] == "5"
    differences = json.loads(run(clone, "dvc", "exp", "diff", names[4], names[5], "--json"))
    assert differences["params"]["params.yaml"] == {f"runs.{RUN}.latent_dim": {"old": 4, "new": 5, "diff": 1}}
    change = differences["metrics"]["results/metrics.json"][f"{RUN}.nelbo"]
    assert (change["old"], change["new"]) == (values[4], values[5])
    gathered_rows = gather(clone, "sweep", RUN, "latent_dim")["rows"]
    assert {row["value"]: row["metrics"]["nelbo"] for row in gathered_rows} == values

    run(clone, "dvc", "exp", "branch", names[4], "wide")
    assert "latent_dim: 4" in run(clone, "git", "show", "wide:params.yaml")
    assert run(clone, "git", "rev-parse", "wide^") == run(clone, "git", "rev-parse", "HEAD")

    # A colleague has it after a push, with its model and its numbers, and trains nothing.
    run(clone, "dvc", "exp", "push", "origin", names[4])
    fresh = toy.clone(done.folder, tmp_path / "fresh")
    run(fresh, "dvc", "exp", "pull", "origin", names[4])
    run(fresh, "dvc", "exp", "apply", names[4])
    own = json.loads((fresh / "outputs" / "metrics" / f"{RUN}.json").read_text())
    assert own["nelbo"] == values[4]
    assert stages_run(run(fresh, "dvc", "repro", "compare")) == []


def test_a_command_that_does_not_end_is_no_endless_test(tmp_path: Path) -> None:
    with pytest.raises(toy.Failed, match="nothing within 1 seconds"):
        run(tmp_path, "sh", "-c", "sleep 1000 & sleep 1000", limit=1)
    # Nor is one that leaves a child behind which holds its output open, as a queue's worker may.
    child = int(run(tmp_path, "sh", "-c", "sleep 1000 & echo $!"))
    os.kill(child, signal.SIGKILL)


def test_trainings_beside_the_set_are_taken_from_another_checkout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "night"
    for folder in (
        *(other / f"outputs/{part}" for part in ("metrics", f"samples/{GAN}", f"models/{GAN}")),
        tmp_path / "results/pictures",
    ):
        folder.mkdir(parents=True)
    text = (toy.ROOT / "params.yaml").read_text().replace("\nscale: cpu", "\nscale: night")
    (other / "params.yaml").write_text(text)
    (other / f"outputs/metrics/{GAN}.json").write_text('{"frechet": 2.5, "swap_accuracy": 0.99}')
    (other / f"outputs/samples/{GAN}/transfer.png").write_bytes(b"a picture")
    (other / f"outputs/models/{GAN}/history.csv").write_text("epoch,step,split\n47,9,train\n48,10,validation\n")
    monkeypatch.chdir(tmp_path)
    write_beside(other, "two cores", [f"{GAN}=54"], None)
    about: dict[str, object] = {"machine": "two cores", "minutes": 54, "epochs": 48, "pictures": ["transfer"]}
    about |= {"metrics": {"frechet": 2.5, "swap_accuracy": 0.99}}
    assert json.loads(Path("results/beside.json").read_text()) == {"night": {GAN: about}}
    assert Path(f"results/pictures/night_{GAN}_transfer.png").read_bytes() == b"a picture"
    for words, complaint in ((f"{GAN}=an hour", "whole minutes"), ("mnist_cvae_8=60", "evaluate@mnist_cvae_8")):
        with pytest.raises(AtlasError, match=complaint):
            write_beside(other, "two cores", [words], None)
    assert list(json.loads(Path("results/beside.json").read_text())["night"]) == [GAN]


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ((GAN, "gama"), "unknown setting 'gama', did you mean 'gamma'?; there are: adversarial_loss, "),
        (("mnist_cvae_gan", "gamma"), "unknown run 'mnist_cvae_gan', did you mean 'mnist_cvae_gan_8'?"),
    ],
)
def test_a_mistake_is_one_clear_line(words: tuple[str, str], line: str) -> None:
    with pytest.raises(toy.Failed, match=re.escape(line)) as refusal:
        run(toy.ROOT, "python", SCRIPT, "sweep", *words, variables={"PYTHONPATH": "src"})
    assert "Traceback" not in str(refusal.value)


@pytest.mark.slow
@pytest.mark.xdist_group("pipeline")
def test_parallel_experiments_leave_each_others_training_alone(queue_clone: Path) -> None:
    """Short trainings of a run end while a long one is at work, and must not take its checkpoints away."""
    clone = queue_clone
    run(clone, "git", "config", "user.name", "a")
    run(clone, "git", "config", "user.email", "a@b.example")
    for epochs in (120, 2, 3):
        run(clone, "dvc", "exp", "run", "--queue", "-S", f"+runs.{RUN}.epochs={epochs}", f"train@{RUN}")
    run(clone, "dvc", "queue", "start", "-j", "2")
    assert wait_for_queue(clone).count("Success") == 3
