"""LeadMagic's HTTP API for Python. Nothing of Airflow in here: it works in a plain Python shell."""

from __future__ import annotations

import json
import logging
import math
import time
from contextlib import contextmanager
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any, Protocol, Self

from airflow_provider_leadmagic.api.analytics import Analytics, checked_days
from airflow_provider_leadmagic.api.base_url import DEFAULT_BASE_URL, normalize_base_url
from airflow_provider_leadmagic.api.bulk import Bulk
from airflow_provider_leadmagic.api.models import CreditBalance, CreditsRunway
from airflow_provider_leadmagic.api.products import find_product
from airflow_provider_leadmagic.api.retry import Calls
from airflow_provider_leadmagic.api.text import describe_value
from airflow_provider_leadmagic.api.transport import Transport
from airflow_provider_leadmagic.api.validation import is_finite
from airflow_provider_leadmagic.exceptions import (
    LeadMagicConfigurationError,
    LeadMagicError,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from types import TracebackType

    from airflow_provider_leadmagic.api.response import Response

log = logging.getLogger(__name__)

DEFAULT_TIMEOUT = 30.0
DEFAULT_MAX_ATTEMPTS = 4
#: Longest time limit that is accepted, in seconds.
MAX_TIMEOUT = 3600.0


class BalanceObserver(Protocol):
    """Hears of every look at the balance that reached for LeadMagic."""

    def seen(self, balance: CreditBalance, /) -> None:
        """Take note of a balance."""

    def failed(self, error: LeadMagicError, /) -> None:
        """Take note of a look that brought none."""


class LeadMagicClient:
    """
    Calls LeadMagic for one API key. Not safe for use by several threads at once.

    :param api_key: LeadMagic API key. It is sent to ``base_url`` only and shown nowhere.
    :param base_url: Address of the API, ``https://api.leadmagic.io`` by default. Plain http is refused except for
        a loopback host.
    :param timeout: Seconds one response may take as a whole from when the request was sent, 30 by default; connecting
        gets 10 at most. A download may take longer, but has to bring 64 KiB in each such time.
    :param max_attempts: Requests one call may make, the first included, 4 by default. What is repeated depends on
        whether it can cost money.
    :param owner: How messages name the key's owner, for example ``connection 'leadmagic_default'``.
    :param observer: Is told of every balance that is read, and of every look that failed.
    :raises LeadMagicConfigurationError: If an argument cannot be used; the message names it.
    """

    def __init__(
        self,
        api_key: str,
        base_url: str = DEFAULT_BASE_URL,
        timeout: float = DEFAULT_TIMEOUT,
        *,
        max_attempts: int = DEFAULT_MAX_ATTEMPTS,
        owner: str | None = None,
        observer: BalanceObserver | None = None,
    ) -> None:
        if isinstance(max_attempts, bool) or not isinstance(max_attempts, int) or max_attempts < 1:
            raise LeadMagicConfigurationError(
                f"max_attempts must be a whole number, 1 or more; got {describe_value(max_attempts)}"
            )
        self._transport = Transport(api_key, normalize_base_url(base_url), parse_timeout("timeout", timeout), owner)
        self._observer = observer
        self._calls = Calls(
            self._transport,
            max_attempts,
            on_response=self._note_credits,
            before_spending=self._forget_balance,
        )
        self._balance: CreditBalance | None = None
        self._balance_read_at = 0.0
        self._credits_remaining: Decimal | None = None

    @property
    def base_url(self) -> str:
        """Address of the API."""
        return self._transport.base_url

    @property
    def analytics(self) -> Analytics:
        """What was requested and spent: LeadMagic's ``/v1/analytics``. Free of charge."""
        return Analytics(self._calls)

    @property
    def bulk(self) -> Bulk:
        """Bulk jobs: LeadMagic's ``/bulk``."""
        return Bulk(self._calls)

    @property
    def credits_remaining(self) -> Decimal | None:
        """
        Credits after the last response, whatever was asked, from its ``X-Credits-Remaining`` header.

        None until a response carried one. After an enrichment this saves the call for the balance.
        """
        return self._credits_remaining

    def get_credits(self, max_age: float | None = None) -> CreditBalance:
        """
        Read the balance. Free of charge.

        :param max_age: Accept a balance that this client read up to so many seconds ago; by default ask again.
        :raises LeadMagicError: If LeadMagic refuses, does not response, or answers something else than a balance.
        """
        if max_age is not None and self._balance is not None and time.monotonic() - self._balance_read_at <= max_age:
            return self._balance
        with self._failures_observed():
            return self._read_balance()

    def refresh_credits(self) -> CreditBalance:
        """
        Have LeadMagic re-read the balance from its database, for when it looks out of date, and return it.

        Free of charge. Where LeadMagic has no such endpoint this is :meth:`get_credits`.

        :raises LeadMagicError: As :meth:`get_credits` does.
        """
        with self._failures_observed():
            self._call_if_there("POST", "/v1/credits/refresh")
            return self._read_balance()

    def credits_runway(self, days: int = 7, *, refresh: bool = False) -> CreditsRunway:
        """
        Tell how long the spendable credits last at the average pace of the last days. Two reads, free of charge.

        :param days: Window of the average that ends today, 1 to 90; 7 by default.
        :param refresh: Have LeadMagic re-read the balance from its database first. Off by default.
        :raises LeadMagicError: As :meth:`get_credits` does.
        :raises ValueError: If the window is out of range.
        """
        checked_days(days)
        balance = self.refresh_credits() if refresh else self.get_credits()  # first, as it is reported as a look
        return CreditsRunway.from_usage(balance, self.analytics.credits(days), days)

    def check_health(self) -> bool:
        """
        Ask whether LeadMagic accepts the API key. Free of charge.

        Where LeadMagic has no such endpoint, reading the balance answers the question.

        :return: True; every other outcome is raised.
        :raises LeadMagicAuthenticationError: If the key is not accepted.
        :raises LeadMagicError: If LeadMagic could not be asked.
        """
        if not self._call_if_there("GET", "/v1/credits/health"):
            self.get_credits()
        return True

    def enrich(self, product: str, **fields: Any) -> dict[str, Any]:
        """
        Look up one record. **Costs credits** when LeadMagic finds something.

        Repeated only when the request certainly was not carried out: it never reached LeadMagic, or was told 429.

        :param product: One of :data:`~airflow_provider_leadmagic.api.products.PRODUCTS`, ``email_finder`` for example.
        :param fields: What is known of the record, under LeadMagic's field names.
        :return: LeadMagic's response; ``credits_consumed`` in it is the price paid.
        :raises InsufficientCreditsError: If the balance does not cover the lookup.
        :raises LeadMagicError: If LeadMagic refuses or does not response.
        :raises ValueError: If the product is unknown, or a field is nothing JSON knows.
        """
        path = find_product(product).path
        _check_json(fields)
        return self._calls.paid("POST", path, fields).json_object()

    def close(self) -> None:
        """Close the connections to LeadMagic."""
        self._transport.close()

    def __enter__(self) -> Self:
        """Use the client in a ``with`` block that closes it."""
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close the client."""
        self.close()

    def __repr__(self) -> str:
        """Show the address only."""
        return f"<{type(self).__name__} {self.base_url}>"

    def _read_balance(self) -> CreditBalance:
        response = self._calls.free("GET", "/v1/credits")
        body = response.json(exact_numbers=True)
        with response.content_errors():
            self._balance = balance = CreditBalance.from_api(body, response.redact)
        self._balance_read_at = time.monotonic()
        if self._observer:
            self._observer.seen(balance)
        return balance

    @contextmanager
    def _failures_observed(self) -> Iterator[None]:
        try:
            yield
        except LeadMagicError as error:
            if self._observer:
                self._observer.failed(error)
            raise

    def _call_if_there(self, method: str, path: str) -> bool:
        """Call an endpoint that LeadMagic describes but may not serve, and tell whether it does."""
        try:
            self._calls.free(method, path)
        except LeadMagicError as error:
            if error.status not in (404, 405):
                raise
            log.debug("%s %s does not exist here (%s); falling back to GET /v1/credits", method, path, error.status)
            return False
        return True

    def _forget_balance(self) -> None:
        """Let no ``max_age`` revive the balance read before, whatever comes of the call that spends now."""
        self._balance = None

    def _note_credits(self, response: Response) -> None:
        try:
            remaining = Decimal(response.headers.get("X-Credits-Remaining", ""))
        except InvalidOperation:
            return
        if not is_finite(remaining):
            return
        self._credits_remaining = remaining
        if self._balance is not None and self._balance.credits != remaining:
            self._balance = None  # something was spent or bought since: max_age must not revive the old number


def parse_timeout(field: str, value: object) -> float:
    """
    Read a time limit.

    :param field: What to call it in the message.
    :param value: Seconds, above 0 and at most an hour, as a number or numeric text.
    :raises LeadMagicConfigurationError: If it is anything else.
    """
    try:
        seconds = math.nan if isinstance(value, bool) else float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        seconds = math.nan
    if not 0 < seconds <= MAX_TIMEOUT:
        problem = f"{field} must be a number of seconds above 0, {MAX_TIMEOUT:g} at most"
        raise LeadMagicConfigurationError(f"{problem}; got {describe_value(value)}")
    return seconds


def _check_json(fields: Mapping[str, Any]) -> None:
    try:
        json.dumps(fields, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ValueError(f"The fields of a record must be plain JSON: {error}") from None
