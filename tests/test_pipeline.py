"""dvc.yaml against the code, every run of params.yaml at toy size, and the README against both."""

import ast
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml

from atlas.core import settings as settings_file
from atlas.core.datasets import Split
from atlas.core.device import DeviceConfig
from atlas.metrics.registry import known
from atlas.metrics.evaluate import evaluate
from atlas.metrics.classifier import Judge
from atlas.core.model import build
from atlas.training.checkpoint import Checkpoints
from atlas.training.loop import train
from atlas.training.optimizers import KEYS

ROOT = Path(__file__).parent.parent
SETTINGS = settings_file.load(ROOT / "params.yaml")
PIPELINE = yaml.safe_load((ROOT / "dvc.yaml").read_text())
SHAPES = {"mnist": (1, 28, 28), "cifar10": (3, 32, 32), "digits": (1, 28, 28)}

DOOR = ROOT / "src" / "atlas" / "__init__.py"
"""Whoever imports of atlas imports it, but it imports nothing until `atlas.load` is called, which no stage does
(tests/test_trained.py holds both to that)."""


def imports(file: Path) -> set[Path]:
    """The project's files that a file imports, at its top or inside a function."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        for name in names:
            path = ROOT / "src" / Path(*name.split("."))
            found |= {place for place in (path.with_suffix(".py"), path / "__init__.py") if place.is_file()}
    return found


def closure(*files: Path) -> set[str]:
    """Every file that these import, and those import, as paths from the root; packages' bare docstrings left out."""
    seen: set[Path] = set()
    waiting = set(files)
    while waiting:
        file = waiting.pop()
        seen.add(file)
        waiting |= imports(file) - seen - {DOOR}
    return {str(file.relative_to(ROOT)) for file in seen if len(ast.parse(file.read_text()).body) > 1}


def declared(stage: str, model: str = "") -> set[str]:
    """The source files that a stage lists in dvc.yaml, folders opened."""
    entry = PIPELINE["stages"][stage]
    found = set()
    for dep in entry.get("do", entry)["deps"]:
        path = ROOT / dep.replace("${item.model}", model)
        if dep.startswith("src/"):
            found |= set(path.rglob("*.py")) if path.is_dir() else {path}
    return {
        str(file.relative_to(ROOT))
        for file in found
        if file.suffix != ".py" or len(ast.parse(file.read_text()).body) > 1
    }


def stages() -> list[tuple[str, str]]:
    models = {run.model for run in SETTINGS.runs.values()}
    return [
        (stage, model)
        for stage, entry in PIPELINE["stages"].items()
        for model in (sorted(models) if entry.get("foreach") == "${runs}" and stage != "animate" else [""])
    ]


# Listed for every model, since dvc.yaml cannot tell which needs which: one that does not is retrained needlessly,
# never wrongly.
SHARED = {f"src/atlas/models/{base}.py" for base in ("adversarial", "larsen", "variational")}

# One stage that opens the models of all runs.
ALL_MEMBERS = {"export"}


@pytest.mark.parametrize(("stage", "model"), stages())
def test_a_stage_lists_exactly_the_files_that_it_imports(stage: str, model: str) -> None:
    files = [ROOT / "src" / f"{stage}.py"]
    if model:
        files.append(ROOT / "src" / "atlas" / "models" / f"{model}.py")
    elif stage in ALL_MEMBERS:
        files += [ROOT / "src" / "atlas" / "models" / f"{run.model}.py" for run in SETTINGS.runs.values()]
    imported, listed = closure(*files), declared(stage, model)
    assert imported - listed == set(), "imported, but editing them would serve a stale result"
    spare = {file for file in listed - imported if not file.startswith("src/atlas/nn/")} - SHARED
    assert {file for file in spare if file.endswith(".py")} == set(), "listed, but never imported"


def test_every_stage_script_is_a_stage_or_a_helper() -> None:
    scripts = {path.stem for path in (ROOT / "src").glob("*.py")}
    assert scripts - set(PIPELINE["stages"]) == {
        "away",
        "imagenet",
        "parallel",
        "plan",
        "readme",
        "restyle",
        "seeds",
        "sweep",
    }


