"""What all commands that talk to LeadMagic have in common."""

from __future__ import annotations

import functools
import json
import os
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from airflow.utils.cli import suppress_logs_and_warning
from rich.console import Console

from airflow_provider_leadmagic.cli.errors import fail, failures_explained

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Callable, Iterable, Iterator

    from rich.console import RenderableType

#: Somebody is waiting, and nothing is lost by asking again.
MAX_ATTEMPTS = 1


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


def write_json(value: dict[str, Any]) -> None:
    """
    Write JSON that every reader can take.

    :param value: What to write; NaN and infinity in it become null.
    """
    plain = json.loads(json.dumps(value), parse_constant=lambda _: None)
    with _failures_explained():
        sys.stdout.write(f"{json.dumps(plain, indent=2)}\n")
        sys.stdout.flush()


def write(*parts: RenderableType) -> None:
    """
    Write text and tables.

    :param parts: What to write, one below the other.
    """
    with _failures_explained():
        text = _rendered(parts)
        encoding = sys.stdout.encoding or "utf-8"
        sys.stdout.write(f"{text.encode(encoding, 'replace').decode(encoding)}\n")
        sys.stdout.flush()


def _rendered(parts: Iterable[RenderableType]) -> str:
    # LeadMagic's text is shown as it is, brackets and colons included. Colour would give empty bars a full track.
    console = Console(markup=False, emoji=False, highlight=False, no_color=True)
    with console.capture() as captured:
        for part in parts:
            console.print(part)
    return "\n".join(line.rstrip() for line in captured.get().splitlines())


@contextmanager
def _failures_explained() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        # Python would try once more when it ends, and complain in its own way.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        fail(f"the output could not be written: {error.strerror}")
