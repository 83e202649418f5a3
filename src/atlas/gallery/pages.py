"""Every run's numbers, pictures and films as a folder of HTML pages that need no server and no network.

`index.html` sets the runs side by side, `<run>.html` shows one; `media/` and `assets/` hold what they show and share.
Addresses are relative, so the folder may be moved, mailed or unpacked anywhere.
"""

import math
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import jinja2

from atlas.core.files import atomic_dir
from atlas.gallery.claims import Claim, grouped, verdicts
from atlas.gallery.curves import panels
from atlas.gallery.explorer import write_explorer, write_runtime
from atlas.gallery.media import copy_media
from atlas.gallery.outputs import Medium, RunPage, is_number, numbered

PAGES = Path(__file__).parent / "pages"
"""Templates of the pages, and the styles and scripts that they share."""

COLOURS = 8
"""Of the palette in gallery.css, --c0 to --c7."""

HEADLINE = ("nelbo", "bits_per_dim", "reconstruction_mse", "frechet", "label_accuracy", "sharpness")
"""The measures that the table shows at first; a switch shows them all."""

RAISED = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")

SIDE = ("_n", "_low", "_high", "_k")
"""Endings of what stands beside a measure: its sample size, the ends of its interval, its samples an image."""


class MeasureInfo(Protocol):
    """What the page says of a measure; `atlas.metrics.registry.Metric` is one."""

    @property
    def name(self) -> str: ...
    @property
    def title(self) -> str: ...
    @property
    def unit(self) -> str: ...
    @property
    def better(self) -> str: ...
    @property
    def description(self) -> str: ...
    @property
    def digits(self) -> int: ...


@dataclass(frozen=True)
class Unlisted:
    """Stands in for a measure that a run reports and the catalogue does not know, so that no number is lost."""

    name: str
    title: str
    unit: str = ""
    better: str = ""
    description: str = "Not in the catalogue of measures."
    digits: int = 4


@dataclass(frozen=True)
class Cell:
    """A run's value of a measure as the page shows it."""

    measure: MeasureInfo
    value: float
    text: str
    interval: str
    size: str
    best: bool

    @property
    def note(self) -> str:
        return ", ".join(part for part in (self.interval and f"interval {self.interval}", self.size) if part)


@dataclass(frozen=True)
class Shelf:
    """The same kind of picture or film, of every run that has it."""

    name: str
    title: str
    """Empty where the runs' titles differ."""
    items: list[tuple[RunPage, Medium]]


