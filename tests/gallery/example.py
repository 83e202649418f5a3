"""Outputs of three small runs as the stages write them, for the tests of the gallery, and a reader of its pages."""

import base64
import csv
import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
from imageio.v2 import mimwrite
from PIL import Image
from sklearn.datasets import load_digits

from atlas.gallery import pages
from atlas.gallery.outputs import collect, collect_claims, collect_judges
from atlas.metrics.registry import Metric
from atlas.plotting import sheets

REGISTRY = [
    Metric("rate", "rate", "nats", "", "the part of the bound that the code costs", 2),
    Metric("frechet", "distance", "", "lower", "between samples and test images", 1, headline=True),
    Metric("label_accuracy", "label accuracy", "share", "higher", "how often the label is read", 3, headline=True),
    Metric("never", "never reported", "", "lower", "no run has it", 2, headline=True),
]
RUNS: dict[str, dict[str, Any]] = {
    "mnist_ae_2": {"dataset": "mnist", "variant": "ae", "latent_dim": 2},
    "mnist_cvae_2": {"dataset": "mnist", "variant": "cvae", "learning_rate": {"encoder": 0.001}, "hidden": [4, None]},
    "digits_cvae_2": {"dataset": "digits", "variant": "cvae", "latent_dim": 2, "conditional": True},
}
METRICS: dict[str, dict[str, float]] = {
    "mnist_ae_2": {"frechet": 31.25, "frechet_n": 10000},
    "mnist_cvae_2": {
        "rate": 7.123456789,
        "frechet": 12.0625,
        "frechet_low": 11.5,
        "frechet_high": 12.75,
        "label_accuracy": 0.9876,
        "extra": 0.125,
    },
    "digits_cvae_2": {"rate": 0.0, "frechet": 40.5, "label_accuracy": 0.5},
}
CLAIM = {
    "claim": "one beats another",
    "runs": ["mnist_cvae_2", "mnist_ae_2"],
    "values": {"frechet": [12.0625, 31.25]},
    "n": {"frechet": [10000, 10000]},
    "interval": {"frechet": [-20.5, -18.25]},
    "seeds": {"frechet": 3},
    "verdict": "holds",
    "why": "zero lies outside; a second reason",
}
RUNTIME = {"script": b"var ort;", "module": b"export default 0;", "binary": b"\0asm"}
DIGITS = (load_digits().images * 15.9).astype(np.uint8)


def write_outputs(root: Path) -> None:
    """Write outputs/ of `RUNS` and results/comparison.json."""
    (root / "results").mkdir(parents=True)
    (root / "results" / "comparison.json").write_text(json.dumps({"claims": [CLAIM]}))
    outputs = root / "outputs"
    for index, (key, settings) in enumerate(RUNS.items()):
        conditional = settings["variant"] != "ae"
        names = ["a", "b", "c"] if conditional else [""]
        figures = {}
        for name, columns in (("losses", 3), ("samples", 8), ("map_9", 5), ("set_9", 5), ("set_10", 5)):
            cells = DIGITS[index : index + 4 * columns].reshape(4, columns, 8, 8)
            figures[name] = Image.fromarray(cells.transpose(0, 2, 1, 3).reshape(32, columns * 8))
        write_media(outputs / "samples" / key, figures)
        videos = {
            name: DIGITS[start : start + 6].repeat(8, axis=1).repeat(8, axis=2)
            for start, name in enumerate(["all", "label_3", "label_30"] if conditional else ["all"])
        }
        write_media(outputs / "animations" / key, videos, blocks=key == "mnist_cvae_2")
        model = outputs / "models" / key
        model.mkdir(parents=True)
        with (model / "history.csv").open("w", newline="") as file:
            rows: list[list[Any]] = [["epoch", "step", "split", "distortion", "rate"]]
            for epoch in (1, 2, 3):
                rate = epoch + index if conditional else ""
                rows += [[epoch, epoch * 9, split, 90 / epoch, rate] for split in ("train", "validation")]
            csv.writer(file).writerows(rows)
        np.savez(
            model / "frames.npz",
            steps=np.array([0, 9]),
            images=DIGITS[index : index + 2 * len(names) * 9].reshape(2, len(names), 3, 3, 1, 8, 8),
            labels=np.array(names),
            kind="map",
            epoch_ends=np.array([9]),
            codes=np.zeros((2, 0, 2), np.float16),
            code_labels=np.zeros(0, np.uint8),
        )
        write_networks(outputs / "onnx" / key, names)
        for path, content in (
            (outputs / "metrics" / f"{key}.json", METRICS[key]),
            (outputs / "judges" / settings["dataset"] / "judge.json", {"test_accuracy": 0.98765, "test_n": 360}),
        ):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(content))


