"""A real browser: Chromium, driven by Playwright. Screenshots are stored in .build/screenshots."""

from __future__ import annotations

import os
import shutil
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from tests.support.airflow_home import REPOSITORY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from playwright.sync_api import Browser, Page

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
SCREENSHOTS = REPOSITORY / ".build" / "screenshots"
QUIET = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-sync"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip the tests of this folder if there is no browser. In CI they run anyway, and fail."""
    missing = pytest.mark.skipif(
        not CHROMIUM and "CI" not in os.environ, reason="needs Chromium: apt-get install chromium"
    )
    for item in items:
        if item.get_closest_marker("browser"):
            item.add_marker(missing)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    from playwright.sync_api import sync_playwright

    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        yield running
        running.close()


@pytest.fixture
def open_browser(browser: Browser) -> Iterator[Callable[..., Page]]:
    """Return a function that opens a window of a width, with a light or dark color scheme and no cookies."""
    with ExitStack() as contexts:

        def open_page(width: int = 1280, color_scheme: str = "light") -> Page:
            size = {"width": width, "height": 1000}
            page = contexts.enter_context(browser.new_context(viewport=size, color_scheme=color_scheme)).new_page()
            page.set_default_timeout(30_000)
            return page

        yield open_page
