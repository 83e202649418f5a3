"""Tables of the results, as Markdown and CSV, and the page docs/results.md that holds them."""

import csv
import statistics
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from atlas.claims.verdicts import MIN_SEEDS, Results, Row
from atlas.core.files import atomic_write
from atlas.core.settings import Settings
from atlas.metrics.registry import METRICS, SUFFIXES

Table = Mapping[str, Mapping[str, float]]
"""{run: {metric: value}}."""
Beside = Mapping[str, Mapping[str, Mapping[str, Any]]]
"""{scale: {run: {"machine", "minutes", "epochs", "pictures", "metrics"}}}."""
TEMPLATE = Path(__file__).with_name("results.md")
BOUNDS = ("nelbo", "nll", "bits_per_dim")
ARROWS = {"lower": " ↓", "higher": " ↑", "": ""}


def results_page(
    results: Results, settings: Settings, claims: Sequence[Row], beside: Beside | None = None, sweep: str = ""
) -> str:
    """Page of all results; `beside`: trainings beside the set; `sweep`: the table of a sweep, in Markdown, if any."""
    own_seeds = {run: settings.run(run).seed for run in results.metrics}
    rows = results.metrics.values()
    sizes = sorted({row["sharpness_n"] for row in rows if "sharpness_n" in row})
    weighted = sorted({(row["nll_k"], row["nll_gap_n"]) for row in rows if "nll_k" in row})
    nll = ", ".join(f"{samples} posterior samples for each of {count} images" for samples, count in weighted)
    judges = ", ".join(f"{name} {accuracy:.1%}" for name, accuracy in results.accuracies.items())
    fewer = fewer_images(results.metrics)
    page = TEMPLATE.read_text(encoding="utf-8").format(
        runs=runs_table(results.metrics),
        conditions=f"Scale `{settings.scale}`, seed {settings.seed}; {' or '.join(map(str, sizes))} official test "
        f"images and as many samples{f'; fewer in {fewer}' if fewer else ''}. "
        f"{f'Gap of the NLL: {nll}. ' if nll else ''}Accuracy of the judges (classifiers) on test images: {judges}.",
        claims=claims_table(claims),
        min_seeds=MIN_SEEDS,
        seeds=seeds_table(results.metrics, own_seeds, results.seeds).rstrip(),
        beside=beside_table(results.metrics, settings, beside or {}).rstrip(),
    )
    return f"{page}\n## Sweep of one setting\n\n{sweep}" if sweep else page


def runs_table(table: Table) -> str:
    """Table of the headline metrics, a row a run; what does not apply is empty."""
    names = [name for name in metric_names(table.values()) if METRICS[name].headline]
    header = ["run", *(METRICS[name].title + ARROWS[METRICS[name].better] for name in names)]
    rows = ([run, *(marked_number(name, row) for name in names)] for run, row in table.items())
    return markdown_table(header, rows)


def marked_number(name: str, row: Mapping[str, float]) -> str:
    """Return a run's metric as text; a bound on log p(x|y), of a conditional run, with a dagger."""
    return _number(name, row.get(name)) + ("†" if name in BOUNDS and name in row and "label_accuracy" in row else "")


def fewer_images(table: Table) -> str:
    """Return in words which headline metrics see fewer images than their run's samples are, and how many."""
    counts: dict[str, set[int]] = {}
    for row in table.values():
        for name in METRICS:
            count = row.get(f"{name}_n")
            if METRICS[name].headline and count is not None and count < row.get("sharpness_n", 0):
                counts.setdefault(METRICS[name].title, set()).add(int(count))
    return ", ".join(f"{title} ({' or '.join(map(str, sorted(sizes)))})" for title, sizes in counts.items())


def claims_table(claims: Iterable[Row]) -> str:
    """Table of the claims: runs, numbers and verdict."""
    rows = []
    for claim in claims:
        numbers = [
            f"{METRICS[name].title} {' / '.join(_number(name, value) for value in values)}"
            for name, values in claim["values"].items()
        ]
        why = ", ".join(numbers) or claim["why"]
        if differs := claim.get("differs"):
            why += f"; the two also differ in {', '.join(differs).replace('_', ' ')}"
        rows.append([claim["claim"], " / ".join(claim["runs"]), why, f"**{claim['verdict']}**"])
    return markdown_table(["claim", "runs", "numbers", "verdict"], rows, left=4)


