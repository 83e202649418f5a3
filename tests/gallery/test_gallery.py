"""The gallery: all that the runs wrote is in its folder, nothing else is needed, and it says what is missing."""

import csv
import gzip
import json
import re
import shutil
import sys
from dataclasses import dataclass, replace
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import unquote

import imageio_ffmpeg
import numpy as np
import onnx
import pytest
import yaml
from PIL import Image
from sklearn.datasets import load_digits

import gallery as stage
from atlas.core.files import AtlasError
from atlas.metrics.registry import METRICS
from atlas.gallery import pages as gallery
from atlas.animation.animate import load_frames
from atlas.gallery.claims import Claim, Evidence, collect_claims
from atlas.gallery.curves import BOTTOM, LEFT, RIGHT, TOP, panels
from atlas.gallery.outputs import Medium, RunPage, collect, collect_judges, collect_sheets
from atlas.gallery.packing import write_script


@dataclass(frozen=True)
class Metric:
    name: str
    title: str
    unit: str
    better: str
    description: str
    digits: int


CATALOGUE = [
    Metric("rate", "rate", "nats", "", "the part of the bound that the code costs", 2),
    Metric("frechet", "distance", "", "lower", "between samples and test images", 1),
    Metric("label_accuracy", "label accuracy", "share", "higher", "how often the asked label is read", 3),
    Metric("never", "never reported", "", "lower", "no run has it", 2),
]
RUNS: dict[str, dict[str, Any]] = {
    "mnist_ae_2": {"dataset": "mnist", "model": "ae", "latent_dim": 2},
    "mnist_cvae_2": {"dataset": "mnist", "model": "cvae", "learning_rate": {"encoder": 0.001}},
    "digits_cvae_2": {"dataset": "digits", "model": "cvae", "latent_dim": 2},
}
NUMBERS: dict[str, dict[str, float]] = {
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

RUNTIME = {"script": b"var ort;", "module": b"export default 0;", "binary": b"\0asm"}


def write_film(path: Path, images: np.ndarray) -> None:
    """H.264 of uint8 images [N, H, W], even H and W."""
    frames = np.repeat(images[..., None], 3, axis=-1)
    writer = imageio_ffmpeg.write_frames(
        path, frames.shape[2:0:-1], fps=10, codec="libx264", pix_fmt_out="yuv420p", macro_block_size=2
    )
    writer.send(None)
    for frame in frames:
        writer.send(np.ascontiguousarray(frame))
    writer.close()


def write_outputs(root: Path) -> None:
    write_sheets(root)
    digits = (load_digits().images * 15.9).astype(np.uint8)
    outputs = root / "outputs"
    for number, (key, settings) in enumerate(RUNS.items()):
        samples, films, model = (outputs / kind / key for kind in ("samples", "animations", "models"))
        for folder in (samples, films, model, outputs / "metrics", outputs / "judges" / settings["dataset"]):
            folder.mkdir(parents=True, exist_ok=True)
        drawn = []
        for name, columns in (("losses", 3), ("samples", 8), ("map_9", 5), ("set_9", 5), ("set_10", 5)):
            rows = digits[number : number + 4 * columns].reshape(4, columns, 8, 8)
            Image.fromarray(rows.transpose(0, 2, 1, 3).reshape(32, columns * 8)).save(samples / f"{name}.png")
            drawn.append(
                {
                    "file": f"{name}.png",
                    "title": f"One {name.replace('_', ', label ')}",
                    "alt": f"Digits: {name} of {key}",
                }
            )
        (samples / "captions.json").write_text(json.dumps(drawn))
        (samples / "samples.svg").write_text("<svg xmlns='http://www.w3.org/2000/svg'/>")
        (films / "all.gif").write_bytes(b"GIF89a")
        names = ["all"] if settings["model"] == "ae" else ["all", "label_3", "label_30"]
        for place, name in enumerate(names):
            enlarged = digits[place : place + 6].repeat(8, axis=1).repeat(8, axis=2)
            write_film(films / f"{name}.mp4", enlarged)
        captions: list[dict[str, Any]] = [
            {"file": f"{n}.mp4", "gif": f"{n}.gif", "title": f"Film of {n.replace('_', ' ')}", "alt": f"Film of {n}"}
            for n in names
        ]
        if key == "mnist_cvae_2":
            captions[0]["title"] += ", every label"
            captions[0]["blocks"] = [[0, 0, 16, 16], [32, 0, 16, 16], [0, 32, 16, 24]]
        (films / "captions.json").write_text(json.dumps(captions))
        with (model / "history.csv").open("w", newline="") as file:
            rows_of_text = [["epoch", "step", "split", "distortion", "rate"]]
            for epoch in (1, 2, 3):
                rate = "" if settings["model"] == "ae" else f"{epoch + number}.5"
                rows_of_text += [
                    [str(epoch), str(epoch * 9), split, f"{90 / epoch}", rate] for split in ("train", "validation")
                ]
            csv.writer(file).writerows(rows_of_text)
        labels = [""] if settings["model"] == "ae" else ["a", "b", "c"]
        frames = digits[number : number + 2 * len(labels) * 9].reshape(2, len(labels), 3, 3, 1, 8, 8)
        kept = {"steps": np.array([0, 9]), "images": frames, "labels": np.array(labels), "kind": "map"}
        codes, owners = np.zeros((2, 0, 2), np.float16), np.zeros(0, np.uint8)
        np.savez(model / "frames.npz", **kept, codes=codes, code_labels=owners)
        write_networks(outputs / "onnx" / key, labels)
        (outputs / "metrics" / f"{key}.json").write_text(json.dumps(NUMBERS[key]))
        judge = {"test_accuracy": 0.98765, "test_images": 360, "dataset": settings["dataset"]}
        (outputs / "judges" / settings["dataset"] / "judge.json").write_text(json.dumps(judge))


def network(scale: int) -> bytes:
    """An ONNX file that gives 300 numbers."""
    weights = onnx.numpy_helper.from_array(np.arange(-150, 150, dtype="<f4") * scale / 8, "weights")
    node = onnx.helper.make_node("Identity", ["weights"], ["out"])
    out = onnx.helper.make_tensor_value_info("out", onnx.TensorProto.FLOAT, [300])
    return onnx.helper.make_model(onnx.helper.make_graph([node], "graph", [], [out], [weights])).SerializeToString()


def write_sheets(root: Path) -> None:
    """What stage side_by_side writes."""
    folder = root / "outputs" / "side_by_side"
    folder.mkdir(parents=True)
    Image.fromarray((load_digits().images[0] * 15.9).astype(np.uint8)).save(folder / "digits.png")
    caption = {"file": "digits.png", "title": "Style transfer on digits", "alt": "Three models beside one another"}
    (folder / "captions.json").write_text(json.dumps([caption]))


def write_networks(folder: Path, labels: list[str]) -> None:
    """What stage export writes, with words in the place of networks."""
    folder.mkdir(parents=True)
    about = {"shape": [1, 8, 8], "classes": labels, "conditional": len(labels) > 1, "latent_dim": 2, "side": 3}
    about |= {"centre": [0.0, 0.0], "spread": [1.0, 1.0], "order": [1, 0], "reach": 2.0, "images": []}
    (folder / "explorer.json").write_text(json.dumps(about))
    (folder / "decoder.onnx").write_bytes(network(1))
    if len(labels) > 1:
        (folder / "encoder.onnx").write_bytes(network(2))
    shades = np.arange(len(labels) * 9, dtype=np.uint8).reshape(-1, 3) * 9
    Image.fromarray(shades.repeat(8, axis=0).repeat(8, axis=1)).save(folder / "map.webp", lossless=True)


def build(root: Path, folder: Path, runtime: dict[str, bytes] | None = None) -> dict[str, bytes]:
    """The gallery's files by their place in its folder."""
    runs = collect(root, RUNS)
    judges = collect_judges(root, [run.dataset for run in runs])
    sheets = collect_sheets(root)
    gallery.build(folder, runs, judges, collect_claims(root), CATALOGUE, "smoke", 7, runtime, sheets)
    return files(folder)


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


class Page(HTMLParser):
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
        """The table of results: each run's (data-value, title) of every measure's cell."""
        rows: dict[str, list[tuple[str | None, str | None]]] = {}
        for tag, attributes, _ in self.elements:
            if tag == "tr" and "data-run" in attributes:
                cells = rows[str(attributes["data-run"])] = []
            elif tag == "td" and rows and attributes.get("class") != "word":
                cells.append((attributes.get("data-value"), attributes.get("title")))
        return rows


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("root")
    write_outputs(folder)
    return folder


@pytest.fixture(scope="module")
def folder(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("built") / "gallery"
    build(root, place, RUNTIME)
    return place


@pytest.fixture(scope="module")
def text(folder: Path) -> str:
    return (folder / "index.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page(text: str) -> Page:
    return Page(text)


@pytest.fixture(scope="module")
def pages(folder: Path) -> dict[str, Page]:
    """Of each run."""
    return {key: Page((folder / f"{key}.html").read_text(encoding="utf-8")) for key in RUNS}


@pytest.fixture
def copy(root: Path, tmp_path: Path) -> Path:
    """The outputs, to be spoilt."""
    shutil.copytree(root / "outputs", tmp_path / "outputs")
    return tmp_path


def test_every_picture_and_film_is_copied_pixel_for_pixel_and_nothing_else(
    root: Path, folder: Path, pages: dict[str, Page]
) -> None:
    """But the losses, of which the page draws its own curves, and what the explorer or another film shows as well."""
    drawn = list((root / "outputs").glob("samples/*/s*.png"))
    films = list((root / "outputs").glob("animations/*/*.mp4"))
    films = [path for path in films if not (path.parent.name == "mnist_cvae_2" and path.stem.startswith("label_"))]
    assert (len(drawn), len(films)) == (9, 1 + 1 + 3)
    for path in films:
        assert (folder / "media" / path.parent.name / path.name).read_bytes() == path.read_bytes()
    for path in drawn:
        with Image.open(path) as source, Image.open(folder / f"media/{path.parent.name}/{path.stem}.webp") as shown:
            assert (np.asarray(source.convert("RGB")) == np.asarray(shown.convert("RGB"))).all()
    for key, page in pages.items():
        shown_there = {attributes["src"] for tag in ("img", "video") for attributes, _ in page.all(tag)}
        names = [path.name for path in films if path.parent.name == key]
        names += [f"{path.stem}.webp" for path in drawn if path.parent.name == key]
        assert shown_there == {f"media/{key}/{name}" for name in [*names, "explorer.webp"]}
    others = {path.name for path in (folder / "media").rglob("*.*")} - {path.name for path in films}
    others -= {f"{path.stem}.webp" for path in drawn}
    assert others == {"explorer.webp", "thumbnail.webp", "all.webp", "label_3.webp", "label_30.webp", "digits.webp"}


def test_sheets_of_several_runs_stand_on_the_front_page(root: Path, page: Page, tmp_path: Path) -> None:
    (shown,) = (a for a, _ in page.all("img") if str(a["src"]).startswith("media/side_by_side/"))
    assert shown["src"] == "media/side_by_side/digits.webp" and shown["alt"] == "Three models beside one another"
    assert collect_sheets(tmp_path, partial=True) == []
    with pytest.raises(AtlasError, match="run `dvc repro side_by_side` first"):
        collect_sheets(tmp_path)


def test_a_film_of_all_labels_offers_each_of_its_parts(pages: dict[str, Page]) -> None:
    choices = [(a["value"], words) for a, words in pages["mnist_cvae_2"].all("input") if a.get("name") == "part-0"]
    assert choices == [("", "every label"), ("0 0 16 16", "a"), ("32 0 16 16", "b"), ("0 32 16 24", "c")]
    assert [a["data-film"] for a, _ in pages["mnist_cvae_2"].all("figure") if "data-film" in a] == ["64 64"]


def test_media_keep_their_captions_order_room_and_words(root: Path, page: Page, pages: dict[str, Page]) -> None:
    last = pages["digits_cvae_2"]
    for attributes, _ in last.all("img"):
        assert attributes["alt"]
        if attributes.get("id") == "drawn":
            continue
        with Image.open(
            root / "outputs" / "samples" / "digits_cvae_2" / f"{Path(str(attributes['src'])).stem}.png"
        ) as image:
            assert (int(str(attributes["width"])), int(str(attributes["height"]))) == image.size
    for attributes, _ in last.all("video"):
        assert attributes["aria-label"]
        assert (attributes["width"], attributes["height"]) == ("64", "64")
        assert {"muted", "loop", "controls", "playsinline"} <= set(attributes)
        assert "autoplay" not in attributes and attributes["preload"] == "none"
        assert attributes["poster"] == str(attributes["src"]).replace(".mp4", ".webp")
    shown = [Path(str(a["src"])).name for tag, a, _ in last.elements if tag in ("img", "video")][1:]
    assert shown == ["samples.webp", "set_9.webp", "set_10.webp", "all.mp4", "label_3.mp4", "label_30.mp4"]
    labels = [words for a, words in last.all("input") if str(a.get("name")).startswith("label-")]
    assert labels == ["9", "10", "3", "30"]
    shelves = [words for a, words in page.all("input") if a.get("name") == "shelf"]
    assert shelves == ["Samples", "Training"]


def read_script(path: Path, variable: str) -> dict[str, Any]:
    """What a script sets a variable to; its strings are one character a byte."""
    text = path.read_bytes().decode("latin-1")
    text = text.removeprefix(f"globalThis.{variable} = ").removesuffix(";\n")
    # JSON allows no control characters in strings, other than JavaScript.
    return json.loads(text, strict=False)


def test_networks_and_their_runtime_are_scripts_that_only_set_a_variable(folder: Path) -> None:
    networks = read_script(folder / "networks/mnist_cvae_2.js", "atlasNetworks")
    for part, scale in (("decoder", 1), ("encoder", 2)):
        found = networks[part]
        frame = gzip.decompress(found["frame"].encode("latin-1"))
        ((place, count, size, step),) = found["tensors"]
        assert (count, size, step) == (300, 2, scale / 8)
        whole = network(scale)
        assert frame == whole[:place] + bytes(1200) + whole[place + 1200 :]
        low, high = np.frombuffer(gzip.decompress(found["weights"].encode("latin-1")), np.uint8).reshape(2, 300)
        assert (low + 256 * high.astype(int)).tolist() == [2 * n if n >= 0 else -2 * n - 1 for n in range(-150, 150)]
    assert set(read_script(folder / "networks/mnist_ae_2.js", "atlasNetworks")) == {"decoder", "images"}
    runtime = read_script(folder / "assets/ort-binary.js", "atlasRuntime")
    assert {name: gzip.decompress(text.encode("latin-1")) for name, text in runtime.items()} == {
        name: RUNTIME[name] for name in ("module", "binary")
    }
    assert (folder / "assets" / "ort.wasm.min.js").read_bytes() == RUNTIME["script"]


def test_every_byte_survives_a_script(tmp_path: Path) -> None:
    content = bytes(range(256)) * 2 + b'\\n"\\'
    write_script(tmp_path / "a" / "some.js", "some", {"bytes": content, "list": [1, 0.5], "in": {"x": "é"}})
    found = read_script(tmp_path / "a" / "some.js", "some")
    assert found == {"bytes": content.decode("latin-1"), "list": [1, 0.5], "in": {"x": "é"}}


def test_a_file_that_is_no_network_is_named(copy: Path) -> None:
    broken = copy / "outputs" / "onnx" / "mnist_ae_2" / "decoder.onnx"
    broken.write_bytes(b"no network")
    with pytest.raises(AtlasError, match=r"mnist_ae_2/decoder\.onnx is no ONNX network"):
        build(copy, copy / "gallery", RUNTIME)


def test_without_the_runtime_no_network_is_written(root: Path, tmp_path: Path) -> None:
    written = build(root, tmp_path / "gallery")
    assert not [name for name in written if name.startswith(("networks/", "assets/ort"))]
    assert b"data-networks" not in written["mnist_ae_2.html"] and "media/mnist_ae_2/explorer.webp" in written


def test_posters_show_the_end_of_their_films_and_thumbnails_the_last_frame(root: Path, folder: Path) -> None:
    digits = (load_digits().images * 15.9).astype(np.uint8)
    with Image.open(folder / "media" / "digits_cvae_2" / "label_30.webp") as poster:
        shown = np.asarray(poster.convert("L"), float)
    end, start = (digits[place].repeat(8, axis=0).repeat(8, axis=1).astype(float) for place in (2 + 5, 2))
    assert np.abs(shown - end).mean() < 5 < np.abs(shown - start).mean()
    frames = load_frames(root / "outputs" / "models" / "digits_cvae_2" / "frames.npz").images
    with Image.open(folder / "media" / "digits_cvae_2" / "thumbnail.webp") as thumbnail:
        pixels = np.asarray(thumbnail.convert("L"))
    assert pixels.shape == (2 * 8 + 1, 3 * 8 + 2)
    assert (pixels[:8, 9:17] == frames[-1, 1, 0, 1, 0]).all()
    with Image.open(folder / "media" / "mnist_ae_2" / "thumbnail.webp") as thumbnail:
        assert thumbnail.size == (3 * 8 + 2, 2 * 8 + 1)


def test_every_number_is_there_and_what_does_not_apply_is_empty(text: str, page: Page) -> None:
    table = page.table()
    assert list(table) == list(RUNS)
    columns = ["rate", "frechet", "label_accuracy", "extra"]
    for key, cells in table.items():
        values = [None if value is None else float(value) for value, _ in cells]
        assert values == [NUMBERS[key].get(name) for name in columns]
    assert len(re.findall(r"<td[^>]*></td>", text)) == 3 * 4 - (1 + 4 + 3)
    # What is no headline waits for the switch.
    assert text.count("class=minor data-sort") == 2
    assert table["mnist_cvae_2"][1][1] == "interval 11.5 to 12.8"
    assert table["mnist_ae_2"][1][1] == "n = 10,000"
    for shown in ("7.12", "12.1", "0.988", "0.1250", "98.77 %", "360"):
        assert shown in text
    assert "never reported" not in text.lower()


def test_the_best_is_marked_within_a_data_set_and_by_its_better_direction(page: Page) -> None:
    # digits_cvae_2 is alone on its data set, and "rate" has no better direction.
    assert [words for _, words in page.all("strong") if words[:1].isdigit()] == ["12.1"]


def test_a_runs_page_has_its_numbers_their_meaning_and_its_settings(folder: Path, pages: dict[str, Page]) -> None:
    text = (folder / "mnist_cvae_2.html").read_text()
    for shown in ("7.12", "12.1", "0.988", "0.1250", "interval 11.5 to 12.8", "The part of the bound that the code"):
        assert shown in text
    for key, page in pages.items():
        assert [yaml.safe_load(words) for _, words in page.all("pre")] == [RUNS[key]]
        assert all(len(words.splitlines()) >= len(RUNS[key]) for _, words in page.all("pre"))


def test_large_numbers_are_short() -> None:
    told = {0.5: "0.500", 999999.5: "999999.500", 13744895396.0: "1.37 × 10¹⁰", -2e6: "-2.00 × 10⁶"}
    assert {value: gallery._words(value, 3).replace("\N{NO-BREAK SPACE}", " ") for value in told} == told
    assert gallery._words(None, 3) == "" and gallery._words(float("inf"), 3) == "inf"


def test_runs_follow_each_other(pages: dict[str, Page]) -> None:
    def towards(page: Page, way: str) -> set[str]:
        return {str(attributes["href"]) for attributes, _ in page.all("a") if attributes.get("rel") == way}

    keys = list(RUNS)
    for before, after in pairwise(keys):
        assert towards(pages[before], "next") == {f"{after}.html"}
        assert towards(pages[after], "prev") == {f"{before}.html"}
    assert towards(pages[keys[0]], "prev") == towards(pages[keys[-1]], "next") == set()


def test_claims_are_rows_by_statement_with_their_numbers_and_reasons_behind(copy: Path) -> None:
    claim: dict[str, Any] = {
        "claim": "a is better",
        "runs": ["mnist_ae_2", "gone"],
        "values": {"frechet": [0.123456, 12345.6], "no_such": [2]},
    }
    claim |= {"n": {"frechet": [10000, 10000], "no_such": [5, 6]}, "interval": {"frechet": [0.25, 0.5]}}
    claim["seeds"] = {"frechet": 3}
    claim |= {"verdict": "holds", "why": "zero lies outside; a second reason"}
    again, other = {**claim, "runs": [], "verdict": "not run"}, {"claim": "b is worse", "verdict": "fails"}
    (copy / "results").mkdir()
    place = copy / "results" / "comparison.json"
    place.write_text(json.dumps({"claims": [claim, again, other]}))
    first, *_ = collect_claims(copy)
    assert first.evidence == [
        Evidence("frechet", "0.1235 / 12,346", "0.25 to 0.5", "10,000, 3 seeds"),
        Evidence("no_such", "2", "", "5 / 6"),
    ]
    text = build(copy, copy / "gallery")["index.html"].decode()
    for words in ("Not run", "Zero lies outside.", "A second reason.", "0.25 to 0.5", ">distance<", ">no such<"):
        assert words in text
    assert 'href="mnist_ae_2.html">mnist_ae_2</a>, <span class="key">gone</span>' in text
    page = Page(text)
    assert [words for _, words in page.all("h3") if "is" in words.split()] == ["A is better", "B is worse"]
    assert text.index('id="results"') < text.index('id="runs"') < text.index('id="claims"')
    place.write_text(json.dumps({"claims": [{"claim": "a"}]}))
    with pytest.raises(AtlasError, match=r"comparison\.json: a claim lacks 'verdict'"):
        collect_claims(copy)
    place.write_text(json.dumps({"claims": [{**claim, "n": [5]}]}))
    with pytest.raises(AtlasError, match=r"comparison\.json: the 'n' of a claim is a list"):
        collect_claims(copy)


def test_the_folder_needs_nothing_from_outside_and_misses_nothing(
    folder: Path, page: Page, pages: dict[str, Page]
) -> None:
    for name, content in files(folder).items():
        if name.endswith((".html", ".css", ".js")) and not name.startswith(("assets/ort", "networks/")):
            assert not re.search(rb"(https?:)?//[a-z]|@import|url\(|fetch\((?!address\))|import\(", content), name
    used = set()
    for each in (page, *pages.values()):
        ids = [attributes["id"] for _, attributes, _ in each.elements if "id" in attributes]
        assert len(ids) == len(set(ids))
        for _, attributes, _ in each.elements:
            assert not {"srcset", "action", "data"} & set(attributes)
            loaded = f"{attributes.get('data-runtime', '')} {attributes.get('data-networks', '')}".split()
            for address in [*(attributes.get(name) for name in ("src", "href", "poster")), *loaded]:
                if address and address.startswith("#"):
                    assert address[1:] in ids
                elif address and address != "data:,":
                    assert (folder / unquote(address)).is_file(), address
                    used.add(unquote(address))
    assert used | {"index.html"} == set(files(folder)), "a file that nothing shows"


def test_same_outputs_same_bytes(root: Path, folder: Path, tmp_path: Path) -> None:
    again = build(root, tmp_path / "elsewhere" / "gallery", RUNTIME)
    assert again == files(folder)
    assert not any(str(root).encode() in content for content in again.values())


def test_hostile_words_stay_words(tmp_path: Path) -> None:
    hostile = "\"><script>alert('x')</script>&amp;<b>"
    picture, film = tmp_path / "<i>.png", tmp_path / "<i>.mp4"
    Image.new("L", (8, 8)).save(picture)
    write_film(film, np.zeros((2, 16, 16), np.uint8))
    media = [Medium(path, f"media/x/{path.name}", 10, 10, hostile, hostile) for path in (picture, film)]
    run = RunPage(
        key="x",
        dataset=hostile,
        model=hostile,
        settings={"dataset": hostile, hostile: hostile},
        numbers={"rate": 1.0, hostile: 2.0},
        pictures=media[:1],
        animations=media[1:] * 2,
        history={hostile: {"validation": [(1, 2.0)]}},
    )
    spiteful = [replace(CATALOGUE[0], title=hostile, unit=hostile, description=hostile)]
    judges = {hostile: {"test_accuracy": 0.5, hostile: 1}}
    claims = [Claim(hostile, hostile, [hostile], [Evidence(*[hostile] * 4)], [hostile])]
    plain = replace(run, key="y", dataset="d", model="m")
    gallery.build(tmp_path / "gallery", [run, plain], judges, claims, spiteful, hostile, 0)
    for name in ("index.html", "x.html"):
        text = (tmp_path / "gallery" / name).read_text()
        assert "alert(" in text and "<script>alert" not in text and "<b>" not in text and "<i>.mp4" not in text
        assert hostile in {attributes["alt"] for attributes, _ in Page(text).all("img")}


@pytest.mark.parametrize(
    ("lost", "command"),
    [
        ("metrics/mnist_cvae_2.json", "evaluate@mnist_cvae_2"),
        ("models/mnist_cvae_2/history.csv", "train@mnist_cvae_2"),
        ("samples/mnist_cvae_2/captions.json", "sample@mnist_cvae_2"),
        ("samples/mnist_cvae_2/samples.png", "sample@mnist_cvae_2"),
        ("animations/mnist_cvae_2/label_3.mp4", "animate@mnist_cvae_2"),
        ("judges/digits/judge.json", "train_judge@digits"),
        ("onnx/mnist_cvae_2/decoder.onnx", "dvc repro export"),
    ],
)
def test_a_missing_output_is_named_with_its_stage(copy: Path, lost: str, command: str) -> None:
    (copy / "outputs" / lost).unlink()
    with pytest.raises(AtlasError, match=re.escape(f"outputs/{lost} is missing")) as caught:
        build(copy, copy / "gallery")
    assert command in str(caught.value) and "\n" not in str(caught.value)
    assert not (copy / "gallery").exists()


@pytest.mark.parametrize(
    ("spoilt", "content", "complaint"),
    [
        ("samples/mnist_ae_2/samples.png", b"no picture", "cannot be read as PNG"),
        ("animations/mnist_ae_2/all.mp4", b"no film", "cannot be read as MP4"),
        ("metrics/mnist_ae_2.json", b"{", "is not JSON"),
        ("metrics/mnist_ae_2.json", b'{"rate": "low"}', "'rate' is 'low'"),
        ("samples/mnist_ae_2/captions.json", b'[{"file": "samples.png", "title": "No alt"}]', "lacks 'alt'"),
        ("models/mnist_ae_2/history.csv", b"epoch,split\n1,train\n", "'step'"),
        ("judges/mnist/judge.json", b"{}", "'test_accuracy'"),
        ("onnx/mnist_ae_2/explorer.json", b"{", "is not JSON"),
        ("onnx/mnist_ae_2/explorer.json", b"{}", "lacks 'shape'"),
    ],
)
def test_a_spoilt_output_is_one_line(copy: Path, spoilt: str, content: bytes, complaint: str) -> None:
    (copy / "outputs" / spoilt).write_bytes(content)
    with pytest.raises(AtlasError, match=re.escape(complaint)) as caught:
        build(copy, copy / "gallery")
    assert spoilt in str(caught.value) and "\n" not in str(caught.value)


def test_partial_shows_what_is_there(copy: Path) -> None:
    for kind in ("samples", "animations", "models", "onnx"):
        shutil.rmtree(copy / "outputs" / kind / "mnist_ae_2")
    (copy / "outputs" / "metrics" / "mnist_ae_2.json").unlink()
    shutil.rmtree(copy / "outputs" / "animations" / "mnist_cvae_2")
    (copy / "outputs" / "metrics" / "mnist_cvae_2.json").unlink()
    runs = collect(copy, RUNS, partial=True)
    assert [run.key for run in runs] == ["mnist_cvae_2", "digits_cvae_2"]
    assert len(runs[0].pictures) == 3 and not runs[0].animations and not runs[0].numbers
    gallery.build(copy / "gallery", runs, {}, [], CATALOGUE, "smoke", 0)
    assert "Not evaluated yet." in (copy / "gallery" / "mnist_cvae_2.html").read_text()
    # Where no explorer shows them, the maps of one label are there.
    shutil.rmtree(copy / "outputs" / "onnx")
    (without, _) = collect(copy, RUNS, partial=True)
    assert without.explorer is None and "map_9.png" in {picture.file for picture in without.pictures}
    shutil.rmtree(copy / "outputs")
    with pytest.raises(AtlasError, match="no run has outputs"):
        collect(copy, RUNS, partial=True)


@pytest.mark.parametrize(
    ("shares", "since"), [((0.0, 0.1), None), ((0.2, 0.97), 2), ((1.0, 1.0), 1), ((1.0, 0.0), None)]
)
def test_a_discriminator_that_has_won_for_good_is_told_of(
    copy: Path, shares: tuple[float, ...], since: int | None
) -> None:
    history = "".join(
        f"{epoch},{epoch},train,{share}\n{epoch},{epoch},validation,\n" for epoch, share in enumerate(shares, 1)
    )
    (copy / "outputs/models/mnist_ae_2/history.csv").write_text(f"epoch,step,split,discriminator_won\n{history}")
    build(copy, copy / "gallery")
    told = f"has won for good since epoch {since}"
    for name in ("index.html", "mnist_ae_2.html"):
        page = (copy / "gallery" / name).read_text()
        assert page.count("has won for good") == page.count(told) == (since is not None)
    assert "has won for good" not in (copy / "gallery" / "mnist_cvae_2.html").read_text()


def points(path: str) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in (pair.split() for pair in path.removeprefix("M").split("L"))]


def test_curves_lie_where_their_axes_say() -> None:
    series = {
        "train": [(1.0, 30.0), (2.0, 20.0), (3.0, 10.0)],
        "validation": [(1.0, 30.0), (2.0, float("nan")), (3.0, 14.0)],
    }
    (panel,) = panels({"a": {"loss": series}, "b": {}})
    assert not panel.logarithmic
    train, validation = panel.lines
    assert [line.split for line in panel.lines] == ["train", "validation"]
    assert [x for x, _ in points(train.path)] == [LEFT, (LEFT + RIGHT) / 2, RIGHT]
    assert len(points(validation.path)) == 2 and "14 at epoch 3" in validation.words
    assert all(TOP <= y <= BOTTOM for line in panel.lines for _, y in points(line.path))
    # Each tick that has the value of a point must stand where that point was drawn.
    at = {float(tick.text): tick.at for tick in panel.y_ticks}
    drawn = dict(zip((30.0, 20.0, 10.0), (y for _, y in points(train.path)), strict=True))
    assert at.keys() & drawn.keys() and all(
        at[v] == pytest.approx(drawn[v], abs=0.11) for v in at.keys() & drawn.keys()
    )


def test_wide_terms_get_a_logarithmic_axis_and_flat_or_single_ones_still_a_panel() -> None:
    wide = {"train": [(1.0, 1000.0), (2.0, 100.0), (3.0, 10.0)]}
    (panel,) = panels({"a": {"loss": wide}})
    heights = [y for _, y in points(panel.lines[0].path)]
    assert panel.logarithmic and heights[1] == pytest.approx((heights[0] + heights[2]) / 2, abs=0.11)
    at = {float(tick.text): tick.at for tick in panel.y_ticks}
    assert at[100.0] == pytest.approx(heights[1], abs=0.11)
    (single,) = panels({"a": {"loss": {"validation": [(1.0, 0.0)]}}})
    assert [tick.text for tick in single.x_ticks] == ["1"] and len(points(single.lines[0].path)) == 1
    assert panels({"a": {"loss": {"train": [(1.0, float("inf"))]}}}) == []


def test_stage_writes_the_folder_and_one_line(
    copy: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    params = SimpleNamespace(scale="smoke", seed=3, runs=dict.fromkeys(RUNS), flat=RUNS.__getitem__)
    monkeypatch.setattr(stage.settings, "load", lambda: params)
    monkeypatch.chdir(copy)
    monkeypatch.setattr(sys, "argv", ["gallery.py"])
    monkeypatch.setattr(stage.runtime, "fetch", lambda cache: RUNTIME)
    stage.main()
    assert capsys.readouterr().out.startswith("outputs/gallery/index.html: 3 runs, ")
    assert (copy / "outputs" / "gallery" / "networks" / "mnist_ae_2.js").is_file()

    def refuse(cache: Path) -> dict[str, bytes]:
        raise AtlasError("no npm")

    monkeypatch.setattr(stage.runtime, "fetch", refuse)
    stage.main()
    assert capsys.readouterr().out.startswith("the latent explorers will show maps drawn beforehand: no npm\noutputs/")
    assert not (copy / "outputs" / "gallery" / "networks").exists()
    assert all(gallery.MeasureInfo.__annotations__.keys() <= set(dir(measure)) for measure in METRICS.values())
    first = files(copy / "outputs" / "gallery")
    monkeypatch.setattr(sys, "argv", ["gallery.py", "--partial"])
    stage.main()
    assert files(copy / "outputs" / "gallery") == first
