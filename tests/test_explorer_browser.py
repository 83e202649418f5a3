"""The latent explorer in a real browser: the trained network answers at once, and says what PyTorch says."""

import io
import json
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw
from playwright.sync_api import Browser, Page
from tests.browser import opened
from tests.conftest import PARAMS, ROOT

import export as stage
from atlas.gallery import onnx_runtime as runtime
from atlas.core.datasets import Split
from atlas.inference.own_image import picture
from atlas.core.files import AtlasError
from atlas.core.model import Model
from atlas.core.model import build
from atlas.export.onnx import PARTS, export
from atlas.show import gallery, gallery_explorer
from atlas.gallery.outputs import RunPage
from atlas.training.optimizers import KEYS

CLASSES = [str(digit) for digit in range(10)]
MEMBERS: dict[str, tuple[str, tuple[int, int, int], int]] = {
    "mnist_cvae_3": ("cvae", (1, 28, 28), 3),
    "cifar10_gan_14": ("gan", (3, 32, 32), 14),
    "mnist_ae_1": ("ae", (1, 28, 28), 1),
}


def model_of(key: str) -> Model:
    """An untrained member whose images differ plainly from code to code."""
    name, shape, size = MEMBERS[key]
    arguments = {name: value for name, value in PARAMS["models"][name].items() if name not in KEYS}
    torch.manual_seed(1)
    model = build(name, shape, 10, {**arguments, "latent_dim": size, "width": 0.125}).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1.5 if parameter.dim() > 1 else 1)
    return model


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[RunPage]:
    """What stage export writes of each member, with images of noise."""
    folder = tmp_path_factory.mktemp("onnx")
    found = []
    for key, (name, shape, size) in MEMBERS.items():
        model = model_of(key)
        generator = torch.Generator().manual_seed(2)
        images = torch.randint(0, 256, (20, *shape), generator=generator, dtype=torch.uint8)
        about = stage.describe(model, CLASSES, Split(images, torch.arange(20) % 10))
        (folder / key).mkdir()
        (folder / key / "explorer.json").write_text(json.dumps(about))
        stage.write_map(folder / key / "map.webp", stage.draw_map(model, about))
        for part in PARTS:
            if model.can(part.removesuffix("r")):
                (folder / key / f"{part}.onnx").write_bytes(export(model, part))
        dataset = key.split("_")[0]
        settings = {"dataset": dataset, "model": name, "latent_dim": size}
        explorer = gallery_explorer.read(folder / key)
        found.append(RunPage(key, dataset, name, settings, explorer=explorer))
    return found


@pytest.fixture(scope="module")
def live(runs: list[RunPage], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The gallery with ONNX Runtime Web, which npm fetches where the cache has it not."""
    try:
        files = runtime.fetch(ROOT / ".cache")
    except AtlasError as error:
        pytest.skip(f"no ONNX Runtime Web: {error}")
    folder = tmp_path_factory.mktemp("live") / "gallery"
    gallery.build(folder, runs, {}, [], [], "smoke", 0, files)
    return folder


@pytest.fixture(scope="module")
def drawn(runs: list[RunPage], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The gallery without it."""
    folder = tmp_path_factory.mktemp("drawn") / "gallery"
    gallery.build(folder, runs, {}, [], [], "smoke", 0)
    return folder


def settle(page: Page, state: str) -> None:
    page.wait_for_selector(f"#explorer[data-state={state}]", timeout=60_000)
    page.wait_for_function("!explorer.part.dataset.drawing")


def code_of(page: Page) -> torch.Tensor:
    return torch.tensor(page.evaluate("[...explorer.code]"))


def shown(page: Page, shape: tuple[int, int, int]) -> np.ndarray:
    """The image as a reader sees it, grey values [H, W, 3]: the middle of each enlarged pixel."""
    page.wait_for_function("!explorer.part.dataset.drawing")
    box = page.locator("#picture").bounding_box()
    assert box is not None
    with Image.open(io.BytesIO(page.locator("#picture").screenshot())) as picture:
        pixels = np.asarray(picture.convert("RGB"), float)
    # The screenshot begins at a whole pixel, the element maybe not.
    down, across = (
        (start % 1 + (np.arange(count) + 0.5) * length / count).astype(int)
        for start, length, count in ((box["y"], box["height"], shape[1]), (box["x"], box["width"], shape[2]))
    )
    return pixels[np.ix_(down, across)]


def hover(page: Page, across: float, down: float) -> None:
    """Put the pointer on the map, in shares of its width and height."""
    page.locator("#map").scroll_into_view_if_needed()
    box = page.locator("#map").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + across * box["width"], box["y"] + down * box["height"])
    page.wait_for_timeout(50)


