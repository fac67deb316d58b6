"""Texts as a search for secrets has to see them: with what is hidden in base64 and in hexadecimal digits laid open."""

from __future__ import annotations

import base64
import binascii
import re

# Kombu's messages are base64, pg_dump shows bytes as digits. Shorter runs cannot hold what is searched for.
_BASE64 = re.compile(r"[A-Za-z0-9+/]{24,}={0,2}")
_HEXADECIMAL = re.compile(r"\\\\?x((?:[0-9a-f]{2}){12,})")


def laid_open(text: str) -> str:
    """
    Append to a text what its encoded parts say.

    :param text: What was found somewhere.
    """
    return "\n".join([text, *_digits_in(text), *_base64_in(text)])


def _digits_in(text: str) -> list[str]:
    return [bytes.fromhex(run).decode("latin-1") for run in _HEXADECIMAL.findall(text)]


def _base64_in(text: str) -> list[str]:
    return [decoded for run in set(_BASE64.findall(text)) if (decoded := _decoded(run))]


def _decoded(run: str) -> str:
    try:
        return base64.b64decode(run + "=" * (-len(run) % 4)).decode("latin-1")
    except binascii.Error:
        return ""
