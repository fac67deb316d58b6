"""What a process full of triggers is asked to do."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class Order:
    """
    What a process full of triggers is asked to do.

    :param classpath: The trigger.
    :param arguments: Its arguments, once for each trigger.
    :param report: The file to report to, a line of JSON for each phase.
    :param windows: How many times to measure the waiting.
    :param window: Seconds of each measurement.
    :param events: How many events to wait for after that.
    :param aftermath: Seconds to stay after the last event, in which anything that fires twice would.
    :param probed: Whether to probe the event loop during the windows, which itself takes 2 % of a core.
    :param patience: Seconds that a phase may take.
    """

    classpath: str
    arguments: list[dict[str, Any]]
    report: str
    windows: int
    window: float
    events: int = 0
    aftermath: float = 0.0
    probed: bool = False
    patience: float = 300.0

    def write(self, path: Path) -> None:
        """Save it for the process that shall follow it."""
        path.write_text(json.dumps(asdict(self)))

    @classmethod
    def read(cls, path: Path) -> Self:
        """Load what :meth:`write` saved."""
        return cls(**json.loads(path.read_text()))
