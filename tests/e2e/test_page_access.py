"""Who may open the page, under a running API server with users of each role."""

from __future__ import annotations

import time
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from airflow_provider_leadmagic.compat.metadata import TaskKey
from airflow_provider_leadmagic.decisions.ledger import Claim
from airflow_provider_leadmagic.sandbox.sandbox import Sandbox
from dev.local_airflow import AIRFLOW_SERIES
from tests.support.airflow_home import HOME
from tests.support.api_server import ApiServer, users_in
from tests.support.page_rows import RUN_ID, PageRows

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.e2e, pytest.mark.skipif(AIRFLOW_SERIES < (3, 1), reason="the page needs Airflow 3.1")]

ROUTES = ("", "?conn_id=leadmagic_default", "static/page.css", "static/page.js")
UNKNOWN = (
    "missing",
    "static/missing.js",
    "static/page.css/",
    "static/../app.py",
    "static/%2e%2e/app.py",
    "docs",
    "openapi.json",
)
#: Everything that only a user who may read the connection may see.
CONFIDENTIAL = ("4,242.5", "leadmagic_default", "nightly_leads", "claiming_leads", "spending_leads", RUN_ID)


@pytest.fixture(scope="module")
def account() -> Iterator[Sandbox]:
    with Sandbox(credits=Decimal("4242.5")) as sandbox:
        yield sandbox


@pytest.fixture(scope="module")
def server(account: Sandbox) -> Iterator[ApiServer]:
    with ApiServer(HOME / "page-access", users_in(HOME)) as running:
        rows = PageRows(running.database)
        rows.add_connection("leadmagic_default", account.connection_json)
        rows.add_connection("no_leadmagic", '{"conn_type": "http", "host": "127.0.0.1"}')
        rows.add_deferred("nightly_leads", "leadmagic_default", "5000")
        rows.add_spending("spending_leads", "leadmagic_default", 12.5)
        task = TaskKey("claiming_leads", RUN_ID, "wait")
        rows.add_tasks(*task[0::2], "success", [{}])
        claim = Claim(task, Decimal(100), time.time(), conn_id="leadmagic_default", granted_at=time.time())
        rows.add_claims("leads", claim)
        yield running


@pytest.mark.parametrize("path", [*ROUTES, *UNKNOWN])
def test_without_a_login_every_path_responds_with_401(server: ApiServer, path: str) -> None:
    response = server.visit(path)

    assert response.status_code == 401
    assert "Log in to Airflow" in response.text
    assert not [word for word in CONFIDENTIAL if word in response.text]


def test_an_invalid_token_opens_nothing(server: ApiServer) -> None:
    header, payload, signature = server.token_of("admin").split(".")
    server._tokens["forged"] = f"{header}.{payload}.{signature[::-1]}"

    response = server.visit("", "forged")

    assert response.status_code in (401, 403)
    assert not [word for word in CONFIDENTIAL if word in response.text]


@pytest.mark.parametrize("role", ["viewer", "user"])
@pytest.mark.parametrize("path", ["", "?conn_id=leadmagic_default", "?conn_id=missing"])
def test_a_user_who_may_not_read_connections_sees_nothing(server: ApiServer, role: str, path: str) -> None:
    response = server.visit(path, role)

    assert response.status_code == 403
    assert "permission to read the LeadMagic connection" in response.text
    assert not [word for word in CONFIDENTIAL if word in response.text]


@pytest.mark.parametrize("role", ["op", "admin"])
def test_a_user_who_may_read_connections_sees_everything(server: ApiServer, role: str) -> None:
    response = server.visit("", role)

    assert response.status_code == 200
    assert [word for word in CONFIDENTIAL if word not in response.text] == []


@pytest.mark.parametrize("path", UNKNOWN)
def test_a_user_who_is_logged_in_gets_404_for_an_unknown_path(server: ApiServer, path: str) -> None:
    response = server.visit(path, "admin")

    assert response.status_code == 404
    assert "<h1>Not Found</h1>" in response.text


@pytest.mark.parametrize("user", [None, "viewer", "admin"])
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"])
@pytest.mark.parametrize("path", ["", "static/page.css", "missing"])
def test_nothing_can_be_changed(server: ApiServer, path: str, method: str, user: str | None) -> None:
    response = server.visit(path, user, method)

    assert response.status_code in (401, 404, 405)
    assert "page.css" not in response.headers.get("Location", "")


def test_an_unreadable_connection_is_not_told_apart_from_a_missing_one(server: ApiServer) -> None:
    responses = [server.visit(f"?conn_id={conn_id}", "admin") for conn_id in ("no_leadmagic", "missing", "LEADMAGIC")]

    assert {response.status_code for response in responses} == {403}
    assert len({response.text for response in responses}) == 1


def test_the_menu_has_one_entry_for_the_page(server: ApiServer) -> None:
    plugins = server.request("/api/v2/plugins", "admin").json()["plugins"]

    [plugin] = [plugin for plugin in plugins if plugin["name"] == "leadmagic"]
    assert [view["href"] for view in plugin["external_views"]] == ["leadmagic/"]
