"""What all tests share."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.airflow_home import HOME

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="session")
def airflow_database() -> Path:
    """A migrated metadata database, for tests in which Airflow keeps something."""
    done = subprocess.run([sys.executable, "-m", "airflow", "db", "migrate"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return HOME / "airflow.db"
