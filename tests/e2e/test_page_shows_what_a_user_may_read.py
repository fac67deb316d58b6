"""The page for users who may read some connections and some DAGs, under a running API server."""

from __future__ import annotations

import re
import time
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from airflow_provider_leadmagic.client import LeadMagicClient
from airflow_provider_leadmagic.compat.metadata import TaskKey
from airflow_provider_leadmagic.decisions.ledger import Claim
from airflow_provider_leadmagic.sandbox.sandbox import Sandbox
from dev.local_airflow import AIRFLOW_SERIES
from tests.support.airflow_home import HOME, REPOSITORY
from tests.support.api_server import ApiServer, users_in
from tests.support.page_rows import RUN_ID, PageRows

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.e2e, pytest.mark.skipif(AIRFLOW_SERIES < (3, 1), reason="the page needs Airflow 3.1")]

ACCOUNT, HIDDEN_ACCOUNT = "permitted_account", "forbidden_account"
VISIBLE, HIDDEN = "permitted_leads", "secret_project"
TEAM_A, TEAM_B = "team_a", "team_b"


@pytest.fixture(scope="module")
def account() -> Iterator[Sandbox]:
    with Sandbox(credits=1000) as sandbox, LeadMagicClient(sandbox.api_key, sandbox.url) as client:
        sandbox.bulk_speed(paused_clock=True)
        row = {"full_name": "Ada Lovelace", "domain": "example.com"}
        client.bulk.submit("email_finder", [row], idempotency_key=HIDDEN, file_name=f"{HIDDEN}.enrich")
        yield sandbox


@pytest.fixture(scope="module")
def other_account() -> Iterator[Sandbox]:
    with Sandbox(credits=77) as sandbox:
        yield sandbox


@pytest.fixture(scope="module")
def server(account: Sandbox, other_account: Sandbox) -> Iterator[ApiServer]:
    settings = {
        "AIRFLOW__CORE__AUTH_MANAGER": "tests.support.selective_auth_manager.SelectiveAuthManager",
        "PYTHONPATH": str(REPOSITORY),
    }
    with ApiServer(HOME / "page-selective", users_in(HOME) | settings) as running:
        rows = PageRows(running.database)
        rows.add_connection(ACCOUNT, account.connection_json)
        rows.add_connection("second_account", account.connection_json)
        rows.add_connection(HIDDEN_ACCOUNT, other_account.connection_json)
        for dag_id in (VISIBLE, HIDDEN):
            rows.add_deferred(dag_id, ACCOUNT, "5000")
            rows.add_rescheduled(dag_id, ACCOUNT, "6000")
            rows.add_spending(dag_id, ACCOUNT, 12.5)
        claims = [claim_of(dag_id, task_id) for dag_id in (HIDDEN, VISIBLE) for task_id in ("holds", "queues")]
        rows.add_claims("leads", *claims)
        rows.add_variable("leadmagic_claims_broken", f'{{"version": 1, "claims": [{{"task": ["{HIDDEN}"]}}]}}')
        running.request("/leadmagic/", "viewer")
        yield running


def claim_of(dag_id: str, task_id: str) -> Claim:
    granted_at = time.time() if task_id == "holds" else None
    task = TaskKey(dag_id, RUN_ID, task_id)
    return Claim(task, Decimal(900), time.time(), conn_id=ACCOUNT, granted_at=granted_at)


def chooser(page: str) -> list[str]:
    return re.findall(r"<option[^>]*>([^<]*)</option>", page)


def test_only_permitted_connections_can_be_chosen(server: ApiServer) -> None:
    response = server.visit("", "viewer")

    assert response.status_code == 200
    assert chooser(response.text) == [ACCOUNT, "second_account"]


def test_a_forbidden_connection_is_refused_like_a_missing_one(server: ApiServer, other_account: Sandbox) -> None:
    forbidden, missing = (server.visit(f"?conn_id={conn_id}", "viewer") for conn_id in (HIDDEN_ACCOUNT, "missing"))

    assert (forbidden.status_code, forbidden.text) == (403, missing.text)
    assert missing.status_code == 403
    assert other_account.requests == []


def test_only_rows_of_permitted_dags_are_shown(server: ApiServer) -> None:
    page = server.visit("", "viewer").text

    assert page.count(f"{VISIBLE}.wait_for_credits") == 1
    assert page.count(f"{VISIBLE}.wait[0]") == 1
    assert page.count(f"{VISIBLE}.enrich") == 1
    assert page.count(f"{VISIBLE}.holds") == 1


def test_nothing_names_a_hidden_dag(server: ApiServer) -> None:
    response = server.visit("", "viewer")

    assert "Cannot read the claims" in response.text  # the broken ledger names the hidden DAG
    assert HIDDEN not in response.text
    assert HIDDEN not in str(response.headers)


@pytest.mark.skipif(AIRFLOW_SERIES < (3, 2), reason="teams need Airflow 3.2")
def test_a_team_sees_shared_connections_and_its_own_dags(account: Sandbox) -> None:
    teams = {
        "AIRFLOW__CORE__MULTI_TEAM": "True",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": f"op:op:{TEAM_A},admin:admin:{TEAM_B}",
        "AIRFLOW_CONN__TEAM_B___OF_TEAM_B_TOO": account.connection_json,
    }
    server = ApiServer(HOME / "page-teams", users_in(HOME) | teams)
    server.home.mkdir()
    server.run("db", "migrate")
    rows = PageRows(server.database)
    for team in (TEAM_A, TEAM_B):  # without its team in the database the API server does not start
        rows.add_team(team, dag_id=f"leads_of_{team}")
    with server:
        for team in (TEAM_A, TEAM_B):
            rows.add_connection(f"account_of_{team}", account.connection_json, team_name=team)
            rows.add_deferred(f"leads_of_{team}", "shared_account", "5000")
        rows.add_connection("shared_account", account.connection_json)
        page, of_others = (
            server.visit("?conn_id=shared_account", "op"),
            server.visit("?conn_id=account_of_team_b", "op"),
        )

    assert chooser(page.text) == ["shared_account"]  # the page itself cannot read a connection of a team
    assert "leads_of_team_a" in page.text
    assert TEAM_B not in page.text
    assert of_others.status_code == 403
