"""Validate the network settings: base URL, proxies, CA certificates and additional headers."""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import SplitResult, unquote, urlsplit

from airflow_provider_leadmagic.api.text import describe_value
from airflow_provider_leadmagic.exceptions import LeadMagicConfigurationError

DEFAULT_BASE_URL = "https://api.leadmagic.io"
#: Ends of host names that no public DNS server resolves.
PRIVATE_SUFFIXES = (".internal", ".local", ".localhost", ".test")
UNIQUE_LOCAL = ipaddress.IPv6Network("fc00::/7")
#: Headers that the client sets itself, or that would break the request or its response.
_RESERVED_HEADERS = re.compile(
    r"x-api-key|accept(-encoding)?|connection|content-(encoding|length|type)|expect|host|proxy-authorization|range"
    r"|transfer-encoding"
)
#: Messages hide the password of a proxy, and each word in the value of a header, if it has at least this many
#: characters. A shorter one can be part of an ordinary word.
_SHORTEST_SECRET = 8


@dataclass(frozen=True)
class Network:
    """
    Explicit settings for how requests reach the base URL. The values have been checked. If the base URL is https,
    and its host is not this machine, environment variables apply too: those for proxies if ``proxies`` is empty, those
    for CA certificates if ``verify`` is True.
    """

    proxies: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Addresses of proxies, as in the requests library. Empty to use environment variables."""
    verify: bool | str = True
    """File or folder of CA certificates; True for the default ones, False to accept any certificate."""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Additional headers of each request."""

    @property
    def ca_path(self) -> str | None:
        """File or folder of CA certificates; None if no path was given."""
        return self.verify if isinstance(self.verify, str) else None

    def secrets(self) -> tuple[str, ...]:
        """Return the values that no message may contain."""
        words = {word for value in self.headers.values() for word in value.split()}
        words |= {unquote(_parse_proxy(address).password or "") for address in self.proxies.values()}
        return tuple(sorted(word for word in words if len(word) >= _SHORTEST_SECRET))


def normalize_base_url(
    address: str, *, field: str = "base_url", scheme: str = "", port: int | None = None, allow_http: bool = False
) -> str:
    """
    Convert a host name or URL to the base URL that paths are appended to.

    :param address: A host name or URL, with or without scheme, port, path and trailing slash.
    :param field: Name of the setting in error messages.
    :param scheme: Default scheme; https if empty, or http for a loopback host.
    :param port: Default port.
    :param allow_http: Whether to accept plain http to a private host. False by default.
    :raises LeadMagicConfigurationError: If the address is invalid, contains a user name, query or fragment, or would
        send the API key over a network in plain text.
    """
    parts, host, own_port = _split(address, field)
    if parts.path.rstrip("/").lower().endswith("/v1"):
        raise LeadMagicConfigurationError(f"{field}: leave out /v1, which the client adds; got {_describe(address)}")
    scheme = parts.scheme or scheme.lower() or ("http" if _is_loopback_host(host) else "https")
    if scheme not in ("http", "https"):
        raise LeadMagicConfigurationError(f"{field} must start with https://; got {_describe(address)}")
    if scheme == "http" and not _is_loopback_host(host) and not (allow_http and _is_private_host(host)):
        problem = f"{field} must start with https:// (plain http exposes the API key){_advice(host, allow_http)}"
        raise LeadMagicConfigurationError(f"{problem}; got {_describe(address)}")
    if port is not None and not 0 < port < 65536:
        raise LeadMagicConfigurationError(f"port must be from 1 to 65535; got {describe_value(port)}")
    port = own_port or port
    netloc = f"[{host}]" if ":" in host else host
    return f"{scheme}://{netloc}{f':{port}' if port else ''}{parts.path.rstrip('/')}"


def is_loopback(base_url: str) -> bool:
    """Return whether the host of a URL is this machine."""
    return _is_loopback_host(urlsplit(base_url).hostname or "")


def is_own_machine(url: str) -> bool:
    """Return whether a URL, with or without scheme, has no host, a loopback host, or one such as 0.0.0.0."""
    host = _host(url)
    return not host.strip("0.:") or _is_loopback_host(host)


def is_public(url: str) -> bool:
    """Return whether a URL, with or without scheme, has a host that is neither private nor this machine."""
    return not is_own_machine(url) and not _is_private_host(_host(url))


def sends_key_unencrypted(base_url: str) -> bool:
    """Return whether requests to a normalized base URL send the API key over a network in plain text."""
    return base_url.startswith("http://") and not is_loopback(base_url)


def check_allow_http(field: str, value: object) -> bool:
    """
    Return the setting ``allow_http`` if it is a real boolean. The text "no", for example, would count as true.

    :raises LeadMagicConfigurationError: If the value is neither true nor false.
    """
    if not isinstance(value, bool):
        raise LeadMagicConfigurationError(f"{field} must be true or false; got {describe_value(value)}")
    return value


