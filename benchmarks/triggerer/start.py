"""Starts a process full of triggers, and hears what it reports."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from dev.local_airflow import LocalAirflowError, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from benchmarks.triggerer.order import Order


class TriggersProcess:
    """
    A process that follows an order.

    :param process: The process.
    :param order: What it was asked to do.
    :param folder: Where its reports and its log are.
    """

    def __init__(self, process: subprocess.Popen[bytes], order: Order, folder: Path) -> None:
        self._process, self._order, self._folder = process, order, folder

    def hear(self, phase: str) -> Any:
        """Wait for what it reports of a phase: ``created``, ``windows`` or ``fired``."""
        patience = self._order.patience + self._order.windows * self._order.window + self._order.aftermath
        wait_until(lambda: phase in self._reports(), patience, f"the report {phase!r}", self._check)
        return self._reports()[phase]

    def _reports(self) -> dict[str, Any]:
        path = self._folder / self._order.report
        lines = path.read_text().splitlines(keepends=True) if path.exists() else []
        return {phase: told for line in lines if line.endswith("\n") for phase, told in json.loads(line).items()}

    def _check(self) -> None:
        if self._process.poll():
            log = (self._folder / "log").read_text(errors="replace")[-3000:]
            raise LocalAirflowError(f"the triggers' process ended with exit code {self._process.returncode}:\n{log}")


@contextmanager
def started(order: Order, folder: Path, settings: Mapping[str, str]) -> Iterator[TriggersProcess]:
    """
    Start a process that follows an order; at the end it is gone.

    :param order: What to do.
    :param folder: An empty folder for its order, its reports and its log.
    :param settings: More environment variables.
    """
    order.write(folder / "order.json")
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.triggerer.process", str(folder / "order.json")]
    with (folder / "log").open("wb") as log:
        environment = {**os.environ, **settings}
        process = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        yield TriggersProcess(process, order, folder)
    finally:
        process.kill()
        process.wait()
