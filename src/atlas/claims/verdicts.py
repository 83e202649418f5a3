"""How a claim is decided: each of its metrics by the 95 % interval of a difference, the claim by its worst metric.

The difference:

    pair of runs   the first run's number less the second's ("closer_to_one": of their distances from 1)
    single run     its number less the limit

Its interval, from the first of these that is there:

    seeds    at least three seeds of the same runs: the mean of the differences seed by seed (Student's t)
    images   both runs' values for the same images: the mean of the differences image by image
    runs     the runs' own intervals, as if independent

The metric's verdict:

    holds       the interval lies on the right side of zero; of "not_lower" and "not_higher": not beyond the margin
    fails       the interval, widened for the number of the claim's metrics (Bonferroni), lies on the wrong side of
                zero; of "not_lower" and "not_higher": beyond the margin
    not shown   neither

The claim fails if one of its metrics fails, else it is not shown if one is not shown, else it holds. Only the first
needs the correction: one of many metrics fails by chance more easily than a single one, all of them hold less easily.

Images are not what a claim about models is repeated over: trainings are. With fewer than three seeds in one of its
metrics, a claim holds or fails "for this pair of trainings" (or "for this training") and no further.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm
from scipy.stats import t as student

from atlas.claims.claims import CLAIMS, Claim, Evidence

Metrics = Mapping[str, float]
"""{metric: number} of one run, with `<metric>_low` and `_high` where a 95 % interval is known."""
PerImage = Mapping[str, NDArray[np.float64]]
"""{metric: [N], what it is the mean of} of one run, in the test set's order."""
Interval = tuple[float, float]
Row = dict[str, Any]

MIN_SEEDS = 3
"""The fewest seeds whose spread says more than that of the images does."""
MATCHED_BUDGET = (
    "network", "epochs", "images_seen", "length", "batch_size", "width", "images", "optimizer", "learning_rate",
    "momentum", "schedule", "restarts", "ema", "kl_warm_up", "gradient_clip", "patience", "dropout", "noise",
)  # fmt: skip
"""Settings that a fair pair has in common; where it has not, the row says so."""
SCOPES = {1: " for this training", 2: " for this pair of trainings"}
"""How far a verdict reaches without other seeds, by the number of runs."""
WORST_FIRST = ("fails", "not shown", "holds")


@dataclass(frozen=True)
class Results:
    """What the claims are decided from."""

    metrics: Mapping[str, Metrics]
    """Of each run."""
    settings: Mapping[str, Mapping[str, Any]]
    """Of each run, every effective setting (`Settings.flat`)."""
    accuracies: Mapping[str, float]
    """Of each data set, the judge's accuracy on real test images."""
    per_image: Mapping[str, PerImage] = field(default_factory=dict)
    """Of some runs."""
    seeds: Mapping[str, Mapping[int, Metrics]] = field(default_factory=dict)
    """Of some runs, their metrics with other seeds."""


def decide_claims(results: Results) -> list[Row]:
    """Verdicts: a row for each claim and each run or pair of it.

    Its keys are claim, runs, values, n, interval, seeds, differs (settings in which a pair differs besides the factor
    under test), verdict and why; values, n (of images), interval (of the difference) and seeds (how many) are by
    metric. A claim without runs, or whose metrics are missing, is "not run".
    """
    rows = []
    for claim in CLAIMS:
        decided = [_decide_runs(claim, runs, results) for runs in claim.runs(results.settings)]
        if not decided:
            decided = [_row(claim, (), "not run", f"there are no runs of {claim.needed_runs()}")]
        elif all(row["verdict"] == "not run" and not row["values"] for row in decided):
            decided = [_row(claim, (), "not run", f"no run has {' or '.join(claim.decisive)}")]
        rows += decided
    return rows


