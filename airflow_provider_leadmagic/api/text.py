"""Format values for messages: short, on one line, and without secrets."""

from __future__ import annotations

import base64
import re
from contextlib import contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator
    from decimal import Decimal

#: Longest text from a server in a message, in characters.
MAX_TEXT = 300
_MAX_VALUE = 80
#: Longest part of a text that is processed, in characters: a body can be megabytes long, and replacing its
#: unprintable characters takes many times its size in memory.
_MAX_READ = 100 * MAX_TEXT
#: Number of characters that are removed from the end of a cut text: they can be the beginning of a secret, which is not
#: recognized without its end.
_MARGIN = 2000
#: Length from which an API key is also hidden in its encoded forms. Encoded forms of shorter keys occur in ordinary
#: words.
_SHORTEST_ENCODED_KEY = 8

_QUOTE = r"(?:\\*[\"']|&quot;|&\#0*3[49];|%(?:25)*2[27]|\\u002[27])"
_EQUALS = r"(?:[=:]|%(?:25)*3[ad]|&\#(?:0*(?:58|61)|x0*3[ad]);|&(?:equals|colon);|\\(?:u00|x)3[ad]|\b(?:is|was)\b)"
#: Words after "token is" that are not a token, as in "token is invalid".
_STATES = (
    "a|active|already|an|blank|blocked|created|deactivated|deleted|denied|disabled|empty|expired|frozen|for|from|in|"
    "inactive|incorrect|incomplete|invalid|limited|locked|malformed|missing|must|needed|no|not|null|of|on|only|optional|"
    "outdated|passed|read-only|rejected|required|restricted|revoked|rotated|sent|suspended|the|this|to|too|unauthorized|"
    "unavailable|undefined|unknown|unsupported|used|valid|without|wrong"
)
_TOKEN = re.compile(
    rf"((?:token|api[-_ ]?key|authorization|password) ?{_QUOTE}? ?{_EQUALS} ?{_QUOTE}?(?:(?:bearer|basic) )?)"
    rf"(?!(?:{_STATES})\b(?![-%]))[^\s&\"'<>\\]+",
    re.IGNORECASE,
)
_JSON_WEB_TOKEN = re.compile(r"\beyJ[\w-]{10,}(?:\.[\w-]+){0,2}")

_AT = r"(?:@|%(?:25)*40|&\#(?:0*64|x0*40);|\\u0040)"
_ADDRESS = r"[^\s@<>()\[\]{},;:=\"'`\\|]"
_EMAIL = re.compile(rf"(?<!{_ADDRESS})(?:(?!{_AT}){_ADDRESS}){{1,256}}{_AT}{_ADDRESS}+", re.IGNORECASE)
_PROFILE = re.compile(r"(linkedin\.com/(?:in|pub)/)[^\s\"'<>),;]+", re.IGNORECASE)
#: 7 to 17 digits: with a plus, in groups, or at least ten in a row. Neither an ISO date nor a decimal number.
_PHONE = re.compile(
    r"(?<![\w.+()-])(?!\d{4}-\d\d-\d\d(?!\d)|\d+\.\d+(?![\d.(-]| \d))"
    r"(?:\+|(?=\(?\d+\)?[ ().-]{1,3}\d)|(?=\d{10}))\(?\d(?:[ ().-]{0,3}\d){6,16}(?!\w)"
)
#: A letter, digit or underscore. Private values are hidden as whole words only: one directly before or after such a
#: character is a part of a longer word, and stays. Chinese, Japanese and Korean letters are left out, because
#: names in these languages are not always separated from the next word.
_LETTER = r"[^\W\u3040-\u9fff\uac00-\ud7af]"
_WORD = re.compile(r"\w+")
REDACTED = "[redacted]"


def describe_value(value: object) -> str:
    """Return the repr of an argument, cut to a length that fits in a message."""
    try:
        text = repr(value)
    except ValueError:
        return "an integer with too many digits to display"
    return text if len(text) <= _MAX_VALUE else f"{text[:_MAX_VALUE]}..."


def redact(value: object, secrets: Iterable[str] = (), private: Collection[str] | None = None) -> str | None:
    """
    Prepare text from a server for a message: printable, on one line, short, without the API key or other secrets.

    :param value: A value from the response; anything but text yields None.
    :param secrets: The API key and other secrets. If long enough, they are also found encoded, in another case or
        broken by spaces.
    :param private: Values to replace with ``[redacted]``, together with email addresses, phone numbers and profiles of
        people; None to keep personal data.
    :return: The text; None if it is empty.
    """
    text = _one_line(value)
    for secret in secrets:
        text = _secret_pattern(secret).sub("***", text)
    text = _JSON_WEB_TOKEN.sub("***", _TOKEN.sub(r"\1***", text))
    if private is not None:
        text = _without_personal_data(text, private)
    if isinstance(value, str) and len(value) > _MAX_READ:
        text = text[:-_MARGIN]
    return (text if len(text) <= MAX_TEXT else f"{text[:MAX_TEXT]}...") or None


