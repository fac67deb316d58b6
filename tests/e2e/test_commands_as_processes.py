"""The commands as processes, under an Airflow that has no database: a connection can come from the environment only."""

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

TAKES_COMMANDS = AIRFLOW_SERIES >= (3, 2)
KEY = "lm_canary_5f0c9b7e2d1a4c83"
OURS = [sys.executable, "-m", "airflow_provider_leadmagic"]
AIRFLOWS = [str(Path(sys.executable).parent / "airflow"), "leadmagic"]


class Shell:
    """
    Run commands in a fresh Airflow home.

    :param command: What the command line starts with.
    :param environment: The variables there are.
    """

    def __init__(self, command: list[str], environment: dict[str, str]) -> None:
        self.command = command
        self.environment = environment

    @contextmanager
    def running(self, *arguments: object, **variables: str) -> Iterator[subprocess.Popen[str]]:
        command = [*self.command, *map(str, arguments)]
        environment = self.environment | variables
        pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        with subprocess.Popen(command, cwd=REPOSITORY, env=environment, preexec_fn=heed_ctrl_c, **pipes) as process:
            try:
                yield process
            finally:
                process.kill()

    def run(self, *arguments: object, **variables: str) -> Outcome:
        with self.running(*arguments, **variables) as process:
            return Outcome.of(process)


def heed_ctrl_c() -> None:
    """Undo what a shell does to all it runs in the background, these tests included."""
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
    def complaint(self) -> str:
        """What stands in our one line on standard error."""
        [line] = [line for line in self.err.splitlines() if line.startswith("leadmagic: ")]
        return line.removeprefix("leadmagic: ")


@pytest.fixture(
    params=[
        pytest.param(OURS, id="python -m"),
        pytest.param(
            AIRFLOWS,
            id="airflow",
            marks=pytest.mark.skipif(not TAKES_COMMANDS, reason="Airflow takes commands from providers since 3.2"),
        ),
    ]
)
def shell(request: pytest.FixtureRequest, tmp_path: Path) -> Shell:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "_AIRFLOW"))}
    return Shell(request.param, environment | {"AIRFLOW_HOME": str(tmp_path)})


def connection(**fields: object) -> str:
    return json.dumps({"conn_type": "leadmagic", "password": KEY, **fields})


def test_a_balance_is_printed_as_json_and_compared(shell, leadmagic_sandbox):
    outcome = shell.run(
        "credits", "--minimum=5000", "-o", "json", AIRFLOW_CONN_LEADMAGIC_DEFAULT=leadmagic_sandbox.connection_json
    )
    report = json.loads(outcome.out)
    assert (report["spendable"], report["minimum_credits"], report["sufficient"]) == (1000, 5000, False)
    assert outcome.code == 1
    assert outcome.complaint == "Not enough credits: 1,000 spendable, --minimum is 5,000."


def test_a_usage_is_printed_with_bars_and_without_colours(shell, leadmagic_sandbox):
    leadmagic_sandbox.record_spending("email_finder", 5)
    variables = {"AIRFLOW_CONN_LEAD": leadmagic_sandbox.connection_json, "PYTHONIOENCODING": "utf-8"}
    outcome = shell.run("usage", "--conn-id", "lead", "--days", 2, **variables)
    assert outcome.code == 0
    assert "━" * 20 in outcome.out
    assert "\x1b" not in outcome.out


@pytest.mark.parametrize("shell", [OURS], indirect=True, ids=["python -m"])
def test_json_stays_json_however_much_airflow_is_told_to_log(shell, leadmagic_sandbox):
    variables = {
        "AIRFLOW_CONN_LEADMAGIC_DEFAULT": leadmagic_sandbox.connection_json,
        "AIRFLOW__LOGGING__LOGGING_LEVEL": "DEBUG",
    }
    outcome = shell.run("credits", "-o", "json", **variables)
    assert json.loads(outcome.out)["credits"] == 1000
    assert (outcome.code, outcome.err) == (0, "")


@pytest.mark.parametrize("shell", [OURS], indirect=True, ids=["python -m"])
def test_an_airflow_that_cannot_be_loaded_is_one_line_without_the_password_of_its_database(shell):
    outcome = shell.run("credits", AIRFLOW__DATABASE__SQL_ALCHEMY_CONN=f"no such database:{KEY}")
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.complaint.startswith("Airflow failed (ArgumentError)")


@pytest.mark.parametrize("shell", [OURS], indirect=True, ids=["python -m"])
def test_an_output_that_cannot_be_written_is_one_line(shell, leadmagic_sandbox):
    environment = shell.environment | {"AIRFLOW_CONN_LEADMAGIC_DEFAULT": leadmagic_sandbox.connection_json}
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [*shell.command, "credits"], cwd=REPOSITORY, env=environment, stdout=full, stderr=subprocess.PIPE, text=True
        )
    assert done.returncode == 2
    assert done.stderr == "leadmagic: Cannot write the output: No space left on device.\n"


@pytest.mark.parametrize("shell", [OURS], indirect=True, ids=["python -m"])
def test_a_connection_in_airflows_database_is_found(shell, leadmagic_sandbox, airflow_database):
    variables = {
        "AIRFLOW_HOME": str(airflow_database.parent),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{airflow_database}",
    }
    airflow = Shell(AIRFLOWS[:1], shell.environment | variables)
    uri = f"leadmagic://:{leadmagic_sandbox.api_key}@{leadmagic_sandbox.url.removeprefix('http://')}"
    assert airflow.run("connections", "add", "kept_by_airflow", "--conn-uri", uri).code == 0
    outcome = shell.run("credits", "--conn-id", "kept_by_airflow", **variables)
    assert (outcome.code, outcome.err) == (0, "")
    assert re.search(r"^Credits +1,000$", outcome.out, re.MULTILINE)


def test_a_connection_that_does_not_exist_is_one_line_without_a_database(shell):
    outcome = shell.run("credits", "-o", "json")
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.complaint.startswith("Connection 'leadmagic_default' not found: create it")


def test_a_wrong_key_is_one_line(shell, leadmagic_sandbox):
    outcome = shell.run("credits", AIRFLOW_CONN_LEADMAGIC_DEFAULT=connection(host=leadmagic_sandbox.url))
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.complaint.endswith("Check the API key of connection 'leadmagic_default'.")


def test_ctrl_c_is_one_line(shell):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(30)
        host = f"127.0.0.1:{listener.getsockname()[1]}"
        with shell.running("credits", AIRFLOW_CONN_LEADMAGIC_DEFAULT=connection(host=host)) as process:
            connected, _ = listener.accept()
            process.send_signal(signal.SIGINT)
            outcome = Outcome.of(process)
            connected.close()
    assert (outcome.code, outcome.out, outcome.complaint) == (2, "", "Stopped by Ctrl-C.")


def test_the_sandbox_is_served_until_a_signal_ends_it(shell):
    with shell.running("sandbox", "--port", 0, "--credits", "12.5", "--api-key", "my-key") as process:
        [url] = set(re.findall(r"http://127\.0\.0\.1:\d+", process.stdout.readline()))
        answer = requests.get(f"{url}/v1/credits", headers={"X-API-Key": "my-key"}, timeout=5)
        process.send_signal(signal.SIGTERM)
        outcome = Outcome.of(process)
    assert answer.json()["credits"] == 12.5
    assert (outcome.code, outcome.out) == (0, "")