def assert_shows(page: Page, model: Model, label: int = 0) -> None:
    """The image is what PyTorch decodes from the page's code: its numbers to 1e-4, its pixels to their rounding."""
    code = code_of(page)
    with torch.no_grad():
        expected = model.decode(code[None], torch.tensor([label])).numpy()[0]
    assert page.evaluate("explorer.label") == label
    found = page.evaluate("decode(explorer.code.slice(), [explorer.label]).then((pixels) => [...pixels])")
    assert np.abs(np.reshape(found, expected.shape) - expected).max() < 1e-4
    pixels = np.broadcast_to(expected, (3, *expected.shape[1:])).transpose(1, 2, 0) * 255
    # The corners are rounded off.
    assert np.abs(shown(page, model.shape) - pixels)[1:-1, 1:-1].max() <= 1.01


def test_the_image_follows_the_pointer_and_is_what_pytorch_decodes(chromium: Browser, live: Path) -> None:
    model = model_of("mnist_cvae_3")
    with opened(chromium, live / "mnist_cvae_3.html") as (page, complaints):
        settle(page, "live")
        assert_shows(page, model)
        before, code = shown(page, model.shape), code_of(page)
        hover(page, 0.85, 0.2)
        assert_shows(page, model)
        assert np.abs(shown(page, model.shape) - before).max() > 10
        moved = (code_of(page) - code).abs() > 0.5
        first, second = page.evaluate("explorer.axes")
        assert moved.nonzero().flatten().tolist() == sorted((first, second))
        # Rightwards is more of the first dimension, upwards more of the second.
        assert (code_of(page) - code)[[first, second]].min() > 0.5
        # A click holds the place.
        page.mouse.down()
        page.mouse.up()
        held = code_of(page)
        hover(page, 0.3, 0.6)
        assert (code_of(page) == held).all()
        assert complaints == []


def test_labels_sliders_axes_and_arrow_keys(chromium: Browser, live: Path) -> None:
    model = model_of("mnist_cvae_3")
    with opened(chromium, live / "mnist_cvae_3.html", 390, has_touch=True) as (page, complaints):
        settle(page, "live")
        page.locator(".labels label", has_text="7").click()
        assert_shows(page, model, 7)
        page.locator("#map").press("ArrowRight")
        assert code_of(page)[page.evaluate("explorer.axes[0]")] > 0.1
        assert_shows(page, model, 7)
        third = page.evaluate("explorer.order[2]")
        map_before = page.locator("#map").screenshot()
        page.locator(f"input[data-dimension='{third}']").fill("1.25")
        assert code_of(page)[third] == pytest.approx(1.25, abs=0.01)
        assert_shows(page, model, 7)
        waits = 0
        while page.locator("#map").screenshot() == map_before:
            waits += 1
            assert waits < 200, "the map is not of the code's other dimensions"
            page.wait_for_timeout(50)
        page.locator(".axes select").first.select_option(str(third))
        assert page.evaluate("explorer.axes[0]") == third
        hover(page, 0.5, 0.5)
        assert code_of(page)[third] == pytest.approx(0, abs=0.1)
        assert_shows(page, model, 7)
        assert complaints == []


def test_a_test_image_is_encoded_and_decoded_with_every_label(chromium: Browser, live: Path) -> None:
    model = model_of("mnist_cvae_3")
    with opened(chromium, live / "mnist_cvae_3.html") as (page, complaints):
        settle(page, "live")
        picks = page.locator(".picks button")
        assert picks.count() == 20
        picks.nth(9).click()
        page.wait_for_function("explorer.label === 4 && !explorer.part.dataset.drawing")
        pixels = page.evaluate("""() => {
          const context = document.querySelector("#original canvas").getContext("2d");
          return [...context.getImageData(0, 0, 28, 28).data].filter((_, i) => i % 4 === 0);
        }""")
        image = torch.tensor(pixels).reshape(1, 1, 28, 28).float() / 255
        with torch.no_grad():
            expected = model.encode(image, torch.tensor([4]))[0]
        assert (code_of(page) - expected).abs().max() < 1e-4
        assert_shows(page, model, 4)
        assert page.locator(".styles canvas").count() == 10
        styles = {page.locator(".styles canvas").nth(label).screenshot() for label in range(10)}
        assert len(styles) == 10
        # The next move leaves the picked image.
        page.locator("#map").press("ArrowLeft")
        assert not page.locator("#original").is_visible()
        assert complaints == []


