"""results/benchmarks.json as words and tables: a short part for the README, and all of it for results/benchmarks.md."""

from collections.abc import Callable, Iterable, Sequence

import numpy as np

from benchmarks.cases import GOAL, GOALS, SHARE_GOAL
from benchmarks.records import (
    Benchmarks,
    Learning,
    Levers,
    Memory,
    Profile,
    Quality,
    Scaling,
    Speed,
    SpeedRow,
    Spread,
    Startup,
)

MEMORY_GOAL = 3.0
"""GB, of every stage of a default run at scale `cpu`."""
KERAS = (600, 0.954)
"""Seconds, and the label accuracy that the seed text's own recipe in Keras reaches in them on two cores."""


def readme(found: Benchmarks) -> str:
    """Return the README's part: a table, and how the goals fare."""
    parts = []
    if found.speed:
        parts += [speed_table(found.speed), speed_words(found.speed)]
    told = [
        *([memory_words(found.memory)] if found.memory else []),
        *([quality_words(found.quality)] if found.quality else []),
        *([learning_words(found.learning)] if found.learning else []),
    ]
    if told:
        parts.append(" ".join(told) + "\n")
    return "\n".join(parts)


def details(found: Benchmarks) -> str:
    """Return every table."""
    parts = ["# Benchmarks\n", "By `make bench`; the numbers are those of [benchmarks.json](benchmarks.json).\n"]
    if found.speed:
        parts += ["## Speed\n", speed_table(found.speed), speed_words(found.speed), work_table(found.speed)]
        parts += ["## Where the time goes\n", profile_table(found.speed.profile)]
    if found.levers:
        parts += ["## What each lever is worth\n", levers_table(found.levers)]
    if found.scaling:
        parts += ["## Scaling\n", *scaling_tables(found.scaling)]
    if found.memory:
        parts += ["## Memory\n", memory_table(found.memory)]
    if found.startup:
        parts += ["## Start-up\n", startup_table(found.startup)]
    if found.quality:
        parts += ["## Quality\n", quality_table(found.quality), quality_words(found.quality) + "\n"]
    if found.learning:
        parts += ["## Time to quality\n", learning_table(found.learning), learning_words(found.learning) + "\n"]
    return "\n".join(parts)


def table(heads: Sequence[str], rows: Iterable[Sequence[str]], words: int = 1) -> str:
    """Return a Markdown table; after the first `words` columns come numbers, set to the right."""
    rules = [*["---"] * words, *["---:"] * (len(heads) - words)]
    return "".join(f"| {' | '.join(row)} |\n" for row in [heads, rules, *rows])


def _ratio(row: SpeedRow) -> str:
    """Return the ratio and its quartiles, bold where it lies below its goal."""
    text = f"{row.ratio.median:.1f}"
    return f"{text if row.ratio.median >= row.goal else f'**{text}**'} ({row.ratio.low:.1f}–{row.ratio.high:.1f})"


def _per_cent(value: float) -> str:
    return f"{100 * value:.0f} %"


def _share(spread: Spread) -> str:
    return _per_cent(spread.median)


def speed_table(speed: Speed) -> str:
    """Return a row for each model and data set, the two sizes side by side."""
    heads = ["model", "images/s", "plain", "ratio", "images/s, seed's size", "plain", "ratio", "of peak"]
    found = {(row.dataset, row.model, row.sizes): row for row in speed.rows}
    pairs = dict.fromkeys((row.dataset, row.model) for row in speed.rows)
    rows = []
    for dataset, model in pairs:
        cells = [f"{dataset} {model}"]
        for sizes in ("default", "seed"):
            row = found.get((dataset, model, sizes))
            cells += [f"{row.ours:,.0f}", f"{row.plain:,.0f}", _ratio(row)] if row else [""] * 3
        seed = found.get((dataset, model, "seed"))
        rows.append([*cells, _share(seed.share) if seed else ""])
    return table(heads, rows)


def work_table(speed: Speed) -> str:
    """Return the floating-point work of each case, and what of the peak it reached."""
    heads = ["case", "batch", "parameters", "GFLOP a step, plain", "shared pass", "ours", "of peak, shared", "ours"]
    rows = [
        [
            f"{row.dataset} {row.model}, {row.sizes}",
            str(row.batch_size),
            f"{row.parameters:,}",
            *(f"{work:.2f}" for work in (row.plain_work, row.shared_work, row.our_work)),
            _share(row.share),
            _share(row.our_share),
        ]
        for row in speed.rows
    ]
    return table(heads, rows)


