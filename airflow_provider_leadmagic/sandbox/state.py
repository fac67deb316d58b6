"""The state of one sandbox, shared by its HTTP routes and the class ``Sandbox``."""

from __future__ import annotations

from airflow_provider_leadmagic.sandbox.account import Account
from airflow_provider_leadmagic.sandbox.bulk.store import BulkJobs
from airflow_provider_leadmagic.sandbox.faults import FaultQueue
from airflow_provider_leadmagic.sandbox.request_log import RequestLog


class SandboxState:
    """
    The account, its bulk jobs, the queued faults and the request log.

    :param account: The account to charge; one with the default balance and API key by default.
    """

    def __init__(self, account: Account | None = None) -> None:
        self._account = account or Account()
        self.bulk = BulkJobs(self._account)
        self.faults = FaultQueue()
        self.requests = RequestLog()
        # Whether analytics are returned in {"data": ...}: LeadMagic's documentation contradicts itself.
        self.wrap_analytics = False
        # Number of resets. A request that is delayed by a fault is dropped if this number changes in the meantime.
        self.generation = 0

    @property
    def account(self) -> Account:
        """The account, after charging the rows that are due by now: no background thread processes the jobs."""
        self.bulk.catch_up()
        return self._account

    def reset(self) -> None:
        """Restore the initial state."""
        self.generation += 1
        self.bulk.clear()
        self._account.reset()
        self.faults.clear()
        self.requests.clear()
        self.wrap_analytics = False
