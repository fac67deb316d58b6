"""Copies of everything that Airflow shows or stores, taken while the cluster is running, to search for secrets."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.distributed.cluster import Cluster

#: Texts by moment and place.
Traces = dict[tuple[str, str], str]

API = "/api/v2"
ALL_RUNS = f"{API}/dags/~/dagRuns"
ALL_TASKS = f"{ALL_RUNS}/~/taskInstances"
#: API endpoints that list all objects of a kind.
LISTS = {
    "dags": f"{API}/dags",
    "dag_runs": ALL_RUNS,
    "task_instances": ALL_TASKS,
    "xcom_entries": f"{ALL_TASKS}/~/xcomEntries",
    "connections": f"{API}/connections",
    "event_logs": f"{API}/eventLogs",
    "import_errors": f"{API}/importErrors",
    "assets": f"{API}/assets",
    "asset_events": f"{API}/assets/events",
    "dag_warnings": f"{API}/dagWarnings",
    "pools": f"{API}/pools",
    "jobs": f"{API}/jobs",
    "providers": f"{API}/providers",
    "plugins": f"{API}/plugins",
}
#: Further endpoints that the web interface uses.
OF_THE_WEB_INTERFACE = {
    "dags": "/ui/dags?limit=100",
    "connection_form": "/ui/connections/hook_meta",
    "grid_structure": "/ui/grid/structure/{dag_id}",
    "grid_runs": "/ui/grid/runs/{dag_id}",
    "graph": "/ui/structure/structure_data?dag_id={dag_id}",
    "gantt": "/ui/gantt/{dag_id}/{run_id}",
}
OF_A_DAG = {"details": "/details", "tasks": "/tasks", "versions": "/dagVersions"}
OF_A_TASK = {"tries": "/tries", "links": "/links", "dependencies": "/dependencies", "log": "/logs/1?full_content=true"}
#: DAGs for which all endpoints are read, not only the lists.
READ_IN_FULL = ("traces", "starts_on_top_up", "sensors_00")
PAGE = 100


def collect_traces(cluster: Cluster, moment: str) -> Traces:
    """
    Copy everything that the API, the web interface, the database and Redis contain.

    :param moment: Name of this point in time.
    """
    places = dict(_rest_api(cluster)) | dict(_web_interface(cluster)) | dict(_stores(cluster))
    return {(moment, place): text for place, text in places.items()}


def log_traces(cluster: Cluster) -> dict[str, str]:
    """Return all logs: one for each component, one for all tasks, and one for all parsed DAG files."""
    traces: defaultdict[str, str] = defaultdict(str)
    for path, text in cluster.logs():
        traces[f"log of {_writer(cluster, path)}"] += text
    return traces


def _writer(cluster: Cluster, path: Path) -> str:
    if path.parent == cluster.home:
        return path.stem
    return "tasks" if "task_id=" in str(path) else "DAG files"


def _stores(cluster: Cluster) -> Iterator[tuple[str, str]]:
    yield "database", cluster.postgres.dump()
    yield "redis", cluster.redis.dump()


def _rest_api(cluster: Cluster) -> Iterator[tuple[str, str]]:
    for name, path in LISTS.items():
        yield f"api {name}", "\n".join(_pages(cluster, path))
    for name, path in OF_A_DAG.items():
        yield f"api dag {name}", "\n".join(_text(cluster, f"{API}/dags/{dag}{path}") for dag in READ_IN_FULL)
    tasks = [task for dag_id in READ_IN_FULL for task in _tasks(cluster, dag_id)]
    for name, path in OF_A_TASK.items():
        yield f"api task {name}", "\n".join(_text(cluster, _address(task) + path) for task in tasks)
    yield "api xcom", "\n".join(_xcoms(cluster))


def _web_interface(cluster: Cluster) -> Iterator[tuple[str, str]]:
    [(run_id,)] = cluster.query("SELECT run_id FROM dag_run WHERE dag_id = 'traces'")
    for name, path in OF_THE_WEB_INTERFACE.items():
        yield f"ui {name}", _text(cluster, path.format(dag_id="traces", run_id=quote(run_id)))


def _xcoms(cluster: Cluster) -> Iterator[str]:
    for dag_id, run_id, task_id, key in cluster.query("SELECT dag_id, run_id, task_id, key FROM xcom"):
        if dag_id in READ_IN_FULL:
            task = {"dag_id": dag_id, "dag_run_id": run_id, "task_id": task_id}
            yield _text(cluster, f"{_address(task)}/xcomEntries/{quote(key)}")


def _tasks(cluster: Cluster, dag_id: str) -> list[dict[str, Any]]:
    path = f"{API}/dags/{dag_id}/dagRuns/~/taskInstances"
    return cluster.call("GET", path).json()["task_instances"]


def _address(task: dict[str, Any]) -> str:
    return f"{API}/dags/{task['dag_id']}/dagRuns/{quote(task['dag_run_id'])}/taskInstances/{task['task_id']}"


def _pages(cluster: Cluster, path: str) -> Iterator[str]:
    offset = 0
    while True:
        response = cluster.call("GET", f"{path}?limit={PAGE}&offset={offset}")
        yield response.text
        offset += PAGE
        if offset >= response.json().get("total_entries", 0):
            return


def _text(cluster: Cluster, path: str) -> str:
    return cluster.call("GET", path).text
