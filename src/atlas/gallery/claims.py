"""Claims of stage compare, read for the gallery: each with its verdict and the numbers behind it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from atlas.core.files import AtlasError
from atlas.gallery.outputs import is_number, read


@dataclass(frozen=True)
class Evidence:
    """One metric of a claim as text; a part that the comparison does not give is empty."""

    metric: str
    values: str
    """Of the claim's runs, in their order."""
    interval: str
    size: str
    """Number of images, and of seeds where there are several."""


@dataclass(frozen=True)
class Claim:
    """A statement about some runs, and whether their numbers show it."""

    text: str
    verdict: str
    runs: Sequence[str] = ()
    evidence: Sequence[Evidence] = ()
    reasons: Sequence[str] = ()


def collect_claims(root: Path) -> list[Claim]:
    """Read results/comparison.json, {"claims": [{claim, verdict, runs, values, interval, n, seeds, why}]}.

    `values`, `interval`, `n` and `seeds` are keyed by metric. Without the file there is no claim.

    Raises:
        AtlasError: if the file is damaged.
    """
    path = root / "results" / "comparison.json"
    return [_claim(path, entry) for entry in read(path, "compare", dict).get("claims", [])] if path.exists() else []


def grouped(claims: Iterable[Claim]) -> list[tuple[str, list[Claim]]]:
    """Return each statement with its claims, one for each group of runs."""
    return [(text, list(group)) for text, group in groupby(claims, lambda claim: claim.text)]


def format_number(value: Any, separator: str = " / ") -> str:
    """Return a value read from JSON as text: a number in four digits, a list entry by entry."""
    if isinstance(value, list):
        return separator.join(format_number(entry) for entry in value)
    if isinstance(value, float) and abs(value) < 1e4:
        return f"{value:.4g}"
    return f"{value:,.0f}" if is_number(value) else str(value or "")


def _claim(path: Path, entry: Any) -> Claim:
    missing = [key for key in ("claim", "verdict") if not isinstance(entry, dict) or not entry.get(key)]
    if missing:
        raise AtlasError(f"{path}: a claim lacks '{missing[0]}'; run `dvc repro compare`")
    for key in ("values", "interval", "n", "seeds"):
        if not isinstance(entry.get(key) or {}, Mapping):
            kind = type(entry[key]).__name__
            raise AtlasError(f"{path}: the '{key}' of a claim is a {kind}; run `dvc repro compare`")
    values, intervals, sizes, seeds = (entry.get(key) or {} for key in ("values", "interval", "n", "seeds"))
    return Claim(
        text=str(entry["claim"]),
        verdict=str(entry["verdict"]),
        runs=[str(run) for run in entry.get("runs") or ()],
        evidence=[
            Evidence(
                metric,
                format_number(values.get(metric)),
                format_number(intervals.get(metric), " to "),
                # Every run's number of images, but once where all are the same.
                format_number(list(dict.fromkeys(sizes.get(metric, ()))))
                + (f", {seeds[metric]} seeds" if seeds.get(metric) else ""),
            )
            for metric in dict.fromkeys([*values, *intervals, *sizes])
        ],
        reasons=[reason for reason in str(entry.get("why") or "").split("; ") if reason],
    )
