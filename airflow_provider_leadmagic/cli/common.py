"""Code shared by the commands: run quietly, write output, and report a failure in one line with an exit code."""

from __future__ import annotations

import functools
import json
import os
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NoReturn

from airflow_provider_leadmagic.exceptions import ClaimsError, LeadMagicError

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Callable, Iterable, Iterator

    from rich.console import RenderableType

#: No retries: the user is waiting, and can repeat the command.
MAX_ATTEMPTS = 1
EXIT_FAILED = 2


def command(function: Callable[[Namespace], int]) -> Callable[[Namespace], None]:
    """
    Turn a function into a command that suppresses Airflow's log, reports a failure in one line, and exits.

    :param function: Function that takes the parsed arguments and returns the exit code.
    """
    from airflow.utils.cli import suppress_logs_and_warning  # imports Airflow, which may fail

    @suppress_logs_and_warning
    def run_quietly(options: Namespace) -> None:
        with exit_on_failure(options.conn_id):
            sys.exit(function(options))

    @functools.wraps(function)
    def run(options: Namespace) -> None:
        options.verbose = False  # read by suppress_logs_and_warning
        # Airflow's own commands set this too: without it, Airflow 3 does not find connections in its database.
        os.environ["_AIRFLOW_PROCESS_CONTEXT"] = "server"
        run_quietly(options)

    return run


def write_json(value: dict[str, Any]) -> None:
    """
    Write standard JSON to standard output.

    :param value: Value to write. NaN and infinity, which are not standard JSON, become null.
    """
    plain = json.loads(json.dumps(value), parse_constant=lambda _: None)
    with _exit_if_unwritable():
        sys.stdout.write(f"{json.dumps(plain, indent=2)}\n")
        sys.stdout.flush()


def write(*parts: RenderableType) -> None:
    """
    Write text and tables to standard output.

    :param parts: Texts and tables, written one below the other.
    """
    with _exit_if_unwritable():
        text = _render(parts)
        encoding = sys.stdout.encoding or "utf-8"
        sys.stdout.write(f"{text.encode(encoding, 'replace').decode(encoding)}\n")
        sys.stdout.flush()


def _render(parts: Iterable[RenderableType]) -> str:
    from rich.console import Console

    # No markup or emoji: text from LeadMagic may contain brackets and colons. With color, empty progress bars would
    # look full.
    console = Console(markup=False, emoji=False, highlight=False, no_color=True)
    with console.capture() as captured:
        for part in parts:
            console.print(part)
    return "\n".join(line.rstrip() for line in captured.get().splitlines())


@contextmanager
def _exit_if_unwritable() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        # At exit, Python flushes standard output again, and would print an error of its own.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        fail(f"Cannot write the output: {error.strerror}.")


def fail(problem: str) -> NoReturn:
    """
    Print an error and exit with ``EXIT_FAILED``.

    :param problem: Cause, and what to do about it.
    """
    print_error(problem)
    sys.exit(EXIT_FAILED)


def print_error(problem: str) -> None:
    """Print one line to standard error."""
    sys.stderr.write(f"leadmagic: {problem}\n")


@contextmanager
def exit_on_failure(conn_id: str | None = None) -> Iterator[None]:
    """
    Print one line and exit if the body raises an exception, instead of printing a traceback.

    :param conn_id: Airflow connection ID, added to messages that do not name it.
    """
    try:
        yield
    except KeyboardInterrupt:
        fail("Stopped by Ctrl-C.")
    except Exception as error:
        fail(describe_failure(error, conn_id))


def describe_failure(error: Exception, conn_id: str | None) -> str:
    """
    Describe a failure in one line.

    :param error: The exception.
    :param conn_id: Airflow connection ID, added to messages that do not name it.
    """
    if not isinstance(error, LeadMagicError):
        # Only the type: messages of databases and secrets backends may contain passwords.
        return f"Airflow failed ({type(error).__name__}): run `airflow db check` and `airflow info` to find the cause."
    message = str(error).replace("leadmagic_conn_id", "--conn-id")
    if conn_id is None or isinstance(error, ClaimsError) or repr(conn_id) in message:
        return message
    summary, *request = message.rsplit(" [", 1)
    return " [".join((f"{summary} Used connection {conn_id!r}.", *request))
