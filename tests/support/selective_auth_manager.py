"""An auth manager that permits single connections and DAGs, as some companies write them for Airflow."""

from __future__ import annotations

from typing import Any

from airflow.api_fastapi.auth.managers.simple.simple_auth_manager import SimpleAuthManager

#: All that a user may read.
CONNECTIONS = ("permitted_account", "second_account")
DAGS = ("permitted_leads",)


class SelectiveAuthManager(SimpleAuthManager):
    """Permits every user to read two connections and one DAG, but no user to read all connections."""

    def is_authorized_connection(self, *, method: Any, user: Any, details: Any = None) -> bool:
        return bool(details) and details.conn_id in CONNECTIONS

    def is_authorized_dag(self, *, method: Any, user: Any, access_entity: Any = None, details: Any = None) -> bool:
        return bool(details) and details.id in DAGS
