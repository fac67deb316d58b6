"""
Definitions of the commands, for ``airflow leadmagic`` and for ``python -m airflow_provider_leadmagic``.

Airflow imports this module whenever ``airflow`` runs, so the code behind a command is imported only when it is
called (except ``sandbox``).
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


# All commands but ``sandbox`` check numbers themselves: for an invalid number, Airflow's parser would print the whole
# help text to standard output.
ARG_CONNECTION = _arg("--conn-id", default="leadmagic_default", help="Airflow connection ID (default: %(default)s)")
ARG_CLAIMS_CONNECTION = _arg("--conn-id", help="Airflow connection ID (default: that of the latest claim)")
ARG_POOL = _arg("--pool", help="claim pool (default: every pool with claims)")
ARG_OUTPUT = _arg("-o", "--output", choices=("table", "json"), default="table", help="table (default) or json")
ARG_MINIMUM = _arg("--minimum", metavar="CREDITS", help="exit with 1 if fewer credits are spendable")
ARG_REFRESH = _arg("--refresh", action="store_true", help="make LeadMagic re-read the balance from its database first")
ARG_DAYS = _arg("--days", default="30", help="number of days, including today: 1 to 90 (default: %(default)s)")

COMMANDS = (
    ActionCommand(
        name="credits",
        help="Show the credit balance",
        description="Show the credit balance of a connection. Free of charge.",
        func=lazy_load_command(f"{_CODE}.credits.credits"),
        args=(ARG_CONNECTION, ARG_MINIMUM, ARG_REFRESH, ARG_OUTPUT),
        epilog="Exit code: 0 on success, 1 if --minimum is not reached, 2 if the balance could not be read.",
    ),
    ActionCommand(
        name="usage",
        help="Show requests and spending by day",
        description="Show requests and spending by day, and how long the credits last. Free of charge.",
        func=lazy_load_command(f"{_CODE}.credits.usage"),
        args=(ARG_CONNECTION, ARG_DAYS, ARG_OUTPUT),
        epilog="Exit code: 0 on success, 2 if the usage could not be read.",
    ),
    ActionCommand(
        name="claims",
        help="Show which tasks hold credits or wait for them",
        description="Show which tasks hold credits or wait for them, and check the claim pools. Free of charge.",
        func=lazy_load_command(f"{_CODE}.claims.claims"),
        args=(ARG_POOL, ARG_CLAIMS_CONNECTION, ARG_OUTPUT),
        epilog="Exit code: 0 on success, 1 if a pool has wrong settings, 2 if claims or balance could not be read.",
    ),
    ActionCommand(
        name="sandbox",
        help="Run a local LeadMagic API for development and tests",
        func=lazy_load_command("airflow_provider_leadmagic.sandbox.command.sandbox"),
        args=[_arg(flag, **properties) for flag, properties in OPTIONS.items()],
    ),
)


def get_leadmagic_cli_commands() -> list[CLICommand]:
    """Return the command group ``airflow leadmagic``, for Airflow 3.2 and later."""
    return [GroupCommand(name="leadmagic", help="Show LeadMagic credits, usage and claims", subcommands=COMMANDS)]
