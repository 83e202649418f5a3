"""What the stages wrote of each run, read for the gallery: pictures, films, numbers and training histories."""

import csv
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from os.path import commonprefix
from pathlib import Path
from typing import Any

import imageio_ffmpeg
import yaml
from PIL import Image

from atlas.core.files import AtlasError
from atlas.core.files import require
from atlas.gallery import explorer as gallery_explorer
from atlas.gallery.curves import History
from atlas.gallery.explorer import Explorer
from atlas.core.history import WON, discriminator_won_since

LEFT_OUT = {"losses.png"}
"""Pictures that the page has in another form: its own curves."""
LABEL_FILMS = "label_"
"""How the films of one label each begin, which the film of every label shows as well, a part of it enlarged."""
LABEL_MAPS = "map_"
"""How the maps of one label each begin, which a run's explorer shows as well."""
SUFFIXES = {".png": ".webp", ".mp4": ".mp4"}
"""What the gallery shows, and what it keeps it as: WebP without loss is three quarters of a PNG."""
MIN_WIDTH = 480
"""Smaller pictures are shown enlarged, by a whole factor, to at least this many CSS pixels."""


class _Settings(yaml.SafeDumper):
    """Writes mappings a line each, lists in one line."""


_Settings.add_representer(list, lambda dumper, value: dumper.represent_sequence("tag:yaml.org,2002:seq", value, True))


@dataclass(frozen=True)
class Medium:
    """A picture or a film, its size in pixels, and the words that go with it."""

    source: Path
    address: str
    """Where it lies in the gallery, relative to its pages."""
    width: int
    height: int
    title: str
    alt: str
    blocks: Sequence[tuple[int, int, int, int]] = ()
    """Parts of a film that may be shown alone, one a label: left, top, width, height in pixels."""

    @property
    def file(self) -> str:
        return self.source.name

    @property
    def film(self) -> bool:
        return self.source.suffix == ".mp4"

    @property
    def poster(self) -> str:
        """Address of the picture that stands for a film until it plays."""
        return self.address.removesuffix(".mp4") + ".webp"

    @property
    def shown_width(self) -> int:
        """Width on the page in CSS pixels, where there is room."""
        return self.width * max(1, math.ceil(MIN_WIDTH / self.width))

    @property
    def pixelated(self) -> bool:
        return self.shown_width > self.width


@dataclass(frozen=True)
class RunPage:
    """All that the gallery shows of a run; a part that does not exist yet is empty."""

    key: str
    dataset: str
    model: str
    settings: Mapping[str, Any]
    numbers: Mapping[str, float] = field(default_factory=dict)
    pictures: Sequence[Medium] = ()
    animations: Sequence[Medium] = ()
    history: History = field(default_factory=dict)
    frames: Path | None = None
    """What the trainer kept for the films: the run's thumbnail is taken from the last."""
    explorer: Explorer | None = None

    @property
    def page(self) -> str:
        return f"{self.key}.html"

    @property
    def thumbnail(self) -> str:
        return f"media/{self.key}/thumbnail.webp"

    @property
    def lost_since(self) -> int | None:
        """The epoch since which a discriminator has won for good, if one has."""
        shares = self.history.get(WON, {}).get("train", [])
        return discriminator_won_since([{"epoch": epoch, "split": "train", WON: share} for epoch, share in shares])

    @property
    def yaml(self) -> str:
        return yaml.dump(
            dict(self.settings),
            Dumper=_Settings,
            default_flow_style=False,
            sort_keys=False,
            allow_unicode=True,
            width=60,
        )

    @property
    def series(self) -> list["Series"]:
        """The pictures, in order; those that differ in a number at the end of their file's name in one series."""
        found: list[list[Medium]] = []
        for picture in self.pictures:
            if found and numbered(picture) and numbered(picture) == numbered(found[-1][0]):
                found[-1].append(picture)
            else:
                found.append([picture])
        return [Series(media) for media in found]

    @property
    def films(self) -> list["Series"]:
        """The animations, in order; those of one label each in one series."""
        alone = [film for film in self.animations if numbered(film) == LABEL_FILMS]
        others = [Series([film]) for film in self.animations if film not in alone]
        return [*others[:1], *([Series(alone)] if alone else []), *others[1:]]


@dataclass(frozen=True)
class Series:
    """Pictures or films of which one is shown at a time, picked by its label."""

    media: Sequence[Medium]

    @property
    def labels(self) -> list[str]:
        """What tells the titles apart: what follows the words with which all begin."""
        titles = [medium.title for medium in self.media]
        shared = commonprefix(titles).rfind(" ") + 1  # noqa: RUF071 (characters are meant, not folders)
        return [title[shared:] for title in titles]


