"""Instructions for a process that runs triggers."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class Instructions:
    """
    Instructions for a process that runs triggers.

    :param classpath: Class path of the trigger.
    :param arguments: One set of trigger arguments for each trigger.
    :param report: Path of the report file, to which each phase appends one line of JSON.
    :param windows: Number of measurements while the triggers wait.
    :param window: Seconds of each measurement.
    :param events: Number of events to wait for after the measurements.
    :param linger: Seconds to keep running after the last event, to detect triggers that fire twice.
    :param measure_lag: Whether to measure the lag of the event loop as well, which itself takes 2 % of a core.
    :param timeout: Time limit in seconds for the creation of the triggers, and again for the wait for their events.
    """

    classpath: str
    arguments: list[dict[str, Any]]
    report: str
    windows: int
    window: float
    events: int = 0
    linger: float = 0.0
    measure_lag: bool = False
    timeout: float = 300.0

    def write(self, path: Path) -> None:
        """Write the instructions to a file for the process to read."""
        path.write_text(json.dumps(asdict(self)))

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read the instructions from a file."""
        return cls(**json.loads(path.read_text()))
