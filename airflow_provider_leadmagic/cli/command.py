"""What all commands that talk to LeadMagic have in common."""

from __future__ import annotations

import functools
import os
import sys
from typing import TYPE_CHECKING

from airflow.utils.cli import suppress_logs_and_warning

from airflow_provider_leadmagic.cli.errors import failures_explained

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Callable

#: Somebody is waiting, and nothing is lost by asking again.
MAX_TRIES = 1


def command(function: Callable[[Namespace], int]) -> Callable[[Namespace], None]:
    """
    Turn a function into a command: it exits by itself, explains its failures, and keeps Airflow's log off the output.

    :param function: Takes the parsed arguments and returns the exit code.
    """

    @suppress_logs_and_warning
    def run_quietly(options: Namespace) -> None:
        with failures_explained(options.conn_id):
            sys.exit(function(options))

    @functools.wraps(function)
    def run(options: Namespace) -> None:
        options.verbose = False  # the decorator above looks for it
        # As Airflow's own commands do: without it, Airflow 3 finds no connection of its database.
        os.environ["_AIRFLOW_PROCESS_CONTEXT"] = "server"
        run_quietly(options)

    return run
