"""Command line for every Airflow version. Since Airflow 3.2 the same commands are also in ``airflow leadmagic``."""

from __future__ import annotations

import argparse
import os
import sys
import warnings
from typing import TYPE_CHECKING

from airflow_provider_leadmagic.cli.common import exit_on_failure

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> None:
    """
    Run a command and exit with its exit code.

    :param argv: Arguments; by default those of the process.
    """
    with exit_on_failure():
        options = _parser().parse_args(argv)
        options.func(options)


def _parser() -> argparse.ArgumentParser:
    from airflow_provider_leadmagic.cli.commands import COMMANDS  # imports Airflow, which may fail

    parser = argparse.ArgumentParser(prog="python -m airflow_provider_leadmagic")
    parsers = parser.add_subparsers(metavar="COMMAND", required=True)
    for command in COMMANDS:
        subparser = parsers.add_parser(
            command.name, help=command.help, description=command.description or command.help, epilog=command.epilog
        )
        for argument in command.args:
            argument.add_to_parser(subparser)
        subparser.set_defaults(func=command.func)
    return parser


def _silence_airflow() -> None:
    """Suppress the messages that Airflow prints to standard output when it is imported and when it exits."""
    os.environ["AIRFLOW__LOGGING__LOGGING_LEVEL"] = "CRITICAL"
    if not sys.warnoptions:
        warnings.simplefilter("ignore")
        sys.warnoptions.append("ignore")  # Airflow 2 shows its own warnings again unless this is set


if __name__ == "__main__":
    _silence_airflow()
    main()
