"""What the comparison says of each claim, read for the gallery: a verdict and the numbers it rests on, in words."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from atlas.core.files import AtlasError
from atlas.gallery.outputs import is_number, read_json


@dataclass(frozen=True)
class Evidence:
    """One measure of a claim; a part that the comparison does not give is empty."""

    measure: str
    values: str
    """Of the claim's runs, in their order."""
    interval: str
    size: str
    """How many images, and how many seeds where there are several."""


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

    `values`, `interval`, `n` and `seeds` are by measure. Without the file there is no claim.

    Raises:
        AtlasError: if the file cannot be read as such.
    """
    path = root / "results" / "comparison.json"
    if not path.exists():
        return []
    claims = []
    for entry in read_json(path, dict).get("claims", []):
        lacking = [key for key in ("claim", "verdict") if not isinstance(entry, dict) or not entry.get(key)]
        if lacking:
            raise AtlasError(f"{path}: a claim lacks '{lacking[0]}'; run `dvc repro compare`")
        parts = (_by_measure(path, entry, key) for key in ("values", "interval", "n", "seeds"))
        values, intervals, sizes, seeds = parts
        claims.append(
            Claim(
                text=str(entry["claim"]),
                verdict=str(entry["verdict"]),
                runs=[str(run) for run in entry.get("runs") or ()],
                evidence=[
                    Evidence(
                        measure,
                        words(values.get(measure), " / "),
                        words(intervals.get(measure), " to "),
                        words(_once(sizes.get(measure)), " / ")
                        + (f", {seeds[measure]} seeds" if seeds.get(measure) else ""),
                    )
                    for measure in dict.fromkeys([*values, *intervals, *sizes])
                ],
                reasons=[reason for reason in str(entry.get("why") or "").split("; ") if reason],
            )
        )
    return claims


def grouped(claims: Iterable[Claim]) -> list[tuple[str, list[Claim]]]:
    """Return each statement with what it comes to for its runs; statements that follow one another are one."""
    return [(text, list(rows)) for text, rows in groupby(claims, lambda claim: claim.text)]


def verdicts(claims: Iterable[Claim]) -> dict[str, int]:
    """Return how many claims come to each verdict, the commonest first."""
    return dict(Counter(claim.verdict for claim in claims).most_common())


def words(value: Any, between: str) -> str:
    """Return a value read from JSON as words: four digits of a number, a list entry by entry."""
    if value is None:
        return ""
    if isinstance(value, list):
        return between.join(words(entry, between) for entry in value)
    if isinstance(value, float) and abs(value) < 1e4:
        return f"{value:.4g}"
    return f"{value:,.0f}" if is_number(value) else str(value)


def _once(value: Any) -> Any:
    """Return a list's entry where all are the same, what it is else."""
    return value[0] if isinstance(value, list) and value and all(entry == value[0] for entry in value) else value


def _by_measure(path: Path, entry: Mapping[str, Any], key: str) -> dict[str, Any]:
    found = entry.get(key) or {}
    if not isinstance(found, dict):
        raise AtlasError(f"{path}: the '{key}' of a claim is a {type(found).__name__}; run `dvc repro compare`")
    return found
