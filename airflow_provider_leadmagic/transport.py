"""One HTTP exchange with LeadMagic: the key goes to one host only, time and size are bounded, errors are ours."""

from __future__ import annotations

import json
import logging
import time
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import requests
from requests.auth import AuthBase
from urllib3.exceptions import ConnectTimeoutError, HTTPError, NewConnectionError

from airflow_provider_leadmagic import __version__
from airflow_provider_leadmagic.exceptions import (
    LeadMagicConfigurationError,
    LeadMagicConnectionError,
    LeadMagicResponseError,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

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

    def json(self, *, exact_numbers: bool = False) -> Any:
        """
        Parse the body.

        :param exact_numbers: Read every number as Decimal.
        :raises LeadMagicResponseError: If the body is not JSON. Transient, as it is usually a proxy's error page.
        """
        number = Decimal if exact_numbers else None
        try:
            return json.loads(self.text, parse_float=number, parse_int=number)
        except (ValueError, RecursionError):
            kind = self.headers.get("Content-Type", "no content type")[:60]
            raise LeadMagicResponseError(
                f"{self.call} was answered {self.status} with a body that is not JSON ({kind})",
                status=self.status,
                transient=True,
            ) from None


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
                answer = Answer(call, response.status_code, response.headers, self._read(call, response))
        except (requests.RequestException, HTTPError, OSError) as error:
            raise _no_answer(call, error, self.timeout) from None
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
        # A server that quotes the key back must not bring it into our messages.
        return body.decode("utf-8", errors="replace").replace(self._api_key, "***")


def _checked_key(api_key: object) -> str:
    key = api_key.strip() if isinstance(api_key, str) else ""
    if not key:
        raise LeadMagicConfigurationError("the API key is empty")
    if not (key.isascii() and key.isprintable()) or " " in key:
        # Not shown, for once: the value is the secret.
        raise LeadMagicConfigurationError("the API key holds a space or a character that cannot be sent in a header")
    return key


def _refuse_redirect(answer: Answer) -> Answer:
    if 300 <= answer.status < 400:
        raise LeadMagicResponseError(
            f"{answer.call} was answered with a redirect ({answer.status}), which is not followed because it would "
            "hand the API key to another address; correct the base URL",
            status=answer.status,
        )
    return answer


def _no_answer(call: str, error: Exception, timeout: float) -> LeadMagicConnectionError:
    chain = list(_causes(error))
    never_sent = any(isinstance(cause, NewConnectionError | ConnectTimeoutError) for cause in chain)
    if isinstance(error, requests.Timeout):
        reason = (
            f"no connection within {min(CONNECT_TIMEOUT, timeout):g} s" if never_sent else f"none within {timeout:g} s"
        )
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
