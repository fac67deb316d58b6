"""
A real Airflow on this machine, for the demo, the end-to-end tests and the benchmark.

It has a home folder of its own, listens on loopback only, and takes every process it started down with it. The
components are started one by one because ``airflow standalone`` listens on all interfaces and leaves children behind.
"""

from __future__ import annotations

import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import uuid
from contextlib import closing, contextmanager, suppress
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import psutil
import requests

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

AIRFLOW_VERSION = version("apache-airflow")
#: Such as (3, 1) for 3.1.8 and (3, 4) for 3.4.0b2.
AIRFLOW_SERIES = tuple(map(int, AIRFLOW_VERSION.split(".")[:2]))
IS_AIRFLOW_3 = AIRFLOW_SERIES >= (3,)

#: Every process we start carries this variable, so that we find those that Airflow put in sessions of their own.
_MARK = "LEADMAGIC_LOCAL_AIRFLOW"
_HEALTH = ("api/v2/monitor/health", "execution/health")

#: Airflow 3.4 keeps each try in a row of its own, and finds XComs by it. This shows the latest ones as they used to be.
_AS_BEFORE_3_4 = """
CREATE TEMP VIEW task_instance AS SELECT *, region_index AS map_index FROM main.task_instance WHERE working_set;
CREATE TEMP VIEW xcom AS
    SELECT ti.dag_id, ti.run_id, ti.task_id, ti.map_index, xcom_v2.key, xcom_v2.value
    FROM main.xcom_v2 JOIN task_instance AS ti ON ti.id = xcom_v2.task_instance_id;
"""


class LocalAirflowError(RuntimeError):
    """Airflow did not do in time what it should."""


