from __future__ import annotations

import json
import re
import signal

import pytest

from airflow_provider_leadmagic.sandbox.command import main
from tests.unit.sandbox.conftest import needs_ipv6
from tests.unit.sandbox.running_command import running

pytestmark = [pytest.mark.e2e, pytest.mark.any_airflow]  # each test starts a process


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_runs_until_it_receives_a_signal(session, number):
    with running("--port", 0, "--credits", "12.5", "--api-key", "my-key") as process:
        line = process.stdout.readline()
        (url, host) = re.findall(r"http://127\.0\.0\.1:\d+", line)
        response = session.get(f"{url}/v1/credits", headers={"X-API-Key": "my-key"}, timeout=5)
        process.send_signal(number)
        rest, errors = process.communicate(timeout=10)
    assert response.json()["credits"] == 12.5
    assert url == host
    assert "AIRFLOW_CONN_LEADMAGIC_DEFAULT='{" in line
    assert (process.returncode, rest, errors) == (0, "", "")


@pytest.mark.parametrize(
    ("arguments", "url"),
    [
        (["--host", "0.0.0.0", "--allow-host", "sandbox", "--allow-host", "other"], r"http://sandbox:\d+"),
        (["--host", "0.0.0.0"], r"http://[\d.]+:\d+"),
        pytest.param(["--host", "::1"], r"http://\[::1\]:\d+", marks=needs_ipv6),
    ],
    ids=" ".join,
)
def test_the_hook_accepts_the_connection_that_the_command_prints(connect, resolve_container, arguments, url):
    resolve_container("sandbox")
    with running("--port", 0, *arguments) as process:
        line = process.stdout.readline()
        connection = re.search("AIRFLOW_CONN_LEADMAGIC_DEFAULT='(.+)'$", line)[1]
        assert connect(connection).get_credits().credits == 1000
    assert re.fullmatch(url, json.loads(connection)["host"])
    assert "0.0.0.0" not in line


@pytest.mark.parametrize("port", ["taken", 70000])
def test_an_unavailable_port_prints_one_sentence_and_exits_with_1(leadmagic_sandbox, port):
    port = leadmagic_sandbox.url.rpartition(":")[2] if port == "taken" else port
    with running("--port", port) as process:
        out, error = process.communicate(timeout=10)
    assert (process.returncode, out) == (1, "")
    assert re.fullmatch(rf"leadmagic-sandbox: cannot start on 127\.0\.0\.1:{port}: .+\n", error)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--credits", "-1"],
        ["--credits", "many"],
        ["--port", "x"],
        ["--colour", "red"],
        ["--allow-host", ""],
        ["--allow-host", "http://sandbox"],
        ["--allow-host", "sandbox:4010"],
    ],
)
def test_invalid_arguments_print_the_usage(capsys, arguments):
    with pytest.raises(SystemExit, match="2"):
        main(arguments)
    assert "usage: leadmagic-sandbox" in capsys.readouterr().err