def write_media(folder: Path, media: dict[str, Any], blocks: bool = False) -> None:
    """Write images as PNG or uint8 arrays [N, H, W] as MP4, and their captions.json."""
    folder.mkdir(parents=True)
    captions: list[dict[str, Any]] = []
    for name, content in media.items():
        suffix = ".mp4" if isinstance(content, np.ndarray) else ".png"
        if suffix == ".mp4":
            write_video(folder / f"{name}.mp4", content)
            (folder / f"{name}.gif").write_bytes(b"GIF89a")
        else:
            content.save(folder / f"{name}.png")
            (folder / f"{name}.svg").write_text("<svg xmlns='http://www.w3.org/2000/svg'/>")
        title = f"One {name.replace('_', ', label ')}"
        captions.append({"file": name + suffix, "title": title, "alt": f"Digits: {name} of {folder.name}"})
    if blocks:
        captions[0]["title"] += ", every label"
        captions[0]["blocks"] = [[0, 0, 16, 16], [32, 0, 16, 16], [0, 32, 16, 24]]
    (folder / "captions.json").write_text(json.dumps(captions))


def write_sheets(root: Path, originals: np.ndarray, made: np.ndarray) -> None:
    """Add reconstructions [N, C, H, W], as the stage draws them, to the figures of each run."""
    for key in RUNS:
        folder = root / "outputs" / "samples" / key
        sheets.reconstructions(folder / "reconstructions.png", originals, made, "a title", [])
        captions = json.loads((folder / "captions.json").read_text())
        captions.append({"file": "reconstructions.png", "title": "Reconstructions", "alt": f"{key}: images"})
        (folder / "captions.json").write_text(json.dumps(captions))


def write_video(path: Path, images: np.ndarray) -> None:
    """Write uint8 images [N, H, W] as H.264; H and W even."""
    mimwrite(path, list(images[..., None].repeat(3, axis=-1)), fps=10, macro_block_size=2)


def write_networks(folder: Path, classes: list[str]) -> None:
    """Write what stage export does, with a text in place of each network."""
    folder.mkdir(parents=True)
    about = {"shape": [1, 8, 8], "classes": classes, "conditional": len(classes) > 1, "latent_dim": 2, "side": 3}
    about |= {"center": [0.0, 0.0], "spread": [1.0, 1.0], "order": [1, 0], "reach": 2.0, "images": []}
    codes = np.arange(0, 240, 4, dtype=np.uint8).reshape(30, 2)
    labels = np.arange(30, dtype=np.uint8) % len(classes)
    about["scatter"] = {"low": [-2.0, -3.0], "high": [2.0, 3.0]} | {
        name: base64.b64encode(values.tobytes()).decode() for name, values in (("codes", codes), ("labels", labels))
    }
    (folder / "explorer.json").write_text(json.dumps(about))
    sheet = DIGITS[:50].transpose(1, 0, 2).reshape(8, 400)
    Image.fromarray(sheet).save(folder.parent / f"{folder.name.split('_')[0]}.webp", lossless=True)
    for name in ("decoder", "encoder") if len(classes) > 1 else ("decoder",):
        (folder / f"{name}.onnx").write_bytes(f"{name} of {folder.name}".encode())
    shades = np.arange(len(classes) * 9, dtype=np.uint8).reshape(-1, 3) * 9
    Image.fromarray(shades.repeat(8, axis=0).repeat(8, axis=1)).save(folder / "map.webp", lossless=True)


def build(root: Path, folder: Path, runtime: dict[str, bytes] | None = None) -> dict[str, bytes]:
    """Build the gallery of the outputs in `root`; return its files by their path in the folder."""
    runs = collect(root, RUNS)
    judges = collect_judges(root, [run.dataset for run in runs])
    pages.build(folder, runs, judges, collect_claims(root), REGISTRY, "smoke", 7, runtime)
    return files(folder)


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


class Html(HTMLParser):
    """Every element of a page with its attributes and the text from its start to the next tag."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None], list[str]]] = []
        self.inside = False
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs), []))
        self.inside = True

    def handle_endtag(self, tag: str) -> None:
        self.inside = False

    def handle_data(self, data: str) -> None:
        if self.inside:
            self.elements[-1][2].append(data)

    def all(self, tag: str) -> list[tuple[dict[str, str | None], str]]:
        return [(attributes, "".join(text)) for name, attributes, text in self.elements if name == tag]

    def table(self) -> dict[str, list[tuple[str | None, str | None]]]:
        """Return each run's (data-value, title) of every metric's cell in the table of results."""
        rows: dict[str, list[tuple[str | None, str | None]]] = {}
        for tag, attributes, _ in self.elements:
            if tag == "tr" and "data-run" in attributes:
                cells = rows[str(attributes["data-run"])] = []
            elif tag == "details" and rows:
                break
            elif tag == "td" and rows and attributes.get("class") != "word":
                cells.append((attributes.get("data-value"), attributes.get("title")))
        return rows