class LocalAirflow:
    """
    Airflow with SQLite in a folder of its own.

    :param home: Its ``AIRFLOW_HOME``; made if absent.
    :param dags_folder: Where the DAG files are.
    :param settings: More environment variables, for connections and ``AIRFLOW__SECTION__KEY`` settings.
    """

    #: Seconds that its start may take.
    patience = 120.0

    def __init__(self, home: Path, dags_folder: Path, settings: Mapping[str, str] | None = None) -> None:
        self.home = home
        self.database = home / "airflow.db"
        self.mark = uuid.uuid4().hex
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.environment = self._environment(dags_folder) | dict(settings or {})
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Self:
        """Start, and be ready for DAG runs."""
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """Stop."""
        self.stop()

    def start(self) -> None:
        """Create the database and start the components."""
        self.home.mkdir(parents=True, exist_ok=True)
        self.run("db", "migrate")
        for name, arguments in self._components().items():
            self.start_component(name, arguments)
        if IS_AIRFLOW_3:
            wait_until(self._api_answers, self.patience, f"the API server on {self.url}", self._check_components)

    def start_component(self, name: str, arguments: list[str] | None = None) -> None:
        """Start one component, such as ``triggerer``; its output goes to ``NAME.log`` in the home folder."""
        arguments = arguments or self._components()[name]
        with (self.home / f"{name}.log").open("ab") as output:
            self._processes[name] = subprocess.Popen(
                [sys.executable, "-m", "airflow", *arguments],
                env=self._environment_of(name),
                cwd=self.home,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                process_group=0,  # so that Ctrl-C reaches us alone, and we end them in order
            )

    def stop(self) -> None:
        """End every process that was started here, gently first."""
        with _no_interruption():
            processes = self._all_processes()
            # Together less than the ten seconds that an interrupted worker of pytest-xdist has.
            for number, patience in ((signal.SIGTERM, 6), (signal.SIGKILL, 2)):
                for process in processes:
                    _signal(process, number)
                _, processes = psutil.wait_procs(processes, timeout=patience)
                processes += self._all_processes()
            for popen in self._processes.values():
                popen.wait(timeout=5)
            self._processes.clear()

    def kill_component(self, name: str) -> None:
        """End one component the hard way, as a power cut would."""
        processes = self._tree_of(name)
        popen = self._processes.pop(name)
        for process in processes:
            _signal(process, signal.SIGKILL)
        popen.wait(timeout=5)
        psutil.wait_procs(processes, timeout=5)

    def processes_of(self, name: str) -> set[int]:
        """Name a component's processes: its own, and those that came from it."""
        return {process.pid for process in self._tree_of(name)}

    def pid_of(self, name: str) -> int:
        """Tell the process of a component."""
        return self._processes[name].pid

    def run(self, *arguments: str) -> str:
        """Run an ``airflow`` command to its end and return what it printed."""
        command = [sys.executable, "-m", "airflow", *arguments]
        done = subprocess.run(command, env=self.environment, cwd=self.home, capture_output=True, text=True)
        if done.returncode != 0:
            raise LocalAirflowError(
                f"airflow {' '.join(arguments)} failed:\n{done.stdout[-2000:]}{done.stderr[-4000:]}"
            )
        return done.stdout

    def wait_for_dag(self, dag_id: str, timeout: float = 120) -> None:
        """Wait until Airflow has read a DAG."""
        found = "SELECT 1 FROM serialized_dag WHERE dag_id = ?"
        wait_until(lambda: bool(self.query(found, dag_id)), timeout, f"DAG {dag_id}", self._check_dags)

    def trigger(self, dag_id: str) -> str:
        """Start a run of a DAG and return its id."""
        run_id = f"manual_{uuid.uuid4().hex[:8]}"
        if IS_AIRFLOW_3:  # a call takes a fraction of a second, a command several
            wait_until(lambda: self._accepts_run(dag_id, run_id), 60, f"a run of {dag_id}", self._check_components)
        else:
            self.run("dags", "trigger", dag_id, "--run-id", run_id)
        return run_id

    def call(self, method: str, path: str, body: Mapping[str, object] | None = None) -> requests.Response:
        """
        Call the API of Airflow 3, and insist on success.

        :param path: What follows the host, such as ``/api/v2/dags``.
        """
        answer = self._ask(method, path, body)
        answer.raise_for_status()
        return answer

    def run_state(self, dag_id: str, run_id: str) -> str:
        """Tell the state of a DAG run."""
        rows = self.query("SELECT state FROM dag_run WHERE dag_id = ? AND run_id = ?", dag_id, run_id)
        return str(rows[0][0]) if rows else "unknown"

    def task_states(self, dag_id: str, run_id: str) -> dict[str, list[str]]:
        """Tell the states of a run's tasks: one for each map index."""
        states: dict[str, list[str]] = {}
        chosen = "SELECT task_id, state FROM task_instance WHERE dag_id = ? AND run_id = ? ORDER BY task_id, map_index"
        for task_id, state in self.query(chosen, dag_id, run_id):
            states.setdefault(task_id, []).append(state or "waiting")
        return states

    def query(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        """Read from Airflow's database."""
        with closing(sqlite3.connect(f"{self.database.as_uri()}?mode=ro", uri=True, timeout=30)) as connection:
            if AIRFLOW_SERIES >= (3, 4):
                connection.executescript(_AS_BEFORE_3_4)
            return connection.execute(statement, values).fetchall()

    def logs(self) -> Iterator[tuple[Path, str]]:
        """Read every log file: those of the components and those of the tasks."""
        for path in sorted(self.home.rglob("*.log*")):
            if path.is_file():
                yield path, path.read_text(errors="replace")

    def _ask(self, method: str, path: str, body: Mapping[str, object] | None) -> requests.Response:
        token = requests.get(f"{self.url}/auth/token", timeout=60).json()["access_token"]
        headers = {"Authorization": f"Bearer {token}"}
        return requests.request(method, f"{self.url}{path}", json=body, headers=headers, timeout=60)

    def _accepts_run(self, dag_id: str, run_id: str) -> bool:
        body = {"dag_run_id": run_id, "logical_date": None}
        answer = self._ask("POST", f"/api/v2/dags/{dag_id}/dagRuns", body)
        # SQLite may be locked by a busy scheduler: 500. An answer that was lost is none: 409 at the next turn.
        if answer.status_code >= 500:
            return False
        if not answer.ok and answer.status_code != 409:
            raise LocalAirflowError(f"Airflow refused a run of {dag_id}: {answer.status_code} {answer.text}")
        return True

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
        # Nothing of an Airflow the user already has may shine through.
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")}
        inherited.pop("PYTHONDONTWRITEBYTECODE", None)  # each Airflow process would compile everything anew
        own = {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{inherited.get('PATH', '')}",
            "AIRFLOW_HOME": str(self.home),
            "AIRFLOW__CORE__DAGS_FOLDER": str(dags_folder),
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{self.database}",
            "NO_PROXY": "127.0.0.1,localhost",
            _MARK: self.mark,
        }
        return inherited | own | self._settings()

    def _environment_of(self, component: str) -> dict[str, str]:
        """Tell the environment of one component; subclasses have theirs differ."""
        return self.environment

    def _settings(self) -> dict[str, str]:
        settings = {
            "CORE__LOAD_EXAMPLES": "False",
            "CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
            "CORE__EXECUTOR": "LocalExecutor" if IS_AIRFLOW_3 else "SequentialExecutor",
            "CORE__PARALLELISM": "8",
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
            "USAGE_DATA_COLLECTION__ENABLED": "False",
        }
        return {f"AIRFLOW__{name}": value for name, value in settings.items()}

    def _all_processes(self) -> list[psutil.Process]:
        # No single way finds all: a renamed process shows no environment, a new session leaves its group, an orphan
        # has lost its parent.
        components = {popen.pid for popen in self._processes.values()}
        return [
            process
            for process in psutil.process_iter()
            if process.pid in components or _group_of(process) in components or _carries(process, self.mark)
        ]

    def _tree_of(self, name: str) -> list[psutil.Process]:
        # The parent first: killed after its children, it might still tell somebody what became of them.
        parent = psutil.Process(self._processes[name].pid)
        return [parent, *parent.children(recursive=True)]

    def _api_answers(self) -> bool:
        # The part for workers is built when it is first asked, which on a busy machine outlasts a worker's patience.
        try:
            return all(requests.get(f"{self.url}/{path}", timeout=60).ok for path in _HEALTH)
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
                raise LocalAirflowError(f"the {name} ended with exit code {process.returncode}:\n{tail}")


def free_port() -> int:
    """Find a port on loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until(
    condition: Callable[[], bool], timeout: float, what: str, check: Callable[[], object] = lambda: None
) -> None:
    """
    Wait for a condition.

    :param condition: What to wait for.
    :param timeout: Seconds.
    :param what: Its name, for the message.
    :param check: Called on each turn, to raise where waiting has become pointless.
    """
    deadline = time.monotonic() + timeout
    while not condition():
        check()
        if time.monotonic() > deadline:
            raise LocalAirflowError(f"waited {timeout:g} s for {what}")
        time.sleep(0.2)


def _group_of(process: psutil.Process) -> int | None:
    try:
        return os.getpgid(process.pid)
    except OSError:
        return None


def _carries(process: psutil.Process, mark: str) -> bool:
    try:
        return process.environ().get(_MARK) == mark
    except (psutil.Error, OSError):
        return False


def _signal(process: psutil.Process, number: signal.Signals) -> None:
    with suppress(psutil.Error):
        process.send_signal(number)


@contextmanager
def _no_interruption() -> Iterator[None]:
    """Let an impatient second Ctrl-C not leave half of the processes behind."""
    before = {
        number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