def speed_words(speed: Speed) -> str:
    """Return how the goals fare, from the numbers."""
    rows = speed.rows
    ratios = [
        _goal(
            f"at least {goal:g} times the plain loop for {who}",
            [row for row in rows if row.goal == goal],
            lambda row: row.ratio.median,
            goal,
            lambda value: f"{value:.1f}",
        )
        for goal, who in ((GOALS["vae_gan"], "the VAE/GANs"), (GOAL, "the others"))
    ]
    share = _goal(
        f"at least {_per_cent(SHARE_GOAL)} of the peak at the seed's sizes",
        [row for row in rows if row.sizes == "seed"],
        lambda row: row.share.median,
        SHARE_GOAL,
        _per_cent,
    )
    top = sorted(speed.profile.rows, key=lambda row: -row.share)[:4]
    spent = ", ".join(f"`{row.operation}` {_per_cent(row.share)}" for row in top)
    return (
        f"{speed.machine}; medians of {min(row.rounds for row in rows)} or more rounds in which "
        f"the two loops take turns, quartiles in brackets, "
        f"bold where a goal is missed. The peak is a large convolution's: {speed.bfloat16_peak:.0f} GFLOP/s in "
        f"bfloat16, {speed.float32_peak:.0f} in float32. Goals: {'; '.join([*ratios, share])}. Furthest from its goal "
        f"is {speed.profile.case}; there a step takes {speed.profile.milliseconds:.0f} ms, and most of it goes to "
        f"{spent}.\n"
    )


def _goal(
    wanted: str,
    rows: Sequence[SpeedRow],
    value: Callable[[SpeedRow], float],
    goal: float,
    words: Callable[[float], str],
) -> str:
    if not rows:
        return f"{wanted}: not measured"
    reached = [row for row in rows if value(row) >= goal]
    least, most = min(rows, key=value), max(rows, key=value)
    return (
        f"{wanted}: reached in {len(reached)} of {len(rows)} cases, from {words(value(least))} "
        f"({least.dataset} {least.model}, {least.sizes} sizes) to {words(value(most))} "
        f"({most.dataset} {most.model}, {most.sizes} sizes)"
    )


def profile_table(profile: Profile) -> str:
    """Return the operations that take most of a step."""
    rows = [[f"`{row.operation}`", _per_cent(row.share), f"{row.calls:.1f}"] for row in profile.rows]
    lead = f"{profile.case}, {profile.milliseconds:.0f} ms a step, each operation's own time:\n\n"
    return lead + table(["operation", "share", "calls a step"], rows)


def levers_table(levers: Levers) -> str:
    """Return how many times as long a step takes without each, a column a case."""
    cases = list(dict.fromkeys(row.case for row in levers.rows))
    ratios = {(row.lever, row.case): row.ratio for row in levers.rows}
    rows = [
        [name, *(f"{spread.median:.2f} ({spread.low:.2f}–{spread.high:.2f})" if spread else "" for spread in of_cases)]
        for name in dict.fromkeys(row.lever for row in levers.rows)
        for of_cases in [[ratios.get((name, case)) for case in cases]]
    ]
    lead = "Times as long that a step takes without it, everything else as it is; medians, quartiles in brackets.\n\n"
    return lead + table(["without", *cases], rows)


def scaling_tables(scaling: Scaling) -> list[str]:
    """Return a table for each run and what was changed of it."""
    units = {"images": "seconds an epoch"}
    return [
        f"{found.run}, {units.get(found.over, 'microseconds an image')}:\n\n"
        + table(
            [found.over.replace("_", " "), "ours", "plain", "ratio"],
            [
                [f"{row.value:,g}", _short(row.ours), _short(row.plain), f"{row.plain / row.ours:.1f}"]
                for row in found.rows
            ],
            0,
        )
        for found in scaling.tables
    ]


