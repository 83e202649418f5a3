"""The claims: what each says should come out, of which runs, and whether their numbers show it, and none too gently.

Functions of plain mappings: {run: {measure: number}} and {run: {setting: value}}. Nothing here computes a measure.
"""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from atlas.metrics.registry import METRICS
from atlas.claims.verdicts import SEEDS, Evidence, Numbers, decide

Row = dict[str, Any]


class Claim(NamedTuple):
    """A sentence that may be wrong."""

    sentence: str
    model: str
    """Registered name of the runs that it is about."""
    other: str
    """Of those that they are compared with; empty where the claim is about single runs."""
    alike: tuple[str, ...]
    """Settings, besides dataset and seed, in which the two runs of a pair must not differ."""
    evidence: tuple[Evidence, ...]
    codes: tuple[int, int] | None = None
    """Where the two runs differ in the code's size alone: the first's and the second's."""


BUDGET = ("network", "epochs", "batch_size", "width", "images")
"""Settings that a fair pair has in common; where it has not, the row says so."""

STYLE = (
    Evidence("swap_accuracy", "above", 0.9, of_judge=True),
    Evidence("style_kept", "below", 0.5),
    Evidence("style_leak", "below", 0.5),
    Evidence("rate", "printed"),
)

CLAIMS = (
    Claim(
        "CVAE/GAN is sharper than CVAE at the same code size, its labels are no worse",
        "cvae_gan",
        "cvae",
        ("latent_dim",),
        (
            Evidence("kernel", "lower"),
            Evidence("sharpness", "nearer 1"),
            Evidence("label_accuracy", "not lower"),
            Evidence("frechet", "printed"),
            Evidence("imagenet_kernel", "printed"),
            Evidence("reconstruction_mse", "printed"),
        ),
    ),
    *(
        Claim(
            f"A code of 8 dimensions beats one of 2 ({title})",
            model,
            model,
            ("likelihood",),
            (Evidence("reconstruction_mse", "lower"), Evidence("kernel", "lower")),
            codes=(8, 2),
        )
        for model, title in (("cvae", "CVAE"), ("cvae_gan", "CVAE/GAN"))
    ),
    Claim(
        "An inverse autoregressive flow tightens the bound",
        "vae_iaf",
        "vae",
        ("latent_dim", "likelihood"),
        (
            Evidence("nelbo", "lower"),
            Evidence("nll_gap", "lower"),
            Evidence("nll", "not higher"),
            Evidence("rate", "printed"),
        ),
    ),
    Claim(
        "A VAE's prior can be sampled, an autoencoder's cannot",
        "vae",
        "ae",
        ("latent_dim",),
        (Evidence("kernel", "lower"), Evidence("prior_confidence", "printed"), Evidence("label_purity", "printed")),
    ),
    Claim("The style is kept and the label is changed (CVAE)", "cvae", "", (), STYLE),
    Claim("The style is kept and the label is changed (CVAE/GAN)", "cvae_gan", "", (), STYLE),
    Claim(
        "The class dimensions are the class",
        "ac_vae",
        "",
        (),
        (
            Evidence("class_accuracy", "above", 0.9, of_judge=True),
            Evidence("swap_accuracy", "above", 0.9, of_judge=True),
            Evidence("style_leak", "printed"),
        ),
    ),
    Claim(
        "A beta above 1 disentangles, and pays in distortion",
        "beta_vae",
        "vae",
        ("latent_dim", "likelihood"),
        (Evidence("mig", "higher"), Evidence("distortion", "printed"), Evidence("active_units", "printed")),
    ),
    Claim(
        "Reparameterisation lowers the variance of the bound's gradient",
        "vae",
        "",
        (),
        (Evidence("estimator_variance_ratio", "above", 1.0),),
    ),
)


def judge_claims(
    metrics: Mapping[str, Numbers],
    settings: Mapping[str, Mapping[str, Any]],
    judges: Mapping[str, float],
    each: Mapping[str, Mapping[str, NDArray[np.float64]]] | None = None,
    seeds: Mapping[str, Mapping[int, Numbers]] | None = None,
) -> list[Row]:
    """Return a row for each claim and each run or pair of it: claim, runs, values, n, interval, seeds, verdict, why.

    values, n (of images), interval and seeds (how many) are by measure; the interval is of what the verdict hangs on: a
    difference, or a number less its limit. A claim holds if all of its evidence does; it fails if a part is shown to go
    the other way; else, where an interval covers no difference, it is not shown. One without runs, or whose measures
    are missing, is not run.

    Args:
        metrics: of each run, with `<measure>_low` and `_high` where a 95 % interval is known.
        settings: of each run, every effective setting; "dataset", "model", "seed" and "latent_dim" among them.
        judges: of each data set, the share of real test images that its judge reads right.
        each: of each run, what a measure is the mean of, [N] an image in the test set's order, where that is known:
            two runs that have it are compared image by image.
        seeds: of each run, its metrics with other seeds. From `SEEDS` seeds on, its own among them, a verdict hangs on
            the spread over seeds, pairs compared seed by seed, and no longer on that over images.
    """
    each, seeds = each or {}, seeds or {}
    rows = []
    for claim in CLAIMS:
        groups = list(_groups(claim, {run: settings[run] for run in metrics}))
        judged = [
            _judged(claim, runs, metrics, settings, judges[settings[runs[0]]["dataset"]], each, seeds)
            for runs in groups
        ]
        if not groups:
            judged = [_row(claim, (), "not run", f"there are no runs of {_wanted(claim)}")]
        elif all(row["verdict"] == "not run" and not row["values"] for row in judged):
            judged = [_row(claim, (), "not run", f"no run has {' or '.join(_decisive(claim))}")]
        rows += judged
    return rows


