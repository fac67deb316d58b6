"""The class ``Sandbox``: start and stop a sandbox, change its state, and inspect what it received."""

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
from airflow_provider_leadmagic.sandbox.server import (
    ALL_ADDRESSES,
    LOOPBACK,
    SandboxServer,
    is_loopback,
    netloc,
    own_address,
)
from airflow_provider_leadmagic.sandbox.state import SandboxState
from airflow_provider_leadmagic.sandbox.usage import Spending

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Sequence
    from decimal import Decimal

    from airflow_provider_leadmagic.sandbox.bulk.responses import BulkJob
    from airflow_provider_leadmagic.sandbox.bulk.store import SubmitNeeds
    from airflow_provider_leadmagic.sandbox.request_log import LoggedRequest


class Sandbox:
    """
    A local stand-in for LeadMagic's API. It spends no real credits.

    Use it as a context manager, or call :meth:`start` and :meth:`stop`. In tests, the fixture ``leadmagic_sandbox``
    returns one that is running. All methods can be called while it serves requests.

    :param credits: The initial balance in credits; :meth:`reset` restores it.
    :param api_key: The only API key that it accepts.
    :param port: The port to listen on; 0 picks a free port.
    :param host: The address to listen on; loopback only by default.
    :param allow_hosts: Host names by which clients may address it, besides localhost, ``host`` and all IP addresses;
        for example the name of its container. Requests to other names are refused.
    :raises ValueError: If ``credits`` is not a finite number, 0 or more.
    """

    def __init__(
        self,
        credits: Amount = DEFAULT_CREDITS,
        api_key: str = DEFAULT_API_KEY,
        port: int = 0,
        host: str = LOOPBACK,
        allow_hosts: Sequence[str] = (),
    ) -> None:
        self._state = SandboxState(Account(credits, api_key))
        names = [name.lower() for name in allow_hosts]
        self._server = SandboxServer(create_app(self._state, {host.lower(), *names} - {""}), host, port)
        self._url_host = (names[0] if names else own_address()) if host in ALL_ADDRESSES else host

    def start(self) -> Self:
        """
        Start the server, and return when it accepts requests.

        :return: The sandbox itself.
        :raises OSError: If it cannot listen on the address, or does not accept requests within 10 seconds.
        """
        self._server.start()
        return self

    def stop(self) -> None:
        """Stop the server. A later :meth:`start` uses the same port and keeps the state."""
        self._server.stop()

    def __enter__(self) -> Self:
        """Start the server, see :meth:`start`."""
        return self.start()

    def __exit__(self, *_: object) -> None:
        """Stop the server, see :meth:`stop`."""
        self.stop()

    def reset(self) -> None:
        """Restore the initial state: balance, charges, bulk jobs, faults, request log and settings."""
        self._state.reset()

    @property
    def url(self) -> str:
        """
        The base URL. With ``port=0``, it is valid only after :meth:`start`.

        If the sandbox listens on all addresses, the URL contains the first of ``allow_hosts`` or, without any, the
        address of this machine in its private network; loopback if it has none.
        """
        return f"http://{netloc(self._url_host, self._server.port)}"

    @property
    def api_key(self) -> str:
        """The API key that it accepts."""
        return self._state.account.api_key

    @property
    def connection_json(self) -> str:
        """
        An Airflow connection to this sandbox, as the JSON value of an ``AIRFLOW_CONN_<ID>`` environment variable.

        If the host of the URL is not a loopback host, the connection has the extra field ``allow_http``.
        """
        extra = {} if is_loopback(self._url_host) else {"extra": {"allow_http": True}}
        return json.dumps({"conn_type": "leadmagic", "password": self.api_key, "host": self.url, **extra})

    @property
    def credits(self) -> Decimal:
        """The balance, including frozen credits."""
        return self._state.account.credits

    def set_credits(self, credits: Amount) -> None:
        """
        Replace the balance.

        :param credits: The new balance in credits, including frozen ones.
        :raises ValueError: If it is not a finite number, 0 or more.
        """
        self._state.account.set_credits(credits)

    def add_credits(self, credits: Amount) -> None:
        """
        Add to the balance.

        :param credits: The number of credits to add.
        :raises ValueError: If it is not a finite number, 0 or more.
        """
        self._state.account.add_credits(credits)

    def freeze(self, message: str | None = DEFAULT_FREEZE_MESSAGE, liquid: Amount = 0) -> None:
        """
        Freeze all credits, also those of later top-ups, except ``liquid``.

        :param message: The reason, returned by the API as ``credit_freeze_message``.
        :param liquid: The number of credits that stay spendable.
        :raises ValueError: If ``liquid`` is not a finite number, 0 or more.
        """
        self._state.account.freeze(message, liquid)

    def unfreeze(self) -> None:
        """Make the whole balance spendable again."""
        self._state.account.unfreeze()

    @property
    def bare_body(self) -> bool:
        """Whether the balance response is ``{"credits": n}``, without the fields on frozen credits. Default: false."""
        return self._state.account.bare_body

    @bare_body.setter
    def bare_body(self, bare: bool) -> None:
        self._state.account.bare_body = bare

    def record_spending(self, product: str, credits: Amount, days_ago: int = 0) -> None:
        """
        Record a made-up lookup in the past, for the analytics to report. The balance does not change.

        :param product: ``email_finder``, ``email_validation``, ``mobile_finder`` or ``company_search``.
        :param credits: The credits charged, 0 or more; 0 records a miss.
        :param days_ago: How many days ago it was made, from 0 (today) to 365.
        :raises ValueError: If the product is unknown or a number is out of range.
        """
        spending = Spending(product=product, credits=to_credits(credits), days_ago=days_ago)
        self._state.account.record(spending.as_charge())

    @property
    def wrap_analytics(self) -> bool:
        """
        Whether analytics responses are wrapped in ``{"data": ...}``. Default: false.

        LeadMagic's documentation shows both forms, so test a client with both.
        """
        return self._state.wrap_analytics

    @wrap_analytics.setter
    def wrap_analytics(self, wrap: bool) -> None:
        self._state.wrap_analytics = wrap

    @property
    def requests(self) -> list[LoggedRequest]:
        """
        A copy of the request log: the newest 10,000 requests, oldest first. Requests under ``/_sandbox/`` are not
        logged.
        """
        return self._state.requests.entries()

    def requests_to(self, path: str) -> list[LoggedRequest]:
        """
        Return the logged requests to a path, oldest first.

        :param path: The path; ``*`` alone matches every path, and ``*`` as a segment matches any one segment, as in
            ``/bulk/jobs/*/results``.
        """
        return self._state.requests.entries(path)

    def fail_next(self, path: str = "/v1/credits", **fault: Any) -> None:
        """
        Make the next request to a path fail: ``fail_next(status=503, times=3)``.

        Faults are queued, and the first one whose path matches a request applies to it. Without a fault that matches, a
        request is processed normally.

        :param path: The path; ``*`` alone matches every path, and ``*`` as a segment matches any one segment, as in
            ``/bulk/jobs/*/results``.
        :param fault: Options of :class:`~airflow_provider_leadmagic.sandbox.faults.Fault`: ``times``, ``status``,
            ``retry_after``, ``delay``, ``drop``, ``lose_response``, ``truncate``, ``body``, ``content_type``, ``flat``,
            ``redirect_to``, ``headers``.
        :raises ValueError: If an option is invalid or unknown, or none of the options has an effect.
        """
        self._state.faults.add(Fault(path=path, **fault))

    def clear_faults(self) -> None:
        """Remove all queued faults."""
        self._state.faults.clear()

    def bulk_speed(self, rows_per_second: float | None = None, *, paused_clock: bool = False) -> None:
        """
        Set the speed of bulk jobs from now on.

        :param rows_per_second: Rows per second of all jobs together, above 0; ``None`` completes jobs instantly.
        :param paused_clock: If true, rows are processed only by :meth:`advance_bulk`.
        :raises ValueError: If ``rows_per_second`` is not a finite number above 0.
        """
        self._state.bulk.change(rows_per_second=rows_per_second, paused_clock=paused_clock)

    def advance_bulk(self, rows: int) -> int:
        """
        Process a number of rows immediately, job by job in the order of submission.

        :param rows: The maximum number of rows; 0 starts the next job without processing a row.
        :return: The number of rows processed; fewer if no more rows are pending or the credits run out.
        """
        return self._state.bulk.advance(rows)

    @property
    def bulk_submit_needs(self) -> SubmitNeeds:
        """
        The credits that a submit requires; with fewer, it returns 402.

        ``one_row``, the default, requires the price of one hit, and ``all_rows`` the price of a hit in every row.
        Setting any other value raises ``ValueError``.
        """
        return self._state.bulk.settings.submit_needs

    @bulk_submit_needs.setter
    def bulk_submit_needs(self, needs: SubmitNeeds) -> None:
        self._state.bulk.change(submit_needs=needs)

    @property
    def bulk_jobs(self) -> list[BulkJob]:
        """Copies of all bulk jobs in their current state, oldest first."""
        return self._state.bulk.copies()

    def charges_per_row(self, job_id: str) -> Counter[int]:
        """
        Return the number of charges per row index of a job. Rows without a charge are missing.

        :param job_id: The job's ID.
        :raises ApiError: If no job has this ID.
        """
        return self._state.bulk.charges(job_id)

    def submits_of(self, idempotency_key: str) -> int:
        """
        Return the number of submits with an idempotency key, including those rejected for too few credits.

        :param idempotency_key: The key that the client sent.
        """
        return self._state.bulk.submits[idempotency_key]

    def make_up_job(self, rows: int) -> str:
        """
        Add a completed job of any size without charging its rows. Rows are generated when they are read.

        :param rows: The number of rows, at least 1.
        :return: The job's ID.
        :raises ValueError: If ``rows`` is below 1.
        """
        return self._state.bulk.make_up(rows)

    def fail_job(self, job_id: str) -> None:
        """
        End a job with the status ``failed``, as LeadMagic does after an internal error.

        :param job_id: The job's ID.
        :raises ApiError: If no job has this ID or the job has ended.
        """
        self._state.bulk.fail(job_id)
