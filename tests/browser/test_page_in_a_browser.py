"""Tests of the page in Airflow's UI: its menu entry, its states, its colors, and what the browser is allowed to do."""

from __future__ import annotations

import json
import random
import time
from itertools import product
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_leadmagic.compat.metadata import TaskKey
from airflow_provider_leadmagic.decisions.ledger import Claim
from airflow_provider_leadmagic.sandbox.sandbox import Sandbox
from dev.local_airflow import AIRFLOW_SERIES
from tests.browser.conftest import SCREENSHOTS
from tests.support.airflow_home import HOME
from tests.support.api_server import ApiServer, encodings_of
from tests.support.page_rows import RUN_ID, PageRows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from playwright.sync_api import FrameLocator, Locator, Page

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(AIRFLOW_SERIES < (3, 1), reason="this Airflow shows no pages of plugins"),
]

#: Connections of the tests, and the text by which each state is recognized.
STATES = {
    "leadmagic_default": "2,350.5",
    "no_data": "No task that you may see waits for credits or a bulk job of this connection.",
    "frozen": "LeadMagic has frozen credits of this account: Payment failed.",
    "down": "unknown",
    "two_hundred": "mapped_leads",
}
CLOSED_KEY = "key-of-a-closed-port"
CLOSED = json.dumps({"conn_type": "leadmagic", "password": CLOSED_KEY, "host": "http://127.0.0.1:9"})


@pytest.fixture(scope="module")
def accounts() -> Iterator[dict[str, Sandbox]]:
    """Run an account for each state but ``down``, whose port is closed."""
    with Sandbox() as one, Sandbox() as empty, Sandbox() as frozen:
        one.set_credits("2350.5")
        empty.set_credits(0)
        frozen.set_credits(800)
        frozen.freeze("Payment failed.", liquid=120)
        numbers = random.Random(1)
        for account, days in ((one, 30), (frozen, 9)):
            for day in range(days):
                account.record_spending("email_finder", numbers.randint(20, 160), day)
                if day % 3 == 0:
                    account.record_spending("mobile_finder", numbers.randint(10, 80), day)
        yield {"leadmagic_default": one, "no_data": empty, "frozen": frozen, "two_hundred": one}


@pytest.fixture(scope="module")
def airflow(accounts: dict[str, Sandbox]) -> Iterator[ApiServer]:
    with ApiServer(HOME / "page-in-a-browser") as running:
        rows = PageRows(running.database)
        rows.add_connection("down", CLOSED)
        for conn_id, account in accounts.items():
            rows.add_connection(conn_id, account.connection_json)
        for conn_id in ("leadmagic_default", "frozen"):
            place = "eu" if conn_id == "frozen" else "us"
            rows.add_deferred(f"nightly_leads_{place}", conn_id, "5000")
            rows.add_rescheduled(f"weekly_refresh_{place}", conn_id, "20000")
            rows.add_spending(f"nightly_leads_{place}", conn_id, 412.5)
            rows.add_spending(f"hot_leads_{place}", conn_id, 80)
        rows.add_deferred("mapped_leads", "two_hundred", "750", count=200)
        rows.add_tasks("hot_leads_us", "wait", "success", [{}])
        task = TaskKey("hot_leads_us", RUN_ID, "wait")
        claim = Claim(task, 500, time.time() - 900, conn_id="leadmagic_default", granted_at=time.time() - 600)
        rows.add_claims("leadmagic", claim)
        yield running


class Watched:
    """
    A page of the browser, and what it did.

    :param page: The page.
    """

    def __init__(self, page: Page) -> None:
        self.page = page
        self.complaints: list[str] = []
        self.requests: list[str] = []
        page.on("console", lambda message: self._note(message.type, message.text))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("request", lambda request: self.requests.append(request.url))

    def _note(self, kind: str, text: str) -> None:
        # Airflow's own frame causes this warning.
        if kind in ("error", "warning") and "can escape its sandboxing" not in text:
            self.complaints.append(text)


