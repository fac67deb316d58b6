"""The commands in subprocesses. Unless a test creates a database, connections can come only from the environment."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import requests

from dev.local_airflow import AIRFLOW_SERIES
from tests.support.airflow_home import REPOSITORY

pytestmark = pytest.mark.e2e

SUPPORTS_PROVIDER_COMMANDS = AIRFLOW_SERIES >= (3, 2)
KEY = "lm_canary_5f0c9b7e2d1a4c83"
PYTHON_M = [sys.executable, "-m", "airflow_provider_leadmagic"]
AIRFLOW = [str(Path(sys.executable).parent / "airflow"), "leadmagic"]


class Shell:
    """
    Runs commands in an empty Airflow home.

    :param command: The first words of each command line.
    :param environment: The environment variables of the subprocess.
    """

    def __init__(self, command: list[str], environment: dict[str, str]) -> None:
        self.command = command
        self.environment = environment

    @contextmanager
    def running(self, *arguments: object, **variables: str) -> Iterator[subprocess.Popen[str]]:
        command = [*self.command, *map(str, arguments)]
        environment = self.environment | variables
        pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        with subprocess.Popen(command, cwd=REPOSITORY, env=environment, preexec_fn=restore_ctrl_c, **pipes) as process:
            try:
                yield process
            finally:
                process.kill()

    def run(self, *arguments: object, **variables: str) -> Outcome:
        with self.running(*arguments, **variables) as process:
            return Outcome.of(process)


def restore_ctrl_c() -> None:
    """Restore the default SIGINT handler. Without it, a command ignores SIGINT if a shell runs the tests with ``&``."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class Outcome(NamedTuple):
    code: int
    out: str
    err: str

    @classmethod
    def of(cls, process: subprocess.Popen[str]) -> Outcome:
        out, err = process.communicate(timeout=60)
        assert KEY not in out + err
        assert "Traceback" not in out + err
        return cls(process.returncode, out, err)

    @property
    def error(self) -> str:
        """The only line that the command writes to standard error itself, without its prefix."""
        [line] = [line for line in self.err.splitlines() if line.startswith("leadmagic: ")]
        return line.removeprefix("leadmagic: ")


@pytest.fixture(
    params=[
        pytest.param(PYTHON_M, id="python -m"),
        pytest.param(
            AIRFLOW,
            id="airflow",
            marks=pytest.mark.skipif(
                not SUPPORTS_PROVIDER_COMMANDS, reason="Airflow supports commands of providers since 3.2"
            ),
        ),
    ]
)
def shell(request: pytest.FixtureRequest, tmp_path: Path) -> Shell:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "_AIRFLOW"))}
    return Shell(request.param, environment | {"AIRFLOW_HOME": str(tmp_path)})


def connection(**fields: object) -> str:
    return json.dumps({"conn_type": "leadmagic", "password": KEY, **fields})


def test_credits_prints_the_balance_as_json_and_compares_it_with_the_minimum(shell, leadmagic_sandbox):
    outcome = shell.run(
        "credits", "--minimum=5000", "-o", "json", AIRFLOW_CONN_LEADMAGIC_DEFAULT=leadmagic_sandbox.connection_json
    )
    report = json.loads(outcome.out)
    assert (report["spendable"], report["minimum_credits"], report["sufficient"]) == (1000, 5000, False)
    assert outcome.code == 1
    assert outcome.error == "Not enough credits: 1,000 spendable, --minimum is 5,000."


def test_usage_prints_bars_without_colors(shell, leadmagic_sandbox):
    leadmagic_sandbox.record_spending("email_finder", 5)
    variables = {"AIRFLOW_CONN_LEAD": leadmagic_sandbox.connection_json, "PYTHONIOENCODING": "utf-8"}
    outcome = shell.run("usage", "--conn-id", "lead", "--days", 2, **variables)
    assert outcome.code == 0
    assert "━" * 20 in outcome.out
    assert "\x1b" not in outcome.out


@pytest.mark.parametrize("shell", [PYTHON_M], indirect=True, ids=["python -m"])
def test_json_output_is_valid_even_if_airflow_logs_at_debug_level(shell, leadmagic_sandbox):
    variables = {
        "AIRFLOW_CONN_LEADMAGIC_DEFAULT": leadmagic_sandbox.connection_json,
        "AIRFLOW__LOGGING__LOGGING_LEVEL": "DEBUG",
    }
    outcome = shell.run("credits", "-o", "json", **variables)
    assert json.loads(outcome.out)["credits"] == 1000
    assert (outcome.code, outcome.err) == (0, "")


