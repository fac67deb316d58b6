"""The files in quickstart/ fit this package. Docker is not needed: nothing is built or started."""

from __future__ import annotations

import json
import shlex
from typing import Any

import pytest
import yaml

from airflow_provider_leadmagic.hooks.leadmagic import LeadMagicHook
from airflow_provider_leadmagic.sandbox import command
from dev.matrix import MAY_FAIL, VERSIONS
from tests.support.airflow_home import REPOSITORY
from tests.support.pages import python_of

FOLDER = REPOSITORY / "quickstart"
COMPOSE = yaml.safe_load((FOLDER / "docker-compose.yaml").read_text())
ASTRO = yaml.safe_load((FOLDER / "astro" / "airflow_settings.yaml").read_text())
*_, NEWEST = [version for version in VERSIONS if version not in MAY_FAIL]


#: The connection that each of the two setups defines.
CONNECTIONS = {
    "compose": json.loads(COMPOSE["services"]["airflow"]["environment"]["AIRFLOW_CONN_LEADMAGIC_DEFAULT"]),
    "astro": {name.removeprefix("conn_"): value for name, value in ASTRO["airflow"]["connections"][0].items()},
}


@pytest.mark.parametrize("folder", ["dags", "astro/dags"])
def test_the_dag_is_that_of_the_readme(folder: str) -> None:
    lines = [line for line in (FOLDER / folder / "nightly_enrichment.py").read_text().splitlines() if line]

    assert [line for line in python_of("README.md")[0].splitlines() if line] == lines[2:]


def test_the_image_has_the_newest_airflow_that_is_tested() -> None:
    assert f"FROM apache/airflow:{NEWEST}\n" in (FOLDER / "Dockerfile").read_text()


@pytest.mark.parametrize("file", ["Dockerfile", "astro/requirements.txt"])
def test_the_images_contain_this_package_with_the_sandbox(file: str) -> None:
    assert "airflow-provider-leadmagic[sandbox]" in (FOLDER / file).read_text()


@pytest.mark.parametrize("connection", CONNECTIONS.values(), ids=CONNECTIONS)
def test_the_connection_is_accepted(connection: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    given = {"conn_type" if name == "type" else name: value for name, value in connection.items() if name != "id"}
    monkeypatch.setenv("AIRFLOW_CONN_LEADMAGIC_DEFAULT", json.dumps(given))

    assert LeadMagicHook().get_conn().base_url == connection["host"]


def test_the_sandbox_of_compose_serves_the_host_of_the_connection() -> None:
    _, _, shell = shlex.split(COMPOSE["services"]["sandbox"]["command"])
    _, program, *options = shlex.split(shell)

    parsed = command._parser().parse_args(options)

    assert program == "leadmagic-sandbox"
    assert f"http://{parsed.allow_host[0]}:{parsed.port}" == CONNECTIONS["compose"]["host"]
    assert parsed.api_key == CONNECTIONS["compose"]["password"]


@pytest.mark.parametrize("service", COMPOSE["services"])
def test_only_this_machine_reaches_the_ports(service: str) -> None:
    assert [port for port in COMPOSE["services"][service]["ports"] if not port.startswith("127.0.0.1:")] == []
