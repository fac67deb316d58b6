"""An Airflow as in production: PostgreSQL, Redis, Celery, and two each of schedulers, workers and triggerers."""

from __future__ import annotations

import shutil
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dev.local_airflow import LocalAirflow
from tests.distributed.postgres import PostgresServer
from tests.distributed.progress import log_progress
from tests.distributed.redis_server import RedisServer
from tests.distributed.system_server import create_for_unprivileged_user

if TYPE_CHECKING:
    from collections.abc import Mapping

SCHEDULERS = ("scheduler", "scheduler-2")
WORKERS = ("worker-1", "worker-2")
TRIGGERERS = ("triggerer-1", "triggerer-2")
#: Concurrent tasks of one worker.
CONCURRENCY = 6

#: Settings that make Airflow detect failures in seconds instead of minutes.
FAST_DETECTION = {
    # Tasks of a killed worker.
    "SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "45",
    "SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "5",
    # Messages that Redis lost, or that a killed worker had fetched.
    "SCHEDULER__TASK_QUEUED_TIMEOUT": "90",
    "SCHEDULER__TASK_QUEUED_TIMEOUT_CHECK_INTERVAL": "10",
    "SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "15",
    # A killed triggerer.
    "TRIGGERER__JOB_HEARTBEAT_SEC": "2",
    "TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "10",
    "SCHEDULER__TRIGGER_TIMEOUT_CHECK_INTERVAL": "5",
    # Longer than any task: after this time Redis delivers a message again, even if its task is still running.
    "CELERY_BROKER_TRANSPORT_OPTIONS__VISIBILITY_TIMEOUT": "7200",
}
#: Settings for a machine on which all components share a few cores: Airflow must not treat a slow process as dead.
LONG_TIMEOUTS = {
    "WORKERS__EXECUTION_API_TIMEOUT": "60",
    "SCHEDULER__NUM_STUCK_IN_QUEUED_RETRIES": "5",
}


class Cluster(LocalAirflow):
    """
    Airflow with two schedulers, Celery workers and triggerers; a component that exits unexpectedly is restarted.

    :param home: Folder for ``AIRFLOW_HOME``.
    :param dags_folder: Folder with the DAG files.
    :param settings: Additional environment variables of all components.
    :param settings_by_component: Additional environment variables of single components.
    """

    start_timeout = 300.0

    def __init__(
        self,
        home: Path,
        dags_folder: Path,
        settings: Mapping[str, str] | None = None,
        settings_by_component: Mapping[str, Mapping[str, str]] | None = None,
    ) -> None:
        # Outside the home folder, which the user that runs PostgreSQL cannot access.
        self.servers = Path(tempfile.mkdtemp(prefix="leadmagic-servers-"))
        create_for_unprivileged_user(self.servers)
        try:
            self.postgres, self.redis = PostgresServer(self.servers), RedisServer(self.servers)
        except BaseException:
            shutil.rmtree(self.servers)
            raise
        #: Name of the component, once for each unexpected exit.
        self.unexpected_exits: list[str] = []
        self._settings_by_component = settings_by_component or {}
        super().__init__(home, dags_folder, settings)

    def start(self) -> None:
        """Start the servers, then Airflow."""
        self.postgres.start()
        self.redis.start()
        super().start()

    def stop(self) -> None:
        """Stop everything, Airflow first, and remove the data of the servers."""
        with ExitStack() as cleanup:
            cleanup.callback(shutil.rmtree, self.servers, ignore_errors=True)
            cleanup.callback(self.postgres.stop)
            cleanup.callback(self.redis.stop)
            super().stop()

    def query(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        """Read from Airflow's database; the statement has the placeholders of SQLite."""
        return self.postgres.query(statement.replace("?", "%s"), *values)

    def supervise(self) -> None:
        """Restart components that exited, as systemd or Kubernetes would."""
        for name, process in list(self._processes.items()):
            if process.poll() is not None:
                self.unexpected_exits.append(name)
                log_progress(f"{name} exited unexpectedly with code {process.returncode}; restarting it.")
                self.start_component(name)

    def _check_components(self) -> None:
        self.supervise()

    def _components(self) -> dict[str, list[str]]:
        components = super()._components()
        components |= dict.fromkeys(SCHEDULERS, components["scheduler"])
        triggerer = components.pop("triggerer")
        components |= dict.fromkeys(TRIGGERERS, triggerer)
        for name in WORKERS:
            # Separate PID files: two workers with the same home would conflict over one.
            own = ["-H", name, "--pid", str(self.home / f"{name}.pid")]
            components[name] = ["celery", "worker", "--skip-serve-logs", "-c", str(CONCURRENCY), *own]
        return components

    def _environment_of(self, component: str) -> dict[str, str]:
        return self.environment | dict(self._settings_by_component.get(component, {}))

    def _settings(self) -> dict[str, str]:
        own = {
            "CORE__EXECUTOR": "CeleryExecutor",
            # More queued tasks than worker slots would only wait in Redis.
            "CORE__PARALLELISM": str(len(WORKERS) * CONCURRENCY + 4),
            "DATABASE__SQL_ALCHEMY_CONN": f"postgresql+psycopg2://{self.postgres.address}",
            "CELERY__BROKER_URL": self.redis.url,
            "CELERY__RESULT_BACKEND": f"db+postgresql+psycopg2://{self.postgres.address}",
        }
        return super()._settings() | {
            f"AIRFLOW__{name}": value for name, value in (own | FAST_DETECTION | LONG_TIMEOUTS).items()
        }
