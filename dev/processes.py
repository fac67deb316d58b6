"""Find all processes that a local Airflow has started, and send them signals."""

from __future__ import annotations

import os
import signal
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Environment variable of every started process, to find those that Airflow puts into their own sessions.
MARK_VARIABLE = "LEADMAGIC_LOCAL_AIRFLOW"


def started_processes(components: set[int], mark: str) -> list[psutil.Process]:
    """
    Return the processes of some components, and all that these have started.

    No single criterion finds all: a renamed process hides its environment, a process in a new session has left the
    process group, and an orphan has lost its parent.

    :param components: Process IDs of the components, each of which leads a process group.
    :param mark: Value of :data:`MARK_VARIABLE` in the environment of the components.
    """
    return [
        process
        for process in psutil.process_iter()
        if process.pid in components or _group_of(process) in components or _has_mark(process, mark)
    ]


def send_signal(process: psutil.Process, number: signal.Signals) -> None:
    """Send a signal to a process, which may have ended."""
    with suppress(psutil.Error):
        process.send_signal(number)


@contextmanager
def ignored_signals() -> Iterator[None]:
    """Ignore further signals: a second Ctrl-C must not leave half of the processes running."""
    before = {
        number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _group_of(process: psutil.Process) -> int | None:
    try:
        return os.getpgid(process.pid)
    except OSError:
        return None


def _has_mark(process: psutil.Process, mark: str) -> bool:
    try:
        return process.environ().get(MARK_VARIABLE) == mark
    except (psutil.Error, OSError):
        return False
