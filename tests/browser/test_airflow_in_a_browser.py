"""Tests of what Airflow's own pages show of LeadMagic: the connection form, a waiting task, the list of providers."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from airflow_provider_leadmagic.sandbox.sandbox import Sandbox
from dev.local_airflow import AIRFLOW_SERIES, LocalAirflow, wait_until
from tests.browser.conftest import SCREENSHOTS
from tests.support.airflow_home import HOME, REPOSITORY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from playwright.sync_api import Locator, Page

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(AIRFLOW_SERIES < (3, 2), reason="this Airflow has a different form"),
]


@pytest.fixture(scope="module")
def account() -> Iterator[Sandbox]:
    with Sandbox(credits=Decimal(0)) as running:
        yield running


@pytest.fixture(scope="module")
def airflow(account: Sandbox) -> Iterator[LocalAirflow]:
    connection = {"AIRFLOW_CONN_LEADMAGIC_DEFAULT": account.connection_json}
    with LocalAirflow(HOME / "browser-airflow", REPOSITORY / "example_dags", connection) as running:
        yield running


@pytest.fixture
def page(airflow: LocalAirflow, open_browser: Callable[..., Page]) -> Page:
    opened = open_browser()
    opened.goto(f"{airflow.url}/connections")
    return opened


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
    fields = {
        "timeout": "12.5",
        "proxies": '{"https": "http://proxy.example:3128"}',
        "verify": "/etc/ssl/certs/example.pem",
        "headers": '{"X-Tenant": "marketing"}',
    }
    for name, text in fields.items():
        form.locator(f'input[name="element_{name}"]').fill(text)
    page.screenshot(path=SCREENSHOTS / "form-extra-filled.png")
    form.get_by_role("button", name="Save").click()
    form.wait_for(state="detached")

    page.get_by_role("button", name="Edit Connection").first.click()
    reopened = page.get_by_role("dialog")
    reopened.locator("input[name=host]").wait_for()
    page.screenshot(path=SCREENSHOTS / "form-reopened.png")
    assert reopened.locator("input[name=host]").input_value() == leadmagic_sandbox.url
    reopened.get_by_text("Extra Fields", exact=True).click()
    shown = {name: reopened.locator(f'input[name="element_{name}"]').input_value() for name in fields}
    page.screenshot(path=SCREENSHOTS / "form-extra-reopened.png")
    assert shown == {**fields, "proxies": "***"}


def test_optional_fields_may_stay_empty(airflow: LocalAirflow, page: Page) -> None:
    form = open_form(page, "leadmagic_with_defaults")
    form.locator("input[name=password]").fill("an-invalid-key")
    form.get_by_role("button", name="Save").click()
    form.wait_for(state="detached")

    assert airflow.query("SELECT conn_type FROM connection WHERE conn_id = 'leadmagic_with_defaults'") == [
        ("leadmagic",)
    ]


def test_a_connection_of_the_form_works(airflow: LocalAirflow, page: Page, account: Sandbox) -> None:
    form = open_form(page, "leadmagic_that_works")
    form.locator("input[name=host]").fill(account.url)
    form.locator("input[name=password]").fill(account.api_key)
    form.get_by_role("button", name="Save").click()
    form.wait_for(state="detached")

    assert "Connection success!" in airflow.run("connections", "test", "leadmagic_that_works")
    assert account.requests[-1].status == 200


def test_the_list_of_providers_links_to_the_documentation(airflow: LocalAirflow, page: Page) -> None:
    page.goto(f"{airflow.url}/providers")
    row = page.get_by_role("row").filter(has_text="airflow-provider-leadmagic")
    row.wait_for()
    page.screenshot(path=SCREENSHOTS / "providers.png")

    links = [link.get_attribute("href") for link in row.get_by_role("link").all()]
    assert links
    assert all(str(link).startswith("https://github.com/airflow-provider-leadmagic/") for link in links)


def test_the_log_of_a_waiting_task_states_what_is_missing(airflow: LocalAirflow, page: Page) -> None:
    dag_id = "example_leadmagic_gated_enrichment"
    airflow.wait_for_dag(dag_id)
    run_id = airflow.trigger(dag_id)
    wait_until(
        lambda: airflow.task_states(dag_id, run_id).get("wait_for_credits") in (["deferred"], ["up_for_reschedule"]),
        120,
        "the waiting task",
    )

    page.goto(f"{airflow.url}/dags/{dag_id}/runs/{run_id}/tasks/wait_for_credits")
    page.get_by_text("Waiting for credits").first.wait_for()
    page.screenshot(path=SCREENSHOTS / "waiting-task.png")
