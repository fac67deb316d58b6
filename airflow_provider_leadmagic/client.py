"""Client for LeadMagic's HTTP API. It does not import Airflow and works in any Python program."""

from __future__ import annotations

import json
import logging
import math
import time
from contextlib import contextmanager
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any, Protocol, Self

from airflow_provider_leadmagic.api.analytics import Analytics, checked_days
from airflow_provider_leadmagic.api.base_url import (
    DEFAULT_BASE_URL,
    Network,
    check_allow_http,
    check_headers,
    check_proxies,
    check_verify,
    normalize_base_url,
)
from airflow_provider_leadmagic.api.bulk import Bulk
from airflow_provider_leadmagic.api.models import CreditBalance, CreditsRunway
from airflow_provider_leadmagic.api.products import find_product
from airflow_provider_leadmagic.api.retry import Calls
from airflow_provider_leadmagic.api.text import describe_value
from airflow_provider_leadmagic.api.transport import Transport
from airflow_provider_leadmagic.api.validation import is_finite, parse_amount
from airflow_provider_leadmagic.exceptions import (
    LeadMagicConfigurationError,
    LeadMagicError,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from os import PathLike
    from types import TracebackType

    from airflow_provider_leadmagic.api.response import Response

log = logging.getLogger(__name__)

DEFAULT_TIMEOUT = 30.0
DEFAULT_MAX_ATTEMPTS = 4
#: Longest accepted timeout, in seconds.
MAX_TIMEOUT = 3600.0


class BalanceObserver(Protocol):
    """Receives the result of every request for the balance."""

    def seen(self, balance: CreditBalance, /) -> None:
        """Handle a balance."""

    def failed(self, error: LeadMagicError, /) -> None:
        """Handle a failed request for the balance."""


class LeadMagicClient:
    """
    Client for one API key. Not thread-safe.

    :param api_key: LeadMagic API key. It is sent to ``base_url`` only and appears in no message.
    :param base_url: URL of the API, ``https://api.leadmagic.io`` by default. Plain http is rejected except for a
        loopback host; see ``allow_http``.
    :param timeout: Seconds from the end of a request to the end of its response, 30 by default. For a download, the
        limit applies to each 64 KiB. Connecting to one address of the host is limited to 10 s, or to ``timeout`` if
        that is shorter.
    :param max_attempts: Maximum number of attempts for each request, including the first; 4 by default. A request is
        repeated only if that cannot cost additional credits.
    :param owner: The connection, as error messages name it, for example ``connection 'leadmagic_default'``. Without
        one, the messages name the arguments of this client.
    :param observer: Receives the result of every request for the balance.
    :param allow_http: Whether to accept plain http for a private host, although it sends the API key unencrypted.
        Private hosts are private and link-local IP addresses, names without a dot, and names that end in .internal,
        .local, .localhost or .test. For test servers only; False by default.
    :param proxies: Addresses of proxies as in requests, for example ``{"https": "http://proxy.example:3128"}``. They
        replace the environment variables ``HTTPS_PROXY``, ``ALL_PROXY`` and ``NO_PROXY``, which apply by default. An
        empty address means no proxy. Plain http never uses a proxy. No message shows an address, because it may
        contain a password.
    :param verify: File or folder of CA certificates for the server and an https proxy. By default, those of
        ``REQUESTS_CA_BUNDLE``, ``CURL_CA_BUNDLE`` or the Python package certifi. False accepts any certificate: others
        in the network can then read the API key.
    :param headers: Additional headers of each request, for example for a gateway. Reserved names, such as
        ``X-API-Key``, are rejected. The client never writes the values into a message.
    :raises LeadMagicConfigurationError: If an argument is invalid; the message names it.
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
        allow_http: bool = False,
        proxies: Mapping[str, str | None] | None = None,
        verify: bool | str | PathLike[str] = True,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        if isinstance(max_attempts, bool) or not isinstance(max_attempts, int) or max_attempts < 1:
            raise LeadMagicConfigurationError(
                f"max_attempts must be a whole number, 1 or more; got {describe_value(max_attempts)}"
            )
        base_url = normalize_base_url(base_url, allow_http=check_allow_http("allow_http", allow_http))
        network = Network(
            check_proxies("proxies", proxies), check_verify("verify", verify), check_headers("headers", headers)
        )
        self._transport = Transport(api_key, base_url, parse_timeout("timeout", timeout), owner, network)
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
        """Normalized URL of the API."""
        return self._transport.base_url

    @property
    def accepts_any_certificate(self) -> bool:
        """Whether requests use TLS without checking the server's certificate, because ``verify`` is False."""
        return self._transport.network.verify is False and self.base_url.startswith("https://")

    def account_digest(self, salt: str) -> str:
        """
        Return a digest of URL and API key, which identifies the account without revealing the key.

        :param salt: Random text, to store with the digest.
        """
        return self._transport.account_digest(salt)

    @property
    def analytics(self) -> Analytics:
        """Requests and credits spent: LeadMagic's ``/v1/analytics``. Free of charge."""
        return Analytics(self._calls)

    @property
    def bulk(self) -> Bulk:
        """Bulk jobs: LeadMagic's ``/bulk``."""
        return Bulk(self._calls)

    @property
    def credits_remaining(self) -> Decimal | None:
        """
        Credits remaining, from the ``X-Credits-Remaining`` header of the latest response that has one.

        None until a response has this header. After an enrichment, this saves a request for the balance.
        """
        return self._credits_remaining

    def get_credits(self, max_age: float | None = None) -> CreditBalance:
        """
        Return the balance. Free of charge.

        :param max_age: Return the last balance if it is at most this many seconds old; by default send a request.
        :raises LeadMagicError: If LeadMagic rejects the request, does not respond, or does not return a balance.
        :raises ValueError: If ``max_age`` is not a number of seconds, 0 or more.
        """
        limit = max_age if max_age in (None, math.inf) else parse_amount("max_age", max_age, "seconds")
        if limit is not None and self._balance is not None and time.monotonic() - self._balance_read_at <= limit:
            return self._balance
        with self._failures_observed():
            return self._read_balance()

    def refresh_credits(self) -> CreditBalance:
        """
        Let LeadMagic update its cached balance from its database, and return the balance. Free of charge.

        If LeadMagic does not have this endpoint, this is the same as :meth:`get_credits`.

        :raises LeadMagicError: As :meth:`get_credits` does.
        """
        with self._failures_observed():
            self._call_if_available("POST", "/v1/credits/refresh")
            return self._read_balance()

    def credits_runway(self, days: int = 7, *, refresh: bool = False) -> CreditsRunway:
        """
        Return how long the spendable credits last at the average pace of the last ``days`` days.

        Makes two requests, or three with ``refresh``, all free of charge.

        :param days: Length of the window that ends today, 1 to 90; 7 by default.
        :param refresh: Let LeadMagic update its cached balance first. Off by default.
        :raises LeadMagicError: As :meth:`get_credits` does.
        :raises ValueError: If ``days`` is not a whole number from 1 to 90.
        """
        checked_days(days)
        # The balance first, so that the observer receives it even if the request for the usage fails.
        balance = self.refresh_credits() if refresh else self.get_credits()
        return CreditsRunway.from_usage(balance, self.analytics.credits(days), days)

    def check_health(self) -> bool:
        """
        Check that LeadMagic accepts the API key. Free of charge.

        If LeadMagic does not have this endpoint, this reads the balance instead.

        :return: True; every other outcome raises an exception.
        :raises LeadMagicAuthenticationError: If LeadMagic rejects the key.
        :raises LeadMagicError: If LeadMagic rejects the request or does not respond.
        """
        if not self._call_if_available("GET", "/v1/credits/health"):
            self.get_credits()
        return True

    def enrich(self, product: str, **fields: Any) -> dict[str, Any]:
        """
        Look up one record. **Costs credits** if LeadMagic finds it.

        Retried only if LeadMagic certainly did not execute the request: it was not sent, or LeadMagic returned 429.

        :param product: One of :data:`~airflow_provider_leadmagic.api.products.PRODUCTS`, for example ``email_finder``.
        :param fields: Known values of the record, with LeadMagic's field names.
        :return: LeadMagic's response; its ``credits_consumed`` is the price.
        :raises InsufficientCreditsError: If the balance does not cover the lookup.
        :raises LeadMagicError: If LeadMagic rejects the request or does not respond.
        :raises ValueError: If the product is unknown, or a value is not plain JSON.
        """
        path = find_product(product).path
        _check_json(fields)
        return self._calls.paid("POST", path, fields).json_object()

    def close(self) -> None:
        """Close the connections to LeadMagic."""
        self._transport.close()

    def __enter__(self) -> Self:
        """Return the client; the ``with`` block closes it."""
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close the client."""
        self.close()

    def __repr__(self) -> str:
        """Return a representation with the URL only."""
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

    def _call_if_available(self, method: str, path: str) -> bool:
        """Call an endpoint that is documented but may be missing, and return whether it exists."""
        try:
            self._calls.free(method, path)
        except LeadMagicError as error:
            if error.status not in (404, 405):
                raise
            log.debug("Falling back to GET /v1/credits: %s %s returned %s.", method, path, error.status)
            return False
        return True

    def _forget_balance(self) -> None:
        """Discard the cached balance before a call that spends credits, whatever its result."""
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
            self._balance = None  # credits were spent or bought since, so the cached balance is outdated


def parse_timeout(field: str, value: object) -> float:
    """
    Convert a timeout setting to seconds.

    :param field: Name of the setting, for the error message.
    :param value: Seconds, more than 0 and at most an hour, as a number or numeric text.
    :raises LeadMagicConfigurationError: If the value is invalid.
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
        raise ValueError(f"fields must be plain JSON: {error}") from None
