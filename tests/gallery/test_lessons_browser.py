"""Front page's latent space and the lesson in a real browser, with untrained networks of each kind."""

from pathlib import Path

import pytest
import torch
from playwright.sync_api import Browser, Page
from tests.conftest import ROOT
from tests.gallery.browser import opened
from tests.gallery.test_explorer_browser import MODELS, model_of
from tests.saved import DIGITS

from atlas.core.datasets import Split
from atlas.core.files import AtlasError
from atlas.export.explorer import export_run, write_thumbnails
from atlas.gallery import lessons, onnx_runtime, pages
from atlas.gallery.explorer import read_explorer
from atlas.gallery.outputs import RunPage

VARIANTS = ("ae", "vae", "cvae", "cvae_gan")
LIVE = """async () => {
  for (const scene of document.querySelectorAll(".scene")) {
    scene.scrollIntoView();
    for (let i = 0; i < 600 && scene.dataset.state !== "live"; i++) await new Promise((done) => setTimeout(done, 100));
  }
  return [...document.querySelectorAll(".scene")].map((scene) => scene.id + " " + scene.dataset.state);
}"""


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Path:
    try:
        runtime = onnx_runtime.fetch(ROOT / ".cache")
    except AtlasError as error:
        pytest.skip(f"no ONNX Runtime Web: {error}")
    folder = tmp_path_factory.mktemp("onnx")
    generator = torch.Generator().manual_seed(2)
    test = Split(torch.randint(0, 256, (40, 1, 28, 28), generator=generator, dtype=torch.uint8), torch.arange(40) % 10)
    write_thumbnails(test, folder / "mnist.webp")
    runs = []
    for variant in VARIANTS:
        key = f"mnist_{variant}_2"
        MODELS[key] = (variant, (1, 28, 28), 2)
        (folder / key).mkdir()
        export_run(model_of(key), list(DIGITS), test, folder / key)
        settings = {"dataset": "mnist", "variant": variant, "latent_dim": 2}
        runs.append(RunPage(key, "mnist", variant, settings, explorer=read_explorer(folder / key)))
    assert set(lessons.scenes(runs, runs)) == {"ae", "vae", "cvae", "metric"}
    target = tmp_path_factory.mktemp("live") / "gallery"
    pages.build(target, runs, {}, [], [], "smoke", 0, runtime)
    return target


def point(page: Page, x: float, y: float, click: bool = False) -> None:
    box = page.locator(".codes canvas").first.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"])
    if click:
        page.mouse.down()
        page.mouse.up()


@pytest.mark.slow
def test_the_front_page_decodes_at_the_pointer_and_a_switch_keeps_the_point(chromium: Browser, live: Path) -> None:
    with opened(chromium, live / "index.html") as (page, errors):
        loaded: list[str] = []
        page.on("request", lambda request: loaded.append(request.url))
        page.wait_for_function("document.querySelector('#whose').textContent !== ''")
        assert not [url for url in loaded if "ort-binary" in url or "networks" in url]
        point(page, 0.6, 0.35, click=True)
        page.wait_for_selector("#latent[data-state=live]", timeout=60_000)
        code = page.locator("#code").inner_text()
        page.wait_for_timeout(500)
        # By the screen: pictures of a folder may be drawn, but not read.
        before = page.locator("#decoded").screenshot()
        assert not page.locator("#latent .labels").is_visible()
        page.locator(".models label", has_text="CVAE/GAN").click()
        page.wait_for_timeout(2000)
        assert page.locator("#decoded").screenshot() != before
        assert page.locator("#code").inner_text() == code
        page.locator("#latent .labels label", has_text="7").click()
        page.wait_for_function("location.hash.includes('mnist_cvae_gan_2') && location.hash.endsWith(',7')")
        # The address holds the state.
        page.reload()
        page.wait_for_function("document.querySelector('.models :checked').value === 'mnist_cvae_gan_2'")
        assert page.locator("#code").inner_text() == code
        assert page.locator("#latent .labels :checked").get_attribute("value") == "7"
        # A key moves the point; Enter takes the nearest test image, and another model shows the same image.
        page.locator(".codes canvas").first.press("ArrowRight")
        page.locator(".codes canvas").first.press("Enter")
        taken = page.locator("#nearest").screenshot()
        page.locator(".models label").first.click()
        assert page.locator("#nearest").screenshot() == taken
        assert page.locator("#code").inner_text() != code and errors == []


@pytest.mark.slow
@pytest.mark.parametrize(("width", "scheme"), [(1440, "light"), (390, "dark")])
def test_all_scenes_of_the_lesson_run(chromium: Browser, live: Path, width: int, scheme: str) -> None:
    with opened(chromium, live / "learn.html", width, color_scheme=scheme) as (page, errors):
        assert page.evaluate(LIVE) == [f"{name} live" for name in ("code", "codes", "darts", "walk", "label", "metric")]
        assert page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") == 0
        for part in ("ae", "vae"):
            assert "have a dart within half a unit" in page.locator(f"[data-count={part}]").inner_text()
        page.locator("#shift").fill("0")
        # What is not shifted is the original.
        page.wait_for_function("document.querySelector('[data-measure=pixels] .moved + output').textContent === '0.0'")
        nearer = page.locator("[data-measure=features] .verdict-line")
        assert nearer.inner_text() == "Nearer to the original: the shifted image."
        page.locator("#step").fill("0")
        page.wait_for_function(
            "document.getElementById('faded').toDataURL() === document.getElementById('from').toDataURL()"
        )
        assert errors == []


def test_a_run_is_told_its_failures_and_its_parent() -> None:
    def run(key: str, variant: str, size: int, **metrics: float) -> RunPage:
        return RunPage(key, "d", variant, {"dataset": "d", "variant": variant, "latent_dim": size}, metrics)

    runs = [run("a", "cvae", 2), run("b", "cvae", 8), run("c", "vae_gan", 8)]
    child = run("e", "cvae_gan", 8, label_accuracy=0.284, sharpness=1.0, coverage=0.9)
    (sentence,) = lessons.failures(child)
    assert sentence.replace("\N{NO-BREAK SPACE}", " ") == "The label is obeyed in 28 % of the samples."
    assert lessons.parent_of(child, runs) == (runs[1], "+ discriminator")
    assert lessons.parent_of(child, runs[2:]) == (runs[2], "+ label")
    assert lessons.parent_of(runs[0], [child]) is None
    assert [member.variant for member in lessons.family([child, run("f", "mine", 2), *runs])] == [
        "cvae",
        "vae_gan",
        "cvae_gan",
        "mine",
    ]
    assert [lessons.depth(name) for name in ("ae", "vae", "cvae", "cvae_gan", "mine")] == [0, 1, 2, 3, 0]
