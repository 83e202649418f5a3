"""Outputs of every run, read for the gallery: figures, animations, metrics and training histories."""

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import groupby
from os.path import commonprefix
from pathlib import Path
from typing import Any, NotRequired

import imageio_ffmpeg
from PIL import Image
from typing_extensions import TypedDict

from atlas.core.files import AtlasError, require
from atlas.core.history import read_history, troubles
from atlas.core.schema import read
from atlas.gallery.explorer import Explorer, read_explorer
from atlas.plotting.canvas import LETTERING
from atlas.plotting.charts import Curves, curves

MODEL_NAMES = {
    "ae": "autoencoder",
    "vae": "VAE",
    "cvae": "CVAE",
    "ac_vae": "class-coded VAE",
    "gan": "GAN",
    "cgan": "conditional GAN",
    "vae_gan": "VAE/GAN",
    "cvae_gan": "conditional VAE/GAN",
}
DATASET_NAMES = {
    "mnist": "MNIST",
    "fashion_mnist": "Fashion-MNIST",
    "kmnist": "KMNIST",
    "usps": "USPS",
    "cifar10": "CIFAR-10",
    "cifar100": "CIFAR-100",
    "svhn": "SVHN",
}
OMITTED = {"losses.png"}
"""Figures that the page replaces by its own curves."""
LABEL_ANIMATIONS = "label_"
"""Prefix of the animations of one label each: omitted where a part of the animation of all labels can be enlarged."""
FORMATS = {".png": ".webp", ".mp4": ".mp4"}
"""File formats that are shown, and those that the gallery stores: lossless WebP takes three quarters of a PNG."""
MIN_WIDTH = 480
"""Smaller images are enlarged by a whole factor to at least this many CSS pixels."""


class JudgeMetrics(TypedDict):
    """judge.json; its numbers of images, and what else it holds, are shown as they are."""

    test_accuracy: float


class DecidedClaim(TypedDict):
    """A claim of comparison.json on some runs; the mappings are by metric."""

    claim: str
    verdict: str
    why: str
    runs: list[str]
    values: dict[str, list[float]]
    interval: dict[str, list[float]]
    n: dict[str, list[int]]
    seeds: dict[str, int]


class Caption(TypedDict):
    """An entry of captions.json. For its keys see `MediaItem`."""

    file: str
    title: str
    alt: str
    blocks: NotRequired[list[list[int]]]


class Lettering(TypedDict):
    """What is written on a figure, as `atlas.plotting.canvas.write_png` describes it; the page sets it anew."""

    size: list[int]
    corner: list[int]
    image: list[int]
    cell: list[int]
    blocks: list[list[int]]
    labels: list[list[float | str | bool]]


@dataclass(frozen=True)
class MediaItem:
    """A figure or an animation, its size in pixels, its caption and its alternative text."""

    source: Path
    address: str
    """Relative to the pages."""
    width: int
    height: int
    title: str
    alt: str
    blocks: Sequence[Sequence[int]] = ()
    """Parts of an animation that can be shown alone, one for each label: left, top, width, height in pixels."""
    lettering: Lettering | None = None
    """Of a figure that is shown without its own words; its size is without them too."""

    @property
    def prefix(self) -> str:
        """File name up to the number at its end, or nothing if it ends in none."""
        stem = self.source.stem
        return stem.rstrip("0123456789") if stem[-1:].isdigit() else ""

    @property
    def shown_width(self) -> int:
        """Width on the page in CSS pixels, where there is room."""
        return self.width * max(1, math.ceil(MIN_WIDTH / self.width))


@dataclass(frozen=True)
class RunPage:
    """Everything that the gallery shows of a run; what does not exist yet is empty."""

    key: str
    dataset: str
    model: str
    """Name for people, as from `model_name`."""
    settings: Mapping[str, Any]
    metrics: Mapping[str, float] = field(default_factory=dict)
    figures: Sequence[MediaItem] = ()
    animations: Sequence[MediaItem] = ()
    history: Curves = field(default_factory=dict)
    troubles: Sequence[str] = ()
    """Sentences about the training, as from `atlas.core.history.troubles`."""
    frames: Path | None = None
    """Snapshots of the training; the thumbnail shows the last."""
    explorer: Explorer | None = None

    @property
    def page(self) -> str:
        return f"{self.key}.html"


def model_name(variant: str) -> str:
    """Name that people give a model: "CVAE" of "cvae", "VAE + IAF" of "vae_iaf"; an unknown one stays as it is."""
    name = variant.removeprefix("beta_").removesuffix("_iaf")
    beta, flow = variant.startswith("beta_"), variant.endswith("_iaf")
    return f"{'beta-' if beta else ''}{MODEL_NAMES.get(name, name)}{' + IAF' if flow else ''}"


def series(items: Sequence[MediaItem]) -> list[list[MediaItem]]:
    """Return the items in order; neighbors that differ only in the number at the end of their names are one series."""
    return [list(group) for _, group in groupby(items, lambda item: item.prefix or item.source)]


def dataset_name(key: str) -> str:
    """Name that people give a data set: "CIFAR-10" of "cifar10"; one's own stays as it is."""
    return DATASET_NAMES.get(key, key)


