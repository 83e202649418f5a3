"""The gallery opened from disk in a real browser: nothing is missing, animations play, sorting and filters work."""

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, expect
from tests.gallery.browser import opened
from tests.gallery.example import DIGITS, build, write_sheets

COMPLETE = """() => {
  for (const part of document.querySelectorAll("[hidden]")) part.hidden = false;
  for (const image of document.images) image.loading = "eager";
  return Promise.all([...document.images].map((image) => image.decode().then(() => image.naturalWidth)));
}"""
OVERFLOW = "document.documentElement.scrollWidth - document.documentElement.clientWidth"


def runs(page: Page, selector: str) -> list[str]:
    return [str(part.get_attribute("data-run")) for part in page.locator(selector).all() if part.is_visible()]


@pytest.mark.parametrize(
    ("name", "width", "scheme"),
    [
        ("index.html", 390, "dark"),
        ("digits_cvae_2.html", 1440, "light"),
        pytest.param("index.html", 1440, "light", marks=pytest.mark.slow),
        pytest.param("digits_cvae_2.html", 390, "dark", marks=pytest.mark.slow),
    ],
)
def test_nothing_is_missing_and_nothing_sticks_out(
    chromium: Browser, folder: Path, name: str, width: int, scheme: str
) -> None:
    with opened(chromium, folder / name, width, color_scheme=scheme) as (page, errors):
        assert page.evaluate(OVERFLOW) == 0
        widths = page.evaluate(COMPLETE)
        assert len(widths) >= 4 and all(widths)
        dark = page.evaluate("getComputedStyle(document.body).backgroundColor") != "rgb(255, 255, 255)"
        assert dark == (scheme == "dark")
        assert errors == []


@pytest.mark.slow
def test_the_table_sorts_by_a_click_and_from_the_keyboard(chromium: Browser, folder: Path) -> None:
    with opened(chromium, folder / "index.html") as (page, errors):
        rows = ".results tbody tr"
        head = page.get_by_role("button", name="Distance")
        head.click()
        assert runs(page, rows) == ["mnist_cvae_2", "mnist_ae_2", "digits_cvae_2"]
        head.press("Enter")
        # Data sets stay apart.
        assert runs(page, rows) == ["mnist_ae_2", "mnist_cvae_2", "digits_cvae_2"]
        assert page.locator("[aria-sort=descending]").count() == 1
        # A run that the metric does not apply to comes last both ways.
        assert not page.get_by_role("button", name="Rate").is_visible()
        page.get_by_text("All 4 metrics").click()
        for _ in range(2):
            page.get_by_role("button", name="Rate").click()
            assert runs(page, rows) == ["mnist_cvae_2", "mnist_ae_2", "digits_cvae_2"]
        assert errors == []


@pytest.mark.slow
def test_filters_leave_what_is_selected(chromium: Browser, folder: Path) -> None:
    with opened(chromium, folder / "index.html") as (page, errors):
        page.locator("#filters label", has_text="digits").click()
        for part in (".results tbody tr", ".family li", ".legend li"):
            assert runs(page, part) == ["digits_cvae_2"]
        # The one claim is on runs of MNIST.
        assert not page.locator(".claims summary").is_visible()
        assert page.locator("output.count").inner_text() == "1 of 3 runs"
        page.locator("#filters label", has_text="mnist").click()
        page.locator("#filters label", has_text="CVAE").click()
        assert runs(page, ".results tbody tr") == ["mnist_cvae_2", "digits_cvae_2"]
        assert page.locator(".claims summary").is_visible()
        # What no run fits leaves no blank sections.
        page.locator("#filters label", has_text="mnist").click()
        page.locator("#filters label", has_text="CVAE").click()
        page.locator("#filters label", has_text="autoencoder").click()
        assert page.get_by_text("No run fits these filters.").is_visible()
        assert not page.locator("#results").is_visible() and not page.locator("#curves").is_visible()
        assert errors == []


@pytest.mark.slow
def test_a_claim_is_a_row_that_opens_on_its_numbers(chromium: Browser, folder: Path) -> None:
    with opened(chromium, folder / "index.html", 390) as (page, errors):
        row = page.locator(".claims summary")
        assert row.is_visible() and "Holds" in row.inner_text()
        interval, reason = page.get_by_text("-20.5 to -18.25"), page.get_by_text("Zero lies outside.")
        assert not interval.is_visible() and not reason.is_visible()
        row.press("Enter")
        assert interval.is_visible() and reason.is_visible() and page.get_by_text("12.06 / 31.25").is_visible()
        assert page.evaluate(OVERFLOW) == 0
        tops = [page.locator(part).bounding_box() for part in ("#latent", "#family", "#claims", "#results")]
        assert [box["y"] for box in tops if box] == sorted(box["y"] for box in tops if box)
        page.locator(".claims p a").first.click()
        page.wait_for_url("**/mnist_cvae_2.html")
        assert errors == []


