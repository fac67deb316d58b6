"""Format values for messages: short, on one line, and without secrets."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from decimal import Decimal

#: Longest text from a server in a message, in characters.
MAX_TEXT = 300
_MAX_VALUE = 80
#: Longest part of a text that is processed: a body can have megabytes of text, and each character becomes an object.
_MAX_READ = 100 * MAX_TEXT
_LINK_TOKEN = re.compile(r"(token[\"']?\s*[=:]\s*[\"']?)[^&\s\"']+", re.IGNORECASE)


def describe_value(value: object) -> str:
    """Return the repr of an argument, cut to a length that fits in a message."""
    try:
        text = repr(value)
    except ValueError:
        return "an integer with too many digits to display"
    return text if len(text) <= _MAX_VALUE else f"{text[:_MAX_VALUE]}..."


def redact(value: object, secret: str | None = None) -> str | None:
    """
    Prepare text from a server for a message: printable, on one line, short, without the API key or link tokens.

    :param value: A value from the response; anything but text yields None.
    :param secret: The API key, which a server may quote.
    :return: The text; None if it is empty.
    """
    if not isinstance(value, str):
        return None
    text = value.replace(secret, "***") if secret else value
    printable = "".join(character if character.isprintable() else " " for character in text[:_MAX_READ])
    text = _LINK_TOKEN.sub(r"\1***", " ".join(printable.split()))
    return (text if len(text) <= MAX_TEXT else f"{text[:MAX_TEXT]}...") or None


def sentences(*texts: str | None) -> str:
    """Join texts with spaces, and end each with a period unless it ends with punctuation. Skip None and empty texts."""
    return " ".join(text if text.endswith((".", "!", "?", ":")) else f"{text}." for text in texts if text)


def format_credits(number: Decimal) -> str:
    """Format credits for a message, for example ``15,432.5``."""
    text = f"{number:,.6f}"
    return text.rstrip("0").rstrip(".")


#: Above 2**53 integers are not exact in JSON readers that use floats, and Airflow cannot serialize them.
_LARGEST_EXACT = 2**53


def json_number(number: Decimal) -> int | float:
    """Convert credits to a JSON number, an integer if they are whole."""
    is_whole = number == number.to_integral_value() and abs(number) < _LARGEST_EXACT
    return int(number) if is_whole else float(number)
