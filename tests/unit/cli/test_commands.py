"""Tests that ``airflow leadmagic`` and ``python -m airflow_provider_leadmagic`` share one definition."""

from __future__ import annotations

import argparse
import subprocess
import sys

import pytest

from airflow_provider_leadmagic.__main__ import main
from airflow_provider_leadmagic.cli import claims, commands, credits
from airflow_provider_leadmagic.get_provider_info import get_provider_info
from airflow_provider_leadmagic.hooks.leadmagic import LeadMagicHook
from airflow_provider_leadmagic.sandbox import command as console_script
from dev.local_airflow import AIRFLOW_SERIES
from tests.support.airflow_home import REPOSITORY

HAS_PROVIDER_COMMANDS = AIRFLOW_SERIES >= (3, 2)
COMMAND_LINES = [
    ["credits"],
    ["credits", "--conn-id", "other", "--minimum", "5", "--refresh", "-o", "json"],
    ["usage"],
    ["usage", "--days", "7", "--output", "json"],
    ["claims"],
    ["claims", "--pool", "sales & ops", "--conn-id", "other", "-o", "json"],
    ["sandbox"],
    ["sandbox", "--port", "0", "--credits", "12.5", "--api-key", "k", "--host", "::1"],
]


@pytest.fixture
def options_of(mocker):
    """Return a function that returns the options that ``python -m airflow_provider_leadmagic`` passes to a command."""

    def options_of(line):
        module = {"credits": credits, "usage": credits, "claims": claims, "sandbox": console_script}[line[0]]
        called = mocker.patch.object(module, line[0])
        main(line)
        return {name: value for name, value in vars(called.call_args.args[0]).items() if name != "func"}

    return options_of


@pytest.mark.skipif(not HAS_PROVIDER_COMMANDS, reason="providers can add commands to Airflow since 3.2")
@pytest.mark.parametrize("line", COMMAND_LINES, ids=" ".join)
def test_airflow_parses_a_command_line_identically(options_of, line):
    from airflow.cli.cli_parser import get_parser

    parsed = vars(get_parser().parse_args(["leadmagic", *line]))
    assert {name: value for name, value in parsed.items() if name not in ("func", "subcommand")} == options_of(line)


def test_defaults_are_the_default_connection_and_a_table(options_of):
    defaults = {"conn_id": LeadMagicHook.default_conn_name, "output": "table"}
    assert options_of(["credits"]) == {**defaults, "minimum": None, "refresh": False}
    assert options_of(["usage"]) == {**defaults, "days": "30"}
    assert options_of(["claims"]) == {**defaults, "pool": None, "conn_id": None}


@pytest.mark.parametrize("line", COMMAND_LINES[-2:], ids=" ".join)
def test_sandbox_command_has_the_options_of_its_console_script(options_of, mocker, line):
    serve = mocker.patch.object(console_script, "serve")
    console_script.main(line[1:])
    assert serve.call_args.args[0] == argparse.Namespace(**options_of(line))


def test_provider_info_refers_to_the_commands():
    [path] = get_provider_info()["cli"]
    assert path == f"{commands.__name__}.{commands.get_leadmagic_cli_commands.__name__}"
    [group] = commands.get_leadmagic_cli_commands()
    assert (group.name, [command.name for command in group.subcommands]) == (
        "leadmagic",
        ["credits", "usage", "claims", "sandbox"],
    )


@pytest.mark.e2e
def test_definition_does_not_import_the_code_of_the_commands():
    """Airflow imports the definition whenever ``airflow`` runs."""
    code = (
        "import sys; from airflow.cli import cli_config; before = set(sys.modules); "
        "import airflow_provider_leadmagic.cli.commands; "
        "print(*sorted(name for name in set(sys.modules) - before))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=REPOSITORY)
    added = {name for name in done.stdout.split() if name.split(".")[0] not in sys.stdlib_module_names}
    assert added <= {
        "airflow_provider_leadmagic",
        *(f"airflow_provider_leadmagic.cli{name}" for name in ("", ".commands")),
        *(f"airflow_provider_leadmagic.sandbox{name}" for name in ("", ".command", ".account")),
    }
