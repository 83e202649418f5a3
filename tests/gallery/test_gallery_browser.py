"""The gallery opened from disk in a real browser: nothing is missing, films play, the table sorts, filters filter."""

import json
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page
from tests.browser import opened
from tests.test_gallery import build, write_outputs

COMPLETE = """() => {
  for (const part of document.querySelectorAll("[hidden]")) part.hidden = false;
  for (const image of document.images) image.loading = "eager";
  const wait = (image) => image.complete ? null : new Promise((done) => { image.onload = image.onerror = done; });
  return Promise.all([...document.images].map(wait)).then(
    () => [...document.images].map((image) => image.naturalWidth));
}"""
OVERFLOW = "document.documentElement.scrollWidth - document.documentElement.clientWidth"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("root")
    write_outputs(root)
    claim: dict[str, Any] = {"claim": "one beats another", "runs": ["mnist_cvae_2", "mnist_ae_2"], "verdict": "holds"}
    claim |= {"values": {"frechet": [12.0625, 31.25]}, "interval": {"frechet": [-20.5, -18.25]}, "why": "it is lower"}
    (root / "results").mkdir()
    (root / "results" / "comparison.json").write_text(json.dumps({"claims": [claim]}))
    build(root, root / "a folder" / "gallery")
    return root / "a folder" / "gallery"


def runs(page: Page, selector: str) -> list[str]:
    return [str(part.get_attribute("data-run")) for part in page.locator(selector).all() if part.is_visible()]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1440])
@pytest.mark.parametrize("name", ["index.html", "digits_cvae_2.html"])
def test_nothing_is_missing_and_nothing_sticks_out(
    chromium: Browser, folder: Path, name: str, width: int, scheme: str
) -> None:
    with opened(chromium, folder / name, width, color_scheme=scheme) as (page, complaints):
        assert page.evaluate(OVERFLOW) == 0
        widths = page.evaluate(COMPLETE)
        assert len(widths) >= 4 and all(widths)
        dark = page.evaluate("getComputedStyle(document.body).backgroundColor") != "rgb(255, 255, 255)"
        assert dark == (scheme == "dark")
        assert complaints == []


def test_the_table_sorts_by_a_click_and_from_the_keyboard(chromium: Browser, folder: Path) -> None:
    with opened(chromium, folder / "index.html") as (page, complaints):
        rows = ".results tbody tr"
        head = page.get_by_role("button", name="Distance")
        head.click()
        assert runs(page, rows) == ["mnist_cvae_2", "mnist_ae_2", "digits_cvae_2"]
        head.press("Enter")
        assert runs(page, rows) == ["digits_cvae_2", "mnist_ae_2", "mnist_cvae_2"]
        assert page.locator("[aria-sort=descending]").count() == 1
        # A run that the measure does not apply to comes last both ways.
        assert not page.get_by_role("button", name="Rate").is_visible()
        page.get_by_text("All 4 measures").click()
        for order in (["digits_cvae_2", "mnist_cvae_2"], ["mnist_cvae_2", "digits_cvae_2"]):
            page.get_by_role("button", name="Rate").click()
            assert runs(page, rows) == [*order, "mnist_ae_2"]
        assert complaints == []


def test_filters_leave_what_was_asked_for(chromium: Browser, folder: Path) -> None:
    with opened(chromium, folder / "index.html") as (page, complaints):
        page.locator("#filters label", has_text="digits").click()
        for part in (".results tbody tr", ".cards li", ".legend li"):
            assert runs(page, part) == ["digits_cvae_2"]
        assert page.locator("output.count").inner_text() == "1 of 3 runs"
        page.locator("#filters label", has_text="mnist").click()
        page.locator("#filters label", has_text="cvae").click()
        assert runs(page, ".results tbody tr") == ["mnist_cvae_2", "digits_cvae_2"]
        assert complaints == []