def distinct_titles(items: Sequence[MediaItem]) -> list[str]:
    """Return the titles of a series without the words that all of them begin with."""
    titles = [item.title for item in items]
    start = commonprefix(titles).rfind(" ") + 1  # noqa: RUF071 (characters are meant, not folders)
    return [title[start:] for title in titles]


def collect(root: Path, runs: Mapping[str, Mapping[str, Any]], partial: bool = False) -> list[RunPage]:
    """Read the outputs of each run, in the order of `runs`.

    Args:
        root: the folder that holds `outputs/`.
        runs: every run's effective settings by its key; "dataset" and "variant" among them.
        partial: leave out what does not exist yet, and a run without any output.

    Raises:
        AtlasError: naming the file that is missing and the stage that writes it, or the file that cannot be read.
    """
    outputs = root / "outputs"
    pages = []
    for key, settings in runs.items():
        stages = {
            outputs / "metrics" / f"{key}.json": f"evaluate@{key}",
            outputs / "models" / key / "history.csv": f"train@{key}",
            outputs / "samples" / key: f"sample@{key}",
            outputs / "animations" / key: f"animate@{key}",
            outputs / "onnx" / key: "export",
        }
        if not partial:
            for path, stage in stages.items():
                require(path, stage)
        elif not any(path.exists() for path in stages):
            continue
        metrics, history, samples, animations, networks = stages
        frames = outputs / "models" / key / "frames.npz"
        explorer = read_explorer(networks) if networks.exists() else None
        figures = _media(samples, stages[samples])
        animated = _media(animations, stages[animations])
        terms, sentences = _history(history, stages[history])
        values = read(metrics, stages[metrics], dict[str, float | None]) if metrics.exists() else {}
        # What a part of another animation shows as well.
        omitted = {LABEL_ANIMATIONS} if any(item.blocks for item in animated) else set()
        pages.append(
            RunPage(
                key=key,
                dataset=str(settings["dataset"]),
                model=model_name(str(settings["variant"])),
                settings=settings,
                metrics={name: value for name, value in values.items() if value is not None},
                figures=figures,
                animations=[item for item in animated if item.prefix not in omitted],
                history=terms,
                troubles=sentences,
                frames=frames if frames.exists() else None,
                explorer=explorer,
            )
        )
    if not pages:
        raise AtlasError(f"no run has outputs in {outputs} yet; run `dvc repro` first")
    return pages


def collect_judges(root: Path, datasets: Iterable[str], partial: bool = False) -> dict[str, JudgeMetrics]:
    """Read each data set's judge.json."""
    paths = {dataset: root / "outputs" / "judges" / dataset / "judge.json" for dataset in datasets}
    return {
        dataset: read(path, f"train_judge@{dataset}", JudgeMetrics)
        for dataset, path in paths.items()
        if path.exists() or not partial
    }


def collect_claims(root: Path) -> list[DecidedClaim]:
    """Read the claims of results/comparison.json; without the file there is none."""
    path = root / "results" / "comparison.json"
    return read(path, "compare", dict[str, list[DecidedClaim]]).get("claims", []) if path.exists() else []


def _media(folder: Path, stage: str) -> list[MediaItem]:
    """Return the figures or animations of a run; none where there is no folder."""
    if not folder.exists():
        return []
    items = []
    for caption in read(folder / "captions.json", stage, list[Caption]):
        if caption["file"] in OMITTED:
            continue
        path = require(folder / caption["file"], stage)
        address = f"media/{folder.name}/{path.stem}{FORMATS.get(path.suffix)}"
        (width, height), lettering = _size(path)
        blocks = caption.get("blocks", ())
        items.append(MediaItem(path, address, width, height, caption["title"], caption["alt"], blocks, lettering))
    return items


def _size(path: Path) -> tuple[Sequence[int], Lettering | None]:
    """Return width and height of an image or a video in pixels, and what is written on an image."""
    if path.suffix not in FORMATS:
        raise AtlasError(f"{path}: the gallery shows .png and .mp4, not '{path.suffix}'")
    with readable(path):
        if path.suffix == ".png":
            with Image.open(path) as image:
                words = image.info.get(LETTERING)
                lettering: Lettering | None = json.loads(words) if words else None
                return lettering["size"] if lettering else image.size, lettering
        frames = imageio_ffmpeg.read_frames(path)
        size = next(frames)["size"]
        frames.close()
        return size, None


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Raise AtlasError where an image or a video cannot be read."""
    try:
        yield
    except (OSError, RuntimeError, ValueError) as error:
        reason = (str(error).splitlines() or ["no frame in it"])[0]
        raise AtlasError(f"{path} cannot be read as {path.suffix[1:].upper()}: {reason}") from None


def _history(path: Path, stage: str) -> tuple[Curves, list[str]]:
    """Return the curves of a history by epoch, and its troubles."""
    rows = read_history(path, stage) if path.exists() else []
    try:
        return curves(rows), troubles(rows)
    except (KeyError, TypeError, ValueError) as error:
        raise AtlasError(f"{path} is not a history of epochs: {error!r}") from None
