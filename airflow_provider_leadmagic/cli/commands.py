"""
The commands and their arguments, for Airflow's command line and our own.

Airflow imports this each time ``airflow`` is called: what a command needs is loaded when it runs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.cli.cli_config import ActionCommand, Arg, GroupCommand, lazy_load_command

from airflow_provider_leadmagic.sandbox.command import OPTIONS

if TYPE_CHECKING:
    from airflow.cli.cli_config import CLICommand

_CODE = "airflow_provider_leadmagic.cli"


def _arg(*flags: str, **properties: Any) -> Arg:
    return Arg(flags, **properties)  # type: ignore[no-untyped-call]


# Numbers arrive as text, and their commands check them: Airflow's parser would answer a bad one with the whole help,
# on standard output.
ARG_CONNECTION = _arg("--conn-id", default="leadmagic_default", help="the connection (default: %(default)s)")
ARG_OUTPUT = _arg("-o", "--output", choices=("table", "json"), default="table", help="table (the default) or json")
ARG_MINIMUM = _arg("--minimum", metavar="CREDITS", help="exit with 1 if fewer credits can be spent")
ARG_REFRESH = _arg("--refresh", action="store_true", help="have LeadMagic re-read the balance from its database first")
ARG_DAYS = _arg("--days", default="30", help="days to look back, 1 to 90 (default: %(default)s)")

COMMANDS = (
    ActionCommand(
        name="credits",
        help="Show the credit balance",
        description="Show the credit balance of a connection. Free of charge.",
        func=lazy_load_command(f"{_CODE}.credits.credits"),
        args=(ARG_CONNECTION, ARG_MINIMUM, ARG_REFRESH, ARG_OUTPUT),
        epilog="Exit code: 0, 1 if --minimum is not reached, 2 if the balance could not be read.",
    ),
    ActionCommand(
        name="usage",
        help="Show what was requested and spent, day by day",
        description="Show what was requested and spent, day by day, and how long the credits last. Free of charge.",
        func=lazy_load_command(f"{_CODE}.usage.usage"),
        args=(ARG_CONNECTION, ARG_DAYS, ARG_OUTPUT),
        epilog="Exit code: 0, or 2 if the usage could not be read.",
    ),
    ActionCommand(
        name="sandbox",
        help="Serve a LeadMagic API on this machine",
        func=lazy_load_command("airflow_provider_leadmagic.sandbox.command.sandbox"),
        args=[_arg(flag, **properties) for flag, properties in OPTIONS.items()],
    ),
)


def get_leadmagic_cli_commands() -> list[CLICommand]:
    """Give Airflow 3.2+ the group ``airflow leadmagic``."""
    return [GroupCommand(name="leadmagic", help="Credits and usage of LeadMagic", subcommands=COMMANDS)]