def seeds_table(
    table: Table, own_seeds: Mapping[str, int], seeds: Mapping[str, Mapping[int, Mapping[str, float]]]
) -> str:
    """Table of the runs of which several seeds are known: mean and standard deviation of the headline metrics."""
    if not seeds:
        return "No run has been repeated with another seed.\n"
    repeated = {run: [table[run], *others.values()] for run, others in seeds.items()}
    names = metric_names(row for rows in repeated.values() for row in rows)
    names = [name for name in names if METRICS[name].headline and not name.endswith("_floor")]
    lines = []
    for run, rows in repeated.items():
        cells = []
        for name in names:
            values = [row[name] for row in rows if name in row]
            std = f" ± {_number(name, statistics.stdev(values))}" if len(values) > 1 else ""
            cells.append(_number(name, statistics.mean(values) if values else None) + std)
        lines.append([run, ", ".join(map(str, sorted([own_seeds[run], *seeds[run]]))), *cells])
    header = ["run", "seeds", *(METRICS[name].title for name in names)]
    return markdown_table(header, lines, left=2) + "\nMean and standard deviation over the seeds.\n"


def beside_table(table: Table, settings: Settings, beside: Beside) -> str:
    """Table of trainings beside the set, each below the run it is compared with, and their pictures.

    That is the run of the same name, or the one whose name it extends: mnist_cvae_8 for mnist_cvae_8_original. What is
    compared with none is left out.
    """
    rows: list[tuple[str, str, Mapping[str, float]]] = []
    pictures = []
    for scale, runs in beside.items():
        for run, about in runs.items():
            like = run if run in table else run.rpartition("_")[0]
            if like not in table or (scale, run) == (settings.scale, like):
                continue
            if all(like != other for other, *_ in rows):
                rows.append((like, settings.scale, table[like]))
            epochs, minutes = about["epochs"], about["minutes"]
            rows.append((run, f"{scale}: {epochs} epochs, {minutes} minutes on {about['machine']}", about["metrics"]))
            for name in about["pictures"]:
                title = f"{run}, scale {scale}, {epochs} epochs: {name}"
                pictures.append(f"{title}\n\n![{title}](../results/pictures/{scale}_{run}_{name}.png)\n")
    if not rows:
        return "There are none.\n"
    names = [name for name in metric_names(row for *_, row in rows) if METRICS[name].headline]
    names = [name for name in names if not name.endswith("_floor")]
    header = ["run", "training", *(METRICS[name].title + ARROWS[METRICS[name].better] for name in names)]
    lines = [[run, where, *(marked_number(name, row) for name in names)] for run, where, row in rows]
    return "\n".join([markdown_table(header, lines, left=2), *pictures])


def metric_names(rows: Iterable[Mapping[str, float]]) -> list[str]:
    """Metrics that at least one row has, in the registry's order."""
    there = {name for row in rows for name in row}
    return [name for name in METRICS if name in there]


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]], left: int = 1) -> str:
    """Markdown table with a final newline; the first `left` columns are aligned to the left, others to the right."""
    alignment = "|".join("---" if column < left else "---:" for column in range(len(header)))
    first, *others = (f"| {' | '.join(cells)} |" for cells in (header, *rows))
    return "\n".join([first, f"|{alignment}|", *others]) + "\n"


def write_runs_csv(path: Path, table: Table) -> None:
    """Write all metrics with what stands beside them, a row a run, missing ones empty."""
    names = [name + end for name in metric_names(table.values()) for end in ("", *SUFFIXES)]
    names = [name for name in names if any(name in row for row in table.values())]
    write_csv(path, ["run", *names], [{"run": run, **row} for run, row in table.items()])


def write_csv(path: Path, names: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Write rows as CSV, columns in the order of `names`, others left out, missing ones empty."""
    with atomic_write(path) as tmp, tmp.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, names, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def _number(name: str, value: float | None) -> str:
    return "" if value is None else f"{value:.{METRICS[name].digits}f}"
