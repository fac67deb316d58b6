"""What the page costs: requests to LeadMagic, and nothing at all if it is switched off."""

from __future__ import annotations

import json
import re
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from airflow_provider_leadmagic.sandbox.sandbox import Sandbox
from dev.local_airflow import AIRFLOW_SERIES
from tests.support.airflow_home import HOME
from tests.support.api_server import ApiServer, users_in
from tests.support.page_rows import PageRows
from tests.support.sandbox_requests import paths

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.e2e, pytest.mark.skipif(AIRFLOW_SERIES < (3, 1), reason="the page needs Airflow 3.1")]

PREFIX = "/behind/a/proxy"


@pytest.fixture(scope="module")
def account() -> Iterator[Sandbox]:
    with Sandbox(credits=1000) as sandbox:
        yield sandbox


@pytest.fixture(scope="module")
def server(account: Sandbox) -> Iterator[ApiServer]:
    settings = {"AIRFLOW_CONN_FROM_ENVIRONMENT": account.connection_json}
    with ApiServer(HOME / "page-cost", users_in(HOME) | settings) as running:
        yield running


class TestRequests:
    def test_starting_the_api_server_sends_none(self, server: ApiServer, account: Sandbox) -> None:
        assert server.request("/api/v2/plugins", "admin").status_code == 200
        assert account.requests == []

    @pytest.mark.parametrize("user", [None, "viewer"])
    def test_a_user_who_may_not_read_the_connection_causes_none(
        self, server: ApiServer, account: Sandbox, user: str | None
    ) -> None:
        for path in ("", "?conn_id=from_environment", "static/page.css"):
            server.visit(path, user)

        assert account.requests == []

    def test_fifty_views_at_once_cause_two(self, server: ApiServer) -> None:
        server.token_of("admin")
        with Sandbox(credits=500) as account, ThreadPoolExecutor(10) as users:
            account.fail_next("*", delay=0.5, times=None)
            PageRows(server.database).add_connection("fifty_views", account.connection_json)
            responses = list(users.map(lambda _: server.visit("?conn_id=fifty_views", "admin"), range(50)))

            assert [response.status_code for response in responses] == [200] * 50
            assert sorted(paths(account)) == ["/v1/analytics/usage", "/v1/credits"]

    def test_failures_are_not_retried_by_the_next_view(self, server: ApiServer) -> None:
        with Sandbox(credits=500) as account:
            account.fail_next("*", status=500, times=None)
            PageRows(server.database).add_connection("failing", account.connection_json)
            for _ in range(5):
                assert server.visit("?conn_id=failing", "admin").status_code == 200

            assert len(account.requests) == 2

    def test_a_server_that_does_not_respond_delays_only_the_first_view(self, server: ApiServer) -> None:
        server.token_of("admin")
        with Sandbox(credits=500) as account, ThreadPoolExecutor(2) as users:
            account.fail_next("*", delay=60, times=None)
            PageRows(server.database).add_connection("silent", account.connection_json)
            first = users.submit(server.visit, "?conn_id=silent", "admin")
            other = server.request("/api/v2/version", "admin")

            assert other.elapsed.total_seconds() < 5
            assert "unknown" in first.result().text
            assert first.result().elapsed.total_seconds() < 40
            assert server.visit("?conn_id=silent", "admin").elapsed.total_seconds() < 5


def test_the_page_works_below_a_path() -> None:
    with Sandbox(credits=321) as account:
        server = ApiServer(HOME / "page-prefix", users_in(HOME) | {"AIRFLOW_CONN_ACCOUNT": account.connection_json})
        server.url += PREFIX
        server.environment["AIRFLOW__API__BASE_URL"] = server.url
        with server:
            page = server.visit("", "admin")
            files = [server.visit(path, "admin") for path in re.findall(r'(?:href|src)="([^"]+)"', page.text)]
            anonymous = [server.visit(path) for path in ("", "static/page.css", "missing")]

    assert page.status_code == 200
    assert "<strong>321</strong>" in page.text
    assert [file.headers["Content-Type"].partition(";")[0] for file in files] == ["text/css", "text/javascript"]
    assert [response.status_code for response in anonymous] == [401, 401, 401]


def test_nothing_is_served_if_the_page_is_switched_off(account: Sandbox) -> None:
    settings = {"AIRFLOW__LEADMAGIC__UI": "False", "AIRFLOW_CONN_ACCOUNT": account.connection_json}
    with ApiServer(HOME / "page-off", users_in(HOME) | settings) as server:
        page = server.visit("", "admin")
        plugins = server.request("/api/v2/plugins", "admin").json()["plugins"]

    assert "Spendable credits" not in page.text
    assert "Content-Security-Policy" not in page.headers
    ours = [plugin for plugin in plugins if plugin["name"] == "leadmagic"]
    assert [plugin[kind] for plugin in ours for kind in ("external_views", "fastapi_apps")] in ([], [[], []])
    assert "leadmagic/" not in json.dumps([plugin["external_views"] for plugin in plugins])