def _wanted(claim: Claim) -> str:
    if not claim.other:
        return claim.model
    what = f"{claim.model} and {claim.other}"
    if claim.codes:
        what = f"{claim.model} with codes of {claim.codes[0]} and {claim.codes[1]} dimensions"
    return f"{what} that agree in {', '.join(('dataset', 'seed', *claim.alike))}"


def _decisive(claim: Claim) -> list[str]:
    return [part.measure for part in claim.evidence if part.sense != "printed"]


def _groups(claim: Claim, settings: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, ...]]:
    for first, about in settings.items():
        if about["model"] != claim.model:
            continue
        if not claim.other:
            yield (first,)
            continue
        for second, other in settings.items():
            same = all(about.get(key) == other.get(key) for key in ("dataset", "seed", *claim.alike))
            sizes = (about.get("latent_dim"), other.get("latent_dim"))
            if other["model"] == claim.other and same and first != second and claim.codes in (None, sizes):
                yield first, second


def _judged(
    claim: Claim,
    runs: tuple[str, ...],
    metrics: Mapping[str, Numbers],
    settings: Mapping[str, Mapping[str, Any]],
    judge: float,
    each: Mapping[str, Mapping[str, NDArray[np.float64]]],
    seeds: Mapping[str, Mapping[int, Numbers]],
) -> Row:
    common = set.intersection(*(set(seeds.get(run, {})) for run in runs))
    others = [[seeds[run][seed] for run in runs] for seed in sorted(common)]
    missing = [f"{run} has no {name}" for name in _decisive(claim) for run in runs if name not in metrics[run]]
    row = _row(claim, runs, "not run", "; ".join(missing))
    verdicts, reasons = [], []
    for part in claim.evidence:
        if any(part.measure not in metrics[run] for run in runs):
            continue
        found = [metrics[run] for run in runs]
        row["values"][part.measure] = [numbers[part.measure] for numbers in found]
        if all(f"{part.measure}_n" in numbers for numbers in found):
            row["n"][part.measure] = [numbers[f"{part.measure}_n"] for numbers in found]
        again = [numbers for numbers in others if all(part.measure in each_of for each_of in numbers)]
        verdict, interval, reason = decide(part, found, judge, _by_image(part.measure, runs, each), again)
        if interval and len(again) + 1 >= SEEDS:
            row["seeds"][part.measure] = len(again) + 1
        if interval:
            row["interval"][part.measure] = list(interval)
        verdicts += [verdict] if verdict else []
        reasons.append(reason)
    if missing:
        return row
    if len(runs) > 1:
        reasons.append(
            "an interval of a difference is of the differences image by image or seed by seed where the text says so, "
            "else made of the two runs' own, as if independent"
        )
        unlike = [key for key in BUDGET if len({str(settings[run].get(key)) for run in runs}) > 1]
        reasons += [f"the runs differ in {', '.join(unlike)}"] if unlike else []
    order = ("fails", "not shown", "holds")
    return row | {"verdict": min(verdicts, key=order.index), "why": "; ".join(reasons)}


def _by_image(
    name: str, runs: tuple[str, ...], each: Mapping[str, Mapping[str, NDArray[np.float64]]]
) -> NDArray[np.float64] | None:
    """Return the first run's value less the second's, [N] an image, where both are known of the same images."""
    known = [each[run][name] for run in runs if name in each.get(run, {})]
    return known[0] - known[1] if len(known) == 2 and len(known[0]) == len(known[1]) else None


def markdown(rows: list[Row]) -> str:
    """Return the table of the claims that the README shows."""
    lines = ["| claim | runs | numbers | verdict |", "|---|---|---|---|"]
    for row in rows:
        numbers = [
            f"{METRICS[name].title} {' / '.join(f'{value:.{METRICS[name].digits}f}' for value in values)}"
            for name, values in row["values"].items()
        ]
        cells = [row["claim"], " / ".join(row["runs"]), ", ".join(numbers) or row["why"], f"**{row['verdict']}**"]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _row(claim: Claim, runs: tuple[str, ...], verdict: str, why: str) -> Row:
    return {
        "claim": claim.sentence,
        "runs": list(runs),
        "values": {},
        "n": {},
        "interval": {},
        "seeds": {},
        "verdict": verdict,
        "why": why,
    }
