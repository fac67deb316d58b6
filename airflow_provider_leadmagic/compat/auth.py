"""Ask the auth manager of Airflow's API server who looks at a page and what this user may see (Airflow 3.1+)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.models.resource_details import ConnectionDetails

# The dependency raises 401 for a request without a valid token.
from airflow.api_fastapi.core_api.security import GetUserDep as GetUserDep

if TYPE_CHECKING:
    from collections.abc import Iterable


def may_read_connections(user: Any) -> bool:
    """Return whether a user may read connections at all."""
    return get_auth_manager().is_authorized_connection(method="GET", user=user)


def readable_connections(user: Any, conn_ids: Iterable[str]) -> set[str]:
    """
    Return the connections that a user may read.

    :param user: The user.
    :param conn_ids: Connection IDs to choose from.
    """
    manager = get_auth_manager()
    if hasattr(manager, "filter_authorized_connections"):  # since 3.2
        return set(manager.filter_authorized_connections(conn_ids=set(conn_ids), user=user, method="GET"))
    return {
        conn_id
        for conn_id in conn_ids
        if manager.is_authorized_connection(method="GET", details=ConnectionDetails(conn_id=conn_id), user=user)
    }


def readable_dags(user: Any, dag_ids: Iterable[str]) -> set[str]:
    """
    Return the DAGs that a user may read.

    :param user: The user.
    :param dag_ids: DAG IDs to choose from.
    """
    return set(get_auth_manager().filter_authorized_dag_ids(dag_ids=set(dag_ids), user=user, method="GET"))
