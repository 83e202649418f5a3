"""Pages of the gallery: every run's metrics, figures and animations as HTML that needs no server and no network.

`index.html` compares the runs, `compare.html` holds two side by side, `learn.html` is a lesson in six scenes,
`<run>.html` shows one run; `media/` and `assets/` hold what they show and share. Addresses are relative, so the folder
may be moved, mailed or unpacked anywhere.
"""

import math
import re
import shutil
import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import jinja2

from atlas.core.files import atomic_dir
from atlas.gallery import lessons
from atlas.gallery.curves import HEIGHT, WIDTH, panels
from atlas.gallery.explorer import write_explorer, write_runtime, write_thumbnails
from atlas.gallery.media import copy_media, film_epochs
from atlas.gallery.outputs import MediaItem, RunPage, dataset_name, distinct_titles, model_name, series
from atlas.metrics.registry import SUFFIXES, Metric

ROOM = Path(__file__).parent
SUPERSCRIPT = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")


@dataclass(frozen=True)
class Cell:
    """A run's value of a metric as text."""

    value: float
    text: str
    note: str
    """Its 95 % interval and its number of images, where they are known."""
    best: bool
    """Among the runs on its data set."""


def build(
    folder: Path,
    runs: list[RunPage],
    judges: Mapping[str, Mapping[str, Any]],
    claims: Sequence[Mapping[str, Any]],
    registry: Sequence[Metric],
    scale: str,
    seed: int,
    runtime: Mapping[str, bytes] | None = None,
) -> None:
    """Write the folder, whole or not at all; the same inputs give the same bytes.

    Args:
        registry: the metrics, in the order of the table's columns; one that no run has is omitted.
        runtime: as from `onnx_runtime.fetch`; without it the explorers show maps that were drawn beforehand.

    Raises:
        AtlasError: if something that the pages show cannot be read.
    """
    datasets = list(dict.fromkeys(run.dataset for run in runs))
    metrics = _columns(runs, registry)
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(ROOM / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "number": format_number,
        "distinct_titles": distinct_titles,
        "dataset_name": dataset_name,
        "model_name": model_name,
        "prose": prose,
        "anchor": anchor,
        "percent": lambda part, whole: f"{100 * part / whole:.3f}%",
    }
    environment.globals |= {
        "metrics": metrics,
        "cells": {run.key: {metric.name: _cell(run, metric, runs) for metric in metrics} for run in runs},
        "colors": {
            run.key: f"oklch(var(--lightness) 0.15 {round(360 * index / len(group) + 250) % 360})"
            for dataset in datasets
            for group in [[run for run in runs if run.dataset == dataset]]
            for index, run in enumerate(group)
        },
        "run_of": {run.key: run for run in runs},
        "scale": scale,
        "seed": seed,
        "view_box": f"0 0 {WIDTH} {HEIGHT}",
    }
    with atomic_dir(folder) as tmp:
        copy_media(runs, tmp)
        shutil.copytree(ROOM / "static", tmp / "assets")
        explorers = [run.explorer for run in runs if run.explorer]
        if explorers and runtime:
            write_runtime(runtime, tmp / "assets")
        for explorer in explorers:
            write_explorer(explorer, tmp, runtime is not None)
        thumbnails = {
            run.dataset: written
            for run in runs
            if run.explorer and (written := write_thumbnails(run.dataset, run.explorer, tmp))
        }
        planes = lessons.plane_runs(runs)
        scenes = lessons.scenes(planes, runs) if runtime and planes and thumbnails.get(planes[0].dataset) else {}
        index = environment.get_template("index.html.jinja").stream(
            runs=runs,
            datasets=datasets,
            models=list(dict.fromkeys(run.model for run in runs)),
            judges=judges,
            claims=[(claim, list(rows)) for claim, rows in groupby(claims, lambda row: row["claim"])],
            verdicts=dict(Counter(row["verdict"] for row in claims).most_common()),
            titles={metric.name: metric.title for metric in registry},
            headline={metric.name for metric in metrics if metric.headline} or {metric.name for metric in metrics},
            curves={
                dataset: panels({run.key: run.history for run in runs if run.dataset == dataset})
                for dataset in datasets
            },
            comparisons=_comparisons(runs),
            family=lessons.family(runs),
            spaces=[lessons.space(run) for run in planes],
            names=lessons.short_names(planes),
            thumbnails=thumbnails,
            dataset_of={run.key: run.dataset for run in runs},
            live=runtime is not None,
            learn=bool(scenes),
            side_by_side=bool(explorers),
        )
        index.dump(str(tmp / "index.html"), encoding="utf-8")
        if scenes:
            learn = environment.get_template("learn.html.jinja").stream(
                parts=scenes,
                spaces={name: lessons.space(run) for name, run in scenes.items()},
                small=thumbnails.get(planes[0].dataset),
            )
            learn.dump(str(tmp / "learn.html"), encoding="utf-8")
        if explorers:
            explored = [
                (dataset, [run for run in runs if run.dataset == dataset and run.explorer]) for dataset in datasets
            ]
            compare = environment.get_template("compare.html.jinja").stream(groups=explored)
            compare.dump(str(tmp / "compare.html"), encoding="utf-8")
        template = environment.get_template("run.html.jinja")
        for before, run, after in zip([None, *runs], runs, [*runs[1:], None], strict=False):
            page = template.stream(
                run=run,
                before=before,
                after=after,
                figures=series(run.figures),
                animations=series(run.animations),
                panels=panels({run.key: run.history}),
                explorer=run.explorer,
                live=runtime is not None,
                variant=lessons.variant_of(run),
                failures=lessons.failures(run),
                claims=[claim for claim in claims if run.key in claim["runs"]],
                parent=(parent := lessons.parent_of(run, runs)),
                swipe=_swipe(parent[0], run) if parent else None,
                groups=lessons.groups(run),
                small=thumbnails.get(run.dataset),
                clock=film_epochs(run),
            )
            page.dump(str(tmp / run.page), encoding="utf-8")


