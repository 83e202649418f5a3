"""What the gallery teaches: the family of the models, the latent spaces shown first, and what a run fails at."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from atlas.gallery.outputs import RunPage, model_name

FAMILY: dict[str, dict[str, str]] = {
    "ae": {},
    "gan": {},
    "vae": {"ae": "+ prior"},
    "cvae": {"vae": "+ label"},
    "vae_gan": {"vae": "+ discriminator", "gan": "+ encoder"},
    "beta_vae": {"vae": "with the rate weighed by β"},
    "vae_iaf": {"vae": "+ flow"},
    "ac_vae": {"vae": "+ class in the code"},
    "cgan": {"gan": "+ label"},
    "cvae_gan": {"cvae": "+ discriminator", "vae_gan": "+ label"},
}
"""Of each model its parents, and what it adds to them; the first parent is the one that a run is compared with."""

SHORT_NAMES = {
    "ae": "AE",
    "vae": "VAE",
    "cvae": "CVAE",
    "gan": "GAN",
    "cgan": "cGAN",
    "vae_gan": "VAE/GAN",
    "cvae_gan": "CVAE/GAN",
}

FAILURES = [
    ("label_accuracy", 0.9, 1.0, "The label is obeyed in {} of the samples."),
    ("swap_accuracy", 0.9, 1.0, "Given another label, an image's code becomes that label in {} of the cases."),
    ("class_accuracy", 0.9, 1.0, "Its class dimensions are right for {} of the test images."),
    ("style_leak", 0.0, 0.3, "The code still tells the label: a probe reads it right from {} of them."),
    ("coverage", 0.5, 1.0, "The samples lack variety: {} of the test images have one of them near."),
    ("precision", 0.8, 1.0, "{} of the samples lie among the real images; the others are like none of them."),
    ("sharpness", 0.6, math.inf, "The samples are blurred: they hold {} of the fine detail of real images."),
    ("sharpness", 0.0, 1.25, "The samples are noisy: they hold {} of the fine detail of real images."),
]
"""Metric, its least and its largest value that is no failure, and what is said of another one.

The bounds are coarse on purpose: what lies beyond them is plain to see in the pictures.
"""


@dataclass(frozen=True)
class Member:
    """A model of the family tree with its runs."""

    variant: str
    name: str
    parents: Mapping[str, str]
    depth: int
    runs: Sequence[RunPage]


def variant_of(run: RunPage) -> str:
    return str(run.settings["variant"]) if "variant" in run.settings else ""


def family(runs: Iterable[RunPage]) -> list[Member]:
    """Return the models that have runs, in the order of `FAMILY`; those that it does not know come last."""
    by_variant: dict[str, list[RunPage]] = {}
    for run in runs:
        by_variant.setdefault(variant_of(run), []).append(run)
    names = [*(name for name in FAMILY if name in by_variant), *(name for name in by_variant if name not in FAMILY)]
    return [
        Member(name, model_name(name) or by_variant[name][0].model, FAMILY.get(name, {}), depth(name), by_variant[name])
        for name in names
    ]


def depth(variant: str) -> int:
    """Return how many steps of the family tree lead to a model."""
    return 1 + max(map(depth, parents)) if (parents := FAMILY.get(variant)) else 0


def parent_of(run: RunPage, runs: Iterable[RunPage]) -> tuple[RunPage, str] | None:
    """Return a run of a parent model on the same data, with the same code size if there is one, and what is added."""
    for variant, change in FAMILY.get(variant_of(run), {}).items():
        others = [other for other in runs if other.dataset == run.dataset and variant_of(other) == variant]
        size = run.settings.get("latent_dim")
        same = [other for other in others if other.settings.get("latent_dim") == size]
        if others:
            return (same or others)[0], change
    return None


def plane_runs(runs: Iterable[RunPage]) -> list[RunPage]:
    """Return the runs whose latent spaces are shown first: two dimensions, on the data set with most such models."""
    planes: dict[str, list[RunPage]] = {}
    for run in runs:
        if run.explorer and run.explorer.about["latent_dim"] == 2 and run.explorer.about.get("scatter"):
            planes.setdefault(run.dataset, []).append(run)
    return max(planes.values(), key=lambda group: len({variant_of(run) for run in group}), default=[])


def scenes(planes: Sequence[RunPage], runs: Iterable[RunPage]) -> dict[str, RunPage]:
    """Return the runs that the lesson shows by their part in it; none where autoencoder or VAE is missing.

    The metric of the last scene is the discriminator of the largest code.
    """
    parts = {variant_of(run): run for run in reversed(planes)}
    if not {"ae", "vae"} <= set(parts):
        return {}
    judges = [
        run
        for run in runs
        if run.explorer and run.dataset == planes[0].dataset and variant_of(run) in ("vae_gan", "cvae_gan")
        if (run.explorer.folder / "discriminator.onnx").exists()
    ]
    judge = max(judges, key=lambda run: (variant_of(run) == "cvae_gan", run.settings["latent_dim"]), default=None)
    chosen = {name: parts[name] for name in ("ae", "vae", "cvae") if name in parts}
    return chosen | ({"metric": judge} if judge else {})


def space(run: RunPage) -> dict[str, Any]:
    """Return what a page needs to show a run's codes and to run its networks."""
    assert run.explorer is not None
    return {
        "key": run.key,
        "variant": variant_of(run),
        "networks": f"networks/{run.key}.js",
        "drawn": f"media/{run.key}/explorer.webp",
        "about": dict(run.explorer.about),
    }


def groups(run: RunPage) -> dict[str, str]:
    """Return the parameter group that learns from each term of a run's loss: the color of its curve."""
    adversarial = {"discriminator_loss", "real_probability", "fake_probability", "discriminator_won"} & set(run.history)
    if not adversarial:
        return dict.fromkeys(run.history, "autoencoder")
    generator = "generator" if "generator_loss" in run.history else "decoder"
    known = {"rate": "encoder", "feature_loss": "decoder", "generator_loss": generator, "fake_class_loss": generator}
    return {term: known.get(term, "discriminator") for term in run.history}


def short_names(runs: Sequence[RunPage]) -> dict[str, str]:
    """Return what a switch calls each run: its model, and its key where two have the same model."""
    names = {run.key: SHORT_NAMES.get(variant_of(run), run.model) for run in runs}
    taken = list(names.values())
    return {key: name if taken.count(name) == 1 else key for key, name in names.items()}


def failures(run: RunPage) -> list[str]:
    """Return what a run fails at, as sentences with their numbers."""
    return [
        sentence.format(f"{run.metrics[name] * 100:.0f}\N{NO-BREAK SPACE}%")
        for name, low, high, sentence in FAILURES
        if name in run.metrics and not low <= run.metrics[name] <= high
    ]
