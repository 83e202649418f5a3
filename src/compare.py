"""Gather every run's numbers and curves in `results/`, small and in git: JSON, CSV and Markdown."""

import argparse
import csv
import hashlib
import json
import zipfile
from collections import Counter
from pathlib import Path

import numpy as np

from atlas.core import settings as settings_file
from atlas.core.files import AtlasError, run_stage
from atlas.core.files import require, atomic_write, write_json
from atlas.claims import claims
from atlas.metrics.registry import BESIDE, METRICS, known
from atlas.core.settings import Settings

RESULTS = Path("results")
Table = dict[str, dict[str, float | int]]


def main() -> None:
    argparse.ArgumentParser(description=__doc__).parse_args()
    settings = settings_file.load()
    table = {run: read_metrics(run) | read_imagenet(run) for run in settings.runs}
    judges = {
        name: read_json(Path("outputs/judges") / name / "judge.json", f"train_judge@{name}")
        for name in dict.fromkeys(run.dataset for run in settings.runs.values())
    }
    write_json(RESULTS / "metrics.json", table)
    write_json(RESULTS / "judges.json", judges)
    numbers = [name + end for name in columns(table) for end in ("", *BESIDE)]
    numbers = [name for name in numbers if any(name in row for row in table.values())]
    write_csv(RESULTS / "table.csv", ["run", *numbers], [{"run": run, **row} for run, row in table.items()])
    with atomic_write(RESULTS / "table.md") as aside:
        aside.write_text(markdown(table, settings, judges), encoding="utf-8")
    flat = {run: settings.flat(run) for run in settings.runs}
    accuracies = {name: judge["test_accuracy"] for name, judge in judges.items()}
    seeds = read_seeds(settings)
    judged = claims.judge_claims(table, flat, accuracies, {run: read_each(run) for run in settings.runs}, seeds)
    with atomic_write(RESULTS / "seeds.md") as aside:
        aside.write_text(seeds_table(table, settings, seeds), encoding="utf-8")
    write_json(RESULTS / "comparison.json", {"claims": judged})
    with atomic_write(RESULTS / "claims.md") as aside:
        aside.write_text(claims.markdown(judged), encoding="utf-8")
    rows = curves(settings)
    write_csv(RESULTS / "curves.csv", list(rows[0]), rows)
    verdicts = Counter(row["verdict"] for row in judged)
    print(
        f"results/: {len(table)} runs, {len(columns(table))} measures, {len(rows)} points of curves; claims: "
        + ", ".join(f"{count} {verdict}" for verdict, count in sorted(verdicts.items()))
    )