def _swipe(parent: RunPage, run: RunPage) -> tuple[MediaItem, MediaItem, str] | None:
    """Return the first figure that both runs have in the same size, and its name."""
    figures = {item.source.name: item for item in parent.figures}
    for item in run.figures:
        other = figures.get(item.source.name)
        if other and (other.width, other.height) == (item.width, item.height):
            return other, item, item.source.stem.replace("_", " ")
    return None


def _columns(runs: list[RunPage], registry: Sequence[Metric]) -> list[Metric]:
    """Return the metrics that a run has; those that the registry does not know come last."""
    reported = dict.fromkeys(name for run in runs for name in run.metrics)
    known = {metric.name for metric in registry} | {name + suffix for name in reported for suffix in SUFFIXES}
    unknown = [name for name in reported if name not in known]
    others = [Metric(name, name, "", "", "Not in the registry of metrics.", 4) for name in unknown]
    return [metric for metric in registry if metric.name in reported] + others


def _cell(run: RunPage, metric: Metric, runs: list[RunPage]) -> Cell | None:
    """Return None where the metric does not apply to the run."""
    value = run.metrics.get(metric.name)
    if value is None:
        return None
    low, high, size = (run.metrics.get(metric.name + suffix) for suffix in ("_low", "_high", "_n"))
    notes = []
    if low is not None and high is not None:
        notes.append(f"interval {_fixed(low, metric.digits)} to {_fixed(high, metric.digits)}")
    if size is not None:
        notes.append(f"n\N{NO-BREAK SPACE}=\N{NO-BREAK SPACE}{size:,.0f}")
    values = [other.metrics.get(metric.name, math.nan) for other in runs if other.dataset == run.dataset]
    values = [number for number in values if math.isfinite(number)]
    best = {"lower": min, "higher": max}.get(metric.better)
    return Cell(
        value=value,
        text=_fixed(value, metric.digits),
        note=", ".join(notes),
        best=best is not None and len(set(values)) > 1 and value == best(values),
    )


def format_number(value: float) -> str:
    """Return a number in four digits, and whole from ten thousand on."""
    return f"{value:.4g}" if isinstance(value, float) and abs(value) < 1e4 else f"{value:,.0f}"


def anchor(claim: Mapping[str, Any]) -> str:
    """Return the id of a claim's row: the same whatever other claims there are."""
    return f"claim-{zlib.crc32(' '.join([claim['claim'], *claim['runs']]).encode()):08x}"


def prose(text: str, titles: Mapping[str, str]) -> str:
    """Return a sentence with the titles of metrics in place of their names, and the first letter a capital."""
    text = re.sub(r"\b[a-z0-9]+(?:_[a-z0-9]+)+\b|^[a-z]+\b", lambda name: titles.get(name[0], name[0]), text)
    return text[:1].upper() + text[1:]


def _fixed(value: float, digits: int) -> str:
    """Return a number with so many digits behind the point, and from a million on as 1.23 x 10^6."""
    if not math.isfinite(value) or abs(value) < 1e6:
        return f"{value:.{digits}f}"
    mantissa, exponent = f"{value:.2e}".split("e")
    return f"{mantissa}\N{NO-BREAK SPACE}×\N{NO-BREAK SPACE}10{str(int(exponent)).translate(SUPERSCRIPT)}"


def _comparisons(runs: list[RunPage]) -> dict[str, list[tuple[RunPage, MediaItem]]]:
    """Return the figures of one name, and the animations of all labels, that two runs or more have."""
    groups: dict[str, list[tuple[RunPage, MediaItem]]] = {}
    for run in runs:
        for item in run.figures:
            if not item.prefix:
                groups.setdefault(item.source.stem.replace("_", " "), []).append((run, item))
    groups["training"] = [(run, run.animations[0]) for run in runs if run.animations]
    groups["codes in training"] = [(run, item) for run in runs for item in run.animations[1:] if not item.prefix]
    return {name: items for name, items in groups.items() if len(items) > 1}
