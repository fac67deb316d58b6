"""
Who occupies the worker slots of an Airflow, and for how long.

A slot is a process of the LocalExecutor. Its title says what it works at, so that looking at the titles ten times a
second also sees what no table of Airflow's holds: the starting and the ending of each task.
"""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import UUID

import psutil

from dev.local_airflow import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

TITLE, IDLE = "airflow worker -- LocalExecutor: ", "<idle>"
LOOKED_AT_EVERY = 0.1


@dataclass(frozen=True)
class Visit:
    """
    The time from a task's coming to a slot to its leaving it.

    :param task: Id of the task instance.
    :param begin: Unix time.
    :param end: Unix time.
    """

    task: UUID
    begin: float
    end: float

    def seconds_within(self, begin: float, end: float) -> float:
        """Tell how much of it was in a period."""
        return max(min(self.end, end) - max(self.begin, begin), 0.0)


class SlotLog:
    """Who came to which slot and left it, by what the slots' titles said."""

    def __init__(self) -> None:
        self._visits: list[Visit] = []
        self._occupied: dict[int, tuple[UUID, float]] = {}

    def note(self, slot: int, title: str, now: float) -> None:
        """Take down what the title of a slot says at a moment."""
        task, before = _task_in(title), self._occupied.get(slot)
        if before and before[0] != task:
            self._visits.append(Visit(*before, now))
            del self._occupied[slot]
        if task and slot not in self._occupied:
            self._occupied[slot] = (task, now)

    def seconds(self, tasks: Iterable[UUID], begin: float, end: float) -> float:
        """Sum up how long some tasks occupied slots in a period that is over."""
        chosen = set(tasks)
        unended = [Visit(task, since, end) for task, since in list(self._occupied.values())]
        return sum(visit.seconds_within(begin, end) for visit in [*self._visits, *unended] if visit.task in chosen)

    def is_free_of(self, tasks: Iterable[UUID]) -> bool:
        """Tell whether none of some tasks occupies a slot now."""
        return not set(tasks) & {task for task, _ in list(self._occupied.values())}


@contextmanager
def watched_slots(scheduler: int, slots: int) -> Iterator[SlotLog]:
    """
    Watch the slots of an Airflow, in a thread.

    :param scheduler: The scheduler's process id.
    :param slots: How many slots there are.
    """
    log, workers, ended = SlotLog(), _find_workers(scheduler, slots), threading.Event()
    thread = threading.Thread(target=_watch, args=(log, workers, ended), daemon=True)
    thread.start()
    try:
        yield log
    finally:
        ended.set()
        thread.join()


def _find_workers(scheduler: int, slots: int) -> list[psutil.Process]:
    def found() -> list[psutil.Process]:
        return [child for child in psutil.Process(scheduler).children() if _title(child).startswith(TITLE)]

    wait_until(lambda: len(found()) == slots, 60, f"{slots} worker slots that show their titles (Linux only)")
    return found()


def _watch(log: SlotLog, workers: list[psutil.Process], ended: threading.Event) -> None:
    while not ended.wait(LOOKED_AT_EVERY):
        for worker in workers:
            log.note(worker.pid, _title(worker), time.time())


def _task_in(title: str) -> UUID | None:
    _, _, work = title.partition(TITLE)
    return None if work in ("", IDLE) else UUID(work)


def _title(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline()).strip()
    except psutil.Error:  # children come and go, and the watch may outlive the scheduler for a moment
        return ""