def test_outputs_lie_where_git_does_not_look() -> None:
    ignored = (ROOT / ".gitignore").read_text().splitlines()
    for entry in PIPELINE["stages"].values():
        for out in entry.get("do", entry)["outs"]:
            if isinstance(out, str):
                assert f"/{out.split('/')[0]}/" in ignored, out
            else:
                assert next(iter(out)).startswith("results/"), "what git tracks lies in results/"


def test_every_model_is_an_artifact_of_its_own_name() -> None:
    artifacts = PIPELINE["artifacts"]
    assert list(artifacts) == list(SETTINGS.runs), "dvc.yaml's artifacts and params.yaml's runs"
    for key, about in artifacts.items():
        run = SETTINGS.run(key)
        assert about["path"] == f"outputs/models/{key}" and about["type"] == "model"
        assert about["labels"] == [run.dataset, run.model]
        assert about["desc"].endswith(f", codes of {run.settings['latent_dim']}")


@pytest.mark.parametrize("key", SETTINGS.runs)
def test_every_run_trains_and_is_measured_at_toy_size(
    key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    run = SETTINGS.run(key)
    budget = run.train.model_copy(update={"epochs": 1, "batch_size": 16, "width": 0.125, "frames": 3, "frame_grid": 2})
    run = replace(run, train=budget)
    shape = SHAPES[run.dataset]
    torch.manual_seed(run.seed)
    images = torch.randint(0, 256, (96, *shape), dtype=torch.uint8)
    split = Split(images, torch.arange(96) % 10)
    machine = DeviceConfig(torch.device("cpu"), bfloat16=False)
    arguments = {name: value for name, value in run.settings.items() if name not in KEYS} | {"width": 0.125}
    model = machine.place(build(run.model, shape, 10, arguments))
    before = [parameter.clone() for parameter in model.parameters()]
    trained = train(model, run, split, split, machine, Checkpoints(key, "toy"), lambda *_: None)
    assert [row["split"] for row in trained.history] == ["train", "validation"]
    assert trained.frame_steps[0] == 0 and trained.frame_steps[-1] == 6
    labels = 10 if model.conditional else 1
    assert all(frame.images.shape == (labels, 2, 2, *shape) for frame in trained.frames)
    moved = [bool((old != new).any()) for old, new in zip(before, model.parameters(), strict=True)]
    assert all(moved), "a parameter that no player moves"
    found = evaluate(model, Judge(shape, 10, 4), split, split, torch.Generator().manual_seed(0))
    assert all(value == value for value in found.values())
    assert all(map(known, found))
    assert ("label_accuracy" in found) == model.conditional
    assert ("nelbo" in found) == model.can("elbo")


def readme_commands() -> list[str]:
    text = (ROOT / "README.md").read_text()
    blocks = re.findall(r"```(?:sh|bash)\n(.*?)```", text, re.S)
    lines = [line.split(" #")[0].strip() for block in blocks for line in block.splitlines()]
    return [line for line in lines if line]


def test_the_readme_names_only_what_is_there() -> None:
    commands = readme_commands()
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.M))
    assert any(command.startswith("make repro") for command in commands)
    assert any(command.startswith("make test") for command in commands)
    for command in commands:
        for target in re.findall(r"\bmake ([a-z]+)", command):
            assert target in targets, command
        for run in re.findall(r"\b(?:mnist|cifar10|digits)_[a-z0-9_]+\b", command):
            assert run in SETTINGS.runs or "_my_" in run, command
        for script in re.findall(r"\bsrc/\w+\.py", command):
            assert (ROOT / script).is_file(), command


def test_the_readme_shows_the_table_that_compare_wrote() -> None:
    assert (ROOT / "results" / "table.md").read_text() in (ROOT / "README.md").read_text(), "make readme mends it"


def test_the_readme_shows_the_sweep_that_was_gathered() -> None:
    sweep = ROOT / "results" / "sweep.md"
    shown = sweep.read_text() if sweep.exists() else ""
    assert f"<!-- sweep -->\n{shown}<!-- end of sweep -->" in (ROOT / "README.md").read_text(), "make readme mends it"


def test_the_readme_shows_pictures_that_are_there() -> None:
    pictures = re.findall(r'(?:src="|\]\()([^")]+\.(?:png|gif))', (ROOT / "README.md").read_text())
    assert pictures
    for picture in pictures:
        assert (ROOT / picture).is_file(), picture
