"""Pages in the browser of the fixture `chromium`, with the errors that the browser reports."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page


@contextmanager
def opened(
    chromium: Browser, path: Path, width: int = 1440, height: int = 900, before: str = "", **settings: Any
) -> Iterator[tuple[Page, list[str]]]:
    """Yield a page that shows a file, and the growing list of its errors.

    An error is one on the console, an uncaught exception, or a file that could not be read. `before` is a script that
    runs before the page's own; `settings` are those of a playwright context, such as color_scheme="dark".
    """
    errors: list[str] = []
    context = chromium.new_context(viewport={"width": width, "height": height}, **settings)
    page = context.new_page()
    page.add_init_script(before)
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("requestfailed", lambda request: errors.append(f"{request.url[:200]}: {request.failure}"))
    page.goto(path.as_uri())
    yield page, errors
    context.close()
