"""Other seeds, other values of a setting and trainings beside the set, gathered into results/.

    python scripts/experiments.py seeds            # results/seeds.json, which `compare` reads
    python scripts/experiments.py sweep RUN KEY    # results/sweep.json and results/sweep.md
    python scripts/experiments.py beside CHECKOUT MACHINE RUN=MINUTES ...    # results/beside.json and pictures

The first two read DVC's experiments, the last the outputs of a checkout with another scale or other runs. An
experiment counts for a run if code, data and settings behind the run's metrics are the workspace's but for the one
setting, and if it ended at `compare`. DVC lists the experiments of one commit only, so what was gathered before stays
while the run has the settings and the metrics that it had then.
"""

import argparse
import math
import shutil
from pathlib import Path
from typing import Any

from atlas.core.files import AtlasError, atomic_write, read_json, require, run_stage, write_json

SEEDS, SWEEP, TABLE = Path("results/seeds.json"), Path("results/sweep.json"), Path("results/sweep.md")
BESIDE, PICTURES = Path("results/beside.json"), Path("results/pictures")
MISSING = (None, "None")
CODE = ("src/train", "src/evaluate", "src/atlas/core", "src/atlas/nn", "src/atlas/training", "src/atlas/metrics")
Row = dict[str, Any]
"""Of `dvc.api.exp_show`: a column for each setting (`runs.NAME.gamma`), metric (`NAME.nelbo`) and path (its hash)."""


