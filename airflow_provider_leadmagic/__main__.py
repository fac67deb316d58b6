"""The command line on every version of Airflow; from 3.2 on it is part of ``airflow`` as well."""

from __future__ import annotations

import argparse
import os
import sys
import warnings
from typing import TYPE_CHECKING

from airflow_provider_leadmagic.cli.errors import failures_explained

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> None:
    """
    Run a command and exit with its code.

    :param argv: The arguments, those of the process by default.
    """
    with failures_explained():
        options = _parser().parse_args(argv)
        options.func(options)


def _parser() -> argparse.ArgumentParser:
    from airflow_provider_leadmagic.cli.commands import COMMANDS  # loads Airflow, which may fail

    parser = argparse.ArgumentParser(prog="python -m airflow_provider_leadmagic")
    parsers = parser.add_subparsers(metavar="COMMAND", required=True)
    for command in COMMANDS:
        own = parsers.add_parser(
            command.name, help=command.help, description=command.description or command.help, epilog=command.epilog
        )
        for argument in command.args:
            argument.add_to_parser(own)
        own.set_defaults(func=command.func)
    return parser


def _quieten_airflow() -> None:
    """Keep what Airflow says while it loads and ends off the output, which it is written to."""
    os.environ["AIRFLOW__LOGGING__LOGGING_LEVEL"] = "CRITICAL"
    if not sys.warnoptions:
        warnings.simplefilter("ignore")
        sys.warnoptions.append("ignore")  # Airflow 2 looks there before it turns its own back on


if __name__ == "__main__":
    _quieten_airflow()
    main()
