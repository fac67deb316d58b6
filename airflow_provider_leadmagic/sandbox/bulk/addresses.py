"""Addresses that LeadMagic would call: HTTPS on the public internet, or none."""

from __future__ import annotations

from ipaddress import ip_address
from urllib.parse import urlsplit

from airflow_provider_leadmagic.sandbox.errors import ApiError, Problem

PRIVATE_NAMES = (".localhost", ".local", ".internal")


def refuse_private_address(name: str, url: object) -> None:
    """
    Let a public HTTPS address pass; host names are not looked up.

    :param name: the field it stands in.
    :raises ApiError: if it is anything else.
    """
    if not _is_public(url):
        detail = f"{name} must be an HTTPS address on the public internet."
        raise ApiError(Problem(400, "SSRF_VALIDATION_FAILED", "URL refused.", detail=detail, param=(name,)))


def _is_public(url: object) -> bool:
    try:
        parts = urlsplit(url if isinstance(url, str) else "")
        host = parts.hostname or ""
    except ValueError:
        return False
    return parts.scheme == "https" and _is_public_host(host)


def _is_public_host(host: str) -> bool:
    try:
        return ip_address(host).is_global
    except ValueError:
        return "." in host and not host.endswith(PRIVATE_NAMES)
