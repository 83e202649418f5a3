"""Pages of the gallery: everything the runs wrote is in the folder, and nothing else is needed."""

import base64
import gzip
import json
import re
import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import unquote

import numpy as np
import pytest
import yaml
from PIL import Image
from tests.gallery.example import (
    CLAIM,
    DIGITS,
    METRICS,
    REGISTRY,
    RUNS,
    RUNTIME,
    Html,
    build,
    files,
    write_sheets,
    write_video,
)

import gallery as stage
from atlas.core import settings
from atlas.core.files import AtlasError
from atlas.gallery import onnx_runtime, pages
from atlas.gallery.outputs import MediaItem, RunPage, collect


@pytest.fixture(scope="module")
def index(folder: Path) -> Html:
    return Html((folder / "index.html").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def run_pages(folder: Path) -> dict[str, Html]:
    return {key: Html((folder / f"{key}.html").read_text(encoding="utf-8")) for key in RUNS}


def test_every_figure_and_animation_is_copied_pixel_for_pixel_and_nothing_else(
    root: Path, folder: Path, run_pages: dict[str, Html]
) -> None:
    """Except the losses, which the page draws itself, and what another animation shows as well."""
    figures = list((root / "outputs").glob("samples/*/[sm]*.png"))
    videos = list((root / "outputs").glob("animations/*/*.mp4"))
    videos = [path for path in videos if not (path.parent.name == "mnist_cvae_2" and path.stem.startswith("label_"))]
    assert (len(figures), len(videos)) == (12, 1 + 1 + 3)
    for path in videos:
        assert (folder / "media" / path.parent.name / path.name).read_bytes() == path.read_bytes()
    for path in figures:
        with Image.open(path) as source, Image.open(folder / f"media/{path.parent.name}/{path.stem}.webp") as copied:
            assert (np.asarray(source.convert("RGB")) == np.asarray(copied.convert("RGB"))).all()
    for key, page in run_pages.items():
        names = [path.name for path in videos if path.parent.name == key]
        names += [f"{path.stem}.webp" for path in figures if path.parent.name == key]
        shown = {attributes["src"] for tag in ("img", "video") for attributes, _ in page.all(tag)}
        assert shown == {f"media/{key}/{name}" for name in [*names, "explorer.webp"]}
    others = {path.name for path in (folder / "media").rglob("*.*")} - {path.name for path in videos}
    others -= {f"{path.stem}.webp" for path in figures}
    assert others == {
        "explorer.webp", "thumbnail.webp", "all.webp", "label_3.webp", "label_30.webp", "mnist.webp", "digits.webp"
    }  # fmt: skip


def test_networks_and_their_runtime_are_scripts(folder: Path) -> None:
    for path, name, content in (
        ("networks/mnist_cvae_2.js", "encoder", b"encoder of mnist_cvae_2"),
        ("networks/mnist_ae_2.js", "decoder", b"decoder of mnist_ae_2"),
        ("assets/ort-binary.js", "binary", RUNTIME["binary"]),
    ):
        value = json.loads((folder / path).read_text().split(" = ", 1)[1].rstrip(";\n"))
        assert gzip.decompress(base64.b64decode(value[name])) == content
    assert (folder / "assets" / "ort.wasm.min.js").read_bytes() == RUNTIME["script"]


def test_an_animation_of_all_labels_offers_each_of_its_parts(run_pages: dict[str, Html]) -> None:
    choices = [(a["value"], text) for a, text in run_pages["mnist_cvae_2"].all("input") if a.get("name") == "part-0"]
    assert choices == [("", "every label"), ("0 0 16 16", "a"), ("32 0 16 16", "b"), ("0 32 16 24", "c")]
    assert [a["data-crop"] for a, _ in run_pages["mnist_cvae_2"].all("figure") if "data-crop" in a] == ["64 64"]


def test_media_keep_their_order_size_and_alternative_text(index: Html, run_pages: dict[str, Html]) -> None:
    page = run_pages["digits_cvae_2"]
    images = [attributes for attributes, _ in page.all("img") if "explorer" not in str(attributes["src"])]
    assert all(attributes["alt"] for attributes, _ in page.all("img"))
    assert [(a["width"], a["height"]) for a in images] == [("64", "32"), *[("40", "32")] * 3]
    for attributes, _ in page.all("video"):
        assert attributes["aria-label"] and (attributes["width"], attributes["height"]) == ("64", "64")
        assert {"muted", "loop", "controls", "playsinline"} <= set(attributes)
        assert "autoplay" not in attributes and attributes["preload"] == "none"
        assert attributes["poster"] == str(attributes["src"]).replace(".mp4", ".webp")
    shown = [Path(str(a["src"])).name for tag, a, _ in page.elements if tag in ("img", "video")][1:]
    assert shown == [
        "samples.webp",
        "map_9.webp",
        "set_9.webp",
        "set_10.webp",
        "all.mp4",
        "label_3.mp4",
        "label_30.mp4",
    ]
    labels = [text for a, text in page.all("input") if str(a.get("name")).startswith("label-")]
    assert labels == ["9", "10", "3", "30"]
    comparisons = [text for a, text in index.all("input") if a.get("name") == "comparison"]
    assert comparisons == ["Samples", "Training"]


def test_the_words_of_a_sheet_are_the_pages_own(copy: Path, tmp_path: Path) -> None:
    originals, made = DIGITS[:3, None], DIGITS[3:6, None]
    write_sheets(copy, originals, made)
    built = build(copy, tmp_path / "gallery")
    page = built["digits_cvae_2.html"].decode()
    assert 'text-anchor="end" fill="#222222">original</text>' in page and "t</text>" not in page, "no title twice"
    with Image.open(tmp_path / "gallery/media/digits_cvae_2/reconstructions.webp") as image:
        pixels = np.asarray(image)
    # Eight pixels a side, each enlarged eight times, with gaps of eight pixels.
    for row, images in enumerate((originals, made)):
        for column, one in enumerate(images):
            cell = pixels[row * 72 : row * 72 + 64, column * 72 : column * 72 + 64]
            assert (cell[::8, ::8, 0] == one[0]).all() and (cell[..., 3] == 255).all()
    assert (pixels[64:72, :, 3] == 0).all() and (pixels[:, 64:72, 3] == 0).all()


def test_reconstructions_of_all_runs_are_one_picture(copy: Path, tmp_path: Path) -> None:
    write_sheets(copy, DIGITS[:3, None], DIGITS[3:6, None])
    index = Html(build(copy, tmp_path / "gallery")["index.html"].decode())
    rows = [attributes for attributes, _ in index.all("img") if "reconstructions" in str(attributes["src"])]
    # Of each data set the test images first, then a row a run.
    keys = ["digits_cvae_2"] * 2 + ["mnist_ae_2"] * 2 + ["mnist_cvae_2"]
    assert [row["src"] for row in rows] == [f"media/{key}/reconstructions.webp" for key in keys]
    tops = [re.search(r"top: (\S+);", str(row["style"]))[1] for row in rows]  # type: ignore[index]
    assert tops == ["0.000%", "-112.500%", "0.000%", "-112.500%", "-112.500%"], "72 of 64 pixels"


def test_posters_show_the_end_of_their_animations_and_thumbnails_the_last_snapshot(folder: Path) -> None:
    with Image.open(folder / "media" / "digits_cvae_2" / "label_30.webp") as poster:
        pixels = np.asarray(poster.convert("L"), float)
    last, first = (DIGITS[index].repeat(8, axis=0).repeat(8, axis=1).astype(float) for index in (2 + 5, 2))
    assert np.abs(pixels - last).mean() < 5 < np.abs(pixels - first).mean()
    with Image.open(folder / "media" / "digits_cvae_2" / "thumbnail.webp") as thumbnail:
        pixels = np.asarray(thumbnail.convert("L"))
    # The last of 2 snapshots, 3 labels, 3 x 3 images each: row 0, column 1 of label 1 stands at the top of column 1.
    assert pixels.shape == (2 * 8 + 1, 3 * 8 + 2)
    assert (pixels[:8, 9:17] == DIGITS[2 + 27 + 9 + 1]).all()
    with Image.open(folder / "media" / "mnist_ae_2" / "thumbnail.webp") as thumbnail:
        assert thumbnail.size == (3 * 8 + 2, 2 * 8 + 1)


def test_every_metric_is_there_and_what_does_not_apply_is_empty(folder: Path, index: Html) -> None:
    text, table = (folder / "index.html").read_text(encoding="utf-8"), index.table()
    assert list(table) == list(RUNS)
    for key, cells in table.items():
        values = [None if value is None else float(value) for value, _ in cells]
        assert values == [METRICS[key].get(name) for name in ("rate", "frechet", "label_accuracy", "extra")]
    assert len(re.findall(r"<td[^>]*></td>", text)) == 3 * 4 - (1 + 4 + 3)
    # What is no headline metric waits for the switch.
    assert text.count("class=minor data-sort") == 2
    assert table["mnist_cvae_2"][1][1] == "interval 11.5 to 12.8"
    assert table["mnist_ae_2"][1][1] == "n\N{NO-BREAK SPACE}=\N{NO-BREAK SPACE}10,000"
    for shown in ("7.12", "12.1", "0.988", "0.1250", "98.77 %", "360", "CVAE"):
        assert shown in text
    assert "never reported" not in text.lower()
    # The best on its data set: digits_cvae_2 is alone on its own, and "rate" has no better direction.
    assert [text for _, text in index.all("strong") if text[:1].isdigit()] == ["12.1"]


def test_large_numbers_are_short() -> None:
    texts = {0.5: "0.500", 999999.5: "999999.500", 13744895396.0: "1.37 × 10¹⁰", -2e6: "-2.00 × 10⁶"}
    assert {value: pages._fixed(value, 3).replace("\N{NO-BREAK SPACE}", " ") for value in texts} == texts
    assert pages._fixed(float("inf"), 3) == "inf"


def test_a_runs_page_has_its_metrics_their_meaning_and_its_settings(folder: Path, run_pages: dict[str, Html]) -> None:
    text = (folder / "mnist_cvae_2.html").read_text()
    for shown in ("7.12", "12.1", "0.988", "0.1250", "interval 11.5 to 12.8", "The part of the bound that the code"):
        assert shown in text
    for key, page in run_pages.items():
        ((_, shown),) = page.all("pre")
        assert yaml.safe_load(shown) == RUNS[key] and len(shown.splitlines()) >= len(RUNS[key])
    assert "<title>mnist_cvae_2: CVAE on mnist" in text


def test_runs_follow_each_other(run_pages: dict[str, Html]) -> None:
    def linked(key: str, rel: str) -> set[str]:
        return {str(attributes["href"]) for attributes, _ in run_pages[key].all("a") if attributes.get("rel") == rel}

    keys = list(RUNS)
    for before, after in pairwise(keys):
        assert linked(before, "next") == {f"{after}.html"} and linked(after, "prev") == {f"{before}.html"}
    assert linked(keys[0], "prev") == linked(keys[-1], "next") == set()


def test_claims_are_rows_by_statement_with_their_evidence_behind(copy: Path) -> None:
    claim = {**CLAIM, "runs": ["mnist_ae_2", "gone"], "values": {"frechet": [0.123456, 12345.6], "no_such": [2]}}
    again, other = {**claim, "runs": [], "verdict": "not run"}, {**CLAIM, "claim": "b is worse", "verdict": "fails"}
    (copy / "results" / "comparison.json").write_text(json.dumps({"claims": [claim, again, other]}))
    text = build(copy, copy / "gallery")["index.html"].decode()
    for shown in (
        "Not run",
        "Zero lies outside.",
        "A second reason.",
        "-20.5 to -18.25",
        ">distance<",
        ">no such<",
        "0.1235 / 12,346",
        ">10,000, 3 seeds<",
    ):
        assert shown in text
    assert 'href="mnist_ae_2.html">mnist_ae_2</a>, <span class="key">gone</span>' in text
    statements = {"One beats another", "B is worse"}
    assert [words for _, words in Html(text).all("h3") if words in statements] == ["One beats another", "B is worse"]
    assert (
        text.index('id="latent"') < text.index('id="family"') < text.index('id="claims"') < text.index('id="results"')
    )


def test_the_folder_needs_nothing_from_outside_and_misses_nothing(
    folder: Path, index: Html, run_pages: dict[str, Html]
) -> None:
    for name, content in files(folder).items():
        if name.endswith((".html", ".css", ".js")) and not name.startswith(("assets/ort", "networks/")):
            assert not re.search(rb"(https?:)?//[a-z]|@import|url\((?!#)|fetch\((?!address\))|import\(", content), name
    used = set()
    compare = Html((folder / "compare.html").read_text(encoding="utf-8"))
    for page in (index, compare, *run_pages.values()):
        ids = [attributes["id"] for _, attributes, _ in page.elements if "id" in attributes]
        assert len(ids) == len(set(ids))
        for _, attributes, _ in page.elements:
            assert not {"srcset", "action", "data"} & set(attributes)
            loaded = " ".join(attributes.get(f"data-{name}") or "" for name in ("runtime", "networks", "thumbnails"))
            for address in [*(attributes.get(name) for name in ("src", "href", "poster")), *loaded.split()]:
                if address and address.startswith("#"):
                    assert address[1:] in ids
                elif address and address != "data:,":
                    name = unquote(address.split("#")[0])
                    assert (folder / name).is_file(), address
                    used.add(name)
    # Without a VAE there is no lesson.
    assert used | {"index.html", "assets/learn.js"} == set(files(folder)), "a file that nothing shows"


def test_same_outputs_same_bytes(root: Path, folder: Path, tmp_path: Path) -> None:
    again = build(root, tmp_path / "elsewhere" / "gallery", RUNTIME)
    assert again == files(folder)
    assert not any(str(root).encode() in content for content in again.values())


def test_hostile_text_stays_text(tmp_path: Path) -> None:
    hostile = "\"><script>alert('x')</script>&amp;<b>"
    image, video = tmp_path / "<i>.png", tmp_path / "<i>.mp4"
    Image.new("L", (8, 8)).save(image)
    write_video(video, np.zeros((2, 16, 16), np.uint8))
    media = [MediaItem(path, f"media/x/{path.name}", 10, 10, hostile, hostile) for path in (image, video)]
    run = RunPage(
        key="x",
        dataset=hostile,
        model=hostile,
        settings={"dataset": hostile, hostile: {hostile: [hostile]}},
        metrics={"rate": 1.0, hostile: 2.0},
        figures=media[:1],
        animations=media[1:] * 2,
        history={hostile: {"validation": [(1, 2.0)]}},
    )
    registry = [REGISTRY[0]._replace(title=hostile, unit=hostile, description=hostile)]
    judges = {hostile: {"test_accuracy": 0.5, hostile: 1}}
    claim = {
        "claim": hostile,
        "verdict": hostile,
        "runs": [hostile],
        "why": hostile,
        "n": {},
        "interval": {},
        "seeds": {},
    }
    claims = [claim | {"values": {hostile: [1]}}]
    plain = replace(run, key="y", dataset="d", model="m", figures=(), animations=())
    pages.build(tmp_path / "gallery", [run, plain], judges, claims, registry, hostile, 0)
    for name in ("index.html", "x.html"):
        text = (tmp_path / "gallery" / name).read_text()
        assert "alert(" in text and "<script>alert" not in text and "<b>" not in text and "<i>.mp4" not in text
    assert hostile in {attributes["alt"] for attributes, _ in Html(text).all("img")}


def test_lost_trainings_are_shown(copy: Path) -> None:
    path = copy / "outputs/models/mnist_ae_2/history.csv"
    for shares, since in (((0.0, 0.1), None), ((1.0, 1.0), 1), ((1.0, 0.0), None), ((0.2, 0.97), 2)):
        rows = (
            f"{epoch},{epoch},train,{share}\n{epoch},{epoch},validation,\n" for epoch, share in enumerate(shares, 1)
        )
        path.write_text("epoch,step,split,discriminator_won\n" + "".join(rows))
        sentences = collect(copy, RUNS)[0].troubles
        assert len(sentences) == (since is not None) and all(f"(since epoch {since})" in text for text in sentences)
    exploded = "epoch,step,split,loss_exploded\n1,1,train,0.0\n2,2,train,1.0\n"
    (copy / "outputs/models/digits_cvae_2/history.csv").write_text(exploded)
    built = build(copy, copy / "gallery")
    for name, counts in (
        ("index", (1, 1)),
        ("mnist_ae_2", (1, 0)),
        ("mnist_cvae_2", (0, 0)),
        ("digits_cvae_2", (0, 1)),
    ):
        texts = (rb"[Tt]he discriminator dominates[^<]*since epoch 2", rb"[Tt]he loss has exploded[^<]*since epoch 2")
        assert tuple(len(re.findall(text, built[f"{name}.html"])) for text in texts) == counts


def test_stage_writes_the_folder_and_one_line(
    copy: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    params = SimpleNamespace(scale="smoke", seed=3, runs=dict.fromkeys(RUNS), flat=RUNS.__getitem__)
    monkeypatch.setattr(settings, "load", lambda: params)
    monkeypatch.chdir(copy)
    monkeypatch.setattr(sys, "argv", ["gallery.py"])
    monkeypatch.setattr(onnx_runtime, "fetch", lambda cache: RUNTIME)
    stage.main()
    assert capsys.readouterr().out.startswith("outputs/gallery/index.html: 3 runs, ")
    assert (copy / "outputs" / "gallery" / "networks" / "mnist_ae_2.js").is_file()

    def refuse(cache: Path) -> dict[str, bytes]:
        raise AtlasError("no npm")

    monkeypatch.setattr(onnx_runtime, "fetch", refuse)
    monkeypatch.setattr(sys, "argv", ["gallery.py", "--partial"])
    stage.main()
    assert capsys.readouterr().out.startswith(
        "the latent explorers will show maps drawn beforehand: no npm; once that is mended, `make gallery`\noutputs/"
    )
    built = files(copy / "outputs" / "gallery")
    assert not [name for name in built if name.startswith(("networks/", "assets/ort"))]
    assert b"data-networks" not in built["mnist_ae_2.html"] and "media/mnist_ae_2/explorer.webp" in built
