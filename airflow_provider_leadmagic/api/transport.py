"""One HTTP exchange with LeadMagic: the key goes to one host only, time and size are bounded, errors are ours."""

from __future__ import annotations

import logging
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, BinaryIO

import requests
from requests.auth import AuthBase
from urllib3.exceptions import HTTPError

from airflow_provider_leadmagic import __version__
from airflow_provider_leadmagic.api.base_url import is_loopback
from airflow_provider_leadmagic.api.deadlines import DeadlineAdapter, deadline_of
from airflow_provider_leadmagic.api.errors import error_for_failure
from airflow_provider_leadmagic.api.response import Response
from airflow_provider_leadmagic.api.text import redact
from airflow_provider_leadmagic.exceptions import (
    LeadMagicConfigurationError,
    LeadMagicConnectionError,
    LeadMagicResponseError,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

log = logging.getLogger(__name__)

#: Time to establish a connection, in seconds: a host that is up answers long before.
CONNECT_TIMEOUT = 10.0
#: Largest body that is read. A balance has some 200 bytes, an enriched company some 20 kB.
MAX_BODY_BYTES = 10 * 1024 * 1024
#: Most bytes of a download that are in memory at once, and the fewest that have to come within the timeout: by default
#: some 2 kB a second, which no line is too slow for.
DOWNLOAD_PIECE = 64 * 1024
#: Largest download that is written. The longest job has half a million rows.
MAX_DOWNLOAD_BYTES = 32 * 1024**3
#: What is unpacked: a thousandfold at most, while newer encodings, and layers of them, make terabytes of a packet.
_ENCODINGS = frozenset({"", "identity", "gzip", "x-gzip", "deflate"})


class ApiKeyAuth(AuthBase):
    """Put the key on each request. Unlike a session header it shows in no ``repr`` and keeps ``.netrc`` out."""

    def __init__(self, api_key: str) -> None:
        self._api_key = api_key

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Add the header LeadMagic authenticates by."""
        request.headers["X-API-Key"] = self._api_key
        return request


class _Session(requests.Session):
    """Knows of no redirects: requests reads the whole body of one, however large it is, also where it follows none."""

    def get_redirect_target(self, resp: requests.Response) -> None:
        """Say that an answer is no redirect."""


class Transport:
    """
    Sends single requests. Retries, and the meaning of an answer, are the client's business.

    :param api_key: LeadMagic API key.
    :param base_url: Address of the API, already normalized.
    :param timeout: Seconds from the moment a request has been sent until its answer has come as a whole. Of a
        download it is the head that has to come within this time, and then each 64 KiB of the rest: how long a
        download takes as a whole depends on its size, so what is bounded is the pace.
    """

    def __init__(self, api_key: str, base_url: str, timeout: float) -> None:
        self.base_url = base_url
        self.timeout = timeout
        self._timeouts = (min(CONNECT_TIMEOUT, timeout), timeout)
        self._api_key = _checked_key(api_key)
        self._session = _Session()
        for scheme in ("https://", "http://"):
            self._session.mount(scheme, DeadlineAdapter())
        # A proxy for plain http would read the key, and no proxy can reach our own loopback host anyway.
        self._session.trust_env = not is_loopback(base_url)
        self._session.auth = ApiKeyAuth(self._api_key)
        self._session.headers["User-Agent"] = f"airflow-provider-leadmagic/{__version__}"
        self._session.headers["Accept-Encoding"] = "gzip, deflate"
        self._session.headers["Accept"] = "application/json"

    def send(
        self,
        method: str,
        path: str,
        json_body: Mapping[str, Any] | None = None,
        *,
        body_file: BinaryIO | None = None,
    ) -> Response:
        """
        Make one request and read its answer.

        :param method: HTTP verb.
        :param path: Path below the base URL.
        :param json_body: Body to send as JSON.
        :param body_file: Instead of that, a file of JSON to send from its beginning, however large it is.
        :raises LeadMagicConnectionError: If no complete answer came in time.
        :raises LeadMagicResponseError: If the answer is a redirect, a part, or too large.
        """
        call = f"{method} {self.base_url}{path}"
        started = time.monotonic()
        body = {"json": json_body} if body_file is None else _streamed(body_file)
        with self._open(call, method, path, **body) as response:
            answer = self._answer(call, response, self._read(call, response))
        log.debug("%s was answered %s after %.2f s", call, answer.status, time.monotonic() - started)
        return answer

    def download(self, path: str, file: BinaryIO) -> tuple[Response, int | None]:
        """
        Make one GET request and write its answer into a file piece by piece, however long it is.

        :param path: Path below the base URL.
        :param file: Where to write, from where it stands. After an error it holds a part of the answer.
        :return: The answer, and how many bytes were written. None means that it is no CSV file: nothing was
            written, and what it says is in the answer.
        :raises LeadMagicConnectionError: If no complete answer came, or it came too slowly.
        :raises LeadMagicResponseError: If the answer is a redirect, a part, or too large.
        """
        call = f"GET {self.base_url}{path}"
        started = time.monotonic()
        with self._open(call, "GET", path, headers={"Accept": "text/csv"}) as response:
            is_csv = _is_csv(response)
            written = self._copy(call, response, file) if is_csv else None
            answer = self._answer(call, response, "" if is_csv else self._read(call, response))
        seconds = time.monotonic() - started
        log.debug("%s was answered %s, %s bytes, after %.2f s", call, answer.status, written, seconds)
        return answer, written

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    @contextmanager
    def _open(self, call: str, method: str, path: str, **request: Any) -> Iterator[requests.Response]:
        with self._failures_explained(call):
            response = self._session.request(
                method,
                f"{self.base_url}{path}",
                timeout=self._timeouts,
                allow_redirects=False,  # requests would replay X-API-Key to whatever host the redirect names
                stream=True,
                **request,
            )
        with response:
            _refuse_other_responses(call, response)
            yield response

    def _read(self, call: str, response: requests.Response) -> str:
        body = bytearray()
        for piece in self._pieces(call, response, 16 * 1024, f"it did not end within {self.timeout:g} s"):
            body += piece
            if len(body) > MAX_BODY_BYTES:
                raise LeadMagicResponseError(f"{call} was answered with over {MAX_BODY_BYTES:,} bytes", transient=True)
        return body.decode("utf-8", errors="replace")

    def _copy(self, call: str, response: requests.Response, file: BinaryIO) -> int:
        written = in_time = 0
        deadline = deadline_of(response)
        slow = f"less than {DOWNLOAD_PIECE:,} bytes came within {self.timeout:g} s"
        for piece in self._pieces(call, response, DOWNLOAD_PIECE, slow):
            written += len(piece)
            if written > MAX_DOWNLOAD_BYTES:
                raise LeadMagicResponseError(f"{call} was answered with over {MAX_DOWNLOAD_BYTES:,} bytes")
            file.write(piece)  # what goes wrong here is the disk's fault, and must not look like LeadMagic's
            if written - in_time >= DOWNLOAD_PIECE:
                in_time = written
                deadline.renew()
        return written

    def _pieces(self, call: str, response: requests.Response, size: int, slow: str) -> Iterator[bytes]:
        with self._failures_explained(call, slow):
            yield from response.iter_content(size)
        if _is_cut_short(response):
            raise LeadMagicConnectionError(f"{call} got no complete answer: it ended before its announced length")

    @contextmanager
    def _failures_explained(self, call: str, slow: str = "") -> Iterator[None]:
        unrelated = sys.exception()
        try:
            yield
        except requests.exceptions.InvalidURL:
            raise LeadMagicConfigurationError(f"{call} cannot be sent: there can be no such host") from None
        except (requests.RequestException, HTTPError, OSError) as error:
            raise error_for_failure(call, error, unrelated, self._timeouts, slow) from None

    def _answer(self, call: str, response: requests.Response, text: str) -> Response:
        return Response(call, response.status_code, response.headers, text, self._redact)

    def _redact(self, value: object) -> str | None:
        return redact(value, self._api_key)


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
    if is_chunked or not announced.isdecimal():
        return False
    # Python makes no number of thousands of digits, and http.client none of such a length: it reads what there is.
    return len(announced) > 18 or response.raw.tell() < int(announced)


def _refuse_other_responses(call: str, response: requests.Response) -> None:
    status = response.status_code
    if status == requests.codes.partial_content:
        problem = f"{call} was answered with a part ({status}), which was not asked for"
        raise LeadMagicResponseError(problem, status=status, transient=True)
    if response.headers.get("Content-Encoding", "").strip().lower() not in _ENCODINGS:
        problem = f"{call} was answered in a content encoding that was not asked for"
        raise LeadMagicResponseError(problem, status=status, transient=True)
    if not 300 <= status < 400:
        return
    if "Location" not in response.headers:
        problem = f"{call} was answered {status}, which is no answer to this call; check the base URL"
        raise LeadMagicResponseError(problem, status=status)
    raise LeadMagicResponseError(
        f"{call} was answered with a redirect ({status}), which is not followed because it would "
        "hand the API key to another address; correct the base URL",
        status=status,
    )