def collect(root: Path, runs: Mapping[str, Mapping[str, Any]], partial: bool = False) -> list[RunPage]:
    """Read what the stages wrote of each run, in the order of `runs`.

    Args:
        root: the folder that holds `outputs/`.
        runs: each run's effective settings by its key; "dataset" and "model" are among them.
        partial: leave out what is not there yet, and a run of which nothing is.

    Raises:
        AtlasError: naming the file that is missing and the stage that writes it, or the file that cannot be read.
    """
    outputs = root / "outputs"
    pages = []
    for key, settings in runs.items():
        metrics = outputs / "metrics" / f"{key}.json"
        history = outputs / "models" / key / "history.csv"
        pictures, animations = outputs / "samples" / key, outputs / "animations" / key
        frames = outputs / "models" / key / "frames.npz"
        networks = outputs / "onnx" / key
        stages = {
            metrics: f"evaluate@{key}",
            history: f"train@{key}",
            pictures: f"sample@{key}",
            animations: f"animate@{key}",
            networks: "export",
        }
        there = [path for path in stages if path.exists()]
        if partial and not there:
            continue
        if not partial:
            for path, stage in stages.items():
                require(path, stage)
        explorer = gallery_explorer.read(networks) if networks in there else None
        shown = _media(pictures, f"sample@{key}") if pictures in there else []
        pages.append(
            RunPage(
                key=key,
                dataset=str(settings["dataset"]),
                model=str(settings["model"]),
                settings=settings,
                numbers=_numbers(metrics) if metrics in there else {},
                pictures=[picture for picture in shown if not (explorer and numbered(picture) == LABEL_MAPS)],
                animations=_films(animations, f"animate@{key}") if animations in there else (),
                history=_history(history) if history in there else {},
                frames=frames if frames.exists() else None,
                explorer=explorer,
            )
        )
    if not pages:
        raise AtlasError(f"no run has outputs in {outputs} yet; run `dvc repro` first")
    return pages


def collect_judges(root: Path, datasets: Iterable[str], partial: bool = False) -> dict[str, dict[str, Any]]:
    """Read each data set's judge.json, of which "test_accuracy" is a share in [0, 1].

    Raises:
        AtlasError: naming the file that is missing and the stage that writes it, or the file that cannot be read.
    """
    judges = {}
    for dataset in dict.fromkeys(datasets):
        path = root / "outputs" / "judges" / dataset / "judge.json"
        if partial and not path.exists():
            continue
        judges[dataset] = read_json(require(path, f"train_judge@{dataset}"), dict)
        if not is_number(judges[dataset].get("test_accuracy")):
            raise AtlasError(f"{path}: 'test_accuracy' is missing or no number; run `dvc repro train_judge@{dataset}`")
    return judges


def collect_sheets(root: Path, partial: bool = False) -> list[Medium]:
    """Read the pictures of several runs that stage side_by_side drew.

    Raises:
        AtlasError: naming the file that is missing or cannot be read.
    """
    folder = root / "outputs" / "side_by_side"
    return [] if partial and not folder.exists() else _media(require(folder, "side_by_side"), "side_by_side")


def numbered(picture: Medium) -> str:
    """Return the file's name up to the number that ends it, or nothing where none does."""
    stem = Path(picture.file).stem
    return stem.rstrip("0123456789") if stem[-1:].isdigit() else ""


def _films(folder: Path, stage: str) -> list[Medium]:
    films = _media(folder, stage)
    if not any(film.blocks for film in films):
        return films
    return [film for film in films if numbered(film) != LABEL_FILMS]


def _media(folder: Path, stage: str) -> list[Medium]:
    media = []
    captions = require(folder / "captions.json", stage)
    for caption in read_json(captions, list):
        lacking = [key for key in ("file", "title", "alt") if not isinstance(caption, dict) or not caption.get(key)]
        if lacking:
            raise AtlasError(f"{captions}: an entry lacks '{lacking[0]}'; run `dvc repro {stage}` again")
        if caption["file"] in LEFT_OUT:
            continue
        path = require(folder / caption["file"], stage)
        width, height = _size(path)
        media.append(
            Medium(
                source=path,
                address=f"media/{folder.name}/{path.with_suffix(SUFFIXES[path.suffix]).name}",
                width=width,
                height=height,
                title=caption["title"],
                alt=caption["alt"],
                blocks=[tuple(block) for block in caption.get("blocks", ())],
            )
        )
    return media


def _size(path: Path) -> tuple[int, int]:
    if path.suffix not in SUFFIXES:
        raise AtlasError(f"{path}: the gallery shows .png and .mp4, not '{path.suffix}'")
    try:
        if path.suffix == ".png":
            with Image.open(path) as image:
                return image.size
        frames = imageio_ffmpeg.read_frames(path)
        size = next(frames)["size"]
        frames.close()
        return size
    except (OSError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise AtlasError(f"{path} cannot be read as {path.suffix[1:].upper()}: {reason}") from None


def read_json(path: Path, kind: type) -> Any:
    """Read a JSON file that holds a `kind`.

    Raises:
        AtlasError: if it does not.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise AtlasError(f"{path} is not JSON: {error}") from None
    if not isinstance(content, kind):
        raise AtlasError(f"{path}: found a {type(content).__name__}; wanted a {kind.__name__}")
    return content


def is_number(value: Any) -> bool:
    """Tell whether a value read from JSON is a number (Python calls true and false numbers, too)."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def _numbers(path: Path) -> dict[str, float]:
    numbers = {name: value for name, value in read_json(path, dict).items() if value is not None}
    for name, value in numbers.items():
        if not is_number(value):
            raise AtlasError(f"{path}: '{name}' is {value!r:.40}; wanted a number")
    return numbers


def _history(path: Path) -> History:
    """Return term -> split -> points (epoch, value); an empty cell gives no point."""
    history: History = {}
    try:
        with path.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                epoch, split = float(row.pop("epoch")), row.pop("split")
                row.pop("step")
                for term, value in row.items():
                    if value:
                        history.setdefault(term, {}).setdefault(split, []).append((epoch, float(value)))
    except (KeyError, TypeError, ValueError) as error:
        raise AtlasError(f"{path} is not a history of epochs: {error!r}") from None
    return history
