"""Report the failure of a command: one line on standard error, and an exit code."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, NoReturn

from airflow_provider_leadmagic.exceptions import LeadMagicError

if TYPE_CHECKING:
    from collections.abc import Iterator

EXIT_FAILED = 2


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

    :param conn_id: Airflow connection ID, for messages that do not name it.
    """
    try:
        yield
    except KeyboardInterrupt:
        fail("Stopped by Ctrl-C.")
    except LeadMagicError as error:
        fail(_explain(error, conn_id))
    except Exception as error:
        # Without the message: those of databases and secrets backends may contain passwords.
        fail(f"Airflow failed ({type(error).__name__}): run `airflow db check` and `airflow info` to find the cause.")


def _explain(error: LeadMagicError, conn_id: str | None) -> str:
    message = str(error).replace("leadmagic_conn_id", "--conn-id")
    if conn_id is None or repr(conn_id) in message:
        return message
    summary, bracket, request = message.rpartition(" [")
    return f"{summary or message} Used connection {conn_id!r}.{bracket}{request}"
