"""Tests that everything the provider info and the entry points refer to exists."""

from __future__ import annotations

import importlib
import importlib.metadata
import inspect
import re
import subprocess
import sys
import tomllib

import pytest

from airflow_provider_leadmagic.get_provider_info import get_provider_info
from tests.support.airflow_home import REPOSITORY

PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
ENTRY_POINTS = [
    *(f"console: {value}" for value in PROJECT["scripts"].values()),
    *(f"{group}: {value}" for group, points in PROJECT["entry-points"].items() for value in points.values()),
]
SECTIONS = ("hooks", "operators", "sensors", "triggers")
MODULES = [name for key in SECTIONS for part in get_provider_info()[key] for name in part["python-modules"]]


@pytest.mark.parametrize("entry_point", ENTRY_POINTS)
def test_every_entry_point_can_be_loaded(entry_point):
    group, value = entry_point.split(": ")
    found = importlib.metadata.EntryPoint("any", value, group).load()
    assert callable(found) or group == "pytest11"


def test_entry_point_returns_the_provider_info():
    [value] = PROJECT["entry-points"]["apache_airflow_provider"].values()
    found = importlib.metadata.EntryPoint("any", value, "apache_airflow_provider").load()
    assert found() == get_provider_info()
    assert found()["package-name"] == PROJECT["name"]


@pytest.mark.parametrize("name", MODULES)
def test_every_listed_module_exists(name):
    assert importlib.import_module(name)


def test_every_hook_operator_and_sensor_module_is_listed():
    package = REPOSITORY / "airflow_provider_leadmagic"
    files = [path for section in ("hooks", "operators", "sensors") for path in (package / section).glob("[!_]*.py")]
    files = [path for path in files if re.search(r"class \w+(Hook|Operator|Sensor)\(", path.read_text())]
    assert {f"airflow_provider_leadmagic.{path.parent.name}.{path.stem}" for path in files} <= set(MODULES)


def test_every_trigger_module_is_listed():
    from airflow.triggers.base import BaseTrigger

    folder = REPOSITORY / "airflow_provider_leadmagic" / "triggers"
    modules = [
        importlib.import_module(f"airflow_provider_leadmagic.triggers.{path.stem}") for path in folder.glob("[!_]*.py")
    ]
    triggers = [
        value
        for module in modules
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, BaseTrigger) and not inspect.isabstract(value)
    ]
    assert {trigger.__module__ for trigger in triggers} <= set(MODULES)


def test_every_referenced_integration_is_described():
    info = get_provider_info()
    described = {integration["integration-name"] for integration in info["integrations"]}
    assert {part["integration-name"] for key in SECTIONS for part in info[key]} == described


def test_airflow_lists_the_configuration_option():
    command = [sys.executable, "-m", "airflow", "config", "list", "--section", "leadmagic", "--include-descriptions"]
    listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout

    assert "instance_name = " in listed
    assert "Name of this Airflow instance, if several use the same LeadMagic account." in listed


def test_hook_of_the_connection_type_exists():
    [connection_type] = get_provider_info()["connection-types"]
    module, _, name = connection_type["hook-class-name"].rpartition(".")
    assert getattr(importlib.import_module(module), name).conn_type == connection_type["connection-type"]


def test_provider_info_imports_no_heavy_module():
    code = (
        "import sys; from airflow_provider_leadmagic.get_provider_info import get_provider_info; get_provider_info(); "
        "print(sorted({name.split('.')[0] for name in sys.modules} & {'airflow', 'requests', 'tenacity', 'fastapi'}))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=REPOSITORY)
    assert result.stdout.strip() == "[]"


def test_client_works_without_airflow():
    code = (
        "import sys; sys.modules['airflow'] = None; from airflow_provider_leadmagic.client import LeadMagicClient; "
        "print(LeadMagicClient('lm_a_key_nobody_issued'))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=REPOSITORY)
    assert result.stdout.strip() == "<LeadMagicClient https://api.leadmagic.io>"


def test_airflow_loads_the_hook():
    from airflow.providers_manager import ProvidersManager

    hook = ProvidersManager().hooks["leadmagic"]
    assert hook is not None
    assert (hook.hook_name, hook.connection_id_attribute_name) == ("LeadMagic", "leadmagic_conn_id")
    assert hook.connection_testable


def test_airflow_tests_a_connection_with_the_hook(leadmagic_sandbox):
    from airflow.models import Connection

    connection = Connection(
        conn_id="leadmagic_default",
        conn_type="leadmagic",
        host=leadmagic_sandbox.url,
        password=leadmagic_sandbox.api_key,
    )
    assert connection.test_connection() == (
        True,
        "Connected to LeadMagic: 1,000 credits, 1,000 spendable.",
    )


def test_airflow_lists_the_provider_with_its_version():
    from airflow.providers_manager import ProvidersManager

    provider = ProvidersManager().providers[PROJECT["name"]]
    assert provider.version == importlib.metadata.version(PROJECT["name"])
