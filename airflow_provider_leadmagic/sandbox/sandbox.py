"""The handle tests hold."""

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
from airflow_provider_leadmagic.sandbox.bulk.handle import BulkHandle
from airflow_provider_leadmagic.sandbox.faults import Fault
from airflow_provider_leadmagic.sandbox.server import LOOPBACK, SandboxServer
from airflow_provider_leadmagic.sandbox.state import SandboxState
from airflow_provider_leadmagic.sandbox.usage import Spending

if TYPE_CHECKING:
    from decimal import Decimal

    from airflow_provider_leadmagic.sandbox.request_log import LoggedRequest


class Sandbox(BulkHandle):
    """
    A LeadMagic API on this machine, to be started and stopped, or used as a context manager.

    :param credits: the balance to begin with.
    :param api_key: the one key it accepts.
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
        """Start to serve; returns when calls are answered."""
        self._server.start()
        return self

    def stop(self) -> None:
        """End serving; a later start uses the same port and finds the same state."""
        self._server.stop()

    def __enter__(self) -> Self:
        """Start to serve."""
        return self.start()

    def __exit__(self, *_: object) -> None:
        """End serving."""
        self.stop()

    @property
    def url(self) -> str:
        """The base URL; known once started."""
        return f"http://{self._server.host}:{self._server.port}"

    @property
    def api_key(self) -> str:
        """The key it accepts."""
        return self._state.account.api_key

    @property
    def connection_json(self) -> str:
        """The value that points an Airflow connection here, for ``AIRFLOW_CONN_<ID>``."""
        return json.dumps({"conn_type": "leadmagic", "password": self.api_key, "host": self.url})

    @property
    def credits(self) -> Decimal:
        """The balance, frozen part included."""
        return self._state.account.credits

    @property
    def bare_body(self) -> bool:
        """Whether the balance is answered as ``{"credits": n}`` only, without the freeze fields."""
        return self._state.account.bare_body

    @bare_body.setter
    def bare_body(self, bare: bool) -> None:
        self._state.account.bare_body = bare

    @property
    def wrap_analytics(self) -> bool:
        """Whether the analytics are answered under ``data``: LeadMagic's documents disagree on it."""
        return self._state.wrap_analytics

    @wrap_analytics.setter
    def wrap_analytics(self, wrap: bool) -> None:
        self._state.wrap_analytics = wrap

    @property
    def requests(self) -> list[LoggedRequest]:
        """A copy of the log, oldest call first, controls left out."""
        return self._state.requests.entries()

    def requests_to(self, path: str) -> list[LoggedRequest]:
        """Copy the log's calls of one path, in which ``*`` may stand for any one part."""
        return self._state.requests.entries(path)

    def set_credits(self, credits: Amount) -> None:
        """Replace the balance."""
        self._state.account.set_credits(credits)

    def add_credits(self, credits: Amount) -> None:
        """Top the balance up."""
        self._state.account.add_credits(credits)

    def record_spending(self, product: str, credits: Amount, days_ago: int = 0) -> None:
        """
        Make up a lookup in the account's past, for the analytics to show; the balance stays as it is.

        :param product: what was bought, ``email_finder`` for example.
        :param credits: what was charged, 0 for a miss.
        :param days_ago: how many days ago it was, 365 at most.
        :raises ValueError: if there is no such product, or a number is out of range.
        """
        spending = Spending(product=product, credits=to_credits(credits), days_ago=days_ago)
        self._state.account.record(spending.as_charge())

    def freeze(self, message: str | None = DEFAULT_FREEZE_MESSAGE, liquid: Amount = 0) -> None:
        """
        Freeze the balance but for a part; credits that arrive later are frozen as well.

        :param message: what the API gives as the reason.
        :param liquid: how many credits stay spendable.
        """
        self._state.account.freeze(message, liquid)

    def unfreeze(self) -> None:
        """Make the whole balance spendable again."""
        self._state.account.unfreeze()

    def fail_next(self, path: str = "/v1/credits", **fault: Any) -> None:
        """
        Queue a fault for the next call of a path.

        :param path: the path, ``*`` in place of any one part of it, or ``*`` for every path.
        :param fault: the fields of :class:`~airflow_provider_leadmagic.sandbox.faults.Fault`.
        """
        self._state.faults.add(Fault(path=path, **fault))

    def clear_faults(self) -> None:
        """Forget all queued faults."""
        self._state.faults.clear()

    def reset(self) -> None:
        """Return to the state after construction: balance, ledger, jobs, faults, log, switches."""
        self._state.reset()
