"""Imports of src: they run one way, and each stage imports from the files and folders that dvc.yaml lists for it."""

import ast
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import pytest
import yaml

from atlas.core import settings as settings_file

ROOT = Path(__file__).parents[2]
SRC = ROOT / "src"
STAGES: dict[str, dict] = {
    name: entry.get("do", entry) for name, entry in yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"].items()
}
MODULES = {
    ".".join(path.relative_to(SRC).with_suffix("").parts): path
    for path in sorted(SRC.rglob("*.py"))
    if path.name != "__init__.py"
}
"""Of src, {module: file}. Packages' own __init__.py are left out: they run nothing (a test below)."""
LIBRARY = [name for name in MODULES if name.startswith("atlas.")]
MODELS = sorted({run.model for run in settings_file.load(ROOT / "params.yaml").runs.values()})

# Of each room, the rooms or modules that it may import besides its own.
ROOMS = {
    "core": [],
    "nn": ["core"],
    "models": ["core", "nn"],
    "data": ["core"],
    "training": ["core"],
    "metrics": ["core", "nn"],
    "claims": ["core", "metrics.registry"],
    "plotting": ["core"],
    "figures": ["core", "plotting"],
    "animation": ["core", "plotting"],
    "export": ["core", "nn", "plotting.canvas"],
    "gallery": ["core", "plotting", "metrics.registry"],
    "inference": ["core"],
}

# Packages from outside that a room, or a module, must not import.
FORBIDDEN = {
    "atlas.core.files": ["torch", "numpy", "pydantic"],
    "atlas.core.settings": ["torch", "numpy"],
    "atlas.core.model": ["numpy", "pydantic", "matplotlib"],
    "atlas.core": ["matplotlib"],
    "atlas.nn": ["pydantic", "matplotlib"],
    "atlas.models": ["numpy", "matplotlib", "json", "pathlib"],
    "atlas.training": ["matplotlib", "PIL"],
    "atlas.metrics": ["pydantic", "matplotlib"],
    "atlas.claims": ["torch", "pydantic"],
    "atlas.plotting": ["torch", "torchvision", "pydantic"],
    "atlas.animation": ["torch", "torchvision", "pydantic"],
    "atlas.gallery": ["torch", "torchvision", "pydantic"],
    "atlas.figures": ["pydantic"],
    "atlas.export": ["pydantic", "matplotlib"],
    "atlas.inference": ["matplotlib", "pydantic"],
}


def within(name: str, room: str) -> bool:
    """Is this module the room, or in it?"""
    return name == room or name.startswith(f"{room}.")


@cache
def imports(name: str, at_import: bool = False) -> frozenset[str]:
    """Return every module that a file names in an import statement.

    Args:
        at_import: only those that importing the file imports, not those inside functions.
    """
    body = ast.parse(MODULES[name].read_text(encoding="utf-8")).body
    names: set[str] = set()
    for statement in body:
        if at_import and isinstance(statement, ast.FunctionDef | ast.ClassDef | ast.If):
            continue
        for node in ast.walk(statement):
            if isinstance(node, ast.Import):
                names |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0 and node.module, f"{name}: imports are absolute"
                inner = {f"{node.module}.{alias.name}" for alias in node.names}
                names |= {module for module in inner if module in MODULES} or {node.module}
    return frozenset(names)


def atlas_imports(name: str) -> set[str]:
    return {module for module in imports(name) if module.split(".")[0] == "atlas"}


def closure(names: Iterable[str], at_import: bool = False) -> set[str]:
    """Return these modules, with all of src that they import, and that those import."""
    reached: set[str] = set()
    waiting = list(names)
    while waiting:
        module = waiting.pop()
        if module not in reached:
            reached.add(module)
            waiting += [inner for inner in imports(module, at_import) if inner in MODULES]
    return reached


# --- each stage and dvc.yaml ------------------------------------------------------------------------------------------


def test_the_scripts_of_src_are_the_stages() -> None:
    assert {name for name in MODULES if "." not in name} == set(STAGES) == {path.stem for path in SRC.glob("*.py")}
    for name, entry in STAGES.items():
        assert entry["cmd"].split()[:2] == ["python", f"src/{name}.py"]


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_lists_exactly_what_it_imports(stage: str) -> None:
    """What it does not list could change under a result that the cache still serves; what it does not use, retrains."""
    listed = [dep for dep in STAGES[stage]["deps"] if dep.startswith("src/")]
    per_model = any("${item.model}" in dep for dep in listed)
    for models in [[model] for model in MODELS] if per_model else [MODELS if "src/atlas/models" in listed else []]:
        # `core.model.find_model` imports the file of a run's model by its name.
        modules = closure([stage, *(f"atlas.models.{model}" for model in models)])
        files = {str(MODULES[name].relative_to(ROOT)) for name in modules}
        deps = [dep.replace("${item.model}", models[0] if models else "") for dep in listed]
        unlisted = {file for file in files if not any(file == dep or file.startswith(f"{dep}/") for dep in deps)}
        unused = {dep for dep in deps if not any(file == dep or file.startswith(f"{dep}/") for file in files)}
        assert (unlisted, unused) == (set(), set()), models


