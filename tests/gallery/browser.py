"""Pages in the browser of the fixture `chromium`, with all that the browser complains of written down."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page


@contextmanager
def opened(
    chromium: Browser, path: Path, width: int = 1440, height: int = 900, before: str = "", **settings: Any
) -> Iterator[tuple[Page, list[str]]]:
    """Give a page of the browser showing a file, and the list that its complaints are added to.

    A complaint is an error on the console, an exception that nobody caught, or a file that could not be read.
    `before` is a script that runs before the page's own; `settings` are those of a playwright context, such as
    color_scheme="dark".
    """
    complaints: list[str] = []
    context = chromium.new_context(viewport={"width": width, "height": height}, **settings)
    page = context.new_page()
    page.add_init_script(before)
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("requestfailed", lambda request: complaints.append(f"{request.url[:200]}: {request.failure}"))
    page.goto(path.as_uri())
    yield page, complaints
    context.close()