def read_json(path: Path, stage: str) -> dict:
    """Read a JSON object that `stage` wrote."""
    try:
        content = json.loads(require(path, stage).read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise AtlasError(f"{path} is damaged ({error}); run `dvc repro --force {stage}`") from None
    return content


def read_metrics(run: str) -> dict[str, float | int]:
    """Read one run's metrics: {measure: value}, each known to the catalogue or beside one that is."""
    found = read_json(Path("outputs/metrics") / f"{run}.json", f"evaluate@{run}")
    for name in found:
        if not known(name):
            raise AtlasError(f"outputs/metrics/{run}.json: measure '{name}' is not in src/atlas/measures/catalogue.py")
    return found


def read_imagenet(run: str) -> dict[str, float | int]:
    """Read what `src/imagenet.py` measured of a run's present network; nothing where it has not."""
    about = read_json(RESULTS / "imagenet.json", "nothing: it comes with the repository").get(run, {})
    if not about:
        return {}
    weights = require(Path("outputs/models") / run / "weights.safetensors", f"train@{run}").read_bytes()
    return about["measures"] if about["of"] == hashlib.sha256(weights).hexdigest() else {}


def read_each(run: str) -> dict[str, np.ndarray]:
    """Read what some of a run's measures are means of, [N] an image each."""
    path = require(Path("outputs/per_image") / f"{run}.npz", f"evaluate@{run}")
    try:
        with np.load(path, allow_pickle=False) as content:
            return {name: content[name].astype(np.float64) for name in content.files}
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise AtlasError(f"{path} is damaged ({error}); run `dvc repro --force evaluate@{run}`") from None


def read_seeds(settings: Settings) -> dict[str, dict[int, dict[str, float]]]:
    """Read what `src/seeds.py` gathered: {run: {seed: {measure: value}}}, without runs that are no longer there."""
    found = read_json(RESULTS / "seeds.json", "nothing: it comes with the repository")
    return {
        run: {int(seed): numbers for seed, numbers in found[run]["seeds"].items()}
        for run in settings.runs
        if run in found
    }


def seeds_table(table: Table, settings: Settings, seeds: dict[str, dict[int, dict[str, float]]]) -> str:
    """Return the headline measures of the runs that several seeds are known of: mean and standard deviation."""
    everything = {run: [dict(table[run]), *others.values()] for run, others in seeds.items()}
    if not everything:
        return "No run has been repeated with another seed.\n"
    names = [name for name in columns(table) if METRICS[name].headline and not name.endswith("_floor")]
    names = [name for name in names if any(name in row for rows in everything.values() for row in rows)]
    lines = ["| run | seeds | " + " | ".join(METRICS[name].title for name in names) + " |"]
    lines.append("|---|---" + "|---:" * len(names) + "|")
    for run, rows in everything.items():
        known = ", ".join(map(str, sorted([settings.run(run).seed, *seeds[run]])))
        cells = []
        for name in names:
            values = [row[name] for row in rows if name in row]
            digits = METRICS[name].digits
            spread = f" ± {np.std(values, ddof=1):.{digits}f}" if len(values) > 1 else ""
            cells.append(f"{np.mean(values):.{digits}f}{spread}" if values else "")
        lines.append("| " + " | ".join([run, known, *cells]) + " |")
    return "\n".join(lines) + "\n\nMean and standard deviation over the seeds.\n"


def columns(table: Table) -> list[str]:
    """Return the measures that at least one run has, in the catalogue's order."""
    return [name for name in METRICS if any(name in row for row in table.values())]


def markdown(table: Table, settings: Settings, judges: dict[str, dict]) -> str:
    """Return the table that the README shows: the headline measures, with their conditions under it.

    A measure that does not apply is empty.
    """
    names = [name for name in columns(table) if METRICS[name].headline]
    arrow = {"lower": " ↓", "higher": " ↑", "": ""}
    head = ["run", *(METRICS[name].title + arrow[METRICS[name].better] for name in names)]
    lines = ["| " + " | ".join(head) + " |", "|---" + "|---:" * len(names) + "|"]
    for run, row in table.items():
        cells = [f"{row[name]:.{METRICS[name].digits}f}" if name in row else "" for name in names]
        lines.append("| " + " | ".join([run, *cells]) + " |")
    sizes = sorted({row["frechet_n"] for row in table.values() if "frechet_n" in row})
    words = ", ".join(f"{name} {report['test_accuracy']:.1%}" for name, report in judges.items())
    weighted = sorted({(row["nll_k"], row["nll_n"]) for row in table.values() if "nll_k" in row})
    nll = ", ".join(f"{samples} posterior samples for each of {count} images" for samples, count in weighted)
    lines += [
        "",
        f"Scale `{settings.scale}`, seed {settings.seed}; {' or '.join(map(str, sizes))} official test images and as "
        f"many samples. {f'NLL: {nll}. ' if nll else ''}The judges read test images right: {words}.",
    ]
    return "\n".join(lines) + "\n"


def curves(settings: Settings) -> list[dict[str, str]]:
    """Return every run's history in one long table: a row for each run, epoch, split and term."""
    rows = []
    for key, run in settings.runs.items():
        with require(Path("outputs/models") / key / "history.csv", f"train@{key}").open(encoding="utf-8") as file:
            for row in csv.DictReader(file):
                where = {
                    "run": key,
                    "dataset": run.dataset,
                    "epoch": row.pop("epoch"),
                    "step": row.pop("step"),
                    "split": row.pop("split"),
                }
                rows += [{**where, "term": term, "value": value} for term, value in row.items() if value]
    return rows


def write_csv(path: Path, names: list[str], rows: list[dict]) -> None:
    """Write rows as CSV, columns in the order of `names`, others left out, missing ones empty."""
    with atomic_write(path) as aside, aside.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, names, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    run_stage(main)