def build(
    folder: Path,
    runs: list[RunPage],
    judges: dict[str, dict[str, Any]],
    claims: list[Claim],
    catalogue: Sequence[MeasureInfo],
    scale: str,
    seed: int,
    runtime: Mapping[str, bytes] | None = None,
    sheets: Sequence[Medium] = (),
) -> None:
    """Write the folder, whole or not at all; the same inputs give the same bytes.

    Args:
        folder: replaced if it exists.
        runs: in the order to be shown.
        judges: each data set's judge.json.
        claims: in the order to be shown.
        catalogue: the measures, in the order of the table's columns; one that no run has is left out.
        scale: as in params.yaml.
        seed: as in params.yaml.
        runtime: the files of ONNX Runtime Web, "script", "module" and "binary"; without it the explorers show maps
            that were drawn beforehand.
        sheets: pictures of several runs, for the front page.

    Raises:
        AtlasError: if something that the pages show cannot be read.
    """
    datasets = list(dict.fromkeys(run.dataset for run in runs))
    measures = _columns(runs, catalogue)
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(PAGES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals |= {
        "measures": measures,
        "cells": {run.key: {measure.name: _cell(run, measure, runs) for measure in measures} for run in runs},
        "colours": _colours(runs),
        "keyed": {run.key: run for run in runs},
        "scale": scale,
        "seed": seed,
    }
    with atomic_dir(folder) as aside:
        copy_media(runs, sheets, aside)
        _copy_assets(aside / "assets")
        explorers = {run.key: run.explorer for run in runs if run.explorer}
        if explorers and runtime:
            write_runtime(runtime, aside / "assets")
        for explorer in explorers.values():
            write_explorer(explorer, aside, runtime is not None)
        environment.get_template("index.html.jinja").stream(
            runs=runs,
            datasets=datasets,
            models=list(dict.fromkeys(run.model for run in runs)),
            judges={dataset: judges[dataset] for dataset in datasets if dataset in judges},
            facts={dataset: _facts(judge) for dataset, judge in judges.items()},
            claims=grouped(claims),
            verdicts=verdicts(claims),
            titles={measure.name: measure.title for measure in catalogue},
            headline=_headline(measures),
            curves={
                dataset: panels({run.key: run.history for run in runs if run.dataset == dataset})
                for dataset in datasets
            },
            shelves=_shelves(runs),
            sheets=sheets,
        ).dump(str(aside / "index.html"), encoding="utf-8")
        template = environment.get_template("run.html.jinja")
        for before, run, after in zip([None, *runs], runs, [*runs[1:], None], strict=False):
            page = template.stream(
                run=run,
                before=before,
                after=after,
                panels=panels({run.key: run.history}),
                explorer=run.explorer,
                classes=_classes(run),
                live=runtime is not None,
            )
            page.dump(str(aside / run.page), encoding="utf-8")


def _classes(run: RunPage) -> list[str]:
    """Return the names of the classes where they are known, else numbers."""
    if run.explorer:
        return list(run.explorer.about["classes"])
    return [str(number) for number in range(max((len(film.blocks) for film in run.animations), default=0))]


def _copy_assets(folder: Path) -> None:
    folder.mkdir()
    for source in (*PAGES.glob("*.css"), *PAGES.glob("*.js")):
        shutil.copyfile(source, folder / source.name)


def _headline(measures: list[MeasureInfo]) -> set[str]:
    """Return the names of the measures to show at first: all of them where none is known to be a headline."""
    names = {measure.name for measure in measures}
    return names & set(HEADLINE) or names


def _columns(runs: list[RunPage], catalogue: Sequence[MeasureInfo]) -> list[MeasureInfo]:
    reported = dict.fromkeys(name for run in runs for name in run.numbers)
    known: list[MeasureInfo] = [measure for measure in catalogue if measure.name in reported]
    names = {measure.name for measure in catalogue}
    beside = {name + side for name in reported for side in SIDE}
    return known + [Unlisted(name, name) for name in reported if name not in names and name not in beside]


def _cell(run: RunPage, measure: MeasureInfo, runs: list[RunPage]) -> Cell | None:
    """Return None where the measure does not apply to the run."""
    value = run.numbers.get(measure.name)
    if value is None:
        return None
    size, low, high, _ = (run.numbers.get(measure.name + side) for side in SIDE)
    rivals = [
        other.numbers[measure.name] for other in runs if other.dataset == run.dataset and measure.name in other.numbers
    ]
    rivals = [rival for rival in rivals if math.isfinite(rival)]
    goal = {"lower": min, "higher": max}.get(measure.better)
    return Cell(
        measure=measure,
        value=value,
        text=_words(value, measure.digits),
        interval="" if None in (low, high) else f"{_words(low, measure.digits)} to {_words(high, measure.digits)}",
        size="" if size is None else f"n = {size:,.0f}",
        best=goal is not None and len(set(rivals)) > 1 and value == goal(rivals),
    )


def _words(value: float | None, digits: int) -> str:
    """Return a number with so many digits behind the point, and from a million on as 1.23 x 10^6."""
    if value is None:
        return ""
    if not math.isfinite(value) or abs(value) < 1e6:
        return f"{value:.{digits}f}"
    head, power = f"{value:.2e}".split("e")
    return f"{head}\N{NO-BREAK SPACE}×\N{NO-BREAK SPACE}10{str(int(power)).translate(RAISED)}"


def _colours(runs: list[RunPage]) -> dict[str, int]:
    """Number the runs of each data set through the palette of the template."""
    seen: dict[str, int] = {}
    colours = {}
    for run in runs:
        colours[run.key] = seen.setdefault(run.dataset, 0) % COLOURS
        seen[run.dataset] += 1
    return colours


def _shelves(runs: list[RunPage]) -> list[Shelf]:
    """Gather pictures of one name, and the films of all labels, that two runs or more have."""
    shelves: dict[str, list[tuple[RunPage, Medium]]] = {}
    for run in runs:
        for picture in run.pictures:
            if not numbered(picture):
                name = Path(picture.file).stem.replace("_", " ")
                shelves.setdefault(name, []).append((run, picture))
    shelves["training"] = [(run, run.animations[0]) for run in runs if run.animations]
    drifts = [(run, film) for run in runs for film in run.animations[1:] if not numbered(film)]
    shelves["codes in training"] = drifts
    found = []
    for name, items in shelves.items():
        titles = {medium.title for _, medium in items}
        if len(items) > 1:
            found.append(Shelf(name, titles.pop() if len(titles) == 1 else "", items))
    return found


def _facts(judge: dict[str, Any]) -> dict[str, str]:
    """Return the judge's numbers other than its test accuracy."""
    return {
        name.replace("_", " "): f"{value:,}" if isinstance(value, int) else f"{value:.4g}"
        for name, value in judge.items()
        if name != "test_accuracy" and is_number(value)
    }