def _decide_runs(claim: Claim, runs: tuple[str, ...], results: Results) -> Row:
    """Return the row of one claim and one run or pair."""
    metrics = [results.metrics[run] for run in runs]
    settings = [results.settings[run] for run in runs]
    seeds = [results.seeds.get(run, {}) for run in runs]
    repeats = [[own[seed] for own in seeds] for seed in sorted(set.intersection(*map(set, seeds)))]
    missing = [
        f"{run} has no {name}"
        for name in claim.decisive
        for run, own in zip(runs, metrics, strict=True)
        if name not in own
    ]
    row = _row(claim, runs, "not run", "; ".join(missing))
    verdicts, reasons = [], []
    for evidence in claim.evidence:
        name = evidence.metric
        if not all(name in own for own in metrics):
            continue
        row["values"][name] = [own[name] for own in metrics]
        if all(f"{name}_n" in own for own in metrics):
            row["n"][name] = [own[f"{name}_n"] for own in metrics]
        if evidence.requires and any(own.get(evidence.requires[0], math.inf) < evidence.requires[1] for own in metrics):
            reasons.append(f"{name} decides nothing here: {evidence.requires[0]} below {evidence.requires[1]:g}")
            continue
        by_seed = [metrics, *(repeated for repeated in repeats if all(name in own for own in repeated))]
        per_image = [results.per_image.get(run, {}) for run in runs]
        accuracy = results.accuracies[settings[0]["dataset"]]
        verdict, interval, reason = decide(evidence, by_seed, accuracy, per_image, parts=len(claim.decisive))
        reasons.append(reason)
        if interval:
            verdicts.append(verdict)
            row["interval"][name] = list(interval)
            if len(by_seed) >= MIN_SEEDS:
                row["seeds"][name] = len(by_seed)
    if missing:
        return row
    if len(runs) > 1:
        reasons.append(
            "an interval of a difference is of the differences image by image or seed by seed where the text says so, "
            "else made of the two runs' own, as if independent"
        )
        row["differs"] = [key for key in MATCHED_BUDGET if len({str(own[key]) for own in settings if key in own}) > 1]
        if len({own.get("label_path") == "classifier" for own in settings}) > 1:
            row["differs"].append("classifier of the label")
        reasons += [f"the runs differ in {', '.join(row['differs'])}"] if row["differs"] else []
    verdict = min(verdicts, key=WORST_FIRST.index)
    if verdict != "not shown" and len(row["seeds"]) < len(verdicts):
        verdict += SCOPES[len(runs)]
        reasons.append(f"fewer than {MIN_SEEDS} seeds: another training may come out otherwise")
    return row | {"verdict": verdict, "why": "; ".join(reasons)}


def decide(
    evidence: Evidence,
    by_seed: Sequence[Sequence[Metrics]],
    accuracy: float,
    per_image: Sequence[PerImage] = ({}, {}),
    parts: int = 1,
) -> tuple[str, Interval | None, str]:
    """Verdict of one metric of a claim, the interval of the difference, and the reason in words.

    Where the metric is only context, the verdict is empty.

    Args:
        by_seed: metrics of the run, or of the two, and of the same with each other seed.
        accuracy: of the judge on real test images.
        per_image: of the same runs, some metrics' values of each image.
        parts: how many metrics decide the claim.
    """
    name, direction, metrics = evidence.metric, evidence.direction, by_seed[0]
    text = " against ".join(f"{own[name]:.4g}" for own in metrics)
    if direction == "context":
        return "", None, f"{name} {text}"
    limit = evidence.limit * (accuracy if evidence.relative_to_classifier else 1)
    has_interval = all(f"{name}_low" in own and f"{name}_high" in own for own in metrics)
    # A single run is compared with its limit, a number without spread.
    first, second, *_ = [*(_value_low_high(evidence, own) for own in metrics), (limit, limit, limit)]
    corrected = 0.05 / parts
    # Of normal intervals; Student's has its own.
    factor = float(norm.ppf(1 - corrected / 2) / norm.ppf(0.975))
    paired = paired_by_image(name, per_image) if len(metrics) == 2 and direction != "closer_to_one" else None
    if len(by_seed) >= MIN_SEEDS:
        values = [[*(_value_low_high(evidence, own)[0] for own in repeated), limit] for repeated in by_seed]
        differences = [value - other for value, other, *_ in values]
        low, high = paired_interval(differences)
        has_interval = True
        factor = float(student.ppf(1 - corrected / 2, len(differences) - 1) / student.ppf(0.975, len(differences) - 1))
        average = float(np.mean(differences)) + (limit if len(metrics) == 1 else 0.0)
        text += f" (seed by seed, {len(by_seed)} seeds: {average:.4g} on average)"
    elif paired:
        low, high = paired
        text += " (image by image)"
    else:
        low, high = independent_difference(first, second)
    # The loss: by how much the number lies on the wrong side.
    wrong_is_high = direction in ("lower", "below", "closer_to_one", "not_higher")
    least_loss, most_loss = (low, high) if wrong_is_high else (-high, -low)
    margin = max(evidence.margin, evidence.relative_margin * abs(second[0]))
    middle = (least_loss + most_loss) / 2
    fails = middle - factor * (middle - least_loss) > margin
    verdict = "fails" if fails else "holds" if most_loss < margin else "not shown"
    wanted = direction.replace("_", " ")
    if len(metrics) == 1:
        relative = f" ({evidence.limit:.0%} of the judge's accuracy on real images)"
        wanted += f" {limit:.4g}{relative if evidence.relative_to_classifier else ''}"
    if margin:
        wanted += f" by more than {margin:.3g}"
    without = "" if has_interval else ", without an interval"
    return verdict, (low, high), f"{name} {text}, to be {wanted}: {verdict}{without}"


