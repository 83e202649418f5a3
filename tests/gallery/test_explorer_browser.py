"""Latent explorer in a real browser: the trained network answers at once, and computes what PyTorch computes."""

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw
from playwright.sync_api import Browser, Page
from tests.conftest import PARAMS, ROOT, VARIANTS
from tests.gallery.browser import opened
from tests.saved import DIGITS

from atlas.core.datasets import Split
from atlas.core.files import AtlasError
from atlas.core.model import Model, Shape, build, find_model
from atlas.core.settings import keywords
from atlas.export.explorer import SIDE, export_run
from atlas.gallery import onnx_runtime, pages
from atlas.gallery.explorer import read_explorer
from atlas.gallery.outputs import RunPage
from atlas.inference.own_image import read_image

MODELS: dict[str, tuple[str, Shape, int]] = {
    "mnist_cvae_3": ("cvae", (1, 28, 28), 3),
    "cifar10_gan_14": ("gan", (3, 32, 32), 14),
    "mnist_ae_1": ("ae", (1, 28, 28), 1),
}


def model_of(key: str) -> Model:
    """An untrained model whose images differ plainly from code to code."""
    variant, shape, size = MODELS[key]
    name, differences = VARIANTS[variant]
    settings = {**PARAMS["models"][name], **differences, "latent_dim": size, "width": 0.125}
    torch.manual_seed(1)
    model = build(name, shape, 10, {key: settings[key] for key in keywords(find_model(name))}).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1.5 if parameter.dim() > 1 else 1)
    return model


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[RunPage]:
    """What stage export writes of each model, with images of noise."""
    folder = tmp_path_factory.mktemp("onnx")
    runs = []
    for key, (variant, shape, size) in MODELS.items():
        generator = torch.Generator().manual_seed(2)
        images = torch.randint(0, 256, (20, *shape), generator=generator, dtype=torch.uint8)
        (folder / key).mkdir()
        export_run(model_of(key), list(DIGITS), Split(images, torch.arange(20) % 10), folder / key)
        dataset = key.split("_")[0]
        settings = {"dataset": dataset, "model": variant, "latent_dim": size}
        runs.append(RunPage(key, dataset, variant, settings, explorer=read_explorer(folder / key)))
    return runs


