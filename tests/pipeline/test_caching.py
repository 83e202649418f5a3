"""The cache: what a stage reads is what dvc.yaml says that it reads, and an edit redoes what depends on it, no more.

That a stage lists the files that it imports is in test_rooms.
"""

import ast
import json
import re
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import networkx
import pytest
from dvc.repo import Repo
from dvc.stage.serialize import to_lockfile
from dvc.utils.serialize import _yaml
from tests import toy
from tests.conftest import Done
from tests.toy import DATASET, RUN

from atlas.core import settings as settings_file
from atlas.core.model import find_model

STAGES = [
    f"download@{DATASET}",
    f"train_judge@{DATASET}",
    *(f"{stage}@{RUN}" for stage in ("train", "sample", "animate", "evaluate")),
    "compare",
    "export",
    "gallery",
]
RUNS = settings_file.load(toy.ROOT / "params.yaml").runs
MODELS = sorted({run.model for run in RUNS.values()})
SOURCES = toy.ROOT / "src" / "atlas" / "models"

# --- what a stage really reads, in the pipeline that was run once -----------------------------------------------------


@pytest.fixture(scope="module")
def declared(done: Done) -> dict[str, dict[str, list[str]]]:
    """{stage: what the toy copy's dvc.yaml resolves to: deps, params, outs}."""
    with Repo(str(done.folder)) as repo:
        stages = {stage.name: stage for stage in repo.index.stages}
        assert set(stages) == set(STAGES)
        return {
            name: {
                "deps": [dep.def_path for dep in stage.deps if dep.def_path != "params.yaml"],
                "params": [key for dep in stage.deps if dep.def_path == "params.yaml" for key in dep.params],
                "outs": [out.def_path for out in stage.outs],
            }
            for name, stage in stages.items()
        }


def logged(done: Done, stage: str, kind: str) -> set[str]:
    """Return the names that a stage's log holds of one kind, files under the names that they have in the end."""
    names = {name for logged_stage, logged_kind, name in done.log if (logged_stage, logged_kind) == (stage, kind)}
    # Compiled files stand for their sources, and temporary names for what becomes of them.
    names = {re.sub(r"__pycache__/(\w+)\.[^/]*$", r"\1.py", name) for name in names}
    return {re.sub(r"\.([^/]+?)\.part\w*", r"\1", name) for name in names}


def below(name: str, places: list[str], separator: str = "/") -> bool:
    """Is this a place, or below one?"""
    return any(name == place or name.startswith(f"{place}{separator}") for place in places)


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_opens_the_files_that_it_declares(
    done: Done, declared: dict[str, dict[str, list[str]]], stage: str
) -> None:
    deps, outs = declared[stage]["deps"], declared[stage]["outs"]
    read, written = logged(done, stage, "read"), logged(done, stage, "write")
    # Packages' own __init__.py run nothing (test_rooms). What a stage wrote itself it may read.
    opened = {name for name in read if Path(name).name != "__init__.py" and not below(name, outs)}
    assert {name for name in opened if not below(name, deps)} == set(), "read, but not declared"
    assert {dep for dep in deps if not any(below(name, [dep]) for name in opened)} == set(), "declared, but not read"
    # Compiled files are nobody's result, and wall-clock time must not be one.
    results = {name for name in written if not name.startswith(("src/", "outputs/timings/"))}
    assert {name for name in results if not below(name, outs)} == set(), "written, but not declared"
    assert {out for out in outs if not any(below(name, [out]) for name in results)} == set(), (
        "declared, but not written"
    )


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_reads_the_settings_that_it_declares(
    done: Done, declared: dict[str, dict[str, list[str]]], stage: str
) -> None:
    read, params = logged(done, stage, "setting"), declared[stage]["params"]
    assert {key for key in read if not below(key, params, ".")} == set(), "read, but not declared"
    unused = {
        param for param in params if not any(below(key, [param], ".") or below(param, [key], ".") for key in read)
    }
    assert unused == set(), "declared, but not read"


# --- what DVC does again after an edit, of all runs -------------------------------------------------------------------


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Repo]:
    """A copy of the repository with all its runs, for which DVC believes that every stage is done.

    The results are stubs, and the lock holds their hashes beside those of the real code and settings.
    """
    folder = toy.last_commit(tmp_path_factory.mktemp("whole") / "copy")
    (folder / "dvc.lock").unlink(missing_ok=True)
    with pytest.MonkeyPatch.context() as patch:
        # DVC parses params.yaml again for each of a hundred stages.
        patch.setattr(_yaml, "parse_yaml", cache(_yaml.parse_yaml))
        lock: dict[str, Any] = {}
        with Repo(str(folder)) as repo, repo.lock:
            stages = repo.index.stages
            for name in {place.def_path for stage in stages for place in [*stage.outs, *stage.deps]}:
                path = folder / name
                if not path.exists():
                    path = path if path.suffix else path / "stub"
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_text(name)
            for stage in stages:
                stage.save_deps()
                stage.save_outs()
                stage.commit()
                lock |= to_lockfile(stage)
        (folder / "dvc.lock").write_text(json.dumps({"schema": "2.0", "stages": lock}, indent=1))
        with Repo(str(folder)) as repo, repo.lock:
            assert stale(repo) == set()
            yield repo


