"""Fixtures and pytest hooks for all tests."""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from xdist.scheduler import LoadFileScheduling
from xdist.workermanage import NodeManager

from dev.local_airflow import AIRFLOW_SERIES, free_port
from tests.support.airflow_home import HOME
from tests.support.raw_server import RawServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


def pytest_configure() -> None:
    """
    Leave no process running if the tests are interrupted.

    By default SIGTERM ends Python without cleaning up fixtures, and xdist gives its workers too little time for it.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    NodeManager.EXIT_TIMEOUT = 30


#: Seconds that a test and its fixtures may take, by marker: their duration on a slow machine plus the longest of their
#: waits. A wait has to time out before the test does, because its message says what was missing.
LIMITS = {"browser": 600, "e2e": 1800, "bench": 1800, "install": 3600, "distributed": 3600}


#: The Airflow on which tests run that do not depend on its version.
ONE_AIRFLOW = (3, 3)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give slow kinds of tests more time than the default in pyproject.toml, and run some on one Airflow only."""
    for item in items:
        if item.get_closest_marker("any_airflow") and AIRFLOW_SERIES != ONE_AIRFLOW:
            item.add_marker(pytest.mark.skip(reason="does not depend on the version of Airflow: runs on 3.3"))
        if limit := max((LIMITS.get(mark.name, 0) for mark in item.iter_markers()), default=0):
            item.add_marker(pytest.mark.timeout(limit))


class SharedAirflowScheduling(LoadFileScheduling):
    """
    Run the tests of a file in one worker, and the files that share one Airflow in the same worker.

    Those of claims take as long as all others, so they may get a worker and an Airflow of their own.
    """

    def _split_scope(self, nodeid: str) -> str:
        file = str(super()._split_scope(nodeid))
        shares = file.startswith("tests/e2e/") and file.endswith("_in_airflow.py") and "claims" not in file
        return "one Airflow" if shares else file


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> SharedAirflowScheduling | None:
    """Make ``--dist loadfile`` start one Airflow for several files."""
    return SharedAirflowScheduling(config, log) if config.getvalue("dist") == "loadfile" else None


@pytest.fixture(scope="session")
def airflow_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the path of a migrated metadata database. One worker of xdist migrates it, and the others copy it."""
    database, folder = HOME / "airflow.db", tmp_path_factory.getbasetemp()
    shared = (folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder) / "migrated.db"
    with shared.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not shared.exists():
            done = subprocess.run([sys.executable, "-m", "airflow", "db", "migrate"], capture_output=True, text=True)
            assert done.returncode == 0, done.stderr[-3000:]
            shutil.copy(database, shared)
    _replace_database(database, shared)
    return database


def _replace_database(database: Path, migrated: Path) -> None:
    # An earlier test may have opened the database, which was empty then. Its connections, and the files of its
    # write-ahead log, must not be used with the new one.
    from airflow import settings

    if settings.engine is not None:
        settings.engine.dispose()
    for path in database.parent.glob(f"{database.name}*"):
        path.unlink()
    shutil.copy(migrated, database)


@pytest.fixture
def logged(caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]) -> Callable[[], str]:
    """
    Return a function that returns what was logged.

    Airflow logs through the standard library, and since 3.1 also to standard output.
    """
    caplog.set_level(logging.INFO)
    caplog.set_level(logging.INFO, logger="airflow.task")
    return lambda: caplog.text + (capsys.readouterr().out if AIRFLOW_SERIES >= (3, 1) else "")


@pytest.fixture
def serve() -> Iterator[Callable[..., RawServer]]:
    """Return a function that starts a :class:`RawServer`, which is stopped after the test."""
    servers: list[RawServer] = []

    def start(*scripts: Any, **options: Any) -> RawServer:
        servers.append(RawServer(*scripts, **options))
        return servers[-1]

    yield start
    for server in servers:
        server.stop()


@pytest.fixture
def closed_port() -> int:
    """Return a port on which no process listens."""
    return free_port()
