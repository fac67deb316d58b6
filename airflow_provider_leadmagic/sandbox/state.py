"""Everything one sandbox remembers."""

from __future__ import annotations

from dataclasses import dataclass, field

from airflow_provider_leadmagic.sandbox.account import Account
from airflow_provider_leadmagic.sandbox.faults import FaultQueue
from airflow_provider_leadmagic.sandbox.request_log import RequestLog


@dataclass
class SandboxState:
    """
    The account, the faults to come and the calls that came.

    :param wrap_analytics: whether the analytics are answered under ``data``: LeadMagic's documents disagree on it.
    :param generation: counts the resets.
    """

    account: Account = field(default_factory=Account)
    faults: FaultQueue = field(default_factory=FaultQueue)
    requests: RequestLog = field(default_factory=RequestLog)
    wrap_analytics: bool = False
    generation: int = 0

    def reset(self) -> None:
        """Return to the state after construction."""
        self.generation += 1
        self.account.reset()
        self.faults.clear()
        self.requests.clear()
        self.wrap_analytics = False