@pytest.mark.parametrize("stage", STAGES)
def test_the_help_of_a_stage_waits_for_no_large_package(stage: str) -> None:
    for module in closure([stage], at_import=True):
        outside = {name.split(".")[0] for name in imports(module, at_import=True)}
        assert not outside & {"torch", "torchvision", "numpy", "pydantic", "matplotlib", "onnx"}, module


def test_importing_a_script_or_a_package_runs_nothing() -> None:
    for stage in STAGES:
        *_, last = ast.parse(MODULES[stage].read_text(encoding="utf-8")).body
        assert isinstance(last, ast.If) and ast.unparse(last.test) == "__name__ == '__main__'", stage
    for path in SRC.rglob("__init__.py"):
        docstring, *body = ast.parse(path.read_text(encoding="utf-8")).body
        assert isinstance(docstring, ast.Expr), f"{path} has no docstring"
        for statement in body:
            # Constants and what type checkers alone see (`if TYPE_CHECKING`) run nothing either.
            assert isinstance(statement, ast.FunctionDef | ast.Assign | ast.If), f"{path} runs {ast.unparse(statement)}"
            assert not isinstance(statement, ast.If) or ast.unparse(statement.test) == "TYPE_CHECKING", path
            assert not isinstance(statement, ast.Assign) or isinstance(statement.value, ast.Constant | ast.List), path


# --- the rooms --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_only_what_it_may_know(room: str) -> None:
    allowed = [f"atlas.{other}" for other in (room, *ROOMS[room])]
    members = [name for name in LIBRARY if within(name, f"atlas.{room}")]
    assert members
    for name in members:
        for module in atlas_imports(name):
            assert module in MODULES, f"{name} imports {module}, which is not there"
            assert any(within(module, other) for other in allowed), f"{name} must not know {module}"
        outside = {module.split(".")[0] for module in imports(name)}
        for place, packages in FORBIDDEN.items():
            assert not within(name, place) or not outside & set(packages), f"{name}: {outside & set(packages)}"


def test_every_module_is_in_a_room() -> None:
    assert {name.split(".")[1] for name in LIBRARY} == set(ROOMS)
    assert all(any(within(name, place) for name in LIBRARY) for place in FORBIDDEN)


def test_imports_run_one_way() -> None:
    waiting = {name: atlas_imports(name) & set(LIBRARY) for name in LIBRARY}
    while waiting:
        free = {name for name, modules in waiting.items() if not modules & set(waiting)}
        assert free, f"a circle: {sorted(waiting)}"
        waiting = {name: modules for name, modules in waiting.items() if name not in free}


def test_every_module_is_used() -> None:
    """By a stage, or by whoever uses a trained model."""
    models = {f"atlas.models.{model}" for model in MODELS}
    people = {"atlas.inference.pretrained", "atlas.inference.own_image"}
    assert set(MODULES) - closure({*STAGES, *models, *people}) == set()


def test_nobody_imports_a_model_or_a_script() -> None:
    """Everyone finds a model by its registered name alone, and files are what stages give each other."""
    scripts = {path.stem for path in (ROOT / "scripts").glob("*.py")}
    for name in MODULES:
        for module in imports(name):
            assert not within(module, "atlas.models"), f"{name} imports {module}"
            assert module.split(".")[0] not in {*STAGES, "scripts", "tests", "benchmarks"}, f"{name} imports {module}"
            assert module not in scripts, f"{name} imports {module}"


def test_only_the_settings_read_params() -> None:
    """Of what a stage imports. (`atlas.load` lists the runs of other checkouts, maybe older ones.)"""
    for name in closure(STAGES):
        assert name == "atlas.core.settings" or not {"yaml", "ruamel"} & {m.split(".")[0] for m in imports(name)}, name


def test_plain_modules_import_no_torch_through_others() -> None:
    rooms = ("atlas.core.settings", "atlas.plotting", "atlas.animation", "atlas.gallery", "atlas.claims")
    for name in LIBRARY:
        if any(within(name, room) for room in rooms):
            for module in closure([name]):
                assert not {"torch", "torchvision"} & {inner.split(".")[0] for inner in imports(module)}, (name, module)


def test_no_two_classes_have_one_name() -> None:
    places: dict[str, list[str]] = {}
    for name, path in MODULES.items():
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef):
                places.setdefault(node.name, []).append(name)
    assert {name: modules for name, modules in places.items() if len(modules) > 1} == {}


def test_nothing_untrusted_is_unpickled() -> None:
    for name, path in MODULES.items():
        assert not {"pickle", "dill", "joblib"} & imports(name), name
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.keyword) and node.arg in ("allow_pickle", "weights_only"):
                assert isinstance(node.value, ast.Constant)
                assert node.value.value is (node.arg == "weights_only"), f"{name}: {node.arg}"