def main() -> None:
    parser = argparse.ArgumentParser(description="Gather other seeds or a sweep from DVC's experiments.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("seeds", help="metrics of all runs with other seeds")
    sweep = commands.add_parser("sweep", help="metrics of a run with other values of one setting")
    sweep.add_argument("run", help="a name under `runs` in params.yaml")
    sweep.add_argument("key", help="a setting of the run, its model or its budget, such as gamma")
    beside = commands.add_parser("beside", help="metrics and pictures of runs of another checkout")
    beside.add_argument("checkout", type=Path, help="where they were trained, sampled and evaluated")
    beside.add_argument("machine", help='in words, such as "two CPU cores"')
    beside.add_argument("runs", nargs="+", metavar="RUN=MINUTES", help="a run and how long it was trained")
    beside.add_argument("--pictures", nargs="+", help="figures to copy; else transfer, or samples")
    options = parser.parse_args()
    if options.command == "beside":
        write_beside(options.checkout, options.machine, options.runs, options.pictures)
        return

    from dvc.api import exp_show

    from atlas.core import settings as settings_file

    settings = settings_file.load()
    if options.command == "seeds":
        rows = exp_show()
        write_seeds([Gathered(rows, settings.scale, run, "seed") for run in settings.runs.values()])
        return
    run = settings.run(options.run)
    names = settings.flat(run.key).keys() - {"dataset", "model", "variant"}
    settings_file.require_known("setting", options.key.partition(".")[0], sorted(names))
    write_sweep(Gathered(exp_show(), settings.scale, run, options.key))


class Gathered:
    """What the experiments tell of one run with other values of one setting.

    `about` identifies the run: its other settings, and its own metrics. `metrics` is {value: {metric: number}}.
    """

    def __init__(self, rows: list[Row], scale: str, run: Any, key: str) -> None:
        self.run, self.key = run, key
        own_budgets = f"datasets.{run.dataset}.budgets.{scale}."
        places = [f"runs.{run.key}", f"models.{run.model}", own_budgets + "train", f"budgets.{scale}.train", "training"]
        self.columns = [*(f"{place}.{key}" for place in places), *(["seed"] if key == "seed" else [])]
        budgets = [own_budgets, f"budgets.{scale}."]
        shared = ("training.", "judge.", "inversion.", "evaluation.")
        params = (f"models.{run.model}.", f"runs.{run.key}.", *shared, *budgets)
        self.deciding = (*params, *CODE, f"src/atlas/models/{run.model}.py", f"data/{run.dataset}")
        workspace, head, *experiments = rows
        own = self.others(workspace)
        self.own, self.own_metrics = self.value(workspace), self.metrics_of(workspace)
        self.about: dict[str, Any] = {
            "settings": {name: value for name, value in own.items() if "/" not in name},
            "own": {name: value for name, value in self.own_metrics.items() if f"{name}_n" in self.own_metrics},
        }
        self.metrics = {}
        for row in experiments:
            if self.others(row) != own or self.value(row) == self.own:
                continue
            metrics = self.metrics_of(row)
            if metrics and metrics not in (self.own_metrics, self.metrics_of(head)):
                self.metrics[self.value(row)] = metrics
            else:
                # DVC shows the metrics of the commit that it began from.
                print(f"experiment {row['Experiment']} did not end at `compare`: left out")

    def others(self, row: Row) -> Row:
        """Return the columns that decide the run's metrics, the gathered setting's left out."""
        names = [name for name in row if name in ("scale", "seed") or name.startswith(self.deciding)]
        return {name: row[name] for name in names if name not in self.columns and row[name] not in MISSING}

    def value(self, row: Row) -> Any:
        """Return the setting's value: the run's own or its default. DVC gives floats; whole ones become integers."""
        value = next((row[name] for name in self.columns if row.get(name) not in MISSING), None)
        return int(value) if isinstance(value, float) and value.is_integer() else value

    def metrics_of(self, row: Row) -> dict[str, float]:
        """Return the run's metrics, with what stands beside them (_low, _high, _n, _k)."""
        prefix = f"{self.run.key}."
        metrics = {name.removeprefix(prefix): row[name] for name in row if name.startswith(prefix)}
        return {name: value for name, value in metrics.items() if isinstance(value, int | float)}

    def add(self, before: dict[str, Any], known: dict[Any, dict[str, float]]) -> None:
        """Add what was gathered before if it is still of the same run: same settings, metrics alike up to rounding."""
        now, then = self.about["own"], before.get("own", {})
        common = now.keys() & then.keys()
        alike = all(math.isclose(now[name], then[name], rel_tol=1e-3) for name in common)
        if common and alike and before["settings"] == self.about["settings"]:
            self.metrics = {**known, **self.metrics}
        elif known:
            print(f"{self.run.key}: its settings or metrics have changed; what was gathered before is dropped")
        self.metrics.pop(self.own, None)


def write_seeds(runs: list[Gathered]) -> None:
    """Write results/seeds.json: {run: {"settings", "own", "seeds": {seed: {metric: number}}}}."""
    before = read_json(SEEDS, "nothing: it comes with the repository") if SEEDS.exists() else {}
    table = {}
    for gathered in runs:
        known = before.get(gathered.run.key, {})
        gathered.add(known, {int(seed): metrics for seed, metrics in known.get("seeds", {}).items()})
        if gathered.metrics:
            table[gathered.run.key] = {**gathered.about, "seeds": dict(sorted(gathered.metrics.items()))}
    write_json(SEEDS, table)
    counts = ", ".join(f"{key} {len(about['seeds'])}" for key, about in table.items())
    print(f"{SEEDS}: other seeds of each run: {counts or 'none'}")


def write_beside(checkout: Path, machine: str, trained: list[str], pictures: list[str] | None) -> None:
    """Add runs to results/beside.json, {scale: {run: {"machine", "minutes", "epochs", "pictures", "metrics"}}}.

    Args:
        trained: RUN=MINUTES each.
        pictures: figures to copy to results/pictures; None is the style transfer, or samples where there is none.

    Raises:
        AtlasError: naming what is missing there, or no number of minutes.
    """
    from atlas.core import settings as settings_file

    settings = settings_file.load(checkout / "params.yaml")
    table = read_json(BESIDE, "nothing: it comes with the repository") if BESIDE.exists() else {}
    for word in trained:
        key, _, minutes = word.partition("=")
        if not minutes.isdigit():
            raise AtlasError(f"found '{word}'; allowed: a run and whole minutes, as {settings.run(key).key}=60")
        metrics = read_json(checkout / "outputs/metrics" / f"{key}.json", f"evaluate@{key}")
        history = require(checkout / "outputs/models" / key / "history.csv", f"train@{key}")
        epochs = int(history.read_text(encoding="utf-8").rstrip().rpartition("\n")[2].partition(",")[0])
        about: dict[str, Any] = {"machine": machine, "minutes": int(minutes), "epochs": epochs}
        about["pictures"] = pictures or ["transfer" if "swap_accuracy" in metrics else "samples"]
        for picture in about["pictures"]:
            figure = require(checkout / "outputs/samples" / key / f"{picture}.png", f"sample@{key}")
            shutil.copyfile(figure, PICTURES / f"{settings.scale}_{key}_{picture}.png")
        table.setdefault(settings.scale, {})[key] = {**about, "metrics": metrics}
    write_json(BESIDE, table)
    print(f"{BESIDE}: {', '.join(f'{scale} {len(runs)}' for scale, runs in table.items())}")


def write_sweep(gathered: Gathered) -> None:
    """Write results/sweep.md and results/sweep.json: {"run", "key", "settings", "own", "rows": [{"value", "metrics"}]}.

    Raises:
        AtlasError: if no other value is known.
    """
    from atlas.claims.tables import ARROWS, markdown_table, metric_names
    from atlas.metrics.registry import METRICS

    run, key = gathered.run, gathered.key
    before = read_json(SWEEP, "nothing: it comes with the repository") if SWEEP.exists() else {}
    if (before.get("run"), before.get("key")) == (run.key, key):
        gathered.add(before, {row["value"]: row["metrics"] for row in before["rows"]})
    if not gathered.metrics:
        raise AtlasError(
            f"no experiment differs from the workspace in {key} of {run.key} alone; "
            f"run `dvc exp run -S runs.{run.key}.{key}=VALUE compare` first"
        )
    values = gathered.metrics | {gathered.own: gathered.own_metrics}
    # Numbers by size, then words.
    rows = sorted(values.items(), key=lambda row: (isinstance(row[0], str), row[0]))
    content = {"run": run.key, "key": key, **gathered.about}
    write_json(SWEEP, {**content, "rows": [{"value": value, "metrics": metrics} for value, metrics in rows]})
    names = [name for name in metric_names(values.values()) if METRICS[name].headline and not name.endswith("_floor")]
    lines = []
    for value, metrics in rows:
        cells = [f"{metrics[name]:.{METRICS[name].digits}f}" if name in metrics else "" for name in names]
        lines.append([f"**{value}**" if value == gathered.own else str(value), *cells])
    table = markdown_table(
        [key, *(METRICS[name].title + ARROWS[METRICS[name].better] for name in names)], lines, left=0
    )
    scale = gathered.about["settings"]["scale"]
    with atomic_write(TABLE) as tmp:
        tmp.write_text(f"{table}\n`{run.key}` at scale `{scale}`, seed {run.seed}; in bold the value of params.yaml.\n")
    print(f"{SWEEP}: {key} of {run.key}: {', '.join(str(value) for value, _ in rows)}")


if __name__ == "__main__":
    run_stage(main)
