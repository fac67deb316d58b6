"""What all tests share."""

from __future__ import annotations

import logging
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
    """Leave nothing running, whoever ends the tests: SIGTERM would end us at once, and xdist its workers too soon."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    NodeManager.EXIT_TIMEOUT = 30


class FileByFile(LoadFileScheduling):
    """Keeps the tests of a file together, and the files that share one Airflow."""

    def _split_scope(self, nodeid: str) -> str:
        file = str(super()._split_scope(nodeid))
        return "one Airflow" if file.startswith("tests/e2e/") and file.endswith("_in_airflow.py") else file


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> FileByFile | None:
    """Have ``--dist loadfile`` start one Airflow rather than one for each worker."""
    return FileByFile(config, log) if config.getvalue("dist") == "loadfile" else None


@pytest.fixture(scope="session")
def airflow_database() -> Path:
    """A migrated metadata database, for tests in which Airflow keeps something."""
    done = subprocess.run([sys.executable, "-m", "airflow", "db", "migrate"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return HOME / "airflow.db"


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]) -> Callable[[], str]:
    """Collect what was logged: by way of the standard library, from Airflow 3.1 on to standard output as well."""
    caplog.set_level(logging.INFO)
    caplog.set_level(logging.INFO, logger="airflow.task")
    return lambda: caplog.text + (capsys.readouterr().out if AIRFLOW_SERIES >= (3, 1) else "")


@pytest.fixture
def serve() -> Iterator[Callable[..., RawServer]]:
    """Give a function that starts a server which plays scripts."""
    servers: list[RawServer] = []

    def start(*scripts: Any, **options: Any) -> RawServer:
        servers.append(RawServer(*scripts, **options))
        return servers[-1]

    yield start
    for server in servers:
        server.stop()


@pytest.fixture
def closed_port() -> int:
    """Find a port where nobody listens."""
    return free_port()
