"""The handle by which tests start a sandbox, look at it and change it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Self

from airflow_provider_leadmagic.sandbox.account import (
    DEFAULT_API_KEY,
    DEFAULT_CREDITS,
    DEFAULT_FREEZE_MESSAGE,
    Account,
    Amount,
    to_credits,
)
from airflow_provider_leadmagic.sandbox.app import create_app
from airflow_provider_leadmagic.sandbox.faults import Fault
from airflow_provider_leadmagic.sandbox.server import LOOPBACK, SandboxServer
from airflow_provider_leadmagic.sandbox.state import SandboxState
from airflow_provider_leadmagic.sandbox.usage import Spending

if TYPE_CHECKING:
    from collections import Counter
    from decimal import Decimal

    from airflow_provider_leadmagic.sandbox.bulk.responses import BulkJob
    from airflow_provider_leadmagic.sandbox.bulk.store import SubmitNeeds
    from airflow_provider_leadmagic.sandbox.request_log import LoggedRequest


class Sandbox:
    """
    A LeadMagic API on this machine. Start and stop it, or use it as a context manager.

    :param credits: the initial balance.
    :param api_key: the one key that it accepts.
    :param port: the port to listen on, 0 for any free one.
    :param host: the address to listen on.
    """

    def __init__(
        self,
        credits: Amount = DEFAULT_CREDITS,
        api_key: str = DEFAULT_API_KEY,
        port: int = 0,
        host: str = LOOPBACK,
    ) -> None:
        self._state = SandboxState(Account(credits, api_key))
        self._server = SandboxServer(create_app(self._state), host, port)

    def start(self) -> Self:
        """Start the server, and return when it accepts requests."""
        self._server.start()
        return self

    def stop(self) -> None:
        """Stop the server. A later start uses the same port and continues with the same state."""
        self._server.stop()

    def __enter__(self) -> Self:
        """Start the server."""
        return self.start()

    def __exit__(self, *_: object) -> None:
        """Stop the server."""
        self.stop()

    def reset(self) -> None:
        """Return to the initial state: balance, ledger, jobs, faults, log, settings."""
        self._state.reset()

    @property
    def url(self) -> str:
        """The base URL, which is known once the sandbox is started."""
        return f"http://{self._server.host}:{self._server.port}"

    @property
    def api_key(self) -> str:
        """The key that it accepts."""
        return self._state.account.api_key

    @property
    def connection_json(self) -> str:
        """The value of ``AIRFLOW_CONN_<ID>`` that makes an Airflow connection use this sandbox."""
        return json.dumps({"conn_type": "leadmagic", "password": self.api_key, "host": self.url})

    @property
    def credits(self) -> Decimal:
        """The balance, frozen part included."""
        return self._state.account.credits

    def set_credits(self, credits: Amount) -> None:
        """
        Replace the balance.

        :param credits: the new balance.
        """
        self._state.account.set_credits(credits)

    def add_credits(self, credits: Amount) -> None:
        """
        Add to the balance.

        :param credits: how many credits to add.
        """
        self._state.account.add_credits(credits)

    def freeze(self, message: str | None = DEFAULT_FREEZE_MESSAGE, liquid: Amount = 0) -> None:
        """
        Freeze the balance, or a part of it. Credits that are added later are frozen as well.

        :param message: the reason that the API gives.
        :param liquid: how many credits stay spendable.
        """
        self._state.account.freeze(message, liquid)

    def unfreeze(self) -> None:
        """Make the whole balance spendable again."""
        self._state.account.unfreeze()

    @property
    def bare_body(self) -> bool:
        """Whether the balance is returned as ``{"credits": n}``, without the fields about frozen credits."""
        return self._state.account.bare_body

    @bare_body.setter
    def bare_body(self, bare: bool) -> None:
        self._state.account.bare_body = bare

    def record_spending(self, product: str, credits: Amount, days_ago: int = 0) -> None:
        """
        Record a lookup that was never made, for the analytics to show. The balance does not change.

        :param product: the name of the product, ``email_finder`` for example.
        :param credits: what was charged, 0 for a miss.
        :param days_ago: how many days ago it was, at most 365.
        :raises ValueError: if there is no such product, or a number is out of range.
        """
        spending = Spending(product=product, credits=to_credits(credits), days_ago=days_ago)
        self._state.account.record(spending.as_charge())

    @property
    def wrap_analytics(self) -> bool:
        """Whether the analytics are wrapped in ``data``: LeadMagic's documents disagree on it."""
        return self._state.wrap_analytics

    @wrap_analytics.setter
    def wrap_analytics(self, wrap: bool) -> None:
        self._state.wrap_analytics = wrap

    @property
    def requests(self) -> list[LoggedRequest]:
        """A copy of the log of requests, oldest first. Controls are not logged."""
        return self._state.requests.entries()

    def requests_to(self, path: str) -> list[LoggedRequest]:
        """
        Return the logged requests to one path.

        :param path: the path, with ``*`` in place of any one part of it.
        """
        return self._state.requests.entries(path)

    def fail_next(self, path: str = "/v1/credits", **fault: Any) -> None:
        """
        Queue a fault for the next request to a path.

        :param path: the path, ``*`` in place of any one part of it, or ``*`` for every path.
        :param fault: the fields of :class:`~airflow_provider_leadmagic.sandbox.faults.Fault`.
        :raises ValueError: if a field is not valid.
        """
        self._state.faults.add(Fault(path=path, **fault))

    def clear_faults(self) -> None:
        """Remove all queued faults."""
        self._state.faults.clear()

    def bulk_speed(self, rows_per_second: float | None = None, *, paused_clock: bool = False) -> None:
        """
        Set how fast bulk jobs are from now on.

        :param rows_per_second: of all jobs together; ``None`` completes jobs instantly.
        :param paused_clock: whether jobs continue only through :meth:`advance_bulk`.
        :raises ValueError: if the number is not above 0.
        """
        self._state.bulk.change(rows_per_second=rows_per_second, paused_clock=paused_clock)

    def advance_bulk(self, rows: int) -> int:
        """
        Process a number of rows at once, in the order in which the jobs were submitted.

        :param rows: how many; 0 only starts the next job.
        :return: how many there were to process.
        """
        return self._state.bulk.advance(rows)

    @property
    def bulk_submit_needs(self) -> SubmitNeeds:
        """Which credits a submit needs: the price of a hit in ``one_row``, or in ``all_rows``."""
        return self._state.bulk.settings.submit_needs

    @bulk_submit_needs.setter
    def bulk_submit_needs(self, needs: SubmitNeeds) -> None:
        self._state.bulk.change(submit_needs=needs)

    @property
    def bulk_jobs(self) -> list[BulkJob]:
        """Copies of all bulk jobs, oldest first."""
        return self._state.bulk.copies()

    def charges_per_row(self, job_id: str) -> Counter[int]:
        """
        Count how often each row of a job was charged; rows that were not are left out.

        :param job_id: the job.
        :raises ApiError: if no job has this id.
        """
        return self._state.bulk.charges(job_id)

    def submits_of(self, idempotency_key: str) -> int:
        """
        Count how often an idempotency key was submitted, refused submits included.

        :param idempotency_key: the key.
        """
        return self._state.bulk.submits[idempotency_key]

    def make_up_job(self, rows: int) -> str:
        """
        Add a completed job of any size, which costs nothing.

        :param rows: how many rows it has.
        :return: its id.
        :raises ValueError: if it has no rows.
        """
        return self._state.bulk.make_up(rows)

    def fail_job(self, job_id: str) -> None:
        """
        End a job as LeadMagic does after an error of its own.

        :param job_id: the job.
        :raises ApiError: if no job has this id, or it has ended.
        """
        self._state.bulk.fail(job_id)
