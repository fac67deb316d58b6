"""What a failed command says: one line on standard error."""

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
    End the process.

    :param problem: What is wrong, and what to do about it.
    """
    complain(problem)
    sys.exit(EXIT_FAILED)


def complain(problem: str) -> None:
    """
    Write a line to standard error.

    :param problem: What is wrong.
    """
    sys.stderr.write(f"leadmagic: {problem}\n")


@contextmanager
def failures_explained(conn_id: str | None = None) -> Iterator[None]:
    """
    End the process in one line, where there would be a traceback.

    :param conn_id: The connection that is used.
    """
    try:
        yield
    except KeyboardInterrupt:
        fail("stopped by Ctrl-C")
    except LeadMagicError as error:
        fail(_explain(error, conn_id))
    except Exception as error:
        # Not what it says: the messages of databases and secrets backends may hold passwords.
        fail(f"Airflow could not be used ({type(error).__name__}): see what `airflow db check` and `airflow info` say")


def _explain(error: LeadMagicError, conn_id: str | None) -> str:
    message = str(error).replace("leadmagic_conn_id", "--conn-id")
    if repr(conn_id) in message:
        return message
    again = " or try again later" if error.transient else ""
    return f"{message.rstrip('.')}. Check the host of connection {conn_id!r}{again}."
