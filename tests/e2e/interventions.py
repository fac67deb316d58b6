"""Interventions during a run: a user marks a task as failed, or a worker is killed."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from typing import TYPE_CHECKING

import psutil

from dev.local_airflow import IS_AIRFLOW_3, wait_until

if TYPE_CHECKING:
    from airflow_provider_leadmagic.sandbox.sandbox import Sandbox
    from dev.local_airflow import LocalAirflow


def clear(airflow: LocalAirflow, dag_id: str, run_id: str, task_id: str) -> None:
    """Clear a task, as a user does in the web interface."""
    if IS_AIRFLOW_3:
        body = {"dry_run": False, "only_failed": False, "dag_run_id": run_id, "task_ids": [task_id]}
        airflow.call("POST", f"/api/v2/dags/{dag_id}/clearTaskInstances", body)
        return
    airflow.call_airflow_2("clear", dag_id, run_id, task_id)


def mark(airflow: LocalAirflow, dag_id: str, run_id: str, task_id: str, state: str) -> None:
    """Mark a task as failed or success, as a user does in the web interface."""
    if IS_AIRFLOW_3:
        task = f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}"
        airflow.call("PATCH", task, {"new_state": state})
        return
    airflow.call_airflow_2("mark", dag_id, run_id, task_id, state)


def fail_run(airflow: LocalAirflow, dag_id: str, run_id: str) -> None:
    """Mark a run as failed, as a user does in the web interface."""
    if IS_AIRFLOW_3:
        airflow.call("PATCH", f"/api/v2/dags/{dag_id}/dagRuns/{run_id}", {"state": "failed"})
        return
    airflow.call_airflow_2("fail_run", dag_id, run_id)


def delete_dag(airflow: LocalAirflow, dag_id: str) -> None:
    """Delete a DAG and its runs, as a user does in the web interface."""
    # The scheduler ends if a run is deleted while it updates that run, as seen on 2.11.2 and 3.0.6.
    airflow.kill_component("scheduler")
    airflow.run("dags", "delete", "--yes", dag_id)
    airflow.start_component("scheduler")


def kill_worker_connected_to(account: Sandbox, *, spare: int = 0) -> None:
    """
    Kill the task process that is connected to an account, and its worker, with SIGKILL.

    :param spare: Process ID that must not be killed: the scheduler, which is the parent process of some workers.
    """
    port = int(account.url.rpartition(":")[2])
    wait_until(lambda: bool(_connected_to(port)), 60, f"a connection to {account.url}")
    for process in _connected_to(port):
        parent = process.parent()
        with suppress(psutil.NoSuchProcess):
            process.send_signal(signal.SIGKILL)
        if parent and parent.pid not in (spare, os.getpid(), 1):
            with suppress(psutil.NoSuchProcess):
                parent.send_signal(signal.SIGKILL)


def _connected_to(port: int) -> list[psutil.Process]:
    pids = {
        connection.pid
        for connection in psutil.net_connections("tcp")
        if connection.raddr and connection.raddr.port == port and connection.pid not in (None, os.getpid())
    }
    return [psutil.Process(pid) for pid in pids if psutil.pid_exists(pid)]
