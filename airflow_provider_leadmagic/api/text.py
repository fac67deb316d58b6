"""How values that are not ours are shown: short, on one line, and without secrets."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from decimal import Decimal

#: Longest text taken over, so that a log line stays a line.
MAX_TEXT = 300
_MAX_VALUE = 80
#: How far text is read. A body may hold megabytes of it, each character of which would become an object here.
_MAX_READ = 100 * MAX_TEXT
_LINK_TOKEN = re.compile(r"(token[\"']?\s*[=:]\s*[\"']?)[^&\s\"']+", re.IGNORECASE)


def describe_value(value: object) -> str:
    """Write down a value that a user gave, however long it is."""
    try:
        text = repr(value)
    except ValueError:
        return "an integer of more digits than Python writes down"
    return text if len(text) <= _MAX_VALUE else f"{text[:_MAX_VALUE]}..."


def redact(value: object, secret: str | None = None) -> str | None:
    """
    Take over text that a server sent: printable, on one line, not too long, without the key or a link's token.

    :param value: What stood where text was expected.
    :param secret: The API key, which a server may quote back.
    :return: The text; None if there is none.
    """
    if not isinstance(value, str):
        return None
    text = value.replace(secret, "***") if secret else value
    printable = "".join(character if character.isprintable() else " " for character in text[:_MAX_READ])
    text = _LINK_TOKEN.sub(r"\1***", " ".join(printable.split()))
    return (text if len(text) <= MAX_TEXT else f"{text[:MAX_TEXT]}...") or None


def format_credits(number: Decimal) -> str:
    """Write credits the way people read them: ``15,432.5``."""
    text = f"{number:,.6f}"
    return text.rstrip("0").rstrip(".")


#: From here on, other programs' numbers are no longer exact, and Airflow's own messages take no whole ones.
_LARGEST_EXACT = 2**53


def json_number(number: Decimal) -> int | float:
    """Turn credits into a plain JSON number."""
    is_whole = number == number.to_integral_value() and abs(number) < _LARGEST_EXACT
    return int(number) if is_whole else float(number)
