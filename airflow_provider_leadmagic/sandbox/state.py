"""Everything one sandbox remembers."""

from __future__ import annotations

from airflow_provider_leadmagic.sandbox.account import Account
from airflow_provider_leadmagic.sandbox.bulk.store import BulkJobs
from airflow_provider_leadmagic.sandbox.faults import FaultQueue
from airflow_provider_leadmagic.sandbox.request_log import RequestLog


class SandboxState:
    """
    The account, its bulk jobs, the faults to come and the calls that came.

    :param account: whose credits are spent.
    """

    def __init__(self, account: Account | None = None) -> None:
        self._account = account or Account()
        self.bulk = BulkJobs(self._account)
        self.faults = FaultQueue()
        self.requests = RequestLog()
        # Whether the analytics are answered under ``data``: LeadMagic's documents disagree on it.
        self.wrap_analytics = False
        # Counts the resets.
        self.generation = 0

    @property
    def account(self) -> Account:
        """The account, with every row charged that is due by now: jobs need no thread to go on while nobody looks."""
        self.bulk.catch_up()
        return self._account

    def reset(self) -> None:
        """Return to the state after construction."""
        self.generation += 1
        self.bulk.clear()
        self._account.reset()
        self.faults.clear()
        self.requests.clear()
        self.wrap_analytics = False