@pytest.fixture
def watch(airflow: ApiServer, open_browser: Callable[..., Page]) -> Callable[..., Watched]:
    """Return a function that opens a browser in which a user has logged in, and watches what happens then."""

    def start(*arguments: Any) -> Watched:
        page = open_browser(*arguments)
        page.goto(airflow.url)
        menu_entry(page).wait_for()
        return Watched(page)

    return start


def menu_entry(page: Page) -> Locator:
    return page.get_by_role("link", name="LeadMagic").or_(page.get_by_role("button", name="LeadMagic")).first


def frame_of(page: Page) -> FrameLocator:
    return page.frame_locator("iframe[title=LeadMagic]")


def test_the_menu_leads_to_the_page(airflow: ApiServer, watch: Callable[..., Watched]) -> None:
    page = watch().page

    menu_entry(page).click()

    frame_of(page).get_by_role("heading", name="LeadMagic", level=1).wait_for()


@pytest.mark.parametrize("state", STATES)
def test_each_state_is_shown_without_a_violation_of_the_security_policy(
    airflow: ApiServer, watch: Callable[..., Watched], state: str
) -> None:
    watched = watch()
    page = watched.page
    page.goto(f"{airflow.url}/leadmagic/?conn_id={state}")
    page.get_by_text(STATES[state]).first.wait_for()

    for color_scheme, width in product(("light", "dark"), (1440, 800)):
        page.emulate_media(color_scheme=color_scheme)
        page.set_viewport_size({"width": width, "height": 1000})
        page.screenshot(path=SCREENSHOTS / f"page-{state}-{color_scheme}-{width}.png", full_page=True)
        assert not page.evaluate("document.documentElement.scrollWidth > window.innerWidth")
    assert watched.complaints == []
    assert [url for url in watched.requests if not url.startswith(airflow.url)] == []


@pytest.mark.parametrize("state", STATES)
def test_no_form_of_the_key_is_in_the_page(
    airflow: ApiServer, accounts: dict[str, Sandbox], watch: Callable[..., Watched], state: str
) -> None:
    page = watch().page
    page.goto(f"{airflow.url}/leadmagic/?conn_id={state}")

    key = accounts[state].api_key if state in accounts else CLOSED_KEY
    assert [form for form in encodings_of(key) if form in page.content()] == []


def test_another_connection_is_chosen_with_the_keyboard_alone(
    airflow: ApiServer, watch: Callable[..., Watched]
) -> None:
    page = watch().page
    page.goto(f"{airflow.url}/plugin/leadmagic")
    frame = frame_of(page)
    frame.get_by_label("Connection").focus()

    page.keyboard.type("froz")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")

    frame.get_by_role("alert").filter(has_text="Payment failed").wait_for()
    assert frame.get_by_label("Connection").input_value() == "frozen"


def test_the_picture_has_a_name_a_description_and_a_table(airflow: ApiServer, watch: Callable[..., Watched]) -> None:
    page = watch().page
    page.goto(f"{airflow.url}/leadmagic/?conn_id=leadmagic_default")

    picture = page.get_by_role("img", name="Credits spent by day")
    page.get_by_text("The same as a table").click()

    assert "the credits run out on" in picture.text_content()
    assert page.locator("details").get_by_role("row").count() == 31


@pytest.mark.parametrize("mode", ["light", "dark"])
def test_it_follows_the_color_mode_of_airflow_and_not_that_of_the_system(
    airflow: ApiServer, watch: Callable[..., Watched], mode: str
) -> None:
    page = watch(1440, "dark" if mode == "light" else "light").page
    page.add_init_script(f"localStorage.setItem('theme', '{mode}')")
    page.goto(f"{airflow.url}/plugin/leadmagic")
    frame_of(page).get_by_role("heading", name="LeadMagic", level=1).wait_for()

    assert frame_of(page).locator("html").get_attribute("data-theme") == mode
    page.screenshot(path=SCREENSHOTS / f"page-in-airflow-{mode}.png")
