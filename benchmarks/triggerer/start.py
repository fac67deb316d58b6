"""Starts a process that runs triggers, and reads its reports."""

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

    from benchmarks.triggerer.instructions import Instructions


class TriggerProcess:
    """
    A running process that runs triggers.

    :param process: Handle of the process.
    :param instructions: Instructions that the process follows.
    :param folder: Folder with its report file and its log.
    """

    def __init__(self, process: subprocess.Popen[bytes], instructions: Instructions, folder: Path) -> None:
        self._process, self._instructions, self._folder = process, instructions, folder

    def wait_for_report(self, phase: str) -> Any:
        """Wait for the report of a phase (``created``, ``windows`` or ``fired``) and return it."""
        given = self._instructions
        timeout = given.timeout + given.windows * given.window + given.linger
        wait_until(lambda: phase in self._reports(), timeout, f"the report {phase!r}", self._check)
        return self._reports()[phase]

    def _reports(self) -> dict[str, Any]:
        path = self._folder / self._instructions.report
        lines = path.read_text().splitlines(keepends=True) if path.exists() else []
        return {phase: report for line in lines if line.endswith("\n") for phase, report in json.loads(line).items()}

    def _check(self) -> None:
        if self._process.poll():
            log = (self._folder / "log").read_text(errors="replace")[-3000:]
            raise LocalAirflowError(f"the trigger process exited with code {self._process.returncode}:\n{log}")


@contextmanager
def trigger_process(instructions: Instructions, folder: Path, settings: Mapping[str, str]) -> Iterator[TriggerProcess]:
    """
    Start a process that runs triggers, and kill it at the end.

    :param instructions: Instructions for the process.
    :param folder: An empty folder for the instructions, the reports and the log.
    :param settings: Additional environment variables.
    """
    file = folder / "instructions.json"
    instructions.write(file)
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.triggerer.process", str(file)]
    with (folder / "log").open("wb") as log:
        environment = {**os.environ, **settings}
        process = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        yield TriggerProcess(process, instructions, folder)
    finally:
        process.kill()
        process.wait()
