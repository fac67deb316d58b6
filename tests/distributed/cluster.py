"""Airflow as people run it in production: PostgreSQL, Redis, Celery, and two of each that may be killed."""

from __future__ import annotations

import shutil
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dev.local_airflow import LocalAirflow
from tests.distributed.postgres import PostgresServer
from tests.distributed.progress import say
from tests.distributed.redis_server import RedisServer
from tests.distributed.system_server import give_to_unprivileged

if TYPE_CHECKING:
    from collections.abc import Mapping

WORKERS = ("worker-1", "worker-2")
TRIGGERERS = ("triggerer-1", "triggerer-2")
#: Tasks at once on one worker.
CONCURRENCY = 6

#: What has Airflow notice in seconds what by default it notices in minutes. Names as in Airflow's documentation.
RECOVERY = {
    # A task on a worker that was killed.
    "SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "45",
    "SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "5",
    # A message that Redis lost, or that the worker which was killed had fetched.
    "SCHEDULER__TASK_QUEUED_TIMEOUT": "90",
    "SCHEDULER__TASK_QUEUED_TIMEOUT_CHECK_INTERVAL": "10",
    "SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "15",
    # A triggerer that was killed.
    "TRIGGERER__JOB_HEARTBEAT_SEC": "2",
    "TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "10",
    "SCHEDULER__TRIGGER_TIMEOUT_CHECK_INTERVAL": "5",
    # Longer than any task: Redis hands a message out once more after it, whether or not its task still runs.
    "CELERY_BROKER_TRANSPORT_OPTIONS__VISIBILITY_TIMEOUT": "7200",
}
#: What has Airflow wait for a machine on which all of it shares a few cores, rather than take slowness for death.
PATIENCE = {
    "WORKERS__EXECUTION_API_TIMEOUT": "60",
    "SCHEDULER__NUM_STUCK_IN_QUEUED_RETRIES": "5",
}


class Cluster(LocalAirflow):
    """
    Airflow with two Celery workers and two triggerers; a component that ends by itself is started again.

    :param home: Its ``AIRFLOW_HOME``.
    :param dags_folder: Where the DAG files are.
    :param settings: More environment variables of all components.
    :param settings_of: Environment variables of one component, by its name.
    """

    start_timeout = 300.0

    def __init__(
        self,
        home: Path,
        dags_folder: Path,
        settings: Mapping[str, str] | None = None,
        settings_of: Mapping[str, Mapping[str, str]] | None = None,
    ) -> None:
        # Not below the home: whoever runs PostgreSQL may not enter the folders of whoever runs the tests.
        self.servers = Path(tempfile.mkdtemp(prefix="leadmagic-servers-"))
        give_to_unprivileged(self.servers)
        try:
            self.postgres, self.redis = PostgresServer(self.servers), RedisServer(self.servers)
        except BaseException:
            shutil.rmtree(self.servers)
            raise
        #: Names of components that ended by themselves, each time they did.
        self.ended: list[str] = []
        self._settings_of = settings_of or {}
        super().__init__(home, dags_folder, settings)

    def start(self) -> None:
        """Start the servers, then Airflow on them."""
        self.postgres.start()
        self.redis.start()
        super().start()

    def stop(self) -> None:
        """End everything, Airflow first, and remove the servers' data."""
        with ExitStack() as last_things:
            last_things.callback(shutil.rmtree, self.servers, ignore_errors=True)
            last_things.callback(self.postgres.stop)
            last_things.callback(self.redis.stop)
            super().stop()

    def query(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        """Read from Airflow's database, by a statement as SQLite has it."""
        return self.postgres.query(statement.replace("?", "%s"), *values)

    def supervise(self) -> None:
        """Start what ended by itself, as systemd or Kubernetes would."""
        for name, process in list(self._processes.items()):
            if process.poll() is not None:
                self.ended.append(name)
                say(f"{name} ended by itself, with exit code {process.returncode}.")
                self.start_component(name)

    def _check_components(self) -> None:
        self.supervise()

    def _components(self) -> dict[str, list[str]]:
        components = super()._components()
        triggerer = components.pop("triggerer")
        components |= dict.fromkeys(TRIGGERERS, triggerer)
        for name in WORKERS:
            # A file each for the process id: two workers of one home would fall out over it.
            own = ["-H", name, "--pid", str(self.home / f"{name}.pid")]
            components[name] = ["celery", "worker", "--skip-serve-logs", "-c", str(CONCURRENCY), *own]
        return components

    def _environment_of(self, component: str) -> dict[str, str]:
        return self.environment | dict(self._settings_of.get(component, {}))

    def _settings(self) -> dict[str, str]:
        own = {
            "CORE__EXECUTOR": "CeleryExecutor",
            # What is queued in excess of the workers' slots only grows old in Redis.
            "CORE__PARALLELISM": str(len(WORKERS) * CONCURRENCY + 4),
            "DATABASE__SQL_ALCHEMY_CONN": f"postgresql+psycopg2://{self.postgres.address}",
            "CELERY__BROKER_URL": self.redis.url,
            "CELERY__RESULT_BACKEND": f"db+postgresql+psycopg2://{self.postgres.address}",
        }
        return super()._settings() | {f"AIRFLOW__{name}": value for name, value in (own | RECOVERY | PATIENCE).items()}
