"""The page with the FAB auth manager, whose users have roles with single permissions."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import text

from airflow_provider_leadmagic.sandbox.sandbox import Sandbox
from dev.local_airflow import AIRFLOW_SERIES
from tests.support.airflow_home import HOME
from tests.support.api_server import ApiServer
from tests.support.page_rows import PageRows

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(AIRFLOW_SERIES < (3, 1), reason="the page needs Airflow 3.1"),
    pytest.mark.skipif(not find_spec("airflow.providers.fab"), reason="needs the FAB provider: make test-fab"),
]

FAB = "airflow.providers.fab.auth_manager.fab_auth_manager.FabAuthManager"
ROLES = ("Admin", "Op", "User", "Viewer", "Public")
USER = """
INSERT INTO ab_user (id, first_name, last_name, username, email, password, active)
VALUES (:id, :name, :name, :name, :email, :hash, true)
"""
USER_ROLE = "INSERT INTO ab_user_role (id, user_id, role_id) SELECT :id, :id, id FROM ab_role WHERE name = :name"
CONFIDENTIAL = ("4,242", "leadmagic_default", "nightly_leads")


@pytest.fixture(scope="module")
def server() -> Iterator[ApiServer]:
    # Airflow 3.2 would log everybody in as an admin of SimpleAuthManager, whichever auth manager is set.
    settings = {"AIRFLOW__CORE__AUTH_MANAGER": FAB, "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "False"}
    with Sandbox(credits=4242) as account, ApiServer(HOME / "page-fab", settings) as running:
        rows = PageRows(running.database)
        add_users(rows)
        rows.add_connection("leadmagic_default", account.connection_json)
        rows.add_deferred("nightly_leads", "leadmagic_default", "5000")
        yield running


def add_users(rows: PageRows) -> None:
    """Add a user for each role. Name and password are the role; the commands of FAB would take a minute."""
    from werkzeug.security import generate_password_hash

    with rows.session() as session:
        for number, role in enumerate(ROLES, 1):
            user = {"id": number, "name": role, "email": f"{role}@example.com", "hash": generate_password_hash(role)}
            session.execute(text(USER), user)
            session.execute(text(USER_ROLE), {"id": number, "name": role})


@pytest.mark.parametrize("path", ["", "?conn_id=leadmagic_default", "static/page.css", "missing"])
def test_without_a_login_every_path_responds_with_401(server: ApiServer, path: str) -> None:
    assert server.visit(path).status_code == 401


@pytest.mark.parametrize("role", ["Admin", "Op"])
def test_a_role_that_may_read_connections_sees_everything(server: ApiServer, role: str) -> None:
    response = server.visit("", role)

    assert response.status_code == 200
    assert [word for word in CONFIDENTIAL if word not in response.text] == []


@pytest.mark.parametrize("role", ["User", "Viewer", "Public"])
@pytest.mark.parametrize("path", ["", "?conn_id=leadmagic_default", "?conn_id=missing"])
def test_a_role_that_may_not_read_connections_sees_nothing(server: ApiServer, role: str, path: str) -> None:
    response = server.visit(path, role)

    assert response.status_code == 403
    assert not [word for word in CONFIDENTIAL if word in response.text]
