"""A request, described for error messages, and the complete response to it."""

from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from airflow_provider_leadmagic.api.text import sentences
from airflow_provider_leadmagic.exceptions import LeadMagicResponseError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

#: Longest number accepted, in characters. The largest float has 309 digits before the decimal point.
MOST_DIGITS = 1000

#: Names of the client's arguments for the fields of an Airflow connection.
_ARGUMENTS = {"password": "api_key", "host": "base_url", "proxies and host": "proxies and base_url"}


@dataclass(frozen=True)
class Call:
    """Describes one request in error messages."""

    request: str
    """HTTP method and URL."""
    owner: str | None = None
    """The connection that key and address come from, such as ``connection 'x'``; None for a client without one."""
    has_proxies: bool = False
    """Whether the owner sets proxies. If not, environment variables may do so."""
    ca_path: str | None = None
    """File or folder of CA certificates that the owner sets. If None, an environment variable may do so."""

    def setting(self, field: str) -> str:
        """
        Name a setting that the user can correct.

        :param field: Field of the connection, such as ``password``, ``host`` or ``timeout``.
        """
        return f"the {field} of {self.owner}" if self.owner else f"the client's {_ARGUMENTS.get(field, field)}"

    def proxies(self, otherwise: str = "the proxy settings") -> str:
        """
        Name the owner's proxy setting.

        :param otherwise: Words to return if the owner has no proxies: environment variables can set some, too.
        """
        return self.setting("proxies") if self.has_proxies else otherwise

    def message(self, summary: str, detail: str | None = None, request_id: str | None = None) -> str:
        """
        Compose an error message, the least important part last: Airflow's log view cuts long lines.

        :param summary: Cause and advice.
        :param detail: Explanation given by the server or the operating system.
        """
        where = f"{self.request}, request id {request_id}" if request_id else self.request
        return f"{sentences(summary, detail)} [{where}]"


@dataclass(frozen=True)
class Response:
    """Status, headers and body of a response, before the status is checked."""

    call: Call
    status: int
    headers: Mapping[str, str] = field(repr=False)
    text: str = field(repr=False)
    redact: Callable[..., str | None] = field(repr=False)
    """Prepares text from the response for a message and hides the API key in it; see ``text.redact``."""
    sent: Callable[[], Iterable[str]] = field(default=tuple, repr=False)
    """Returns the values of the records in the request, which an error response may quote."""

    def json(self, *, exact_numbers: bool = False) -> Any:
        """
        Parse the body.

        :param exact_numbers: Parse every number as Decimal, and reject an object with a duplicate name, because an
            amount must not depend on which of the two values is read.
        :raises LeadMagicResponseError: If the body is not JSON. Transient, because it is usually a proxy's error page.
        """
        number, fields = (_exact_number, self._unique_fields) if exact_numbers else (None, None)
        try:
            return json.loads(self.text, parse_float=number, parse_int=number, object_pairs_hook=fields)
        except (ValueError, RecursionError):
            raise self.unexpected("Response is not JSON") from None

    def json_object(self) -> dict[str, Any]:
        """
        Parse the body, which must be a JSON object.

        :raises LeadMagicResponseError: If the body is not a JSON object.
        """
        body = self.json()
        if not isinstance(body, dict):
            summary = f"Response is not a JSON object ({self.status}): check {self.call.setting('host')}"
            raise LeadMagicResponseError(self.call.message(summary), status=self.status)
        return body

    def unexpected(self, cause: str) -> LeadMagicResponseError:
        """
        Build the transient error for a body of an unexpected type.

        :param cause: What is wrong with the body.
        """
        kind = self.redact(self.headers.get("Content-Type")) or "none"
        summary = f"{cause} ({self.status}): retry later or check {self.call.setting('host')}"
        message = self.call.message(summary, f"Content type: {kind}")
        return LeadMagicResponseError(message, status=self.status, transient=True)

    @contextmanager
    def content_errors(self) -> Iterator[None]:
        """Add advice and the request to a LeadMagicResponseError about the content of this response."""
        try:
            yield
        except LeadMagicResponseError as error:
            summary = f"{error}. Check {self.call.setting('host')}"
            raise LeadMagicResponseError(self.call.message(summary)) from None

    def _unique_fields(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        fields = dict(pairs)
        if len(fields) < len(pairs):
            summary = f"Response has a JSON object with a duplicate name: check {self.call.setting('host')}"
            raise LeadMagicResponseError(self.call.message(summary))
        return fields


def _exact_number(digits: str) -> Decimal:
    # A longer number is not an amount, and must not occupy the cache of _decimal().
    return _decimal(digits) if len(digits) <= MOST_DIGITS else Decimal("NaN")


@lru_cache(1024)  # a body of five million equal numbers must not become five million objects
def _decimal(digits: str) -> Decimal:
    try:
        return Decimal(digits)
    except InvalidOperation:
        return Decimal("NaN")  # the exponent is beyond Decimal's limits; every later check rejects NaN