@pytest.fixture(scope="module")
def live(runs: list[RunPage], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The gallery with ONNX Runtime Web, which npm fetches where the cache has it not."""
    try:
        runtime = onnx_runtime.fetch(ROOT / ".cache")
    except AtlasError as error:
        pytest.skip(f"no ONNX Runtime Web: {error}")
    folder = tmp_path_factory.mktemp("live") / "gallery"
    pages.build(folder, runs, {}, [], [], "smoke", 0, runtime)
    return folder


@pytest.fixture(scope="module")
def drawn(runs: list[RunPage], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The gallery without it."""
    folder = tmp_path_factory.mktemp("drawn") / "gallery"
    pages.build(folder, runs, {}, [], [], "smoke", 0)
    return folder


def settle(page: Page, state: str) -> None:
    page.wait_for_selector(f"#explorer[data-state={state}]", timeout=60_000)
    page.wait_for_function("!explorer.part.dataset.drawing")


def code_of(page: Page) -> torch.Tensor:
    return torch.tensor(page.evaluate("[...explorer.code]"))


def screenshot(page: Page, shape: Shape) -> np.ndarray:
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
    decoded = page.evaluate("decode(explorer.code.slice(), [explorer.label]).then((pixels) => [...pixels])")
    assert np.abs(np.reshape(decoded, expected.shape) - expected).max() < 1e-4
    pixels = np.broadcast_to(expected, (3, *expected.shape[1:])).transpose(1, 2, 0) * 255
    # The corners are rounded off.
    assert np.abs(screenshot(page, model.shape) - pixels)[1:-1, 1:-1].max() <= 1.01


def test_the_image_follows_the_pointer_and_is_what_pytorch_decodes(chromium: Browser, live: Path) -> None:
    model = model_of("mnist_cvae_3")
    with opened(chromium, live / "mnist_cvae_3.html") as (page, errors):
        settle(page, "live")
        assert_shows(page, model)
        before, code = screenshot(page, model.shape), code_of(page)
        hover(page, 0.85, 0.2)
        assert_shows(page, model)
        assert np.abs(screenshot(page, model.shape) - before).max() > 10
        moved = (code_of(page) - code).abs() > 0.5
        first, second = page.evaluate("explorer.axes")
        assert moved.nonzero().flatten().tolist() == sorted((first, second))
        # To the right is more of the first dimension, upwards more of the second.
        assert (code_of(page) - code)[[first, second]].min() > 0.5
        # A click holds the place.
        page.mouse.down()
        page.mouse.up()
        held = code_of(page)
        hover(page, 0.3, 0.6)
        assert (code_of(page) == held).all()
        assert errors == []


@pytest.mark.slow
def test_labels_sliders_axes_and_arrow_keys(chromium: Browser, live: Path) -> None:
    model = model_of("mnist_cvae_3")
    with opened(chromium, live / "mnist_cvae_3.html", 390, has_touch=True) as (page, errors):
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
        # What keys and sliders have set, hovering leaves alone until a click lets go.
        code = code_of(page)
        hover(page, 0.5, 0.5)
        assert (code_of(page) == code).all()
        page.mouse.down()
        page.mouse.up()
        assert code_of(page)[third] == pytest.approx(0, abs=0.1)
        assert_shows(page, model, 7)
        assert errors == []


@pytest.mark.slow
def test_a_test_image_is_encoded_and_decoded_with_every_label(chromium: Browser, live: Path) -> None:
    model = model_of("mnist_cvae_3")
    with opened(chromium, live / "mnist_cvae_3.html") as (page, errors):
        settle(page, "live")
        buttons = page.locator(".picks .tests button")
        assert buttons.count() == 20
        buttons.nth(9).click()
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
        assert errors == []


@pytest.mark.slow
def test_a_decoder_alone_with_a_long_code_and_one_of_a_single_dimension(chromium: Browser, live: Path) -> None:
    for key, sliders, selects in (("cifar10_gan_14", 12, 0), ("mnist_ae_1", 1, 0)):
        model = model_of(key)
        with opened(chromium, live / f"{key}.html", color_scheme="dark") as (page, errors):
            settle(page, "live")
            assert page.locator(".sliders input:visible").count() == sliders
            assert page.locator(".axes select").count() == selects
            assert page.locator(".picks").count() == (key == "mnist_ae_1")
            before = code_of(page)
            hover(page, 0.9, 0.5)
            assert (code_of(page) != before).any()
            assert_shows(page, model)
            random = "Three other draws" if sliders == 12 else "Random code"
            page.get_by_role("button", name=random).click()
            assert_shows(page, model)
            drawn = code_of(page)
            hover(page, 0.3, 0.5)
            assert (code_of(page) == drawn).all()
            assert errors == []


@pytest.mark.slow
def test_a_generator_starts_at_a_draw_from_the_prior_on_a_plane_through_two_others(
    chromium: Browser, live: Path, runs: list[RunPage]
) -> None:
    with opened(chromium, live / "cifar10_gan_14.html") as (page, errors):
        settle(page, "live")
        explorer = runs[1].explorer
        assert explorer is not None
        draws = torch.tensor(explorer.about["plane"])
        draws *= 14**0.5 / draws.norm(dim=1, keepdim=True)
        assert torch.allclose(code_of(page), draws[0], atol=1e-4)
        for x, y, draw in ((1, 1, draws[1]), (0, 0, draws[2])):
            assert torch.allclose(torch.tensor(page.evaluate(f"[...codeAt({x}, {y})]")), draw, atol=1e-4)
        page.locator(".opinion input").check()
        page.get_by_text("It takes this image for real with a probability of").wait_for()
        assert errors == []


@pytest.mark.slow
def test_a_finger_drags_after_a_pick_and_the_answer_is_seen(chromium: Browser, live: Path) -> None:
    with opened(chromium, live / "mnist_cvae_3.html", 390, 844, has_touch=True) as (page, errors):
        settle(page, "live")
        page.locator(".picks .tests button").nth(9).tap()
        page.wait_for_function("explorer.label === 4 && !explorer.part.dataset.drawing")
        box = page.locator(".pair").bounding_box()
        assert box is not None and box["y"] >= 0 and box["y"] + box["height"] <= 844
        page.locator(".labels label", has_text="7").tap()
        caption = page.locator("#original figcaption").inner_text()
        assert caption == (
            "The test image, label 4; beside it, its code decoded with label 7. The ellipse on the map is q(z|x), a "
            "standard deviation each way"
        )
        # As wide as the posterior on a map of 2.5 standard deviations of the prior each way, between cells' middles.
        wide, high, across, side = page.evaluate("""() => {
          const ellipse = document.getElementById("posterior"), { spread } = explorer.networks.images[9];
          const [a, b] = explorer.axes.map((axis) => spread[explorer.order.indexOf(axis)]);
          return [ellipse.offsetWidth / a, ellipse.offsetHeight / b, map.clientWidth, explorer.side];
        }""")
        assert wide == pytest.approx(high, rel=0.1) == pytest.approx(2 * across * (side - 1) / side / 5, rel=0.1)
        code = code_of(page)
        drag = """() => {
          const box = map.getBoundingClientRect();
          map.setPointerCapture = () => {};
          for (const [name, x] of [["pointerdown", 0.2], ["pointermove", 0.8]]) {
            const at = { clientX: box.x + x * box.width, clientY: box.y + 0.5 * box.height };
            map.dispatchEvent(new PointerEvent(name, { ...at, pointerType: "touch", buttons: 1, bubbles: true }));
          }
        }"""
        page.evaluate(drag)
        first = page.evaluate("explorer.axes[0]")
        assert (code_of(page) != code).any() and code_of(page)[first] > 1
        assert not page.locator("#original").is_visible() and not page.locator("#posterior").is_visible()
        assert errors == []


@pytest.mark.slow
def test_what_is_drawn_on_the_pad_is_encoded(chromium: Browser, live: Path) -> None:
    with opened(chromium, live / "mnist_cvae_3.html") as (page, errors):
        settle(page, "live")
        page.locator("#pad").scroll_into_view_if_needed()
        box = page.locator("#pad").bounding_box()
        assert box is not None
        page.mouse.move(box["x"] + 60, box["y"] + 20)
        page.mouse.down()
        page.mouse.move(box["x"] + 70, box["y"] + 110, steps=5)
        page.mouse.up()
        page.get_by_text("your drawing: reconstructed best as").wait_for()
        assert max(page.evaluate("[...own.image]")) > 0.9 and errors == []


def seven(kind: str, path: Path) -> Path:
    """A seven whose paper, pen and size differ by `kind`; "colors" stands for a photograph."""
    paper, pen, size, mode = {
        "dark on light": ("#f4efe0", "#203060", (340, 260), "RGB"),
        "light on dark": ("#101418", "#e8e4d8", (150, 210), "RGB"),
        "on no paper": ("#00000000", "#303030ff", (200, 200), "RGBA"),
        "uneven light": ("#ffffff", "#203060", (300, 300), "RGB"),
        "tiny": ("#ffffff", "#000000", (24, 30), "RGB"),
        "colors": ("#3060a0", "#d0a020", (90, 64), "RGB"),
        "nothing": ("#888888", "#888888", (80, 80), "RGB"),
    }[kind]
    image = Image.new(mode, size, paper)
    width, height = size
    corners = [(0.3 * width, 0.25 * height), (0.68 * width, 0.22 * height), (0.45 * width, 0.8 * height)]
    ImageDraw.Draw(image).line(corners, fill=pen, width=max(3, width // 14), joint="curve")
    if kind == "uneven light":
        image = Image.fromarray((np.asarray(image) * np.linspace(1, 0.6, width)[:, None]).astype(np.uint8))
    image.save(path)
    return path


READ = "async ([bytes, ...how]) => [...await ownImage.read(new Blob([Uint8Array.from(bytes)]), ...how)]"


@pytest.mark.slow
def test_the_browser_frames_an_image_as_python_does(chromium: Browser, live: Path, tmp_path: Path) -> None:
    """But for the filters of the two libraries that scale it: a tenth of the ink."""
    with opened(chromium, live / "mnist_cvae_3.html") as (page, errors):
        settle(page, "live")
        for kind in ("dark on light", "light on dark", "on no paper", "uneven light", "tiny", "colors"):
            shape = (3, 32, 32) if kind == "colors" else (1, 28, 28)
            file = seven(kind, tmp_path / f"{kind}.png")
            expected = read_image(file, shape).astype(float)
            pixels = np.reshape(page.evaluate(READ, [list(file.read_bytes()), shape]), shape) * 255
            assert np.abs(pixels - expected).mean() < 0.1 * expected.mean() and expected.max() > 200, kind
        for shape, framing, background in (
            ((1, 32, 32), "crop", "#ffffff"),
            ((3, 24, 48), "pad", "#20c040"),
            ((1, 48, 24), "stretch", "#000000"),
        ):
            file = seven("on no paper", tmp_path / "own.png")
            expected = read_image(file, shape, framing, background).astype(float)
            pixels = np.reshape(page.evaluate(READ, [list(file.read_bytes()), shape, framing, background]), shape) * 255
            assert np.abs(pixels - expected).mean() < 6, framing
        assert errors == []


@pytest.mark.slow
def test_an_own_image_is_encoded_and_decoded_as_by_pytorch(chromium: Browser, live: Path, tmp_path: Path) -> None:
    model, file = model_of("mnist_cvae_3"), seven("dark on light", tmp_path / "seven.png")
    with opened(chromium, live / "mnist_cvae_3.html") as (page, errors):
        settle(page, "live")
        before = code_of(page)
        page.get_by_label("It shows").select_option("7")
        page.get_by_label("Image file").set_input_files(file)
        page.wait_for_function("explorer.held && explorer.label === 7 && !explorer.part.dataset.drawing")
        assert "seven.png: taken as 7" in page.locator(".own [role=status]").inner_text()
        image = torch.tensor(page.evaluate("[...own.image]"), dtype=torch.float32).reshape(1, 1, 28, 28)
        with torch.no_grad():
            expected = model.encode(image, torch.tensor([7]))[0]
        assert (code_of(page) - expected).abs().max() < 1e-4 and (code_of(page) - before).abs().max() > 1e-3
        assert_shows(page, model, 7)
        assert errors == []


@pytest.mark.slow
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
    with opened(chromium, live / "mnist_cvae_3.html", 390) as (page, errors):
        settle(page, "live")
        page.evaluate(drop, list(file.read_bytes()))
        page.wait_for_function("explorer.held && !explorer.part.dataset.drawing")
        image = torch.tensor(page.evaluate("[...own.image]"), dtype=torch.float32).reshape(1, 1, 28, 28)
        images, labels = image.expand(10, -1, -1, -1), torch.arange(10)
        with torch.no_grad():
            distances = (model.decode(model.encode(images, labels), labels) - images).square().sum((1, 2, 3))
        best = int(distances.argmin())
        assert_shows(page, model, best)
        assert f"dropped.png: reconstructed best as {best}" in page.locator(".own [role=status]").inner_text()
        held = code_of(page)
        page.evaluate(drop, list(seven("nothing", tmp_path / "nothing.png").read_bytes()))
        page.get_by_text("dropped.png: an empty picture: found no ink in it").wait_for()
        page.evaluate(drop, list(b"no image"))
        page.get_by_text("dropped.png: not an image that this browser can read").wait_for()
        assert (code_of(page) == held).all()
        assert errors == []


@pytest.mark.slow
def test_side_by_side_two_runs_share_place_label_and_test_image(chromium: Browser, live: Path) -> None:
    with opened(chromium, live / "compare.html") as (page, errors):
        for frame in page.frames[1:]:  # a frame that is still loading would say that it was broken off
            frame.wait_for_selector("#explorer[data-state=live]", timeout=60_000)
        page.get_by_label("Right").select_option("mnist_cvae_3")
        assert page.url.endswith("#mnist_cvae_3,mnist_cvae_3")
        page.wait_for_function("frames.length === 2")
        left, right = page.frames[1:]
        for frame in (left, right):
            frame.wait_for_selector("#explorer[data-state=live]", timeout=60_000)
            assert frame.locator("header").is_hidden() and frame.locator("#metrics").is_hidden()
        left.evaluate("move(0.3, 0.8)")
        same = "{const [x, y] = place(); return Math.abs(x - 0.3) < 1e-4 && Math.abs(y - 0.8) < 1e-4}"
        right.wait_for_function(f"() => {same}")
        right.locator(".labels label", has_text="3").click()
        left.wait_for_function("explorer.label === 3")
        left.locator(".tests button").nth(4).click()
        right.wait_for_selector(".tests button:nth-child(5)[aria-pressed=true]")
        codes = []
        for frame in (left, right):
            frame.wait_for_function("!explorer.part.dataset.drawing")
            codes.append(frame.evaluate("[explorer.label, ...explorer.code]"))
        assert codes[0] == codes[1] and codes[0][0] == 2  # two images of each label: the fifth is a two
        page.get_by_label("Left").select_option("mnist_ae_1")
        assert page.url.endswith("#mnist_ae_1,mnist_cvae_3") and errors == []


@pytest.mark.slow
@pytest.mark.parametrize("missing", ["runtime", "WebAssembly"])
def test_without_what_it_needs_the_drawn_map_stands_in_and_says_so(
    chromium: Browser, live: Path, drawn: Path, runs: list[RunPage], missing: str
) -> None:
    folder, before = (drawn, "") if missing == "runtime" else (live, "delete globalThis.WebAssembly")
    with opened(chromium, folder / "mnist_cvae_3.html", before=before) as (page, errors):
        settle(page, "drawn")
        state = page.locator("#state").inner_text()
        assert "was drawn when this gallery was built" in state and missing in state
        assert not page.locator(".picks").is_visible() and not page.locator(".axes").is_visible()
        page.locator(".labels label", has_text="3").click()
        hover(page, (7 + 0.5) / SIDE, (2 + 0.5) / SIDE)
        assert runs[0].explorer is not None
        with Image.open(runs[0].explorer.folder / "map.webp") as picture:
            cells = np.asarray(picture.convert("RGB"), float)
        top, left = (3 * SIDE + 2) * 28, 7 * 28
        expected = cells[top : top + 28, left : left + 28]
        assert np.abs(screenshot(page, (1, 28, 28)) - expected)[1:-1, 1:-1].max() <= 1.01
        assert errors == []
