"""The gallery page: all that the runs wrote is in it, nothing else is needed, and it says what is missing."""

import base64
import csv
import json
import re
import shutil
import subprocess
import sys
import threading
from dataclasses import dataclass, replace
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import unquote

import imageio_ffmpeg
import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

import gallery as stage
from atlas.errors import AtlasError
from atlas.measures.catalogue import MEASURES
from atlas.show import gallery
from atlas.show.gallery_curves import BOTTOM, LEFT, RIGHT, TOP, panels
from atlas.show.gallery_outputs import Medium, RunPage, collect, collect_judges


@dataclass(frozen=True)
class Measure:
    name: str
    title: str
    unit: str
    better: str
    description: str
    digits: int


CATALOGUE = [
    Measure("rate", "rate", "nats", "", "the part of the bound that the code costs", 2),
    Measure("frechet", "distance", "", "lower", "between samples and test images", 1),
    Measure("label_accuracy", "label accuracy", "share", "higher", "how often the asked label is read", 3),
    Measure("never", "never reported", "", "lower", "no run has it", 2),
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
    digits = (load_digits().images * 15.9).astype(np.uint8)
    outputs = root / "outputs"
    for number, (key, settings) in enumerate(RUNS.items()):
        samples, films, model = (outputs / kind / key for kind in ("samples", "animations", "models"))
        for folder in (samples, films, model, outputs / "metrics", outputs / "judges" / settings["dataset"]):
            folder.mkdir(parents=True, exist_ok=True)
        captions = []
        for name, columns in (("losses", 3), ("samples", 8), ("map_9", 5), ("map_10", 5)):
            rows = digits[number : number + 4 * columns].reshape(4, columns, 8, 8)
            Image.fromarray(rows.transpose(0, 2, 1, 3).reshape(32, columns * 8)).save(samples / f"{name}.png")
            captions.append(
                {
                    "file": f"{name}.png",
                    "title": f"One {name.replace('_', ', label ')}",
                    "alt": f"Digits: {name} of {key}",
                }
            )
        (samples / "captions.json").write_text(json.dumps(captions))
        names = ["all"] if settings["model"] == "ae" else ["all", "label_3", "label_30"]
        for place, name in enumerate(names):
            enlarged = digits[place : place + 6].repeat(8, axis=1).repeat(8, axis=2)
            write_film(films / f"{name}.mp4", enlarged)
        captions = [
            {"file": f"{n}.mp4", "gif": f"{n}.gif", "title": f"Film of {n.replace('_', ' ')}", "alt": f"Film of {n}"}
            for n in names
        ]
        (films / "captions.json").write_text(json.dumps(captions))
        with (model / "history.csv").open("w", newline="") as file:
            rows_of_text = [["epoch", "step", "split", "distortion", "rate"]]
            for epoch in (1, 2, 3):
                rate = "" if settings["model"] == "ae" else f"{epoch + number}.5"
                rows_of_text += [
                    [str(epoch), str(epoch * 9), split, f"{90 / epoch}", rate] for split in ("train", "validation")
                ]
            csv.writer(file).writerows(rows_of_text)
        (outputs / "metrics" / f"{key}.json").write_text(json.dumps(NUMBERS[key]))
        judge = {"test_accuracy": 0.98765, "test_images": 360, "dataset": settings["dataset"]}
        (outputs / "judges" / settings["dataset"] / "judge.json").write_text(json.dumps(judge))


def build(root: Path, page: Path) -> str:
    runs = collect(root, RUNS)
    judges = collect_judges(root, [run.dataset for run in runs])
    gallery.build(page, runs, judges, CATALOGUE, "smoke", 7)
    return page.read_text(encoding="utf-8")


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
def text(root: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    return build(root, tmp_path_factory.mktemp("page") / "index.html")


@pytest.fixture(scope="module")
def page(text: str) -> Page:
    return Page(text)


@pytest.fixture
def copy(root: Path, tmp_path: Path) -> Path:
    """The outputs, to be spoilt."""
    shutil.copytree(root / "outputs", tmp_path / "outputs")
    return tmp_path


def test_every_picture_and_film_is_embedded_byte_for_byte(root: Path, page: Page) -> None:
    embedded = {
        str(attributes["id"]): (attributes["data-type"], base64.b64decode(text, validate=True))
        for attributes, text in page.all("script")
        if attributes.get("type") == "text/plain"
    }
    files = [*(root / "outputs").glob("samples/*/*.png"), *(root / "outputs").glob("animations/*/*.mp4")]
    assert len(files) == 12 + 1 + 3 + 3
    types = {".png": "image/png", ".mp4": "video/mp4"}
    assert embedded == {
        path.relative_to(root / "outputs").as_posix(): (types[path.suffix], path.read_bytes()) for path in files
    }
    shown = {attributes["data-medium"] for tag in ("img", "video") for attributes, _ in page.all(tag)}
    assert shown == set(embedded)


def test_media_keep_their_captions_order_room_and_words(root: Path, page: Page) -> None:
    for attributes, _ in page.all("img"):
        assert attributes["alt"]
        with Image.open(root / "outputs" / str(attributes["data-medium"])) as image:
            assert (int(str(attributes["width"])), int(str(attributes["height"]))) == image.size
    for attributes, _ in page.all("video"):
        assert attributes["aria-label"]
        assert (attributes["width"], attributes["height"]) == ("64", "64")
        assert {"muted", "loop", "controls", "playsinline"} <= set(attributes)
        assert "autoplay" not in attributes and "src" not in attributes
    last = [a["data-medium"] for tag, a, _ in page.elements if tag in ("img", "video")][-6:]
    files = ["samples/{}/samples.png", "samples/{}/map_9.png", "samples/{}/map_10.png"]
    files += ["animations/{}/all.mp4", "animations/{}/label_3.mp4", "animations/{}/label_30.mp4"]
    assert last == [file.format("digits_cvae_2") for file in files]
    labels = [words for a, words in page.all("input") if str(a["name"]).startswith("label-2")]
    assert labels == ["9", "10", "3", "30"]
    shelves = [words for a, words in page.all("input") if a["name"] == "shelf"]
    assert shelves == ["Samples", "Training"]


def test_every_number_is_there_and_what_does_not_apply_is_empty(text: str, page: Page) -> None:
    table = page.table()
    assert list(table) == list(RUNS)
    columns = ["rate", "frechet", "label_accuracy", "extra"]
    for key, cells in table.items():
        values = [None if value is None else float(value) for value, _ in cells]
        assert values == [NUMBERS[key].get(name) for name in columns]
    assert text.count("<td></td>") == 3 * 4 - (1 + 4 + 3)
    assert table["mnist_cvae_2"][1][1] == "interval 11.5 to 12.8"
    assert table["mnist_ae_2"][1][1] == "n = 10,000"
    for shown in ("7.12", "12.1", "0.988", "0.1250", "98.77 %", "360"):
        assert shown in text
    assert "never reported" not in text.lower()


def test_the_best_is_marked_within_a_data_set_and_by_its_better_direction(page: Page) -> None:
    # digits_cvae_2 is alone on its data set, and "rate" has no better direction.
    assert [words for _, words in page.all("strong") if words[:1].isdigit()] == ["12.1"]


def test_settings_are_yaml_that_reads_back(page: Page) -> None:
    yaml = pytest.importorskip("yaml")
    assert [yaml.safe_load(words) for _, words in page.all("pre")] == list(RUNS.values())


def test_the_page_needs_nothing_from_outside(text: str, page: Page) -> None:
    assert not re.search(r"(https?:)?//[a-z]", re.sub(r"<script type=\"text/plain\".*", "", text))
    assert "@import" not in text and "url(" not in text
    for _, attributes, _ in page.elements:
        for name in ("src", "href", "data", "poster", "srcset", "action"):
            assert (attributes.get(name) or "#").startswith(("#", "data:"))
    assert ".gif" not in text


def test_links_and_names_meet(page: Page) -> None:
    ids = [attributes["id"] for _, attributes, _ in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    for attributes, _ in page.all("a"):
        assert str(attributes["href"]).removeprefix("#") in ids


def test_same_outputs_same_bytes(root: Path, text: str, tmp_path: Path) -> None:
    assert build(root, tmp_path / "elsewhere" / "page.html") == text
    assert str(root) not in text


def test_hostile_words_stay_words(tmp_path: Path) -> None:
    hostile = "\"><script>alert('x')</script>&amp;<b>"
    picture = Medium("samples/x/a.png", "a.png", "image/png", b"png", 10, 10, hostile, hostile)
    film = replace(picture, id="animations/x/all.mp4", file="all.mp4", type="video/mp4")
    label = replace(film, id="animations/x/<i>.mp4", file="<i>.mp4")
    run = RunPage(
        key=hostile,
        dataset=hostile,
        model=hostile,
        settings={"dataset": hostile, hostile: hostile},
        numbers={"rate": 1.0, hostile: 2.0},
        pictures=[picture],
        animations=[film, label],
        history={hostile: {"validation": [(1, 2.0)]}},
    )
    spiteful = [replace(CATALOGUE[0], title=hostile, unit=hostile, description=hostile)]
    judges = {hostile: {"test_accuracy": 0.5, hostile: 1}}
    plain = replace(run, key="x", dataset="d", model="m")
    gallery.build(tmp_path / "page.html", [run, plain], judges, spiteful, hostile, 0)
    text = (tmp_path / "page.html").read_text()
    assert "alert(" in text and "<script>alert" not in text and "<b>" not in text and "<i>.mp4" not in text
    page = Page(text)
    assert {attributes["alt"] for attributes, _ in page.all("img")} == {hostile}
    assert [a["data-run"] for tag, a, _ in page.elements if tag == "section" and "data-run" in a] == [hostile, "x"]


@pytest.mark.parametrize(
    ("lost", "command"),
    [
        ("metrics/mnist_cvae_2.json", "evaluate@mnist_cvae_2"),
        ("models/mnist_cvae_2/history.csv", "train@mnist_cvae_2"),
        ("samples/mnist_cvae_2/captions.json", "sample@mnist_cvae_2"),
        ("samples/mnist_cvae_2/samples.png", "sample@mnist_cvae_2"),
        ("animations/mnist_cvae_2/label_3.mp4", "animate@mnist_cvae_2"),
        ("judges/digits/judge.json", "train_judge@digits"),
    ],
)
def test_a_missing_output_is_named_with_its_stage(copy: Path, lost: str, command: str) -> None:
    (copy / "outputs" / lost).unlink()
    with pytest.raises(AtlasError, match=re.escape(f"outputs/{lost} is missing")) as caught:
        build(copy, copy / "page.html")
    assert command in str(caught.value) and "\n" not in str(caught.value)
    assert not (copy / "page.html").exists()


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
    ],
)
def test_a_spoilt_output_is_one_line(copy: Path, spoilt: str, content: bytes, complaint: str) -> None:
    (copy / "outputs" / spoilt).write_bytes(content)
    with pytest.raises(AtlasError, match=re.escape(complaint)) as caught:
        build(copy, copy / "page.html")
    assert spoilt in str(caught.value) and "\n" not in str(caught.value)


def test_partial_shows_what_is_there(copy: Path) -> None:
    for kind in ("samples", "animations", "models"):
        shutil.rmtree(copy / "outputs" / kind / "mnist_ae_2")
    (copy / "outputs" / "metrics" / "mnist_ae_2.json").unlink()
    shutil.rmtree(copy / "outputs" / "animations" / "mnist_cvae_2")
    (copy / "outputs" / "metrics" / "mnist_cvae_2.json").unlink()
    runs = collect(copy, RUNS, partial=True)
    assert [run.key for run in runs] == ["mnist_cvae_2", "digits_cvae_2"]
    assert len(runs[0].pictures) == 4 and not runs[0].animations and not runs[0].numbers
    gallery.build(copy / "page.html", runs, {}, CATALOGUE, "smoke", 0)
    assert "Not evaluated yet." in (copy / "page.html").read_text()
    shutil.rmtree(copy / "outputs")
    with pytest.raises(AtlasError, match="no run has outputs"):
        collect(copy, RUNS, partial=True)


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


def test_stage_writes_the_page_and_one_line(
    copy: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    params = SimpleNamespace(scale="smoke", seed=3, runs=dict.fromkeys(RUNS), flat=RUNS.__getitem__)
    monkeypatch.setattr(stage.settings, "load", lambda: params)
    monkeypatch.chdir(copy)
    monkeypatch.setattr(sys, "argv", ["gallery.py"])
    stage.main()
    written = copy / "outputs" / "gallery" / "index.html"
    assert capsys.readouterr().out.startswith("outputs/gallery/index.html: 3 runs, ")
    assert all(gallery.MeasureInfo.__annotations__.keys() <= set(dir(measure)) for measure in MEASURES.values())
    first = written.read_bytes()
    monkeypatch.setattr(sys, "argv", ["gallery.py", "--partial"])
    stage.main()
    assert written.read_bytes() == first


CHECK = """<script>
const errors = [];
addEventListener("error", (event) => errors.push(event.message));
addEventListener("load", async () => {
  for (const part of document.querySelectorAll("[hidden]")) part.hidden = false;
  const media = [...document.querySelectorAll("img, video")];
  const width = (medium) => medium.naturalWidth ?? medium.videoWidth;
  const waits = () => media.filter((medium) => width(medium) !== Number(medium.getAttribute("width")));
  for (let i = 0; i < 100 && waits().length; i++) await new Promise((resolve) => setTimeout(resolve, 100));
  const order = () => [...document.querySelectorAll(".results tbody tr")].map((row) => row.dataset.run);
  const heads = [...document.querySelectorAll(".results thead button")];
  const sorted = [heads[4], heads[4], heads[3]].map((head) => { head.click(); return order(); });
  document.querySelector("#filters [value=digits]").click();
  const runs = [...document.querySelectorAll("section.run")];
  const left = runs.filter((run) => run.offsetParent).map((run) => run.dataset.run);
  const report = { errors, media: media.length, waits: waits().map((medium) => medium.dataset.medium), sorted, left,
    over: document.documentElement.scrollWidth - document.documentElement.clientWidth };
  console.log(`REPORT${encodeURIComponent(JSON.stringify(report))}REPORT`);
});
</script>"""


@pytest.mark.parametrize("width", [390, 1440])
def test_in_a_browser(text: str, page: Page, tmp_path: Path, width: int) -> None:
    names = ("chromium", "chromium-browser", "google-chrome")
    browser = next((found for name in names if (found := shutil.which(name))), None)
    if browser is None:
        pytest.skip(f"no browser on PATH ({', '.join(names)})")
    (tmp_path / "page.html").write_text(text.replace("<style>", f"{CHECK}<style>", 1), encoding="utf-8")
    command = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--enable-logging=stderr"]
    command += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
    command += [f"--window-size={width},30000", f"--user-data-dir={tmp_path / 'profile'}", "--remote-debugging-port=0"]
    # Real time, not the browser's virtual time: films are decoded and frames drawn by the clock on the wall.
    with subprocess.Popen(
        [*command, (tmp_path / "page.html").as_uri()], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    ) as process:
        guard = threading.Timer(60, process.kill)
        guard.start()
        assert process.stderr is not None
        log = []
        for line in process.stderr:
            log.append(line)
            if "REPORT" in line:
                break
        guard.cancel()
        process.terminate()
        process.stderr.close()
    assert log and "REPORT" in log[-1], "".join(log)
    report = json.loads(unquote(log[-1].split("REPORT")[1]))
    assert report["errors"] == []
    assert report["media"] == len(page.all("img")) + len(page.all("video")) and report["waits"] == []
    assert report["sorted"] == [
        ["mnist_cvae_2", "mnist_ae_2", "digits_cvae_2"],
        ["digits_cvae_2", "mnist_ae_2", "mnist_cvae_2"],
        ["digits_cvae_2", "mnist_cvae_2", "mnist_ae_2"],
    ]
    assert report["left"] == ["digits_cvae_2"]
    assert report["over"] <= 0
