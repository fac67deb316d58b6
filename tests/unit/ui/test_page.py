"""Tests of the values and texts of the page; the tests of the running page are in tests/e2e and tests/browser."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from airflow.models.connection import Connection
from airflow.utils.session import create_session
from sqlalchemy import delete
from starlette.exceptions import HTTPException

from airflow_provider_leadmagic.api.models import CreditBalance
from airflow_provider_leadmagic.compat.metadata import TaskKey
from airflow_provider_leadmagic.ui.app import _render, show_page
from airflow_provider_leadmagic.ui.page import (
    Accounts,
    _describe_usage,
    _distinct,
    format_duration,
    full_name,
    listed_connections,
)
from airflow_provider_leadmagic.ui.tasks import Spending
from tests.support.selective_auth_manager import SelectiveAuthManager
from tests.support.task_rows import add_spending, add_task, clear, waits_for_credits

if TYPE_CHECKING:
    from pytest_mock import MockerFixture

BALANCE = CreditBalance(Decimal(300), datetime(2026, 11, 26, tzinfo=UTC))
SPENDING = [Spending("leads", "enrich", Decimal(40), 2), Spending("accounts", "enrich", Decimal("2.5"), 1)]


@pytest.fixture(autouse=True)
def _empty_database(airflow_database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clear()
    with create_session() as session:
        session.execute(delete(Connection))


def usage(total: object) -> dict[str, Any]:
    return {"summary": {"total_credits": total}, "daily": []}


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "0 s"),
        (0, "0 s"),
        (59.4, "59 s"),
        (60, "1 min"),
        (3599, "59 min"),
        (3600, "1 h 0 min"),
        (11_520, "3 h 12 min"),
        (86_400, "1 d 0 h"),
        (200_000, "2 d 7 h"),
    ],
)
def test_a_duration_has_its_two_largest_units(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


def test_a_task_is_named_with_its_dag_and_map_index() -> None:
    assert full_name(TaskKey("leads", "run", "wait")) == "leads.wait"
    assert full_name(TaskKey("leads", "run", "wait", 0)) == "leads.wait[0]"


def test_a_cause_is_shown_once_although_every_request_fails() -> None:
    refused = "Connection refused: check the host."

    assert _distinct([f"{refused} [GET /a]", "Unreadable ledger.", f"{refused} [GET /b]"]) == [
        f"{refused} [GET /a]",
        "Unreadable ledger.",
    ]


class TestConnections:
    def test_those_of_the_type_are_listed_wherever_they_are_stored(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with create_session() as session:
            session.add(Connection(conn_id="stored", conn_type="leadmagic"))
            session.add(Connection(conn_id="database", conn_type="postgres"))
        monkeypatch.setenv("AIRFLOW_CONN_FROM_A_URI", "leadmagic://:key@/")
        monkeypatch.setenv("AIRFLOW_CONN_FROM_JSON", '{"conn_type": "leadmagic", "password": "key"}')
        monkeypatch.setenv("AIRFLOW_CONN_OTHER", "http://example.com")

        assert Accounts.read(listed_connections()).conn_ids == {"stored", "from_a_uri", "from_json"}

    def test_those_that_tasks_use_are_listed_because_a_secrets_backend_may_have_them(self) -> None:
        add_task("leads", "deferred", trigger=waits_for_credits("in_a_vault"))
        add_spending("leads", conn_id="another")

        assert Accounts.read(listed_connections()).conn_ids == {"in_a_vault", "another"}

    def test_those_of_a_team_are_left_out(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AIRFLOW_CONN__TEAM_A___LEADS", "leadmagic://:key@/")
        add_spending("leads", conn_id="_team_a___leads")

        assert Accounts.read(listed_connections()).conn_ids == set()


class TestPermissions:
    """A user who may read some connections. Airflow cannot list these, because they are in a secrets backend."""

    @pytest.fixture(autouse=True)
    def _selective(self, monkeypatch: pytest.MonkeyPatch) -> None:
        manager = SelectiveAuthManager()
        monkeypatch.setattr("airflow_provider_leadmagic.compat.auth.get_auth_manager", lambda: manager)
        for conn_id in ("permitted_account", "secret_account", "leadmagic_default"):
            add_task("permitted_leads", "deferred", trigger=waits_for_credits(conn_id))

    def test_a_connection_in_a_secrets_backend_can_be_requested(self) -> None:
        page = show_page(object(), "permitted_account").body.decode()

        assert "permitted_leads.wait" in page
        assert "secret_account" not in page

    def test_the_menu_shows_the_default_connection(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("tests.support.selective_auth_manager.CONNECTIONS", ("leadmagic_default",))

        assert "LeadMagic: leadmagic_default" in show_page(object()).body.decode()

    @pytest.mark.parametrize("conn_id", ["", "secret_account", "missing"])
    def test_without_permission_no_tasks_are_searched(
        self, conn_id: str, monkeypatch: pytest.MonkeyPatch, mocker: MockerFixture
    ) -> None:
        monkeypatch.setattr("tests.support.selective_auth_manager.CONNECTIONS", ("other_account",))
        search = mocker.spy(Accounts, "read")

        with pytest.raises(HTTPException) as refused:
            show_page(object(), conn_id)

        assert refused.value.status_code == 403
        assert search.call_count == 0


@pytest.mark.parametrize("may_have_more", [True, False])
def test_the_page_says_that_more_tasks_may_wait_even_if_it_lists_none(may_have_more: bool) -> None:
    values: dict[str, Any] = dict.fromkeys(("balance", "products", "jobs"))
    values |= {"pools": [], "errors": [], "waiting": [], "spending": [], "read_at": {}, "now": datetime.now(UTC)}
    values |= _describe_usage(None, None, [])

    page = _render("page.html", conn_ids=["lead"], conn_id="lead", may_have_more=may_have_more, **values).body.decode()

    assert "No task that you may see waits" in page
    assert ("More tasks may wait" in page) is may_have_more


class TestUsage:
    def test_what_no_listed_task_spent_was_spent_elsewhere(self) -> None:
        shown = _describe_usage(usage(100), BALANCE, SPENDING)

        assert (shown["total"], shown["elsewhere"]) == (100, Decimal("57.5"))

    def test_nothing_was_spent_elsewhere_if_the_tasks_spent_more_than_leadmagic_has_counted_so_far(self) -> None:
        assert _describe_usage(usage(10), BALANCE, SPENDING)["elsewhere"] == 0

    def test_the_runway_is_computed_from_the_usage_of_thirty_days(self) -> None:
        assert _describe_usage(usage(100), BALANCE, [])["runway"].days_left == 90

    @pytest.mark.parametrize("body", [None, {}, usage(None), usage("many")])
    def test_an_unknown_usage_is_not_an_error(self, body: dict[str, Any] | None) -> None:
        assert _describe_usage(body, BALANCE, [])["runway"] is None

    def test_without_a_balance_the_spending_is_still_drawn(self) -> None:
        shown = _describe_usage(usage(100), None, SPENDING)

        assert (shown["runway"], shown["total"], shown["elsewhere"]) == (None, 100, Decimal("57.5"))
        assert len(shown["chart"].bars) == 30

    def test_a_usage_of_another_form_is_unknown_and_not_zero(self) -> None:
        shown = _describe_usage({}, BALANCE, [])

        assert (shown["chart"], shown["total"], shown["elsewhere"]) == (None, None, None)