def stale(repo: Repo) -> set[str]:
    """Return the stages of which DVC says that what they read or wrote is no longer what it was."""
    return {stage.name for stage in repo.index.stages if stage.status()}


def after_edit(repo: Repo, name: str, edit: Callable[[str], str]) -> set[str]:
    """Return the stages that DVC would do again after an edit of a file, which is then taken back."""
    path = Path(repo.root_dir) / name
    text = path.read_text(encoding="utf-8")
    assert edit(text) != text
    path.write_text(edit(text), encoding="utf-8")
    try:
        return stale(repo)
    finally:
        path.write_text(text, encoding="utf-8")


def stages_of(runs: Iterable[str], *stages: str) -> set[str]:
    return {f"{stage}@{run}" for stage in stages for run in runs}


def runs_with(**fields: str) -> list[str]:
    return [key for key, run in RUNS.items() if all(getattr(run, name) == value for name, value in fields.items())]


@pytest.mark.parametrize("model", MODELS)
def test_an_edited_loss_retrains_the_runs_of_its_model_alone(whole: Repo, model: str) -> None:
    def half_as_bright(source: str) -> str:
        (losses,) = [n for n in ast.walk(ast.parse(source)) if isinstance(n, ast.FunctionDef) and n.name == "losses"]
        lines = source.splitlines()
        lines.insert(losses.body[0].lineno - 1, "        images = 0.5 * images")
        return "\n".join(lines)

    redone = after_edit(whole, f"src/atlas/models/{model}.py", half_as_bright)
    assert redone == stages_of(runs_with(model=model), "train", "sample", "evaluate") | {"export"}


def test_every_run_has_a_loss_of_its_models_own_file() -> None:
    assert sorted(path.stem for path in SOURCES.glob("*.py") if path.name != "__init__.py") == MODELS
    for model in MODELS:
        assert "losses" in vars(find_model(model)) and find_model(model).__module__ == f"atlas.models.{model}"


def test_what_follows_a_training_is_of_its_run_or_gathers_all_runs(whole: Repo) -> None:
    stages = {stage.name: stage for stage in whole.index.stages}
    for run in RUNS:
        # Edges of DVC's graph point from a stage to those that it needs.
        following = {stage.name for stage in networkx.ancestors(whole.index.graph, stages[f"train@{run}"])}
        assert following == stages_of([run], "sample", "animate", "evaluate") | {"compare", "export", "gallery"}


@pytest.mark.parametrize(
    ("name", "stages"),
    [
        ("training/loop.py", {"train"}),
        ("figures/latent_space.py", {"sample"}),
        ("metrics/labels.py", {"evaluate"}),
        ("animation/latent_scatter.py", {"animate"}),
        ("plotting/charts.py", {"sample", "animate", "gallery"}),
        ("claims/claims.py", {"compare"}),
        ("gallery/static/gallery.js", {"gallery"}),
    ],
)
def test_edited_code_redoes_the_stages_that_use_it(whole: Repo, name: str, stages: set[str]) -> None:
    redone = after_edit(whole, f"src/atlas/{name}", lambda text: f"{text}\n")
    assert {stage.split("@")[0] for stage in redone} == stages


@pytest.mark.parametrize(
    ("old", "new", "stages"),
    [
        ("map_steps: 15", "map_steps: 11", stages_of(RUNS, "sample")),
        ("fps: 10", "fps: 12", stages_of(RUNS, "animate")),
        (  # what a data set says of itself is one setting
            "cpu: {train: {frames: 90",
            "cpu: {train: {frames: 80",
            stages_of(["mnist"], "download", "train_judge")
            | stages_of(runs_with(dataset="mnist"), "train", "evaluate")
            | {"compare", "gallery"},
        ),
        ("gradient_images: 50", "gradient_images: 90", stages_of(RUNS, "evaluate")),
        ("  codes: 512", "  codes: 256", stages_of(RUNS, "train")),
        ("  ema: 0.0  ", "  ema: 0.5  ", stages_of(RUNS, "train") | {"compare", "gallery"}),
        (
            "    gamma: 0.2  ",  # the default, with a comment behind it
            "    gamma: 0.3  ",
            stages_of(runs_with(model="vae_gan"), "train") | {"compare", "gallery"},
        ),
        (
            "mnist_cvae_2: {dataset: mnist, model: vae, conditional: true, latent_dim: 2",
            "mnist_cvae_2: {dataset: mnist, model: vae, conditional: true, latent_dim: 3",
            stages_of(["mnist_cvae_2"], "train", "sample", "evaluate") | {"compare", "export", "gallery"},
        ),
    ],
    ids=lambda value: value.strip().split(":")[0] if isinstance(value, str) else "",
)
def test_an_edited_setting_redoes_the_stages_that_read_it(whole: Repo, old: str, new: str, stages: set[str]) -> None:
    assert after_edit(whole, "params.yaml", lambda text: text.replace(old, new)) == stages
