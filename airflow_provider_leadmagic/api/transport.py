"""Send single HTTP requests to LeadMagic: the API key goes to one host only, and time and size are bounded."""

from __future__ import annotations

import hashlib
import json
import logging
import mmap
import re
import sys
import time
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, BinaryIO

import requests
from requests.auth import AuthBase
from urllib3.exceptions import HTTPError

from airflow_provider_leadmagic import __version__
from airflow_provider_leadmagic.api.base_url import Network, is_loopback
from airflow_provider_leadmagic.api.deadlines import CACertificatesError, DeadlineAdapter, deadline_of
from airflow_provider_leadmagic.api.errors import error_for_failure
from airflow_provider_leadmagic.api.response import Call, Response
from airflow_provider_leadmagic.api.text import redact
from airflow_provider_leadmagic.exceptions import (
    LeadMagicConfigurationError,
    LeadMagicConnectionError,
    LeadMagicResponseError,
    ResponseTooLargeError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

log = logging.getLogger(__name__)

#: Longest time to connect to one address of a host, in seconds.
CONNECT_TIMEOUT = 10.0
#: Largest response body, in bytes. A balance has about 200 bytes, an enriched company about 20 kB.
MAX_BODY_BYTES = 10 * 1024 * 1024
#: Chunk size of a download, in bytes. One chunk must arrive within each timeout: at the default of 30 s that is
#: about 2 kB per second.
DOWNLOAD_CHUNK = 64 * 1024
#: Largest download, in bytes. The longest job has half a million rows.
MAX_DOWNLOAD_BYTES = 32 * 1024**3
#: Accepted encodings. These expand by a factor of about 1000 at most; newer encodings, and several encodings in a row,
#: can expand one packet to terabytes.
_ENCODINGS = frozenset({"", "identity", "gzip", "x-gzip", "deflate"})


#: Exceptions for a response that is missing or incomplete.
_FAILURES = (requests.RequestException, HTTPError, OSError, CACertificatesError)


class ApiKeyAuth(AuthBase):
    """Add the API key to each request. Unlike a session header, this hides it from ``repr`` and disables ``.netrc``."""

    def __init__(self, api_key: str) -> None:
        self._api_key = api_key

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Set the X-API-Key header."""
        request.headers["X-API-Key"] = self._api_key
        return request


class _Session(requests.Session):
    """Session that detects no redirects, and prefers its own proxies and CA certificates to environment variables."""

    def get_redirect_target(self, resp: requests.Response) -> None:
        """Return None. Otherwise requests reads the body of a redirect, even if it does not follow it."""

    def merge_environment_settings(self, *args: Any, **kwargs: Any) -> Any:
        """Return proxies and CA certificates. By default, environment variables would override those of the session."""
        settings = super().merge_environment_settings(*args, **kwargs)
        if self.proxies:
            settings["proxies"] = self.proxies
        if self.verify is not True:
            settings["verify"] = self.verify
        return settings


class Transport:
    """
    Sends single requests without retries. Returns error responses; rejects redirects and partial content.

    :param api_key: LeadMagic API key.
    :param base_url: Normalized URL of the API.
    :param timeout: Seconds from the end of a request to the end of its response. A download has no time
        limit in total: the headers and the first 64 KiB must arrive within this time, and so must each further 64 KiB.
    :param owner: The connection, as error messages name it; None without one.
    :param network: Proxies, CA certificates and additional headers.
    """

    def __init__(
        self, api_key: str, base_url: str, timeout: float, owner: str | None = None, network: Network | None = None
    ) -> None:
        self.base_url = base_url
        self.timeout = timeout
        self.network = network or Network()
        self._owner = owner
        self._timeouts = (min(CONNECT_TIMEOUT, timeout), timeout)
        self._api_key = _checked_key(api_key)
        self._secrets = (self._api_key, *self.network.secrets())
        self._session = _Session()
        for scheme in ("https://", "http://"):
            self._session.mount(scheme, DeadlineAdapter())
        # Plain http uses no proxy, because a proxy could read the API key. For a loopback host the
        # environment is ignored, because a proxy could not reach it.
        is_https = base_url.startswith("https://")
        self._session.trust_env = is_https and not is_loopback(base_url)
        self._session.proxies.update(self.network.proxies if is_https else {})
        self._session.verify = self.network.verify
        self._session.auth = ApiKeyAuth(self._api_key)
        self._session.headers["User-Agent"] = f"airflow-provider-leadmagic/{__version__}"
        self._session.headers["Accept-Encoding"] = "gzip, deflate"
        self._session.headers["Accept"] = "application/json"
        self._session.headers.update(self.network.headers)

    def account_digest(self, salt: str) -> str:
        """
        Return a digest of URL and API key, which identifies the account without revealing the key.

        :param salt: Random text.
        """
        account = f"{self.base_url} {self._api_key}".encode()
        return hashlib.pbkdf2_hmac("sha256", account, salt.encode(), 10_000).hex()

    def send(
        self,
        method: str,
        path: str,
        json_body: Mapping[str, Any] | None = None,
        *,
        body_file: BinaryIO | None = None,
    ) -> Response:
        """
        Send one request and read the response.

        :param method: HTTP method.
        :param path: Path below the base URL.
        :param json_body: Body to send as JSON.
        :param body_file: File of JSON to stream instead, from its beginning; of any size.
        :raises LeadMagicConfigurationError: If a setting makes it impossible to send the request.
        :raises LeadMagicConnectionError: If there is no complete response in time.
        :raises LeadMagicResponseError: If the response is a redirect, partial content, or too large.
        """
        call = self._call(method, path)
        started = time.monotonic()
        body = {"json": json_body} if body_file is None else _streamed(body_file)
        with self._open(call, method, path, **body) as response:
            sent = partial(_values_sent, path, json_body, body_file)
            result = self._response(call, response, self._read(call, response), sent)
        log.debug("%s returned %s in %.2f s", call.request, result.status, time.monotonic() - started)
        return result

    def download(self, path: str, file: BinaryIO) -> tuple[Response, int | None]:
        """
        Send one GET request and stream the CSV response into a file.

        :param path: Path below the base URL.
        :param file: Written from its current position. After an error it contains a part of the download.
        :return: The response, and the number of bytes written. If the response is not CSV, nothing is written, the
            number is None, and the response has the body.
        :raises LeadMagicConfigurationError: If a setting makes it impossible to send the request.
        :raises LeadMagicConnectionError: If the response is missing, incomplete or too slow.
        :raises LeadMagicResponseError: If the response is a redirect, partial content, or too large.
        """
        call = self._call("GET", path)
        started = time.monotonic()
        with self._open(call, "GET", path, headers={"Accept": "text/csv"}) as response:
            is_csv = _is_csv(response)
            written = self._copy(call, response, file) if is_csv else None
            result = self._response(call, response, "" if is_csv else self._read(call, response))
        size = "no CSV" if written is None else f"{written:,} bytes of CSV"
        log.debug("%s returned %s, %s, in %.2f s", call.request, result.status, size, time.monotonic() - started)
        return result, written

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    @contextmanager
    def _open(self, call: Call, method: str, path: str, **request: Any) -> Iterator[requests.Response]:
        unrelated, failure = sys.exception(), None
        try:
            response = self._session.request(
                method,
                f"{self.base_url}{path}",
                timeout=self._timeouts,
                allow_redirects=False,  # requests would send X-API-Key to the host that the redirect names
                stream=True,
                **request,
            )
        except _FAILURES as error:
            if_timed_out = f"No response within {self.timeout:g} s"
            failure = error_for_failure(call, error, unrelated, self._timeouts[0], if_timed_out)
        if failure:
            raise failure  # not in the except block: the frames of the error's traceback hold the API key
        with response:
            _check_response_type(call, response)
            yield response

    def _read(self, call: Call, response: requests.Response) -> str:
        body = bytearray()
        for chunk in self._chunks(call, response, 16 * 1024, f"Response not complete within {self.timeout:g} s"):
            body += chunk
            if len(body) > MAX_BODY_BYTES:
                summary = f"Response over {MAX_BODY_BYTES:,} bytes: retry later or check {call.setting('host')}"
                raise ResponseTooLargeError(call.message(summary), transient=True)
        return body.decode("utf-8", errors="replace")

    def _copy(self, call: Call, response: requests.Response, file: BinaryIO) -> int:
        written = written_at_renewal = 0
        deadline = deadline_of(response)
        if_timed_out = f"Download slower than {DOWNLOAD_CHUNK // 1024} KiB in {self.timeout:g} s"
        for chunk in self._chunks(call, response, DOWNLOAD_CHUNK, if_timed_out):
            written += len(chunk)
            if written > MAX_DOWNLOAD_BYTES:
                summary = f"Download over {MAX_DOWNLOAD_BYTES:,} bytes: check {call.setting('host')}"
                raise LeadMagicResponseError(call.message(summary))
            file.write(chunk)  # an error here is a disk error and must not be reported as LeadMagic's
            if written - written_at_renewal >= DOWNLOAD_CHUNK:
                written_at_renewal = written
                deadline.renew()
        return written

    def _chunks(self, call: Call, response: requests.Response, size: int, if_timed_out: str) -> Iterator[bytes]:
        unrelated, failure = sys.exception(), None
        try:
            yield from response.iter_content(size)
        except _FAILURES as error:
            failure = error_for_failure(call, error, unrelated, self._timeouts[0], if_timed_out)
        if failure:
            raise failure  # as in _open
        if _is_cut_short(response):
            summary = f"Response cut short: retry later or check {call.setting('host')}"
            raise LeadMagicConnectionError(call.message(summary, "The body is shorter than its Content-Length"))

    def _call(self, method: str, path: str) -> Call:
        return Call(f"{method} {self.base_url}{path}", self._owner, bool(self.network.proxies), self.network.ca_path)

    def _response(
        self, call: Call, response: requests.Response, text: str, sent: Callable[[], Iterable[str]] = tuple
    ) -> Response:
        return Response(call, response.status_code, response.headers, text, self._redact, sent)

    def _redact(self, value: object, private: Collection[str] | None = None) -> str | None:
        return redact(value, self._secrets, private)


def _checked_key(api_key: object) -> str:
    key = api_key.strip() if isinstance(api_key, str) else ""
    if not key:
        raise LeadMagicConfigurationError("the API key is empty")
    if not (key.isascii() and key.isprintable()) or " " in key:
        # The message does not show the value, because it is the secret.
        raise LeadMagicConfigurationError("the API key contains a space or a character that is invalid in a header")
    return key


def _streamed(body_file: BinaryIO) -> dict[str, Any]:
    body_file.seek(0)
    return {"data": body_file, "headers": {"Content-Type": "application/json"}}


#: A JSON string and, if it is the name of a field, the colon and any list bracket that follow it.
_JSON_STRING = re.compile(rb'"((?:[^"\\]|\\.)*)"(: ?\[?)?')


def _values_sent(path: str, json_body: Mapping[str, Any] | None, body_file: BinaryIO | None) -> Iterator[str]:
    """
    Yield the texts in the records of a request, which may be personal data and must not be in messages. Texts that are
    also field names are left out.
    """
    if body_file is not None:
        # Mapped, because a body can have hundreds of megabytes.
        body = mmap.mmap(body_file.fileno(), 0, access=mmap.ACCESS_READ)
        yield from _values_in(body, in_records=False)
    elif json_body and path.startswith("/v1/"):  # a lookup; the other bodies control bulk jobs
        yield from _values_in(json.dumps(json_body).encode(), in_records=True)


def _values_in(body: bytes | mmap.mmap, *, in_records: bool) -> Iterator[str]:
    names: set[bytes] = set()
    for string in _JSON_STRING.finditer(body):
        if string[2]:
            names.add(string[1])
            in_records = in_records or string[2].endswith(b"[")
        elif in_records and string[1].lower() not in names:
            yield json.loads(b'"%b"' % string[1])


def _is_csv(response: requests.Response) -> bool:
    # Exclude HTML and JSON instead of requiring CSV: CSV has many content types, but error pages declare theirs.
    kind = response.headers.get("Content-Type", "").lower()
    return response.status_code == requests.codes.ok and "html" not in kind and "json" not in kind


def _is_cut_short(response: requests.Response) -> bool:
    # urllib3 checks this itself since 2.0, and for chunked responses in every version.
    announced = response.headers.get("Content-Length", "")
    is_chunked = "Transfer-Encoding" in response.headers
    if is_chunked or not announced.isdecimal():
        return False
    # Python cannot parse a number with thousands of digits; http.client then ignores the header and reads to the end.
    return len(announced) > 18 or response.raw.tell() < int(announced)


def _check_response_type(call: Call, response: requests.Response) -> None:
    status, host = response.status_code, call.setting("host")
    if status == requests.codes.partial_content:
        summary = f"Unexpected partial content ({status}): retry later or check {host}"
        message = call.message(summary, "The request had no Range header")
        raise LeadMagicResponseError(message, status=status, transient=True)
    if response.headers.get("Content-Encoding", "").strip().lower() not in _ENCODINGS:
        summary = f"Unexpected content encoding ({status}): retry later or check {host}"
        message = call.message(summary, "Only gzip and deflate were requested")
        raise LeadMagicResponseError(message, status=status, transient=True)
    if 300 <= status < 400:
        raise LeadMagicResponseError(_redirect_message(call, response), status=status)


def _redirect_message(call: Call, response: requests.Response) -> str:
    status, host = response.status_code, call.setting("host")
    if "Location" not in response.headers:
        return call.message(f"Unexpected status ({status}): check {host}")
    reason = "Redirects are not followed, because that would send the API key to another address"
    return call.message(f"Redirected ({status}): correct {host}", reason)
