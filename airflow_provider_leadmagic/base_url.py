"""Where requests, and with them the API key, may go."""

from __future__ import annotations

import ipaddress
from urllib.parse import SplitResult, urlsplit

from airflow_provider_leadmagic.exceptions import LeadMagicConfigurationError

DEFAULT_BASE_URL = "https://api.leadmagic.io"


def normalize_base_url(address: str, *, field: str = "base_url", scheme: str = "", port: int | None = None) -> str:
    """
    Turn what a person typed into the address requests start with.

    :param address: A host name or URL, with or without scheme, port, path and trailing slash.
    :param field: What to call the address in a message.
    :param scheme: Scheme to use where the address has none; by default https, or http for a loopback host.
    :param port: Port to use where the address has none.
    :raises LeadMagicConfigurationError: If it is no address, carries a user, query or fragment, or would send
        the API key in plain text over a network.
    """
    parts, host, own_port = _split(address.strip(), field)
    scheme = parts.scheme or scheme or ("http" if _is_loopback(host) else "https")
    if scheme not in ("http", "https"):
        raise LeadMagicConfigurationError(f"{field} must start with https://; got {address!r}")
    if scheme == "http" and not _is_loopback(host):
        raise LeadMagicConfigurationError(
            f"{field} must start with https://, as plain http would show the API key to the network; got {address!r}"
        )
    port = own_port or port
    netloc = f"[{host}]" if ":" in host else host
    return f"{scheme}://{netloc}{f':{port}' if port else ''}{parts.path.rstrip('/')}"


def _split(address: str, field: str) -> tuple[SplitResult, str, int | None]:
    problem = f"{field} must be a host name or an https:// address"
    try:
        parts = urlsplit(address if "://" in address else f"//{address}")
        host, port = parts.hostname, parts.port
    except ValueError:
        raise LeadMagicConfigurationError(f"{problem}; got {address!r}") from None
    if parts.username is not None or parts.password is not None:
        # Not shown: what stands before the @ may be a password.
        raise LeadMagicConfigurationError(f"{problem} without a user name or password before the host")
    if not host or parts.query or parts.fragment or any(c.isspace() or not c.isprintable() for c in address):
        raise LeadMagicConfigurationError(f"{problem}; got {address!r}")
    return parts, host, port


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