def test_a_decoder_alone_with_a_long_code_and_one_of_a_single_dimension(chromium: Browser, live: Path) -> None:
    for key, sliders, selects in (("cifar10_gan_14", 12, 2), ("mnist_ae_1", 1, 0)):
        model = model_of(key)
        with opened(chromium, live / f"{key}.html", color_scheme="dark") as (page, complaints):
            settle(page, "live")
            assert page.locator(".sliders input:visible").count() == sliders
            assert page.locator(".axes select").count() == selects
            assert page.locator(".picks").count() == (key == "mnist_ae_1")
            before = code_of(page)
            hover(page, 0.9, 0.5)
            assert (code_of(page) != before).any()
            assert_shows(page, model)
            page.get_by_role("button", name="Random code").click()
            assert_shows(page, model)
            assert complaints == []


def seven(kind: str, path: Path) -> Path:
    """A seven, drawn by a person whose paper, pen and size differ by `kind`; "colours" is a photograph of sorts."""
    paper, pen, size, mode = {
        "dark on light": ("#f4efe0", "#203060", (340, 260), "RGB"),
        "light on dark": ("#101418", "#e8e4d8", (150, 210), "RGB"),
        "on no paper": ("#00000000", "#303030ff", (200, 200), "RGBA"),
        "tiny": ("#ffffff", "#000000", (24, 30), "RGB"),
        "colours": ("#3060a0", "#d0a020", (90, 64), "RGB"),
        "nothing": ("#888888", "#888888", (80, 80), "RGB"),
    }[kind]
    image = Image.new(mode, size, paper)
    width, height = size
    corners = [(0.3 * width, 0.25 * height), (0.68 * width, 0.22 * height), (0.45 * width, 0.8 * height)]
    ImageDraw.Draw(image).line(corners, fill=pen, width=max(3, width // 14), joint="curve")
    image.save(path)
    return path


@pytest.mark.parametrize("kind", ["dark on light", "light on dark", "on no paper", "tiny"])
def test_an_image_of_ones_own_is_seen_as_pytorch_sees_it(
    chromium: Browser, live: Path, tmp_path: Path, kind: str
) -> None:
    """Prepared as by atlas.inference.own_image to 2 of 255 grey values, then encoded and decoded as by PyTorch to 1e-4."""
    model, file = model_of("mnist_cvae_3"), seven(kind, tmp_path / "seven.png")
    meant = picture(file, (1, 28, 28)).astype(float)
    with opened(chromium, live / "mnist_cvae_3.html") as (page, complaints):
        settle(page, "live")
        before = code_of(page)
        page.get_by_label("It shows").select_option("7")
        page.get_by_label("Image file").set_input_files(file)
        page.wait_for_function("explorer.held && explorer.label === 7 && !explorer.part.dataset.drawing")
        assert "seven.png: taken as 7" in page.locator(".own [role=status]").inner_text()
        seen = torch.tensor(page.evaluate("[...own.image]"), dtype=torch.float32).reshape(1, 1, 28, 28)
        assert np.abs(seen.numpy()[0] * 255 - meant).max() <= 2 and meant.max() > 200
        with torch.no_grad():
            expected = model.encode(seen, torch.tensor([7]))[0]
        assert (code_of(page) - expected).abs().max() < 1e-4 and (code_of(page) - before).abs().max() > 1e-3
        assert_shows(page, model, 7)
        assert complaints == []


def test_a_dropped_image_is_read_by_its_best_reconstruction_and_one_without_ink_refused(
    chromium: Browser, live: Path, tmp_path: Path
) -> None:
    model, file = model_of("mnist_cvae_3"), seven("dark on light", tmp_path / "seven.png")
    drop = """async (bytes) => {
      const data = new DataTransfer();
      data.items.add(new File([Uint8Array.from(bytes)], "dropped.png", { type: "image/png" }));
      for (const name of ["dragover", "drop"]) {
        explorer.part.dispatchEvent(new DragEvent(name, { dataTransfer: data, bubbles: true, cancelable: true }));
      }
    }"""
    with opened(chromium, live / "mnist_cvae_3.html", 390) as (page, complaints):
        settle(page, "live")
        page.evaluate(drop, list(file.read_bytes()))
        page.wait_for_function("explorer.held && !explorer.part.dataset.drawing")
        seen = (
            torch.tensor(page.evaluate("[...own.image]"), dtype=torch.float32)
            .reshape(1, 1, 28, 28)
            .expand(10, -1, -1, -1)
        )
        with torch.no_grad():
            codes = model.encode(seen, torch.arange(10))
            errors = (model.decode(codes, torch.arange(10)) - seen).square().sum((1, 2, 3))
        best = int(errors.argmin())
        assert_shows(page, model, best)
        assert f"dropped.png: reconstructed best as {best}" in page.locator(".own [role=status]").inner_text()
        held = code_of(page)
        page.evaluate(drop, list(seven("nothing", tmp_path / "nothing.png").read_bytes()))
        page.get_by_text("dropped.png: an empty picture: found no ink in it").wait_for()
        page.evaluate(drop, list(b"no image"))
        page.get_by_text("dropped.png: not an image that this browser can read").wait_for()
        assert (code_of(page) == held).all()
        assert complaints == []


def test_a_photograph_gives_its_middle(chromium: Browser, live: Path, tmp_path: Path) -> None:
    file = seven("colours", tmp_path / "wide.png")
    meant = picture(file, (3, 32, 32)).astype(float)
    with opened(chromium, live / "mnist_cvae_3.html") as (page, complaints):
        settle(page, "live")
        script = "async (bytes) => [...await sketch.prepare(new Blob([Uint8Array.from(bytes)]), [3, 32, 32])]"
        found = np.reshape(page.evaluate(script, list(file.read_bytes())), (3, 32, 32))
        assert np.abs(found * 255 - meant).max() <= 2
        assert complaints == []


class Server(SimpleHTTPRequestHandler):
    """One that calls every script UTF-8, as many do."""

    def guess_type(self, path: object) -> str:
        return "text/javascript; charset=utf-8" if str(path).endswith(".js") else super().guess_type(str(path))

    def log_message(self, *_: object) -> None:
        pass


def test_a_server_that_calls_scripts_utf_8_spoils_nothing(chromium: Browser, live: Path) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Server, directory=str(live))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        page = chromium.new_page()
        try:
            page.goto(f"http://127.0.0.1:{server.server_port}/mnist_cvae_3.html")
            settle(page, "live")
            assert_shows(page, model_of("mnist_cvae_3"))
        finally:
            page.close()
            server.shutdown()


@pytest.mark.parametrize("lacking", ["runtime", "WebAssembly"])
def test_without_what_it_needs_the_drawn_map_stands_in_and_says_so(
    chromium: Browser, live: Path, drawn: Path, runs: list[RunPage], lacking: str
) -> None:
    folder, before = (drawn, "") if lacking == "runtime" else (live, "delete globalThis.WebAssembly")
    with opened(chromium, folder / "mnist_cvae_3.html", before=before) as (page, complaints):
        settle(page, "drawn")
        words = page.locator("#state").inner_text()
        assert "was drawn when this gallery was built" in words and lacking in words
        assert not page.locator(".picks").is_visible() and not page.locator(".axes").is_visible()
        page.locator(".labels label", has_text="3").click()
        hover(page, (7 + 0.5) / stage.SIDE, (2 + 0.5) / stage.SIDE)
        assert runs[0].explorer is not None
        with Image.open(runs[0].explorer.folder / "map.webp") as picture:
            cells = np.asarray(picture.convert("RGB"), float)
        top, left = (3 * stage.SIDE + 2) * 28, 7 * 28
        expected = cells[top : top + 28, left : left + 28]
        assert np.abs(shown(page, (1, 28, 28)) - expected)[1:-1, 1:-1].max() <= 1.01
        assert complaints == []
