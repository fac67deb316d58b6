"""
Run a real Airflow on this machine, for the demo, the end-to-end tests and the benchmark.

It uses its own home folder, listens on loopback only, and stops every process it started. The components are started
one by one, because ``airflow standalone`` listens on all interfaces and leaves child processes behind.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import uuid
from contextlib import closing
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import psutil
import requests

from dev.processes import MARK_VARIABLE, ignored_signals, send_signal, started_processes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

AIRFLOW_VERSION = version("apache-airflow")
#: (3, 1) for 3.1.8, (3, 4) for 3.4.0b2.
AIRFLOW_SERIES = tuple(map(int, AIRFLOW_VERSION.split(".")[:2]))
IS_AIRFLOW_3 = AIRFLOW_SERIES >= (3,)

#: The script that makes calls to Airflow 2. It runs in a process of its own.
_CALLS = Path(__file__).with_name("airflow_2.py")
#: Airflow 3.4 stores a row for each attempt, and XComs refer to it. These views show the latest attempts, as before.
_VIEWS_AS_BEFORE_3_4 = """
CREATE TEMP VIEW task_instance AS SELECT *, region_index AS map_index FROM main.task_instance WHERE working_set;
CREATE TEMP VIEW xcom AS
    SELECT ti.dag_id, ti.run_id, ti.task_id, ti.map_index, xcom_v2.key, xcom_v2.value
    FROM main.xcom_v2 JOIN task_instance AS ti ON ti.id = xcom_v2.task_instance_id;