def _short(value: float) -> str:
    """Return three digits, and of a larger number those before the point."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def memory_table(memory: Memory) -> str:
    """Return the peak of each stage."""
    rows = [[row.run, row.stage, str(row.epochs), f"{row.peak:.2f}", f"{row.seconds:.0f}"] for row in memory.rows]
    return table(["run", "stage", "epochs", "peak, GB", "seconds"], rows, 2)


def memory_words(memory: Memory) -> str:
    """Return the greatest peak, and whether it grows with the epochs."""
    most = max(memory.rows, key=lambda row: row.peak)
    verdict = "below" if most.peak < MEMORY_GOAL else "above"
    text = f"The largest stage measured, {most.stage} of {most.run}, takes {most.peak:.2f} GB, {verdict} the goal of "
    text += f"{MEMORY_GOAL:g}"
    longer = sorted((row.epochs, row.peak) for row in memory.rows if row.run == memory.rows[-1].run)
    if longer[0][0] < longer[-1][0]:
        text += (
            f"; a training of {longer[-1][0]} epochs takes {longer[-1][1]:.2f}, one of {longer[0][0]} takes "
            f"{longer[0][1]:.2f}"
        )
    return text + "."


def startup_table(startup: Startup) -> str:
    """Return the seconds of each command, and the packages whose import takes most."""
    rows = [
        [
            f"`{row.command}`",
            row.note or ", ".join(f"{name} {seconds:.2f}" for name, seconds in list(row.packages.items())[:6]),
            "" if row.seconds is None else f"{row.seconds:.2f}",
        ]
        for row in startup.rows
    ]
    return table(["command", "of which imports (slower with the accounting)", "seconds"], rows, 2)


def _of(quality: Quality, loop: str, measure: str) -> np.ndarray:
    return np.array([row.measures[measure] for row in quality.rows if row.loop == loop and measure in row.measures])


def quality_table(quality: Quality) -> str:
    """Return each measure as mean and standard deviation over the seeds, both loops."""
    names = dict.fromkeys(name for row in quality.rows for name in row.measures)
    rows = []
    for name in names:
        sides = [_of(quality, loop, name) for loop in ("ours", "plain")]
        rows.append([name.replace("_", " "), *(f"{side.mean():.4g} ± {_deviation(side):.2g}" for side in sides)])
    took = [np.mean([row.seconds for row in quality.rows if row.loop == loop]) for loop in ("ours", "plain")]
    return table(["measure", "ours", "plain"], [*rows, ["seconds of training", *(f"{value:.0f}" for value in took)]])


def _deviation(values: np.ndarray) -> float:
    return float(values.std(ddof=1)) if len(values) > 1 else 0.0


def quality_words(quality: Quality) -> str:
    """Return whether both loops give the same within their spread over the seeds."""
    told = []
    for name in ("nelbo", "label_accuracy"):
        ours, plain = (_of(quality, loop, name) for loop in ("ours", "plain"))
        if not len(ours):
            continue
        apart, allowed = abs(ours.mean() - plain.mean()), _deviation(ours) + _deviation(plain)
        verdict = "within" if apart <= allowed else "beyond"
        told.append(
            f"{name.replace('_', ' ')} {ours.mean():.4g} ± {_deviation(ours):.2g} beside {plain.mean():.4g} ± "
            f"{_deviation(plain):.2g}, {verdict} the spread"
        )
    seeds = len({row.seed for row in quality.rows})
    return f"{quality.run} by both loops, {quality.epochs} epochs, {seeds} seeds: {'; '.join(told)}."


def learning_table(learning: Learning) -> str:
    """Return the measures by seconds of training."""
    names = list(dict.fromkeys(name for row in learning.rows for name in row.measures))
    rows = [
        [f"{row.seconds:.0f}", str(row.step), *(f"{row.measures[name]:.4g}" for name in names)] for row in learning.rows
    ]
    return table(["seconds", "step", *(name.replace("_", " ") for name in names)], rows, 0)


def learning_words(learning: Learning) -> str:
    """Return how soon the label accuracy of the Keras recipe is reached for good.

    For good: a young decoder's one blurred image a label is read as well as any.
    """
    seconds, accuracy = KERAS
    there = None
    for row in reversed(learning.rows):
        if row.measures.get("label_accuracy", 0.0) < accuracy:
            break
        there = row
    last = learning.rows[-1]
    when = f"after {there.seconds:.0f} s of training" if there else "at no time"
    return (
        f"{learning.run} reaches a label accuracy of {_percentage(accuracy)} for good {when} (the seed's recipe in "
        f"Keras: after {seconds} s), and ends after {last.seconds:.0f} s with "
        f"{_percentage(last.measures['label_accuracy'])} and a sharpness of {last.measures['sharpness']:.2f}."
    )


def _percentage(value: float) -> str:
    return f"{100 * value:.1f} %"
