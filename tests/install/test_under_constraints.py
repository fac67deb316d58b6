"""The wheel, installed as people install providers: into an Airflow, under its constraints."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import sys
import zipfile
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_leadmagic.sandbox.sandbox import Sandbox
from dev.local_airflow import wait_until
from dev.matrix import CELLS, find_python, requirements
from tests.install.clean_environment import VERSIONS, CleanEnvironment
from tests.support.airflow_home import REPOSITORY
from tests.support.build import build

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.install

#: What the sandbox needs and an Airflow may not have.
OPTIONAL = {"fastapi", "pydantic", "pytest", "starlette", "uvicorn"}
#: Imports the modules it is told, and prints what those miss that cannot be imported.
IMPORTS = """
import importlib, json, sys
missing = {}
for module in sys.argv[1:]:
    try:
        importlib.import_module(module)
    except ModuleNotFoundError as error:
        missing[module] = error.name
print(json.dumps(missing))
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("wheel", REPOSITORY, tmp_path_factory.mktemp("dist"))


@pytest.fixture(scope="module", params=VERSIONS, ids=lambda version: f"airflow-{version}")
def redact(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[CleanEnvironment]:
    """Install an Airflow alone."""
    folder = tmp_path_factory.mktemp("install")
    environment = CleanEnvironment(request.param, python_for(request.param), folder)
    environment.install(f"apache-airflow=={request.param}")
    yield environment
    if not os.environ.get("LEADMAGIC_TESTS_KEEP"):
        shutil.rmtree(folder)


@pytest.fixture(scope="module")
def before(clean: CleanEnvironment) -> dict[str, str]:
    """Tell what Airflow alone consists of."""
    return clean.packages()


@pytest.fixture(scope="module")
def installed(clean: CleanEnvironment, before: dict[str, str], wheel: Path) -> CleanEnvironment:
    """Add the wheel."""
    clean.install(str(wheel))
    return clean


@pytest.fixture(scope="module")
def migrated(installed: CleanEnvironment) -> CleanEnvironment:
    """Give this Airflow a database."""
    installed.run("airflow", "db", "migrate")
    return installed


@pytest.fixture
def sandbox(installed: CleanEnvironment) -> Iterator[Sandbox]:
    """Serve a LeadMagic from here, as the environment need not have what a server takes."""
    with Sandbox(100) as sandbox:
        installed.variables["AIRFLOW_CONN_LEADMAGIC_DEFAULT"] = sandbox.connection_json
        yield sandbox


def python_for(airflow: str) -> str:
    """Find a Python that this Airflow supports: the one that runs these tests, if it does."""
    supported = [python for version, python in CELLS.values() if requirements(version)[1] == airflow]
    if "{}.{}".format(*sys.version_info) in supported:
        return sys.executable
    found = next(filter(None, map(find_python, supported)), None)
    assert found, f"Airflow {airflow} needs one of Python {', '.join(supported)}, and none is here"
    return found


def test_one_package_is_added_and_none_is_changed(before: dict[str, str], installed: CleanEnvironment) -> None:
    after = installed.packages()

    assert before["apache-airflow"] == installed.airflow
    assert after.keys() - before.keys() == {"airflow-provider-leadmagic"}
    assert {name: version for name, version in after.items() if name in before} == before


def test_every_module_of_the_wheel_can_be_imported(installed: CleanEnvironment, wheel: Path) -> None:
    modules = sorted(
        name.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        for name in zipfile.ZipFile(wheel).namelist()
        if name.endswith(".py")
    )

    missing = json.loads(installed.run("python", "-c", IMPORTS, *modules).splitlines()[-1])

    assert "airflow_provider_leadmagic.sensors.credits" in modules
    assert set(missing.values()) <= OPTIONAL - installed.packages().keys()
    assert [module for module in missing if not module.startswith("airflow_provider_leadmagic.sandbox.")] == []


def test_the_sandbox_adds_nothing_to_airflow_3_and_changes_nothing(installed: CleanEnvironment, wheel: Path) -> None:
    plan = installed.install("--dry-run", f"airflow-provider-leadmagic[sandbox] @ {wheel.as_uri()}")
    changes = [line.split() for line in plan.splitlines() if line.startswith((" +", " -", " ~"))]

    assert [name for sign, name, *_ in changes if sign != "+"] == []
    assert bool(changes) is installed.airflow.startswith("2.")


def test_a_check_and_a_gate_run(migrated: CleanEnvironment, sandbox: Sandbox) -> None:
    with migrated.running("airflow", "dags", "test", "first_use") as process:
        wait_until(lambda: looks(sandbox) >= 2 or process.poll() is not None, 120, "a look by each task")
        sandbox.set_credits(1000)

    assert stored(migrated, "SELECT task_id, state FROM task_instance") == {"check": "success", "gate": "success"}
    reports = stored(migrated, "SELECT task_id, value FROM xcom WHERE key = 'return_value'")
    verdicts = {task: (report["spendable"], report["sufficient"]) for task, report in map(read_xcom, reports.items())}
    assert verdicts == {"check": (100, False), "gate": (1000, True)}


def test_the_connection_can_be_tested(migrated: CleanEnvironment, sandbox: Sandbox) -> None:
    said = migrated.run("airflow", "connections", "test", "leadmagic_default")

    assert "Connection success!" in said
    assert looks(sandbox) == 1


def looks(sandbox: Sandbox) -> int:
    return len(sandbox.requests_to("/v1/credits"))


def stored(installed: CleanEnvironment, statement: str) -> dict[str, Any]:
    with closing(sqlite3.connect(installed.home / "airflow.db")) as database:
        return dict(database.execute(statement).fetchall())


def read_xcom(item: tuple[str, Any]) -> tuple[str, dict[str, Any]]:
    """Read the value: Airflow 2 keeps JSON, Airflow 3 the JSON of JSON."""
    task, value = item
    value = json.loads(value)
    return task, json.loads(value) if isinstance(value, str) else value
