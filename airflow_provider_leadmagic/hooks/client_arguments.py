"""
Read the arguments of a LeadMagicClient from an Airflow connection. No other module reads its fields.

The form of the connection is in ``get_provider_info.py``.
"""

from __future__ import annotations

import difflib
import json
from typing import TYPE_CHECKING, Any

from airflow_provider_leadmagic.api.base_url import (
    DEFAULT_BASE_URL,
    check_allow_http,
    check_headers,
    check_proxies,
    check_verify,
    normalize_base_url,
)
from airflow_provider_leadmagic.api.text import describe_value
from airflow_provider_leadmagic.client import DEFAULT_TIMEOUT, parse_timeout
from airflow_provider_leadmagic.exceptions import LeadMagicConfigurationError

if TYPE_CHECKING:
    from airflow_provider_leadmagic.compat.imports import Connection

#: Names of the fields in the extra of a connection.
EXTRAS = ("allow_http", "headers", "proxies", "timeout", "verify")

#: Connections and unknown names in their extra that this process has reported already.
_reported: set[tuple[str, str]] = set()


def client_arguments(connection: Connection, longest_timeout: float) -> dict[str, Any]:
    """
    Return the arguments of the client for a connection.

    :param connection: A connection of type ``leadmagic``.
    :param longest_timeout: Upper limit of the timeout, in seconds.
    :raises LeadMagicConfigurationError: If a field is invalid. The local variables in its traceback contain secrets.
    """
    extra = _extra(connection)
    timeout = extra.get("timeout")
    seconds = DEFAULT_TIMEOUT if timeout in (None, "") else parse_timeout("timeout (extra)", timeout)
    http = extra.get("allow_http")
    allow_http = http is not None and check_allow_http("allow_http (extra)", http)
    return {
        "api_key": _api_key(connection),
        "base_url": _base_url(connection, allow_http=allow_http),
        "timeout": min(seconds, longest_timeout),
        "allow_http": allow_http,
        "proxies": check_proxies("proxies (extra)", _parsed(extra.get("proxies"))),
        "verify": check_verify("verify (extra)", extra.get("verify")),
        "headers": check_headers("headers (extra)", _parsed(extra.get("headers"))),
    }


def new_unknown_extras(connection: Connection, owner: str) -> list[str]:
    """
    Return a warning for each unknown name in the extra of a connection that this process has not reported yet.

    :param connection: A connection of type ``leadmagic``.
    :param owner: How messages refer to the connection.
    :raises LeadMagicConfigurationError: If the extra is not a JSON object.
    """
    names = [name for name in _extra(connection) if name not in EXTRAS and (owner, name) not in _reported]
    _reported.update((owner, name) for name in names)
    return [f"Unknown extra {describe_value(name)} ignored: {_advice(name)} [{owner}]" for name in names]


def _advice(name: str) -> str:
    plain = name.lower().replace("-", "_")
    if "key" in plain:
        return "the API key belongs in the password."
    similar = difflib.get_close_matches(plain, EXTRAS, 1)
    return f"did you mean {similar[0]!r}?" if similar else f"the known extras are {', '.join(EXTRAS)}."


def _api_key(connection: Connection) -> str:
    if connection.login and not connection.password:
        # The value is not shown, because it is probably the API key.
        raise LeadMagicConfigurationError("the password is empty; put the API key there, not in the login")
    return connection.password or ""


def _base_url(connection: Connection, *, allow_http: bool) -> str:
    scheme = (connection.schema or "").lower()
    if scheme not in ("", "http", "https"):
        # The value is not shown: a misplaced API key ends up here if the connection is written as a URI.
        raise LeadMagicConfigurationError("schema must be https, http or empty; the API key belongs in the password")
    host = (connection.host or "").strip() or DEFAULT_BASE_URL
    return normalize_base_url(
        host, field="host (API base URL)", scheme=scheme, port=connection.port, allow_http=allow_http
    )


def _extra(connection: Connection) -> dict[str, Any]:
    # Not `extra_dejson`, which returns an empty dictionary for invalid JSON: the fields in it would be ignored.
    try:
        extra = json.loads(connection.extra or "{}")
    except ValueError:
        extra = None
    if not isinstance(extra, dict):
        raise LeadMagicConfigurationError("extra must be a JSON object")
    return extra


def _parsed(value: object) -> object:
    """Parse JSON text, which forms and URIs send. Return None for blank text, and any other value unchanged."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value) if value.strip() else None
    except (ValueError, RecursionError):
        return value