def paired_by_image(name: str, per_image: Sequence[PerImage]) -> Interval | None:
    """95 % interval of the difference of two runs' means over the same images; None where it is not known.

    The importance-weighted bound is a difference estimator, -ELBO of all images less the gap of some, and so is the
    difference of two.
    """
    parts = ("nelbo", "nll_gap") if name == "nll" else (name,)
    if not all(part in values for part in parts for values in per_image):
        return None
    first, second = per_image
    if any(len(first[part]) != len(second[part]) or len(first[part]) < 2 for part in parts):
        return None
    differences = [first[part] - second[part] for part in parts]
    middle = float(sum(sign * row.mean() for sign, row in zip((1, -1), differences, strict=False)))
    half = float(norm.ppf(0.975)) * math.sqrt(sum(row.var(ddof=1) / len(row) for row in differences))
    return middle - half, middle + half


def paired_interval(differences: Sequence[float]) -> Interval:
    """95 % interval of the mean of differences [N], N at least 2, from Student's t."""
    count, mean = len(differences), float(np.mean(differences))
    half = float(student.ppf(0.975, count - 1)) * float(np.std(differences, ddof=1)) / math.sqrt(count)
    return mean - half, mean + half


def independent_difference(first: tuple[float, float, float], second: tuple[float, float, float]) -> Interval:
    """95 % interval of first - second, each (value, low, high), from their own intervals as if independent.

    The square-root rule (Zou and Donner 2008): exact for normal ones; too wide where both saw the same images.
    """
    (a, a_low, a_high), (b, b_low, b_high) = first, second
    return a - b - math.hypot(a - a_low, b_high - b), a - b + math.hypot(a_high - a, b - b_low)


def _value_low_high(evidence: Evidence, metrics: Metrics) -> tuple[float, float, float]:
    """Return a run's number and the ends of its interval; for "closer_to_one", of its distance from 1."""
    value = metrics[evidence.metric]
    low, high = (metrics.get(f"{evidence.metric}_{end}", value) for end in ("low", "high"))
    if evidence.direction != "closer_to_one":
        return value, low, high
    ends = abs(low - 1), abs(high - 1)
    return abs(value - 1), 0.0 if low < 1 < high else min(ends), max(ends)


def _row(claim: Claim, runs: tuple[str, ...], verdict: str, why: str) -> Row:
    by_metric: dict[str, Any] = {name: {} for name in ("values", "n", "interval", "seeds")}
    return {"claim": claim.sentence, "runs": list(runs), **by_metric, "differs": [], "verdict": verdict, "why": why}