"""


class LocalAirflowError(RuntimeError):
    """Airflow failed, or did not do what was expected in time."""


class LocalAirflow:
    """
    An Airflow with SQLite and its own ``AIRFLOW_HOME``.

    :param home: Folder for ``AIRFLOW_HOME``; created if missing.
    :param dags_folder: Folder with the DAG files.
    :param settings: Additional environment variables, for connections and ``AIRFLOW__SECTION__KEY`` settings.
    """

    #: Seconds within which the API server must respond.
    start_timeout = 120.0
    #: Paths that must all respond by then.
    health = ("api/v2/monitor/health", "execution/health")

    def __init__(self, home: Path, dags_folder: Path, settings: Mapping[str, str] | None = None) -> None:
        self.home = home
        self.database = home / "airflow.db"
        self.mark = uuid.uuid4().hex
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.environment = self._environment(dags_folder) | dict(settings or {})
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Self:
        """Start the components. On Airflow 3, return when the API server responds."""
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Migrate the database and start the components."""
        self.home.mkdir(parents=True, exist_ok=True)
        self.run("db", "migrate")
        if not IS_AIRFLOW_3:
            with closing(sqlite3.connect(self.database)) as connection:
                connection.execute("PRAGMA journal_mode = WAL")  # as Airflow 3 does, so that readers block no writer
        for name, arguments in self._components().items():
            self.start_component(name, arguments)
        if IS_AIRFLOW_3:
            wait_until(self._api_responds, self.start_timeout, f"the API server on {self.url}", self._check_components)

    def start_component(self, name: str, arguments: list[str] | None = None) -> None:
        """Start one component, such as ``triggerer``; its output is appended to ``NAME.log`` in the home folder."""
        self._start(name, ["-m", "airflow", *(arguments or self._components()[name])])

    def stop(self) -> None:
        """Stop every process that was started here: SIGTERM first, then SIGKILL."""
        with ignored_signals():
            processes = self._all_processes()
            # In total less than the ten seconds that pytest-xdist gives an interrupted worker.
            for number, timeout in ((signal.SIGTERM, 6), (signal.SIGKILL, 2)):
                for process in processes:
                    send_signal(process, number)
                _, processes = psutil.wait_procs(processes, timeout=timeout)
                processes += self._all_processes()
            for popen in self._processes.values():
                popen.wait(timeout=5)
            self._processes.clear()

    def kill_component(self, name: str) -> None:
        """Kill one component and its child processes with SIGKILL, as a power failure would."""
        processes = self._tree_of(name)
        popen = self._processes.pop(name)
        for process in processes:
            send_signal(process, signal.SIGKILL)
        popen.wait(timeout=5)
        psutil.wait_procs(processes, timeout=5)

    def processes_of(self, name: str) -> set[int]:
        """Return the process IDs of a component and its child processes."""
        return {process.pid for process in self._tree_of(name)}

    def pid_of(self, name: str) -> int:
        """Return the process ID of a component."""
        return self._processes[name].pid

    def run(self, *arguments: str) -> str:
        """Run an ``airflow`` command and return its standard output."""
        command = [sys.executable, "-m", "airflow", *arguments]
        done = subprocess.run(command, env=self.environment, cwd=self.home, capture_output=True, text=True)
        if done.returncode != 0:
            raise LocalAirflowError(
                f"airflow {' '.join(arguments)} failed:\n{done.stdout[-2000:]}{done.stderr[-4000:]}"
            )
        return done.stdout

    def wait_for_dag(self, dag_id: str, timeout: float = 120) -> None:
        """Wait until Airflow has parsed a DAG."""
        # Airflow 2 stores the serialized DAGs of a file before the other data that a run needs.
        found = "SELECT 1 FROM serialized_dag JOIN dag ON dag.dag_id = serialized_dag.dag_id WHERE dag.dag_id = ?"
        wait_until(lambda: bool(self.query(found, dag_id)), timeout, f"DAG {dag_id}", self._check_dags)

    def trigger(self, dag_id: str) -> str:
        """Trigger a run of a DAG and return the run ID."""
        run_id = f"manual_{uuid.uuid4().hex[:8]}"
        if IS_AIRFLOW_3:
            self.call("POST", f"/api/v2/dags/{dag_id}/dagRuns", {"dag_run_id": run_id, "logical_date": None})
        else:
            self.call_airflow_2("trigger", dag_id, run_id)
        return run_id

    def call(self, method: str, path: str, body: Mapping[str, object] | None = None) -> requests.Response:
        """
        Call the API of Airflow 3. A call is repeated for a minute if the response is a 5xx.

        :param path: Path and query, such as ``/api/v2/dags``.
        :raises LocalAirflowError: If the last response is an error.
        """
        response, deadline = self._request(method, path, body), time.monotonic() + 60
        while response.status_code >= 500 and time.monotonic() < deadline:  # a busy scheduler may keep SQLite locked
            time.sleep(0.5)
            response = self._request(method, path, body)
            if response.status_code == 409:  # the previous call had created it in spite of its response
                return response
        if not response.ok:
            raise LocalAirflowError(f"{method} {path} failed: {response.status_code} {response.text}")
        return response

    def call_airflow_2(self, function: str, *arguments: str) -> None:
        """Call a function of ``dev/airflow_2.py``, because the API of Airflow 2 cannot be used without a login."""
        calls = self._processes.get("calls") or self._start("calls", ["-P", str(_CALLS)], subprocess.PIPE)
        try:
            calls.stdin.write(json.dumps([function, *arguments]).encode() + b"\n")
            calls.stdin.flush()
            error = json.loads(calls.stdout.readline() or '"the process ended: see calls.log"')
        except BaseException:  # the next call must not read the response to this one
            self.kill_component("calls")
            raise
        if error:
            raise LocalAirflowError(f"{function} {arguments} failed:\n{error}")

    def run_state(self, dag_id: str, run_id: str) -> str:
        rows = self.query("SELECT state FROM dag_run WHERE dag_id = ? AND run_id = ?", dag_id, run_id)
        return str(rows[0][0]) if rows else "unknown"

    def task_states(self, dag_id: str, run_id: str) -> dict[str, list[str]]:
        """Return the states of a run's tasks, by task ID: one for each map index."""
        states: dict[str, list[str]] = {}
        tasks = "SELECT task_id, state FROM task_instance WHERE dag_id = ? AND run_id = ? ORDER BY task_id, map_index"
        for task_id, state in self.query(tasks, dag_id, run_id):
            states.setdefault(task_id, []).append(state or "waiting")
        return states

    def query(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        """Read from Airflow's database."""
        with closing(sqlite3.connect(f"{self.database.as_uri()}?mode=ro", uri=True, timeout=30)) as connection:
            if AIRFLOW_SERIES >= (3, 4):
                connection.executescript(_VIEWS_AS_BEFORE_3_4)
            return connection.execute(statement, values).fetchall()

    def logs(self) -> Iterator[tuple[Path, str]]:
        """Read every log file, those of the components and those of the tasks."""
        for path in sorted(self.home.rglob("*.log*")):
            if path.is_file():
                yield path, path.read_text(errors="replace")

    def _start(self, name: str, arguments: list[str], pipe: int | None = None) -> subprocess.Popen[bytes]:
        with (self.home / f"{name}.log").open("ab") as output:
            self._processes[name] = subprocess.Popen(
                [sys.executable, *arguments],
                env=self._environment_of(name),
                cwd=self.home,
                stdin=pipe or subprocess.DEVNULL,
                stdout=pipe or output,
                stderr=output,
                process_group=0,  # Ctrl-C then does not reach it: stop() ends all components
            )
        return self._processes[name]

    def _request(self, method: str, path: str, body: Mapping[str, object] | None) -> requests.Response:
        token = requests.get(f"{self.url}/auth/token", timeout=60).json()["access_token"]
        headers = {"Authorization": f"Bearer {token}"}
        return requests.request(method, f"{self.url}{path}", json=body, headers=headers, timeout=60)

    def _components(self) -> dict[str, list[str]]:
        components = {
            "scheduler": ["scheduler", "--skip-serve-logs"],
            "triggerer": ["triggerer", "--skip-serve-logs"],
        }
        if IS_AIRFLOW_3:
            components["api-server"] = ["api-server", "--host", "127.0.0.1", "--port", str(self.port)]
            components["dag-processor"] = ["dag-processor"]
        return components

    def _environment(self, dags_folder: Path) -> dict[str, str]:
        # The user's own Airflow must not leak in through environment variables.
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")}
        inherited.pop("PYTHONDONTWRITEBYTECODE", None)  # each Airflow process would compile everything again
        own = {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{inherited.get('PATH', '')}",
            "AIRFLOW_HOME": str(self.home),
            "AIRFLOW__CORE__DAGS_FOLDER": str(dags_folder),
            # Airflow 2 allows the LocalExecutor with SQLite only with this. The timeout is for concurrent writers.
            "_AIRFLOW__SKIP_DATABASE_EXECUTOR_COMPATIBILITY_CHECK": "1",
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{self.database}{'' if IS_AIRFLOW_3 else '?timeout=60'}",
            "NO_PROXY": "127.0.0.1,localhost",
            MARK_VARIABLE: self.mark,
        }
        return inherited | own | self._settings()

    def _environment_of(self, component: str) -> dict[str, str]:
        """Return the environment of one component; subclasses may vary it by component."""
        return self.environment

    def _settings(self) -> dict[str, str]:
        settings = {
            "CORE__LOAD_EXAMPLES": "False",
            "CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
            "CORE__EXECUTOR": "LocalExecutor",
            "CORE__PARALLELISM": "8" if IS_AIRFLOW_3 else "4",
            "CORE__MAX_ACTIVE_TASKS_PER_DAG": "100",
            "CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
            "CORE__TEST_CONNECTION": "Enabled",
            "CORE__EXECUTION_API_SERVER_URL": f"{self.url}/execution/",
            "API__HOST": "127.0.0.1",
            "API__PORT": str(self.port),
            "API__BASE_URL": self.url,
            "API__WORKERS": "1",
            "API_AUTH__JWT_SECRET": uuid.uuid4().hex * 2,
            "SCHEDULER__SCHEDULER_HEARTBEAT_SEC": "1",
            # On Airflow 2, a finished task must not schedule the next one. SQLite has no row locks, so the scheduler
            # can do so at the same moment, and the next task then runs twice.
            "SCHEDULER__SCHEDULE_AFTER_TASK_EXECUTION": "False",
            "USAGE_DATA_COLLECTION__ENABLED": "False",
        }
        return {f"AIRFLOW__{name}": value for name, value in settings.items()}

    def _all_processes(self) -> list[psutil.Process]:
        return started_processes({popen.pid for popen in self._processes.values()}, self.mark)

    def _tree_of(self, name: str) -> list[psutil.Process]:
        # The parent comes first, because it could still report the death of children that were killed before it.
        parent = psutil.Process(self._processes[name].pid)
        return [parent, *parent.children(recursive=True)]

    def _api_responds(self) -> bool:
        # The execution API is built on its first request. That must not be the request of a task, which could time out.
        try:
            return all(requests.get(f"{self.url}/{path}", timeout=60).ok for path in self.health)
        except requests.RequestException:
            return False

    def _check_dags(self) -> None:
        self._check_components()
        for file, trace in self.query("SELECT filename, stacktrace FROM import_error"):
            raise LocalAirflowError(f"Airflow could not import {file}:\n{trace}")

    def _check_components(self) -> None:
        for name, process in self._processes.items():
            if process.poll() is not None:
                tail = (self.home / f"{name}.log").read_text(errors="replace")[-3000:]
                raise LocalAirflowError(f"the {name} exited with code {process.returncode}:\n{tail}")


def free_port() -> int:
    """Return a port on loopback that is not in use."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until(
    condition: Callable[[], bool], timeout: float, what: str, check: Callable[[], object] = lambda: None
) -> None:
    """
    Wait until a condition is true.

    :param condition: Called every 0.2 s until it returns True.
    :param timeout: Seconds.
    :param what: Describes the condition in the error message.
    :param check: Called after each failed attempt; it raises if waiting is pointless.
    :raises LocalAirflowError: If the timeout is reached.
    """
    deadline = time.monotonic() + timeout
    while not condition():
        check()
        if time.monotonic() > deadline:
            raise LocalAirflowError(f"timed out after {timeout:g} s, waiting for {what}")
        time.sleep(0.2)
