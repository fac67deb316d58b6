"""Decode the base64 and hexadecimal parts of a text, so that a search finds secrets hidden in them."""

from __future__ import annotations

import base64
import binascii
import re

# Kombu encodes messages in base64, pg_dump shows bytes as hexadecimal digits. Shorter runs cannot contain a secret.
_BASE64 = re.compile(r"[A-Za-z0-9+/]{24,}={0,2}")
_HEXADECIMAL = re.compile(r"\\\\?x((?:[0-9a-f]{2}){12,})")


def with_decoded_parts(text: str) -> str:
    """Return a text, followed by its encoded parts in decoded form."""
    return "\n".join([text, *_decode_hexadecimal(text), *_decode_base64(text)])


def _decode_hexadecimal(text: str) -> list[str]:
    return [bytes.fromhex(run).decode("latin-1") for run in _HEXADECIMAL.findall(text)]


def _decode_base64(text: str) -> list[str]:
    return [decoded for run in set(_BASE64.findall(text)) if (decoded := _decode(run))]


def _decode(run: str) -> str:
    try:
        return base64.b64decode(run + "=" * (-len(run) % 4)).decode("latin-1")
    except binascii.Error:
        return ""
