"""Recorder of what stages do: the hosts they ask for, the files they open, the keys of params.yaml that they read.

`toy.recorded` copies this file as `sitecustomize.py`, so that every Python process that DVC starts runs it first. Each
line of the log that RECORDER_LOG names is a JSON list: stage ("" outside of one), kind, name.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

LOG = os.open(os.environ["RECORDER_LOG"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
STAGE = os.environ.get("DVC_STAGE", "")
ROOT = f"{Path.cwd()}/"
FOLDERS = ("data/", "docs/", "outputs/", "results/", "src/")
LOCAL = (None, "", "localhost", "127.0.0.1", "::1")
logged: set[tuple[str, str]] = set()


def log(kind: str, name: str) -> None:
    if (kind, name) not in logged:
        logged.add((kind, name))
        os.write(LOG, f"{json.dumps([STAGE, kind, name])}\n".encode())


def log_file(kind: str, path: Any) -> None:
    name = str(Path.cwd() / os.fsdecode(path)).removeprefix(ROOT)
    if name.startswith(FOLDERS):
        log(kind, name)


def audit(event: str, arguments: tuple[Any, ...]) -> None:
    """Log files of the repository and refuse every host but this one. C code raises these events as well."""
    if event == "open" and STAGE and not isinstance(arguments[0], int):
        log_file("write" if arguments[2] & (os.O_WRONLY | os.O_RDWR) else "read", arguments[0])
    elif event in ("socket.connect", "socket.getaddrinfo"):
        host = arguments[0] if event == "socket.getaddrinfo" else arguments[1]
        host = host[0] if isinstance(host, tuple) else host
        if host not in LOCAL and not str(host).startswith("/"):
            log("network", str(host))
            raise ConnectionRefusedError(f"the test allows no network: {host}")


sys.addaudithook(audit)


def record_settings() -> None:
    """Let `atlas.core.settings.load` return settings that log which of their keys are read."""
    from atlas.core import settings as module

    sections = {"scale", "seed", "runs", "shown_labels", *module.SECTIONS}

    class Row:
        """A budget, or a data set, by its keys."""

        def __init__(self, path: str, row: Any) -> None:
            self._path, self._row = path, row

        def __getattr__(self, name: str) -> Any:
            log("setting", f"{self._path}.{name}")
            return getattr(self._row, name)

    class Budgets:
        """The budgets of a data set, each of which the data set may override."""

        def __init__(self, scale: str, dataset: str, budgets: Any) -> None:
            self._scale, self._dataset, self._budgets = scale, dataset, budgets

        def __getattr__(self, stage: str) -> Any:
            log("setting", f"datasets.{self._dataset}")
            return Row(f"budgets.{self._scale}.{stage}", getattr(self._budgets, stage))

    class Datasets(dict[str, Any]):
        """All data sets, by name."""

        def __getitem__(self, name: str) -> Row:
            return Row(f"datasets.{name}", super().__getitem__(name))

    class RecordedRun(module.Run):
        """A run whose parts are logged as the keys of params.yaml that they come from."""

        scale = ""

        def __getattribute__(self, name: str) -> Any:
            fields = object.__getattribute__(self, "__dict__")
            keys = {
                "seed": ["seed"],
                "train": [f"budgets.{RecordedRun.scale}.train", f"datasets.{fields['dataset']}"],
                "training": ["training"],
                "settings": [f"models.{fields['model']}"],
                "defaults": [f"models.{fields['model']}"],
            }
            log("setting", f"runs.{fields['key']}")
            for part in keys if name == "__dict__" else [name]:
                for key in keys.get(part, []):
                    log("setting", key)
            return super().__getattribute__(name)

    class RecordedSettings(module.Settings):
        def __getattribute__(self, name: str) -> Any:
            if name in sections:
                log("setting", name)
            return super().__getattribute__(name)

        def run(self, key: str) -> module.Run:
            # Looking one up is not reading all.
            runs = object.__getattribute__(self, "__dict__")["runs"]
            return runs[key] if key in runs else super().run(key)

    def recorded(*path: Path) -> module.Settings:
        settings = load(*path)
        RecordedRun.scale = settings.scale
        runs = {}
        for key, run in settings.runs.items():
            runs[key] = object.__new__(RecordedRun)
            object.__getattribute__(runs[key], "__dict__").update(vars(run))
        copy = object.__new__(RecordedSettings)
        copy.__dict__.update(
            vars(settings),
            runs=runs,
            datasets=Datasets(settings.datasets),
            budgets={name: Budgets(settings.scale, name, row) for name, row in settings.budgets.items()},
        )
        return copy

    load = module.load
    vars(module)["load"] = recorded


def record_weights() -> None:
    """Log the files of weights that are read: compiled code opens them, without an event."""
    import safetensors

    def recorded(path: Any, *arguments: Any, **options: Any) -> Any:
        log_file("read", path)
        return safe_open(path, *arguments, **options)

    safe_open = safetensors.safe_open
    vars(safetensors)["safe_open"] = recorded


if STAGE:
    record_weights()
    # Python itself puts the stage script's folder first, but only after this file.
    sys.path.insert(0, f"{ROOT}src")
    record_settings()
