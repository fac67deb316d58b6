"""One HTTP exchange with LeadMagic: the key goes to one host only, time and size are bounded, errors are ours."""

from __future__ import annotations

import json
import logging
import time
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any

import requests
from requests.auth import AuthBase
from urllib3.exceptions import ConnectTimeoutError, HTTPError, NewConnectionError, ReadTimeoutError

from airflow_provider_leadmagic import __version__
from airflow_provider_leadmagic.base_url import is_loopback
from airflow_provider_leadmagic.exceptions import (
    LeadMagicConfigurationError,
    LeadMagicConnectionError,
    LeadMagicResponseError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
from airflow_provider_leadmagic.wording import clean

log = logging.getLogger(__name__)

#: Time to establish a connection, in seconds: a host that is up answers long before.
CONNECT_TIMEOUT = 10.0
#: Largest body that is read. A balance has some 200 bytes, an enriched company some 20 kB.
MAX_BODY_BYTES = 10 * 1024 * 1024


@dataclass(frozen=True)
class Answer:
    """What came back: status, headers and body, before anyone judged it."""

    call: str
    status: int
    headers: Mapping[str, str]
    text: str
    clean: Callable[[object], str | None] = field(repr=False)
    """Makes text out of it fit for a message."""

    def json(self, *, exact_numbers: bool = False) -> Any:
        """
        Parse the body.

        :param exact_numbers: Read every number as Decimal.
        :raises LeadMagicResponseError: If the body is not JSON. Transient, as it is usually a proxy's error page.
        """
        number = _exact_number if exact_numbers else None
        try:
            return json.loads(self.text, parse_float=number, parse_int=number)
        except (ValueError, RecursionError):
            kind = self.clean(self.headers.get("Content-Type")) or "no content type"
            raise LeadMagicResponseError(
                f"{self.call} was answered {self.status} with a body that is not JSON ({kind})",
                status=self.status,
                transient=True,
            ) from None

    def json_object(self) -> dict[str, Any]:
        """
        Parse the body, which has to be an object.

        :raises LeadMagicResponseError: If it is anything else.
        """
        body = self.json()
        if not isinstance(body, dict):
            raise LeadMagicResponseError(f"{self.call} was answered with JSON that is no object", status=self.status)
        return body


def _exact_number(digits: str) -> Decimal:
    try:
        return Decimal(digits)
    except InvalidOperation:
        return Decimal("NaN")  # an exponent beyond all reason, which no check of ours lets pass


class ApiKeyAuth(AuthBase):
    """Put the key on each request. Unlike a session header it shows in no ``repr`` and keeps ``.netrc`` out."""

    def __init__(self, api_key: str) -> None:
        self._api_key = api_key

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Add the header LeadMagic authenticates by."""
        request.headers["X-API-Key"] = self._api_key
        return request


class Transport:
    """
    Sends single requests. Retries, and the meaning of an answer, are the client's business.

    :param api_key: LeadMagic API key.
    :param base_url: Address of the API, already normalized.
    :param timeout: Seconds to wait for LeadMagic to answer, and then between two pieces of the answer.
    """

    def __init__(self, api_key: str, base_url: str, timeout: float) -> None:
        self.base_url = base_url
        self.timeout = timeout
        self._api_key = _checked_key(api_key)
        self._session = requests.Session()
        # A proxy for plain http would read the key, and no proxy can reach our own loopback host anyway.
        self._session.trust_env = not is_loopback(base_url)
        self._session.auth = ApiKeyAuth(self._api_key)
        self._session.headers["User-Agent"] = f"airflow-provider-leadmagic/{__version__}"
        self._session.headers["Accept"] = "application/json"

    def send(self, method: str, path: str, json_body: Mapping[str, Any] | None = None) -> Answer:
        """
        Make one request and read its answer.

        :param method: HTTP verb.
        :param path: Path below the base URL.
        :param json_body: Body to send as JSON.
        :raises LeadMagicConnectionError: If no complete answer came.
        :raises LeadMagicResponseError: If the answer is a redirect, or too large.
        """
        call = f"{method} {self.base_url}{path}"
        started = time.monotonic()
        try:
            with self._session.request(
                method,
                f"{self.base_url}{path}",
                json=json_body,
                timeout=(min(CONNECT_TIMEOUT, self.timeout), self.timeout),
                allow_redirects=False,  # requests would replay X-API-Key to whatever host the redirect names
                stream=True,
            ) as response:
                body = self._read(call, response)
        except requests.exceptions.InvalidURL:
            raise LeadMagicConfigurationError(f"{call} cannot be sent: there can be no such host") from None
        except (requests.RequestException, HTTPError, OSError) as error:
            raise _no_answer(call, error, self.timeout) from None
        answer = Answer(call, response.status_code, response.headers, body, self._clean)
        log.debug("%s was answered %s after %.2f s", call, answer.status, time.monotonic() - started)
        return _refuse_redirect(answer)

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    def _read(self, call: str, response: requests.Response) -> str:
        body = bytearray()
        for piece in response.iter_content(16 * 1024):
            body += piece
            if len(body) > MAX_BODY_BYTES:
                raise LeadMagicResponseError(f"{call} was answered with over {MAX_BODY_BYTES:,} bytes", transient=True)
        return body.decode("utf-8", errors="replace")

    def _clean(self, value: object) -> str | None:
        return clean(value, self._api_key)


def _checked_key(api_key: object) -> str:
    key = api_key.strip() if isinstance(api_key, str) else ""
    if not key:
        raise LeadMagicConfigurationError("the API key is empty")
    if not (key.isascii() and key.isprintable()) or " " in key:
        # Not shown, for once: the value is the secret.
        raise LeadMagicConfigurationError("the API key holds a space or a character that cannot be sent in a header")
    return key


def _refuse_redirect(answer: Answer) -> Answer:
    if not 300 <= answer.status < 400:
        return answer
    if "Location" not in answer.headers:
        problem = f"{answer.call} was answered {answer.status}, which is no answer to this call; check the base URL"
        raise LeadMagicResponseError(problem, status=answer.status)
    raise LeadMagicResponseError(
        f"{answer.call} was answered with a redirect ({answer.status}), which is not followed because it would "
        "hand the API key to another address; correct the base URL",
        status=answer.status,
    )


def _no_answer(call: str, error: Exception, timeout: float) -> LeadMagicConnectionError:
    chain = _causes(error)
    never_sent = any(isinstance(cause, NewConnectionError | ConnectTimeoutError) for cause in chain)
    if isinstance(error, requests.ConnectTimeout):
        reason = f"no connection within {min(CONNECT_TIMEOUT, timeout):g} s"
    elif any(isinstance(cause, ReadTimeoutError | TimeoutError) for cause in chain):
        reason = f"none within {timeout:g} s"
    else:
        reason = next((e.strerror for e in chain if isinstance(e, OSError) and e.strerror), type(chain[-1]).__name__)
    return LeadMagicConnectionError(f"{call} got no answer: {reason}", request_sent=not never_sent)


def _causes(error: BaseException | None) -> list[BaseException]:
    """Follow an error down to its root, through the wrappers of requests and urllib3."""
    chain: list[BaseException] = []
    while error is not None and error not in chain:
        chain.append(error)
        wrapped = getattr(error, "reason", None) or next(iter(error.args), None)
        error = wrapped if isinstance(wrapped, BaseException) else error.__cause__ or error.__context__
    return chain
