"""Tests of the plugin: which Airflow gets the page, and what loading it costs."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import entry_points
from typing import Any

import pytest

from dev.local_airflow import AIRFLOW_SERIES

#: Prints how many apps and views the plugin registers, the milliseconds of its import, and what else it loads.
LOAD = """
import json, sys, time
import airflow.plugins_manager
before = set(sys.modules)
started = time.process_time()
from airflow_provider_leadmagic.ui.plugin import LeadMagicPlugin as plugin
milliseconds = (time.process_time() - started) * 1000
loaded = sorted(name for name in set(sys.modules) - before if not name.startswith("airflow_provider_leadmagic.ui"))
print(json.dumps([len(plugin.fastapi_apps), len(getattr(plugin, "external_views", ())), milliseconds, loaded]))
"""


def load(**environment: str) -> Any:
    """Load the plugin in a new process."""
    import json
    import os

    command = [sys.executable, "-W", "ignore", "-c", LOAD]
    done = subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_airflow_finds_the_plugin() -> None:
    [found] = [point for point in entry_points(group="airflow.plugins") if point.name == "leadmagic"]

    assert found.value == "airflow_provider_leadmagic.ui.plugin:LeadMagicPlugin"


@pytest.mark.skipif(AIRFLOW_SERIES < (3, 1), reason="this Airflow shows no pages of plugins")
def test_it_registers_one_page() -> None:
    assert load()[:2] == [1, 1]


@pytest.mark.skipif(AIRFLOW_SERIES >= (3, 1), reason="this Airflow shows pages of plugins")
def test_it_registers_nothing_on_an_airflow_without_pages() -> None:
    assert load()[:2] == [0, 0]


def test_it_registers_nothing_if_the_page_is_switched_off() -> None:
    assert load(AIRFLOW__LEADMAGIC__UI="False")[:2] == [0, 0]


def test_every_airflow_process_loads_it_in_less_than_five_milliseconds() -> None:
    *_, milliseconds, loaded = min((load() for _ in range(3)), key=lambda measured: measured[2])

    assert milliseconds < 5
    assert loaded in ([], ["airflow_provider_leadmagic"])
