"""The rooms of the house: who may import whom. Imports run one way, from the scripts down to nn."""

import ast
import fnmatch
from functools import cache
from pathlib import Path

import pytest

SRC = Path(__file__).parents[1] / "src"
MODULES = {
    ".".join(path.relative_to(SRC).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(SRC.rglob("*.py"))
}
SCRIPTS = [name for name in MODULES if "." not in name and name != "atlas"]

# What several members share.
BASES = ("adversarial", "larsen", "variational")

# Of each room: what it may import of atlas, and which packages from outside it must not. The first that fits counts.
ROOMS: list[tuple[str, list[str], list[str]]] = [
    ("atlas.core.files", [], ["torch", "numpy"]),
    ("atlas.jobs", [], ["torch", "numpy"]),
    ("scripts.experiments", ["atlas.core.files"], ["torch", "numpy"]),
    ("atlas.core.settings", ["atlas.core.files", "atlas.core.settings.*"], ["torch", "numpy"]),
    ("atlas.core.files", ["atlas.core.files"], ["torch", "numpy"]),
    ("atlas.data.download", ["atlas.core.files", "atlas.core.files", "atlas.core.settings", "atlas.core.settings.*"], []),
    ("atlas.core.datasets", ["atlas.core.files", "atlas.core.files"], ["pydantic", "matplotlib"]),
    ("atlas.core.device", ["atlas.core.files"], ["pydantic"]),
    ("atlas.core.latent", ["atlas.core.model"], ["matplotlib"]),
    ("atlas.core.latent", ["atlas.core.model"], ["numpy", "matplotlib"]),
    ("atlas.core.model", ["atlas.core.files", "atlas.core.files", "atlas.core.model", "atlas.core.model"], ["pickle"]),
    (
        "atlas.export.onnx",
        ["atlas.core.model"],
        ["pydantic", "matplotlib", "pathlib"],
    ),
    ("atlas.gallery.onnx_runtime", ["atlas.core.files", "atlas.core.files"], ["torch", "numpy"]),
    ("atlas.inference.remote", ["atlas.core.files", "atlas.core.files"], ["torch", "numpy", "pickle"]),
    (
        "atlas.inference.pretrained",
        [
            "atlas.core.model",
            *(f"atlas.{name}" for name in ("errors", "inversion", "latent", "settings", "source", "store")),
        ],
        ["dvc", "matplotlib", "PIL", "pydantic"],
    ),
    ("atlas.inference.own_image", ["atlas.core.files"], ["torch", "matplotlib"]),
    ("atlas.nn.losses", [], ["numpy"]),
    ("atlas.nn.dropout", [], ["numpy"]),
    ("atlas.nn.layers", ["atlas.nn.dropout"], ["numpy"]),
    ("atlas.nn.distributed", [], ["numpy"]),
    ("atlas.nn", ["atlas.nn.*"], ["numpy", "pydantic", "ruamel", "matplotlib"]),
    ("atlas.core.model", [], ["numpy", "pydantic", "matplotlib"]),
    ("atlas.core.model", ["atlas.core.files", "atlas.core.model"], ["numpy", "pydantic", "matplotlib"]),
    (
        "atlas.models",
        [*(f"atlas.models.{name}" for name in ("base", "registry", *BASES)), "atlas.nn.*"],
        ["numpy", "pydantic", "ruamel", "matplotlib", "json", "pathlib"],
    ),
    (
        "atlas.training",
        [
            "atlas.training.*",
            "atlas.nn.distributed",
            "atlas.core.model",
            *(
                f"atlas.{name}"
                for name in ("datasets", "device", "errors", "files", "latent", "settings", "settings.*")
            ),
        ],
        ["matplotlib", "PIL"],
    ),
    (
        "atlas.measures",
        ["atlas.measures.*", "atlas.core.model", "atlas.core.datasets", "atlas.core.files", "atlas.core.latent"],
        ["pydantic", "ruamel", "matplotlib", "pathlib"],
    ),
    (
        "atlas.album",
        [
            "atlas.album.*",
            "atlas.core.model",
            "atlas.show.*",
            *(f"atlas.{name}" for name in ("datasets", "errors", "files", "inversion", "latent", "settings")),
        ],
        ["matplotlib", "PIL", "pydantic"],
    ),
    # (What a history says of a contest is plain arithmetic on its rows.)
    (
        "atlas.show",
        ["atlas.show.*", "atlas.core.files", "atlas.core.files", "atlas.core.history"],
        ["torch", "torchvision", "pydantic"],
    ),
    (
        "atlas.away",
        [
            "atlas.away",
            "atlas.away.*",
            "scripts.readme_media",
            *(f"atlas.{name}" for name in ("datasets", "errors", "files", "jobs", "settings", "settings.*")),
        ],
        ["torch", "torchvision", "dvc", "pickle"],
    ),
]


@cache
def _imports(name: str) -> frozenset[str]:
    """Return every module that a file names in an import statement, wherever it stands."""
    found = set()
    for node in ast.walk(ast.parse(MODULES[name].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0 and node.module, f"{name}: imports are absolute"
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {module for module in inner if module in MODULES} or {node.module}
    return frozenset(found)


def _atlas(name: str) -> set[str]:
    return {module for module in _imports(name) if module.split(".")[0] == "atlas"}


def _closure(name: str) -> set[str]:
    """Return all of atlas that comes with a module."""
    found, ahead = set(), [name]
    while ahead:
        module = ahead.pop()
        if module not in found:
            found.add(module)
            ahead += [inner for inner in _atlas(module) if inner in MODULES]
    return found


def _room(name: str) -> tuple[str, list[str], list[str]]:
    return next(room for room in ROOMS if name == room[0] or name.startswith(f"{room[0]}."))


LIBRARY = [name for name in MODULES if name.startswith("atlas.")]


@pytest.mark.parametrize("name", LIBRARY)
def test_a_room_imports_only_what_it_may_know(name: str) -> None:
    _, allowed, forbidden = _room(name)
    for module in _atlas(name):
        assert module in MODULES, f"{name} imports {module}, which is not there"
        assert any(fnmatch.fnmatch(module, pattern) for pattern in allowed), f"{name} must not know {module}"
    outside = {module.split(".")[0] for module in _imports(name)}
    assert not outside & set(forbidden), f"{name} must not know {sorted(outside & set(forbidden))}"


def test_every_file_is_in_a_room() -> None:
    assert {_room(name)[0] for name in LIBRARY} == {room for room, _, _ in ROOMS}


def test_imports_run_one_way() -> None:
    ahead = {name: _atlas(name) & set(LIBRARY) for name in LIBRARY}
    while ahead:
        free = {name for name, inner in ahead.items() if not inner & set(ahead)}
        assert free, f"a circle: {sorted(ahead)}"
        ahead = {name: inner for name, inner in ahead.items() if name not in free}


@pytest.mark.parametrize("name", ["atlas.core.settings", *(n for n in LIBRARY if n.startswith("atlas.show."))])
def test_torch_does_not_come_in_by_the_back_door(name: str) -> None:
    for module in _closure(name):
        assert not {"torch", "torchvision"} & {inner.split(".")[0] for inner in _imports(module)}, module


def test_members_do_not_know_each_other() -> None:
    bases = {f"atlas.models.{name}" for name in ("base", "registry", *BASES)}
    for name in LIBRARY:
        if name.startswith("atlas.models."):
            assert {module for module in _atlas(name) if module.startswith("atlas.models")} <= bases


def test_nobody_names_a_member() -> None:
    """The trainer, the measures, the figures and the stages find a member by its registered name alone."""
    members = {name for name in LIBRARY if name.startswith("atlas.models.")}
    members -= {"atlas.core.model", "atlas.core.model"}
    for name in set(MODULES) - members:
        assert not _imports(name) & members, name


def test_stage_scripts_import_no_other_script_and_nothing_imports_them() -> None:
    assert {"train", "sample", "animate", "evaluate", "compare", "gallery"} <= set(SCRIPTS)
    for name in MODULES:
        assert not _imports(name) & set(SCRIPTS), f"{name} imports a stage script"


def test_importing_a_stage_script_runs_nothing() -> None:
    for name in SCRIPTS:
        *_, last = ast.parse(MODULES[name].read_text(encoding="utf-8")).body
        assert isinstance(last, ast.If) and ast.unparse(last.test) == "__name__ == '__main__'", name


def test_nothing_untrusted_is_unpickled() -> None:
    for name in MODULES:
        assert not {"pickle", "dill", "joblib"} & _imports(name), name
        for node in ast.walk(ast.parse(MODULES[name].read_text(encoding="utf-8"))):
            if isinstance(node, ast.keyword) and node.arg in ("allow_pickle", "weights_only"):
                assert isinstance(node.value, ast.Constant)
                assert node.value.value is (node.arg == "weights_only"), f"{name}: {node.arg}"