def test_a_claim_is_a_row_that_opens_on_its_numbers(chromium: Browser, folder: Path) -> None:
    with opened(chromium, folder / "index.html", 390) as (page, complaints):
        row = page.locator(".claims summary")
        assert row.is_visible() and "Holds" in row.inner_text()
        interval, reason = page.get_by_text("-20.5 to -18.25"), page.get_by_text("It is lower.")
        assert not interval.is_visible() and not reason.is_visible()
        row.press("Enter")
        assert interval.is_visible() and reason.is_visible() and page.get_by_text("12.06 / 31.25").is_visible()
        assert page.evaluate(OVERFLOW) == 0
        tops = [page.locator(part).bounding_box() for part in ("#results", "#runs", "#claims")]
        assert [box["y"] for box in tops if box] == sorted(box["y"] for box in tops if box)
        page.locator(".claims p a").first.click()
        page.wait_for_url("**/mnist_cvae_2.html")
        assert complaints == []


def test_a_card_leads_to_its_run_and_films_play(chromium: Browser, folder: Path) -> None:
    with opened(chromium, folder / "index.html") as (page, complaints):
        page.locator(".cards a").last.click()
        page.wait_for_url("**/digits_cvae_2.html")
        films = page.locator("video")
        assert films.count() == 3
        page.get_by_text("30", exact=True).click()
        for film in (films.first, films.last):
            film.scroll_into_view_if_needed()
            page.wait_for_function("film => film.readyState >= 3 && film.currentTime > 0", arg=film.element_handle())
        assert not films.nth(1).is_visible()
        assert complaints == []


def test_a_label_alone_fills_the_room_of_its_film(chromium: Browser, folder: Path) -> None:
    with opened(chromium, folder / "mnist_cvae_2.html") as (page, complaints):
        film, part = page.locator("[data-film] video"), page.locator(".part")
        assert film.count() == 1 and film.evaluate("film => film.controls")
        page.locator("[data-film] label", has_text="c").last.click()
        film.scroll_into_view_if_needed()
        page.wait_for_function("film => film.currentTime > 0", arg=film.element_handle())
        inner, outer = (
            where.evaluate("e => [...['x', 'y', 'width', 'height'].map((side) => e.getBoundingClientRect()[side])]")
            for where in (film, part)
        )
        # Of a film of 64 by 64 the part at 0, 32 of 16 by 24, but for the border.
        scale = (outer[2] - 2) / 16
        assert outer[3] - 2 == pytest.approx(24 * scale, abs=1)
        assert inner[2] == pytest.approx(64 * scale, abs=1) and inner[3] == pytest.approx(64 * scale, abs=1)
        assert inner[0] == pytest.approx(outer[0] + 1, abs=1) and inner[1] == pytest.approx(
            outer[1] + 1 - 32 * scale, abs=1
        )
        assert page.evaluate(OVERFLOW) == 0 and not film.evaluate("film => film.controls")
        button = page.locator("[data-film] > button")
        assert page.locator("[data-film] figcaption").inner_text() == "Film of all, label c"
        assert button.inner_text() == "Pause"
        button.press("Enter")
        page.wait_for_function("film => film.paused", arg=film.element_handle())
        assert button.inner_text() == "Play"
        page.get_by_text("every label", exact=True).click()
        assert film.evaluate("film => film.controls") and not button.is_visible()
        assert complaints == []


def test_a_reader_who_wants_no_motion_sees_posters(chromium: Browser, folder: Path) -> None:
    with opened(chromium, folder / "digits_cvae_2.html", reduced_motion="reduce") as (page, complaints):
        film = page.locator("video").first
        film.scroll_into_view_if_needed()
        page.wait_for_timeout(300)
        assert film.evaluate("film => film.paused && film.currentTime === 0")
        film.evaluate("film => film.play()")
        page.wait_for_function("film => film.currentTime > 0", arg=film.element_handle())
        assert complaints == []


def test_a_picture_is_enlarged_and_put_back(chromium: Browser, folder: Path) -> None:
    with opened(chromium, folder / "digits_cvae_2.html") as (page, complaints):
        page.locator("a.zoom").first.press("Enter")
        assert page.locator("dialog img").evaluate("image => image.decode().then(() => image.naturalWidth)") == 64
        page.keyboard.press("Escape")
        assert not page.locator("dialog").is_visible()
        assert complaints == []
