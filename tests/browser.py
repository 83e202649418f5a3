"""A real browser for the tests of pages: Chromium, opened on files, with all that it complains of written down."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome")


@contextmanager
def opened(
    path: Path, width: int = 1440, height: int = 900, before: str = "", **settings: Any
) -> Iterator[tuple[Page, list[str]]]:
    """Give a page of the browser showing a file, and the list that its complaints are added to.

    A complaint is an error on the console, an exception that nobody caught, or a file that could not be read.
    `before` is a script that runs before the page's own; `settings` are those of a playwright context, such as
    color_scheme="dark".
    """
    browser = next((found for name in NAMES if (found := shutil.which(name))), None)
    if browser is None:
        pytest.skip(f"no browser on PATH ({', '.join(NAMES)})")
    complaints: list[str] = []
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=browser, args=["--no-sandbox", "--disable-gpu"])
        page = chromium.new_context(viewport={"width": width, "height": height}, **settings).new_page()
        page.add_init_script(before)
        page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("requestfailed", lambda request: complaints.append(f"{request.url[:200]}: {request.failure}"))
        page.goto(path.as_uri())
        yield page, complaints
        chromium.close()