def check_proxies(field: str, value: object) -> dict[str, str]:
    """
    Check proxies in the format of the requests library, and return them.

    Messages do not contain the addresses, which may include passwords.

    :param field: Name of the setting in error messages.
    :param value: Addresses of proxies by the scheme of the URL; None for no setting.
    :raises LeadMagicConfigurationError: If the value is not such a mapping, or an address is invalid.
    """
    if not isinstance(value, Mapping | None):
        raise LeadMagicConfigurationError(f'{field} must be like {{"https": "http://proxy.example:3128"}}')
    for name, address in (value or {}).items():
        if not isinstance(name, str) or not re.fullmatch(r"(https?|all)(://[^/@]+)?", name):
            received = "" if "@" in str(name) else f"; got {describe_value(name)}"
            raise LeadMagicConfigurationError(f"{field} must have the keys https, http or all{received}")
        if address not in (None, "") and not _is_proxy(address):
            problem = f"{field} must have an address like http://user:password@proxy.example:3128 for {name!r}"
            raise LeadMagicConfigurationError(f"{problem}; percent-encode special characters of the password")
    return {name: (address or "").strip() for name, address in (value or {}).items()}


def check_verify(field: str, value: object) -> bool | str:
    """
    Check which CA certificates to trust, and return True, False or a path. The file is read with the first request.

    :param field: Name of the setting in error messages.
    :param value: A boolean or a path; also "true" and "false", which forms and URIs send. None or blank counts as True.
    :raises LeadMagicConfigurationError: If it is anything else.
    """
    if isinstance(value, bool):
        return value
    if not isinstance(value, str | os.PathLike | None):
        problem = f"{field} must be true, false or the path of CA certificates"
        raise LeadMagicConfigurationError(f"{problem}; got {describe_value(value)}")
    text = os.fsdecode(value or "").strip()
    return {"": True, "true": True, "false": False}.get(text.lower(), text)


def check_headers(field: str, value: object) -> dict[str, str]:
    """
    Check additional headers, and return them. Messages do not contain values, which may be secret.

    :param field: Name of the setting in error messages.
    :param value: Values by name; None for no headers.
    :raises LeadMagicConfigurationError: If a header is invalid or reserved for the client.
    """
    if not isinstance(value, Mapping | None):
        raise LeadMagicConfigurationError(f'{field} must be like {{"X-Tenant": "marketing"}}')
    for name, text in (value or {}).items():
        if not isinstance(name, str) or not re.fullmatch(r"[\w!#$%&'*+.^`|~-]+", name, re.ASCII):
            raise LeadMagicConfigurationError(f"{field} must have names of letters, digits and hyphens")
        if _RESERVED_HEADERS.fullmatch(name.lower().replace("_", "-")):
            raise LeadMagicConfigurationError(f"{field} must not have {name}, which is reserved for the client")
        if not isinstance(text, str) or not (text.isascii() and text.isprintable()):
            raise LeadMagicConfigurationError(f"{field} must have one line of ASCII text as the value of {name}")
    return {name: text.strip() for name, text in (value or {}).items()}


def _is_proxy(address: object) -> bool:
    if not isinstance(address, str) or not address.isprintable() or " " in address.strip():
        return False
    try:
        parts = _parse_proxy(address)
        is_valid = bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
    has_extra_parts = parts.path.strip("/") or parts.query or parts.fragment
    return is_valid and not has_extra_parts and bool(re.fullmatch(r"https?|socks(4a?|5h?)", parts.scheme))


def _parse_proxy(address: str) -> SplitResult:
    address = address.strip()
    return urlsplit(address if "://" in address else f"http://{address}")


def _split(address: object, field: str) -> tuple[SplitResult, str, int | None]:
    problem = f"{field} must be a host name or an https:// address; got {_describe(address)}"
    if not isinstance(address, str):
        raise LeadMagicConfigurationError(problem)
    try:
        address = address.strip()
        parts = urlsplit(address if "://" in address else f"//{address}")
        host, port = parts.hostname or "", parts.port
        host.encode("idna")
    except ValueError:
        raise LeadMagicConfigurationError(problem) from None
    has_extra_parts = "@" in parts.netloc or parts.query or parts.fragment or "//" in parts.path.rstrip("/")
    is_incomplete = not host or parts.netloc.endswith(":") or port == 0
    if is_incomplete or has_extra_parts or not address.isprintable() or " " in address:
        raise LeadMagicConfigurationError(problem)
    return parts, host, port


def _host(url: str) -> str:
    try:
        return urlsplit(url if "://" in url else f"//{url}").hostname or ""
    except ValueError:
        return ""


def _describe(address: object) -> str:
    # The text before an @ or after a question mark may be a password.
    return "an address with a user name or a query" if {"@", "?"} & set(str(address)) else describe_value(address)


def _is_loopback_host(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _is_private_host(host: str) -> bool:
    """Return whether a host, given by address or name, can only be in a private network."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return _is_private_name(host)
    if isinstance(address, ipaddress.IPv6Address):
        return address.is_link_local or address in UNIQUE_LOCAL
    return address.is_private and not address.is_unspecified


def _is_private_name(host: str) -> bool:
    # "134744072" and "0x8080808" are spellings of 8.8.8.8. Non-ASCII names can have dots other than ".".
    is_number = re.fullmatch(r"\d+|0x[0-9a-f]*", host.rpartition(".")[2])
    return host.isascii() and not is_number and ("." not in host or host.endswith(PRIVATE_SUFFIXES))


def _advice(host: str, allow_http: bool) -> str:
    if allow_http:
        return "; allow_http is for private hosts only"
    return "; for a test server, set allow_http to true" if _is_private_host(host) else ""