def quoted_values(values: Iterable[str], texts: Iterable[object]) -> set[str]:
    """
    Return the values that occur in a server's texts, in upper or lower case. Skips single characters and short numbers.

    :param values: Values that were sent. There may be millions: they are read once and not held in memory.
    :param texts: The texts; other types are skipped.
    """
    text = "\n".join(map(_one_line, texts)).casefold()
    words = set(_WORD.findall(text))
    lines = (_one_line(value) for value in values if _may_occur(value, words))
    return {line for line in lines if line.casefold() in text}


def _may_occur(value: str, words: set[str]) -> bool:
    first = _WORD.search(value)
    is_telling = first and len(value) > (6 if value.isdecimal() else 1)
    return bool(is_telling and first and (not first[0].isascii() or first[0].casefold() in words))


def _one_line(value: object) -> str:
    text = value[:_MAX_READ] if isinstance(value, str) else ""
    if not text.isprintable():
        text = "".join(character if character.isprintable() else " " for character in text)
    return " ".join(text.split())


def _without_personal_data(text: str, values: Collection[str]) -> str:
    if values:
        patterns = (_whole_words(value) for value in sorted(values, key=len, reverse=True))
        text = re.sub("|".join(patterns), REDACTED, text, flags=re.IGNORECASE)
    return _PHONE.sub(REDACTED, _PROFILE.sub(rf"\1{REDACTED}", _EMAIL.sub(REDACTED, text)))


def _whole_words(value: str) -> str:
    before = f"(?<!{_LETTER})" if re.match(_LETTER, value) else ""
    after = f"(?!{_LETTER})" if re.match(_LETTER, value[-1]) else ""
    return f"{before}{re.escape(value)}{after}"


@lru_cache(64)
def _secret_pattern(secret: str) -> re.Pattern[str]:
    """Match a secret in every form in which a server may quote it."""
    if len(secret) < _SHORTEST_ENCODED_KEY:
        return re.compile(re.escape(secret))
    gap = r"(?:\\[nrt]?|\s){0,3}"
    characters = gap.join(map(_encoded_character, secret))
    encoded = "|".join(re.escape(text) for text in _base64_forms(secret.encode()))
    return re.compile(rf"(?i:{characters}|{secret.encode().hex()})|(?:{encoded})[\w+/=-]{{0,4}}")


def _encoded_character(character: str) -> str:
    code, digits = ord(character), f"{ord(character):02x}"
    return rf"(?:{re.escape(character)}|%(?:25)*{digits}|&\#(?:0*{code}|x0*{digits});|\\(?:u00|x){digits})"


def _base64_forms(secret: bytes) -> set[str]:
    """Return the base64 forms of a secret inside longer data: they depend on its offset modulo 3."""
    forms = set()
    for before in range(3):
        whole = base64.b64encode(bytes(before) + secret).decode()
        form = whole[(before * 8 + 5) // 6 : (before + len(secret)) * 8 // 6]
        forms |= {form, form.replace("+", "-").replace("/", "_")}
    return forms


def sentences(*texts: str | None) -> str:
    """Join texts with spaces, and end each with a period unless it ends with punctuation. Skip None and empty texts."""
    return " ".join(text if text.endswith((".", "!", "?", ":")) else f"{text}." for text in texts if text)


def format_credits(number: Decimal) -> str:
    """Format credits for a message, for example ``15,432.5``."""
    text = f"{number:,.6f}"
    return text.rstrip("0").rstrip(".")


#: Above 2**53, integers are not exact in JSON readers that use floats. Airflow cannot serialize very large ones.
_LARGEST_EXACT = 2**53


def json_number(number: Decimal) -> int | float:
    """Convert credits to a JSON number, an integer if they are whole."""
    is_whole = number == number.to_integral_value() and abs(number) < _LARGEST_EXACT
    return int(number) if is_whole else float(number)


class TemporaryFileError(OSError):
    """A temporary file cannot be written, for example because the disk is full. The message names the directory."""


@contextmanager
def temporary_file_errors(errors: type[Exception] = OSError) -> Iterator[None]:
    """
    Convert errors of a temporary file to a TemporaryFileError.

    :param errors: The errors to convert.
    """
    import tempfile

    try:
        yield
    except TemporaryFileError:
        raise
    except errors as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise TemporaryFileError(f"Cannot write temporary files: {reason}. [{tempfile.gettempdir()}]") from error
