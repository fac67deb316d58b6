"""Tests of the connection form in Airflow's UI: create a LeadMagic connection, save it, open it again."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import pytest

from dev.local_airflow import AIRFLOW_SERIES, LocalAirflow
from tests.support.airflow_home import HOME, REPOSITORY

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import Locator, Page

    from airflow_provider_leadmagic.sandbox.sandbox import Sandbox

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(AIRFLOW_SERIES < (3, 2), reason="this Airflow has a different form"),
    pytest.mark.skipif(not CHROMIUM and "CI" not in os.environ, reason="needs Chromium: apt-get install chromium"),
]

SCREENSHOTS = REPOSITORY / ".build" / "screenshots"
QUIET = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-sync"]


@pytest.fixture(scope="module")
def airflow() -> Iterator[LocalAirflow]:
    with LocalAirflow(HOME / "browser-airflow", REPOSITORY / "example_dags") as running:
        yield running


@pytest.fixture
def page(airflow: LocalAirflow, tmp_path: Path) -> Iterator[Page]:
    from playwright.sync_api import sync_playwright

    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch_persistent_context(
            str(tmp_path), executable_path=CHROMIUM, args=QUIET, viewport={"width": 1280, "height": 1400}
        )
        opened = browser.new_page()
        opened.set_default_timeout(30_000)
        opened.goto(f"{airflow.url}/connections")
        yield opened
        browser.close()


def open_form(page: Page, conn_id: str) -> Locator:
    page.get_by_role("button", name="Add Connection").click()
    form = page.get_by_role("dialog")
    form.locator("input[name=connection_id]").fill(conn_id)
    form.get_by_role("combobox").first.click()
    page.get_by_role("option", name="LeadMagic").click()
    form.locator("input[name=host]").wait_for()
    return form


def test_form_shows_only_the_declared_fields_with_their_labels(page: Page) -> None:
    form = open_form(page, "leadmagic_not_saved")
    page.screenshot(path=SCREENSHOTS / "form-empty.png")

    assert form.get_by_text("API base URL", exact=True).is_visible()
    assert form.get_by_text("API key", exact=True).is_visible()
    assert form.locator("input[name=host]").get_attribute("placeholder") == "https://api.leadmagic.io"
    for hidden in ("login", "port", "schema"):
        assert form.locator(f"input[name={hidden}]").count() == 0


def test_connection_is_created_saved_and_reopened(
    airflow: LocalAirflow, page: Page, leadmagic_sandbox: Sandbox
) -> None:
    form = open_form(page, "leadmagic_from_the_form")
    form.locator("input[name=host]").fill(leadmagic_sandbox.url)
    form.locator("input[name=password]").fill(leadmagic_sandbox.api_key)
    page.screenshot(path=SCREENSHOTS / "form-filled.png")
    form.get_by_text("Extra Fields", exact=True).click()
    form.locator('input[name="element_timeout"]').fill("12.5")
    page.screenshot(path=SCREENSHOTS / "form-extra-filled.png")
    form.get_by_role("button", name="Save").click()
    form.wait_for(state="detached")

    page.get_by_role("button", name="Edit Connection").first.click()
    reopened = page.get_by_role("dialog")
    reopened.locator("input[name=host]").wait_for()
    page.screenshot(path=SCREENSHOTS / "form-reopened.png")
    assert reopened.locator("input[name=host]").input_value() == leadmagic_sandbox.url
    reopened.get_by_text("Extra Fields", exact=True).click()
    assert reopened.locator('input[name="element_timeout"]').input_value() == "12.5"

    output = airflow.run("connections", "test", "leadmagic_from_the_form")
    assert "Connection success!" in output
    assert leadmagic_sandbox.requests[-1].status == 200


def test_optional_fields_may_stay_empty(airflow: LocalAirflow, page: Page) -> None:
    form = open_form(page, "leadmagic_with_defaults")
    form.locator("input[name=password]").fill("an-invalid-key")
    form.get_by_role("button", name="Save").click()
    form.wait_for(state="detached")

    assert airflow.query("SELECT conn_type FROM connection WHERE conn_id = 'leadmagic_with_defaults'") == [
        ("leadmagic",)
    ]
