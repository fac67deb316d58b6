"""The wheel, installed the way users install providers: into an Airflow, under its constraints."""

from __future__ import annotations

import json
import zipfile
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_leadmagic.sandbox.sandbox import Sandbox
from dev.local_airflow import wait_until
from tests.install.clean_environment import stored_in

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.install.clean_environment import CleanEnvironment

pytestmark = pytest.mark.install

#: Dependencies of the sandbox that an Airflow may lack.
OPTIONAL = {"fastapi", "pydantic", "pytest", "starlette", "uvicorn"}
#: Modules of the page, which Airflow 2 cannot show. It loads the plugin, which then registers nothing.
PAGE = {f"airflow_provider_leadmagic.{name}" for name in ("compat.auth", "ui.app", "ui.page", "ui.tasks")}
#: Imports the given modules, and prints the missing dependency of each that fails.
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
def packages_before(clean: CleanEnvironment) -> dict[str, str]:
    """List the packages of Airflow alone."""
    return clean.packages()


@pytest.fixture(scope="module")
def installed(clean: CleanEnvironment, packages_before: dict[str, str], wheel: Path) -> CleanEnvironment:
    """Install the wheel."""
    clean.install(str(wheel))
    return clean


@pytest.fixture(scope="module")
def migrated(installed: CleanEnvironment) -> CleanEnvironment:
    """Create the database of this Airflow."""
    installed.run("airflow", "db", "migrate")
    return installed


@pytest.fixture
def sandbox(installed: CleanEnvironment) -> Iterator[Sandbox]:
    """Run the sandbox in this process, because the environment may lack its dependencies."""
    with Sandbox(100) as sandbox:
        installed.variables["AIRFLOW_CONN_LEADMAGIC_DEFAULT"] = sandbox.connection_json
        yield sandbox


def test_installing_adds_one_package_and_changes_none(
    packages_before: dict[str, str], installed: CleanEnvironment
) -> None:
    after = installed.packages()

    assert packages_before["apache-airflow"] == installed.airflow
    assert after.keys() - packages_before.keys() == {"airflow-provider-leadmagic"}
    assert {name: version for name, version in after.items() if name in packages_before} == packages_before


def test_every_module_of_the_wheel_can_be_imported(installed: CleanEnvironment, wheel: Path) -> None:
    modules = sorted(
        name.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        for name in zipfile.ZipFile(wheel).namelist()
        if name.endswith(".py")
    )
    if installed.airflow.startswith("2."):
        modules = sorted({*modules} - PAGE)

    missing = json.loads(installed.run("python", "-c", IMPORTS, *modules).splitlines()[-1])

    assert "airflow_provider_leadmagic.sensors.credits" in modules
    assert set(missing.values()) <= OPTIONAL - installed.packages().keys()
    assert "airflow_provider_leadmagic.ui.plugin" in modules
    assert [module for module in missing if not module.startswith("airflow_provider_leadmagic.sandbox.")] == []


def test_the_sandbox_extra_adds_no_package_to_airflow_3_and_changes_none(
    installed: CleanEnvironment, wheel: Path
) -> None:
    plan = installed.install("--dry-run", f"airflow-provider-leadmagic[sandbox] @ {wheel.as_uri()}")
    changes = [line.split() for line in plan.splitlines() if line.startswith((" +", " -", " ~"))]

    assert [name for sign, name, *_ in changes if sign != "+"] == []
    assert bool(changes) is installed.airflow.startswith("2.")


def test_a_check_and_a_sensor_run(migrated: CleanEnvironment, sandbox: Sandbox) -> None:
    with migrated.running("airflow", "dags", "test", "first_use") as process:
        wait_until(lambda: polls(sandbox) >= 2 or process.poll() is not None, 120, "a poll by each task")
        sandbox.set_credits(1000)

    assert stored(migrated, "SELECT task_id, state FROM task_instance") == {
        "check": "success",
        "wait_for_credits": "success",
    }
    reports = stored(migrated, "SELECT task_id, value FROM xcom WHERE key = 'return_value'")
    verdicts = {task: (report["spendable"], report["sufficient"]) for task, report in map(read_xcom, reports.items())}
    assert verdicts == {"check": (100, False), "wait_for_credits": (1000, True)}


def test_the_connection_can_be_tested(migrated: CleanEnvironment, sandbox: Sandbox) -> None:
    output = migrated.run("airflow", "connections", "test", "leadmagic_default")

    assert "Connection success!" in output
    assert polls(sandbox) == 1


def polls(sandbox: Sandbox) -> int:
    return len(sandbox.requests_to("/v1/credits"))


def stored(installed: CleanEnvironment, statement: str) -> dict[str, Any]:
    return stored_in(installed.home / "airflow.db", statement)


def read_xcom(item: tuple[str, Any]) -> tuple[str, dict[str, Any]]:
    """Parse an XCom value: Airflow 2 stores JSON, Airflow 3 a JSON string inside JSON."""
    task, value = item
    value = json.loads(value)
    return task, json.loads(value) if isinstance(value, str) else value
