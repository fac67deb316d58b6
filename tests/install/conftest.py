"""The wheel, and a clean environment for each Airflow."""

from __future__ import annotations

import os
import shutil
import sys
from typing import TYPE_CHECKING

import pytest

from dev.matrix import CELLS, find_python, requirements
from tests.install.clean_environment import VERSIONS, CleanEnvironment
from tests.support.airflow_home import REPOSITORY
from tests.support.build import build

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("wheel", REPOSITORY, tmp_path_factory.mktemp("dist"))


@pytest.fixture(scope="module", params=VERSIONS, ids=lambda version: f"airflow-{version}")
def clean(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[CleanEnvironment]:
    """Install only Airflow."""
    folder = tmp_path_factory.mktemp("install")
    environment = CleanEnvironment(request.param, python_for(request.param), folder)
    environment.install(f"apache-airflow=={request.param}")
    yield environment
    if not os.environ.get("LEADMAGIC_TESTS_KEEP"):
        shutil.rmtree(folder)


def python_for(airflow: str) -> str:
    """Find a Python that this Airflow supports, preferably the one that runs these tests."""
    supported = [python for version, python in CELLS.values() if requirements(version)[1] == airflow]
    if "{}.{}".format(*sys.version_info) in supported:
        return sys.executable
    found = next(filter(None, map(find_python, supported)), None)
    assert found, f"Airflow {airflow} needs Python {' or '.join(supported)}, which is not installed"
    return found
