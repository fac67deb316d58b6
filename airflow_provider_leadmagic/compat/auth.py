"""Get from Airflow 3.1+ what the page needs: the user, what this user may read, and the rendered fields of tasks."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.models.resource_details import ConnectionDetails

# The dependency raises 401 for a request without a valid token.
from airflow.api_fastapi.core_api.security import GetUserDep as GetUserDep
from airflow.configuration import conf
from airflow.models.connection import Connection
from airflow.models.dag import DagModel
from airflow.models.renderedtifields import RenderedTaskInstanceFields
from airflow.models.taskinstance import TaskInstance

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator


def may_read_connections(user: Any) -> bool:
    """Return whether a user may read connections at all."""
    return get_auth_manager().is_authorized_connection(method="GET", user=user)


def readable_connections(user: Any, conn_ids: Iterable[str]) -> set[str]:
    """
    Return the connections that a user may read, except any that belong to a team: only that team's tasks can read
    those.

    :param user: The user.
    :param conn_ids: Connection IDs to choose from.
    """
    manager = get_auth_manager()
    if not hasattr(manager, "filter_authorized_connections"):  # before 3.2
        return {
            conn_id
            for conn_id in conn_ids
            if manager.is_authorized_connection(method="GET", details=ConnectionDetails(conn_id=conn_id), user=user)
        }
    of_no_team = {
        name
        for names, team in _by_team(conn_ids, Connection.get_conn_id_to_team_name_mapping)
        for name in names
        if team.get("team_name") is None
    }
    return set(manager.filter_authorized_connections(conn_ids=of_no_team, user=user, method="GET"))


def readable_dags(user: Any, dag_ids: Iterable[str]) -> set[str]:
    """
    Return the DAGs that a user may read.

    :param user: The user.
    :param dag_ids: DAG IDs to choose from.
    """
    manager, readable = get_auth_manager(), set()
    for names, team in _by_team(dag_ids, getattr(DagModel, "get_dag_id_to_team_name_mapping", None)):
        readable |= manager.filter_authorized_dag_ids(dag_ids=names, user=user, method="GET", **team)
    return readable


def _by_team(
    names: Iterable[str], read_teams: Callable[[list[str]], dict[str, str | None]] | None
) -> Iterator[tuple[set[str], dict[str, str | None]]]:
    """Group names by team; yield each group, and the argument that passes its team to an auth manager (3.2+)."""
    if read_teams is None or not conf.getboolean("core", "multi_team", fallback=False):
        yield set(names), {}
        return
    by_team, chosen = defaultdict(set), set(names)
    teams = read_teams(list(chosen))
    for name in chosen:
        by_team[teams.get(name)].add(name)
    for team, members in by_team.items():
        yield members, {"team_name": team}


def are_fields_of_task() -> Any:
    """Return the SQL condition that joins rendered fields with their task instance."""
    fields: Any = RenderedTaskInstanceFields
    if hasattr(fields, "task_instance_id"):  # since 3.4, which has a row for each attempt
        return fields.task_instance_id == TaskInstance.id
    return (
        (fields.dag_id == TaskInstance.dag_id)
        & (fields.run_id == TaskInstance.run_id)
        & (fields.task_id == TaskInstance.task_id)
        & (fields.map_index == TaskInstance.map_index)
    )