@pytest.mark.slow
def test_a_card_leads_to_its_run_and_animations_play(chromium: Browser, folder: Path) -> None:
    with opened(chromium, folder / "index.html") as (page, errors):
        page.locator(".family li a.key").get_by_text("digits_cvae_2").click()
        page.wait_for_url("**/digits_cvae_2.html")
        animations = page.locator("video")
        assert animations.count() == 3
        page.get_by_text("30", exact=True).click()
        for video in (animations.first, animations.last):
            video.scroll_into_view_if_needed()
            page.wait_for_function("video => video.currentTime > 0", arg=video.element_handle())
        assert not animations.nth(1).is_visible()
        assert errors == []


@pytest.mark.slow
def test_a_label_alone_fills_the_room_of_its_video(chromium: Browser, folder: Path) -> None:
    with opened(chromium, folder / "mnist_cvae_2.html") as (page, errors):
        video, part = page.locator("[data-crop] video"), page.locator(".part")
        assert video.count() == 1 and video.evaluate("video => video.controls")
        page.locator("[data-crop] label", has_text="c").last.click()
        video.scroll_into_view_if_needed()
        page.wait_for_function("video => video.currentTime > 0", arg=video.element_handle())
        inner, outer = (
            where.evaluate("e => [...['x', 'y', 'width', 'height'].map((side) => e.getBoundingClientRect()[side])]")
            for where in (video, part)
        )
        # Of a video of 64 by 64 the part at 0, 32 of 16 by 24, but for the border.
        scale = (outer[2] - 2) / 16
        assert outer[3] - 2 == pytest.approx(24 * scale, abs=1)
        assert inner == pytest.approx([outer[0] + 1, outer[1] + 1 - 32 * scale, 64 * scale, 64 * scale], abs=1)
        assert page.evaluate(OVERFLOW) == 0 and not video.evaluate("video => video.controls")
        button = page.locator("[data-crop] .scrub button")
        assert page.locator("[data-crop] figcaption").inner_text() == "One all, label c"
        # The word follows the events of the video, which come after its state has changed.
        expect(button).to_have_text("Pause")
        button.press("Enter")
        expect(button).to_have_text("Play")
        assert video.evaluate("video => video.paused")
        time = page.locator("[data-crop] .scrub input")
        time.fill("500")
        page.wait_for_function(
            "video => Math.abs(video.currentTime - video.duration / 2) < 0.1", arg=video.element_handle()
        )
        page.get_by_text("every label", exact=True).click()
        assert video.evaluate("video => video.controls") and not button.is_visible()
        assert errors == []


@pytest.mark.slow
def test_a_reader_who_wants_no_motion_sees_posters(chromium: Browser, folder: Path) -> None:
    with opened(chromium, folder / "digits_cvae_2.html", reduced_motion="reduce") as (page, errors):
        video = page.locator("video").first
        video.scroll_into_view_if_needed()
        page.wait_for_timeout(300)
        assert video.evaluate("video => video.paused && video.currentTime === 0")
        video.evaluate("video => video.play()")
        page.wait_for_function("video => video.currentTime > 0", arg=video.element_handle())
        assert errors == []


@pytest.mark.slow
def test_a_figure_is_enlarged_and_put_back(chromium: Browser, folder: Path) -> None:
    with opened(chromium, folder / "digits_cvae_2.html") as (page, errors):
        page.locator("a.zoom").first.press("Enter")
        assert page.locator("dialog img").evaluate("image => image.decode().then(() => image.naturalWidth)") == 64
        page.keyboard.press("Escape")
        assert not page.locator("dialog").is_visible()
        assert errors == []


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_words_of_a_sheet_are_seen_in_its_place_and_enlarged(
    chromium: Browser, copy: Path, tmp_path: Path, scheme: str
) -> None:
    originals, made = DIGITS[:3, None], DIGITS[3:6, None]
    write_sheets(copy, originals, made)
    build(copy, tmp_path / "gallery")
    with opened(chromium, tmp_path / "gallery" / "digits_cvae_2.html", color_scheme=scheme) as (page, errors):
        words = page.locator("main .plate text")
        light = words.first.evaluate("e => Number(/\\d+/.exec(getComputedStyle(e).fill)) > 128")
        assert words.first.text_content() == "original" and light == (scheme == "dark")
        page.locator("main .zoom:has(.plate)").click()
        image = page.locator("dialog .plate img")
        box, text = image.bounding_box(), page.locator("dialog text").first.bounding_box()
        assert box and text and box["width"] == pytest.approx(3 * 72 - 8, abs=2)
        assert text["x"] + text["width"] == pytest.approx(box["x"] - 8, abs=2)
        assert text["y"] + text["height"] / 2 == pytest.approx(box["y"] + 32, abs=5)
        assert errors == []
    with opened(chromium, tmp_path / "gallery" / "index.html", color_scheme=scheme) as (page, errors):
        page.locator("#side-by-side label", has_text="Reconstructions").click()
        rows = page.locator("#side-by-side .strip")
        assert rows.count() == 5
        for row, images in zip(rows.all(), (originals, made, originals, made, made), strict=True):
            row.scroll_into_view_if_needed()
            row.locator("img").evaluate("image => image.decode()")
            shown = Image.open(BytesIO(row.screenshot())).convert("L").resize((26, 8), Image.Resampling.BOX)
            for column, one in enumerate(images):
                cell = np.asarray(shown, float)[:, 9 * column : 9 * column + 8]
                assert np.corrcoef(cell.ravel(), one[0].ravel())[0, 1] > 0.9
        assert errors == []
