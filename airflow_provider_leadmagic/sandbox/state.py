"""The state of one sandbox: everything that requests and tests read and change."""

from __future__ import annotations

from airflow_provider_leadmagic.sandbox.account import Account
from airflow_provider_leadmagic.sandbox.bulk.store import BulkJobs
from airflow_provider_leadmagic.sandbox.faults import FaultQueue
from airflow_provider_leadmagic.sandbox.request_log import RequestLog


class SandboxState:
    """
    The account, its bulk jobs, the queued faults and the log of requests.

    :param account: the account whose credits are spent.
    """

    def __init__(self, account: Account | None = None) -> None:
        self._account = account or Account()
        self.bulk = BulkJobs(self._account)
        self.faults = FaultQueue()
        self.requests = RequestLog()
        # Whether the analytics are wrapped in ``data``: LeadMagic's documents disagree on it.
        self.wrap_analytics = False
        # The number of resets.
        self.generation = 0

    @property
    def account(self) -> Account:
        """The account, with every row charged that is due by now, as no thread works on the jobs."""
        self.bulk.catch_up()
        return self._account

    def reset(self) -> None:
        """Return to the initial state."""
        self.generation += 1
        self.bulk.clear()
        self._account.reset()
        self.faults.clear()
        self.requests.clear()
        self.wrap_analytics = False