@pytest.mark.parametrize("shell", [PYTHON_M], indirect=True, ids=["python -m"])
def test_an_airflow_that_cannot_start_prints_one_line_without_its_database_password(shell):
    outcome = shell.run("credits", AIRFLOW__DATABASE__SQL_ALCHEMY_CONN=f"no such database:{KEY}")
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.error.startswith("Airflow failed (ArgumentError)")


@pytest.mark.parametrize("shell", [PYTHON_M], indirect=True, ids=["python -m"])
def test_an_output_that_cannot_be_written_prints_one_line(shell, leadmagic_sandbox):
    environment = shell.environment | {"AIRFLOW_CONN_LEADMAGIC_DEFAULT": leadmagic_sandbox.connection_json}
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [*shell.command, "credits"], cwd=REPOSITORY, env=environment, stdout=full, stderr=subprocess.PIPE, text=True
        )
    assert done.returncode == 2
    assert done.stderr == "leadmagic: Cannot write the output: No space left on device.\n"


@pytest.mark.parametrize("shell", [PYTHON_M], indirect=True, ids=["python -m"])
def test_a_connection_in_airflows_database_is_found(shell, leadmagic_sandbox, airflow_database):
    variables = {
        "AIRFLOW_HOME": str(airflow_database.parent),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{airflow_database}",
    }
    airflow = Shell(AIRFLOW[:1], shell.environment | variables)
    uri = f"leadmagic://:{leadmagic_sandbox.api_key}@{leadmagic_sandbox.url.removeprefix('http://')}"
    assert airflow.run("connections", "add", "from_database", "--conn-uri", uri).code == 0
    outcome = shell.run("credits", "--conn-id", "from_database", **variables)
    assert (outcome.code, outcome.err) == (0, "")
    assert re.search(r"^Credits +1,000$", outcome.out, re.MULTILINE)


def test_claims_are_read_from_airflows_database(shell, airflow_database):
    variables = {
        "AIRFLOW_HOME": str(airflow_database.parent),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{airflow_database}",
    }
    airflow = Shell(AIRFLOW[:1], shell.environment | variables)
    ledger = json.dumps({"version": 1, "pool": "e2e", "claims": []})
    assert airflow.run("variables", "set", "leadmagic_claims_e2e", ledger).code == 0
    outcome = shell.run("claims", "--pool", "e2e", "-o", "json", **variables)
    assert json.loads(outcome.out)["pools"][0]["claimed"] == 0
    assert outcome.code == 1
    assert outcome.error.startswith("Pool 'e2e' does not exist, so Airflow never starts its tasks: run `airflow pools")


def test_a_missing_connection_prints_one_line_without_a_database(shell):
    outcome = shell.run("credits", "-o", "json")
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.error.startswith("Connection 'leadmagic_default' not found: create it")


def test_an_invalid_api_key_prints_one_line(shell, leadmagic_sandbox):
    outcome = shell.run("credits", AIRFLOW_CONN_LEADMAGIC_DEFAULT=connection(host=leadmagic_sandbox.url))
    assert (outcome.code, outcome.out) == (2, "")
    rejected = "API key rejected (401 invalid_api_key): check the password of connection 'leadmagic_default'. "
    assert outcome.error.startswith(rejected)


def test_ctrl_c_prints_one_line(shell):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(30)
        host = f"127.0.0.1:{listener.getsockname()[1]}"
        with shell.running("credits", AIRFLOW_CONN_LEADMAGIC_DEFAULT=connection(host=host)) as process:
            connected, _ = listener.accept()
            process.send_signal(signal.SIGINT)
            outcome = Outcome.of(process)
            connected.close()
    assert (outcome.code, outcome.out, outcome.error) == (2, "", "Stopped by Ctrl-C.")


def test_the_sandbox_runs_until_it_receives_a_signal(shell):
    with shell.running("sandbox", "--port", 0, "--credits", "12.5", "--api-key", "my-key") as process:
        [url] = set(re.findall(r"http://127\.0\.0\.1:\d+", process.stdout.readline()))
        response = requests.get(f"{url}/v1/credits", headers={"X-API-Key": "my-key"}, timeout=5)
        process.send_signal(signal.SIGTERM)
        outcome = Outcome.of(process)
    assert response.json()["credits"] == 12.5
    assert (outcome.code, outcome.out) == (0, "")
