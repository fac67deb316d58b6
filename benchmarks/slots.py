"""
Measure which tasks occupy the worker slots of an Airflow, and for how long.

A slot is a process of the LocalExecutor, and its title names the task it works on. Sampling the titles ten times a
second therefore also covers what Airflow's tables do not contain: the start and the shutdown of each task process.
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
SAMPLE_INTERVAL = 0.1


@dataclass(frozen=True)
class Occupation:
    """
    A period in which a task occupies a slot.

    :param task: ID of the task instance.
    :param start: Unix time.
    :param end: Unix time.
    """

    task: UUID
    start: float
    end: float

    def seconds_within(self, start: float, end: float) -> float:
        """Return how many seconds of it are within a period."""
        return max(min(self.end, end) - max(self.start, start), 0.0)


class SlotLog:
    """Which task occupied which slot and when, derived from the process titles of the slots."""

    def __init__(self) -> None:
        self._ended: list[Occupation] = []
        self._occupied: dict[int, tuple[UUID, float]] = {}

    def record(self, slot: int, title: str, now: float) -> None:
        """Record the process title of a slot at a point in time."""
        task, before = _task_in(title), self._occupied.get(slot)
        if before and before[0] != task:
            self._ended.append(Occupation(*before, now))
            del self._occupied[slot]
        if task and slot not in self._occupied:
            self._occupied[slot] = (task, now)

    def seconds(self, tasks: Iterable[UUID], start: float, end: float) -> float:
        """Sum the seconds for which some tasks occupied slots in a past period."""
        chosen = set(tasks)
        ongoing = [Occupation(task, since, end) for task, since in list(self._occupied.values())]
        return sum(each.seconds_within(start, end) for each in [*self._ended, *ongoing] if each.task in chosen)

    def is_free_of(self, tasks: Iterable[UUID]) -> bool:
        """Return True if none of the tasks occupies a slot now."""
        return not set(tasks) & {task for task, _ in list(self._occupied.values())}


@contextmanager
def watch_slots(scheduler: int, slots: int) -> Iterator[SlotLog]:
    """
    Watch the slots of an Airflow in a thread.

    :param scheduler: Process ID of the scheduler.
    :param slots: Number of slots.
    """
    log, workers, stop = SlotLog(), _find_workers(scheduler, slots), threading.Event()
    thread = threading.Thread(target=_watch, args=(log, workers, stop), daemon=True)
    thread.start()
    try:
        yield log
    finally:
        stop.set()
        thread.join()


def _find_workers(scheduler: int, slots: int) -> list[psutil.Process]:
    def found() -> list[psutil.Process]:
        return [child for child in psutil.Process(scheduler).children() if _title(child).startswith(TITLE)]

    wait_until(lambda: len(found()) == slots, 60, f"{slots} worker slots with a process title (Linux only)")
    return found()


def _watch(log: SlotLog, workers: list[psutil.Process], stop: threading.Event) -> None:
    while not stop.wait(SAMPLE_INTERVAL):
        for worker in workers:
            log.record(worker.pid, _title(worker), time.time())


def _task_in(title: str) -> UUID | None:
    _, _, work = title.partition(TITLE)
    return None if work in ("", IDLE) else UUID(work)


def _title(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline()).strip()
    except psutil.Error:  # child processes may end at any time, and the thread may briefly outlive the scheduler
        return ""
