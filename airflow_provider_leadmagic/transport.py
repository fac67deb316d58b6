"""One HTTP exchange with LeadMagic: the key goes to one host only, time and size are bounded, errors are ours."""

from __future__ import annotations

import json
import logging
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any, BinaryIO

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
    from collections.abc import Callable, Iterator, Mapping
from airflow_provider_leadmagic.wording import clean

log = logging.getLogger(__name__)

#: Time to establish a connection, in seconds: a host that is up answers long before.
CONNECT_TIMEOUT = 10.0
#: Largest body that is read. A balance has some 200 bytes, an enriched company some 20 kB.
MAX_BODY_BYTES = 10 * 1024 * 1024
#: Most bytes of a download that are in memory at once.
DOWNLOAD_PIECE = 1024 * 1024


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

    def send(
        self,
        method: str,
        path: str,
        json_body: Mapping[str, Any] | None = None,
        *,
        body_file: BinaryIO | None = None,
    ) -> Answer:
        """
        Make one request and read its answer.

        :param method: HTTP verb.
        :param path: Path below the base URL.
        :param json_body: Body to send as JSON.
        :param body_file: Instead of that, a file of JSON to send from its beginning, however large it is.
        :raises LeadMagicConnectionError: If no complete answer came.
        :raises LeadMagicResponseError: If the answer is a redirect, or too large.
        """
        call = f"{method} {self.base_url}{path}"
        started = time.monotonic()
        body = {"json": json_body} if body_file is None else _streamed(body_file)
        with self._open(call, method, path, **body) as response:
            answer = self._answer(call, response, self._read(call, response))
        log.debug("%s was answered %s after %.2f s", call, answer.status, time.monotonic() - started)
        return _refuse_redirect(answer)

    def download(self, path: str, file: BinaryIO) -> tuple[Answer, int | None]:
        """
        Make one GET request and write its answer into a file piece by piece, however long it is.

        :param path: Path below the base URL.
        :param file: Where to write, from where it stands. After an error it holds a part of the answer.
        :return: The answer, and how many bytes were written. None means that it is no CSV file: nothing was
            written, and what it says is in the answer.
        :raises LeadMagicConnectionError: If no complete answer came.
        :raises LeadMagicResponseError: If the answer is a redirect, or an error that is too large.
        """
        call = f"GET {self.base_url}{path}"
        started = time.monotonic()
        with self._open(call, "GET", path, headers={"Accept": "text/csv"}) as response:
            is_csv = _is_csv(response)
            written = self._copy(call, response, file) if is_csv else None
            answer = self._answer(call, response, "" if is_csv else self._read(call, response))
        seconds = time.monotonic() - started
        log.debug("%s was answered %s, %s bytes, after %.2f s", call, answer.status, written, seconds)
        return _refuse_redirect(answer), written

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    def _open(self, call: str, method: str, path: str, **request: Any) -> requests.Response:
        with self._failures_explained(call):
            return self._session.request(
                method,
                f"{self.base_url}{path}",
                timeout=(min(CONNECT_TIMEOUT, self.timeout), self.timeout),
                allow_redirects=False,  # requests would replay X-API-Key to whatever host the redirect names
                stream=True,
                **request,
            )

    def _read(self, call: str, response: requests.Response) -> str:
        body = bytearray()
        for piece in self._pieces(call, response, 16 * 1024):
            body += piece
            if len(body) > MAX_BODY_BYTES:
                raise LeadMagicResponseError(f"{call} was answered with over {MAX_BODY_BYTES:,} bytes", transient=True)
        return body.decode("utf-8", errors="replace")

    def _copy(self, call: str, response: requests.Response, file: BinaryIO) -> int:
        written = 0
        for piece in self._pieces(call, response, DOWNLOAD_PIECE):
            file.write(piece)  # what goes wrong here is the disk's fault, and must not look like LeadMagic's
            written += len(piece)
        return written

    def _pieces(self, call: str, response: requests.Response, size: int) -> Iterator[bytes]:
        with self._failures_explained(call):
            yield from response.iter_content(size)
        if _is_cut_short(response):
            raise LeadMagicConnectionError(f"{call} got no complete answer: it ended before its announced length")

    @contextmanager
    def _failures_explained(self, call: str) -> Iterator[None]:
        try:
            yield
        except requests.exceptions.InvalidURL:
            raise LeadMagicConfigurationError(f"{call} cannot be sent: there can be no such host") from None
        except (requests.RequestException, HTTPError, OSError) as error:
            raise _no_answer(call, error, self.timeout) from None

    def _answer(self, call: str, response: requests.Response, text: str) -> Answer:
        return Answer(call, response.status_code, response.headers, text, self._clean)

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


def _streamed(body_file: BinaryIO) -> dict[str, Any]:
    body_file.seek(0)
    return {"data": body_file, "headers": {"Content-Type": "application/json"}}


def _is_csv(response: requests.Response) -> bool:
    # Not the other way round: CSV goes by many names, while the page of a proxy, and an excuse, say what they are.
    kind = response.headers.get("Content-Type", "").lower()
    return response.status_code == requests.codes.ok and "html" not in kind and "json" not in kind


def _is_cut_short(response: requests.Response) -> bool:
    # urllib3 sees to this by itself from 2.0 on, and to chunked answers in every version.
    announced = response.headers.get("Content-Length", "")
    is_chunked = "Transfer-Encoding" in response.headers
    return announced.isdecimal() and not is_chunked and response.raw.tell() < int(announced)


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
