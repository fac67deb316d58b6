"""Parse the result of one row from the fields that LeadMagic returns, and compare it with rows of the input."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import re
import unicodedata
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from operator import itemgetter
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple
from urllib.parse import unquote

from airflow_provider_leadmagic.api.text import json_number, redact
from airflow_provider_leadmagic.api.validation import is_finite

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

SUCCESS = "success"
FAILED = "failed"
SKIPPED = "skipped"
#: LeadMagic lists a result of the row, but the row is not finished yet.
UNFINISHED = "unfinished"
#: Statuses that count as unfinished. LeadMagic publishes no list of statuses.
_UNFINISHED_STATUSES = frozenset(
    {"uploaded", "queued", "pending", "scheduled", "processing", "in_progress", "running", "retrying"}
)
#: The fields of a result that are read, in the order of the parameters of :func:`read_result`.
FIELDS = (
    "row_index",
    "status",
    "lm_input",
    "lm_output",
    "credits_consumed",
    "error_message",
    "http_status_code",
)
#: Numbers with more digits could exceed the 64-bit integers of SQLite, which sorts the results; no job has that many
#: rows.
_MAX_DIGITS = 15


class RowResult(NamedTuple):
    """
    The result of one row.

    :param row_index: The position of the row in the submission, from 0.
    :param outcome: ``success``, ``failed``, ``skipped`` or ``unfinished``.
    :param given: The row as LeadMagic received it, if the result contains it.
    :param found: The fields that LeadMagic found, without the price.
    :param credits_consumed: The price in credits; None if it is unknown.
    :param error_message: LeadMagic's reason for a failure, with secrets removed.
    :param http_status: The HTTP status that a single lookup of this row would have returned.
    """

    row_index: int
    outcome: str
    given: dict[str, Any] | None = None
    found: dict[str, Any] | None = None
    credits_consumed: int | float | None = None
    error_message: str | None = None
    http_status: int | None = None


def read_result(
    row_index: object,
    status: object,
    lm_input: object,
    lm_output: object,
    credits_consumed: object,
    error_message: object,
    http_status_code: object,
) -> RowResult:
    """
    Parse a result from LeadMagic's fields of the same names. Numbers may be given as text.

    A missing or invalid price or HTTP status becomes None: a result that was paid for must not be lost because of it.

    :raises ValueError: If ``row_index``, ``status`` or ``lm_input`` is invalid; the message is the name of the field.
    """
    found, price = _without_price(_found(lm_output), credits_consumed)
    result = RowResult(
        _row_index(row_index),
        _status(status),
        _given(lm_input),
        found,
        _credits(str(price)),
        redact(error_message) if error_message else None,
        _whole_number(http_status_code),
    )
    return result._replace(outcome=_outcome(result))


def usable_fields(fields: Mapping[str, object]) -> list[object]:
    """
    Return the arguments of :func:`read_result`, with placeholders for an invalid status and an invalid input.

    :param fields: LeadMagic's fields.
    """
    usable = dict(fields)
    if not isinstance(usable.get("status"), str) or not usable["status"]:
        usable["status"] = "unknown"
    if not isinstance(usable.get("lm_input"), dict):
        usable["lm_input"] = None
    return [usable.get(name) for name in FIELDS]


def _found(value: object) -> dict[str, Any] | None:
    # Some lookups return a list instead of an object: keep it, because it was paid for.
    return value if isinstance(value, dict) else None if value in (None, "", []) else {"output": value}


def _without_price(found: dict[str, Any] | None, price: object) -> tuple[dict[str, Any] | None, object]:
    """Remove the price from the found fields, where LeadMagic repeats it."""
    if found is None or "credits_consumed" not in found:
        return found, price
    rest = {name: value for name, value in found.items() if name != "credits_consumed"}
    return rest, found["credits_consumed"] if price in (None, "") else price


def _row_index(value: object) -> int:
    index = _whole_number(value)
    if index is None:
        raise ValueError("row_index")
    return index


def _whole_number(value: object) -> int | None:
    text = "" if isinstance(value, bool) else str(value)
    return int(text) if text.isdecimal() and len(text) <= _MAX_DIGITS else None


def _status(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError("status")
    return value.lower()


def _outcome(result: RowResult) -> str:
    status = result.outcome
    if status in (FAILED, SKIPPED):
        # LeadMagic charges nothing for such rows. If there is a price, and data, the status is wrong.
        return SUCCESS if result.found and result.credits_consumed else status
    if status == SUCCESS or result.found:
        return SUCCESS
    # LeadMagic publishes no list of statuses. A row with an unknown status counts as succeeded if it has data, which
    # was paid for. A row without data is finished only if it has an error message or an HTTP status.
    is_finished = result.error_message is not None or result.http_status is not None
    if status in _UNFINISHED_STATUSES or not is_finished:
        return UNFINISHED
    return FAILED if result.found is None else SUCCESS


def _given(value: object) -> dict[str, Any] | None:
    if value is None or isinstance(value, dict):
        return value
    raise ValueError("lm_input")


@lru_cache(maxsize=1000)  # a few prices occur in many rows
def _credits(text: str) -> int | float | None:
    try:
        number = Decimal(text)
    except InvalidOperation:
        return None
    return json_number(number) if is_finite(number) and number >= 0 else None


class FoundFields:
    """Collects the names of the fields that the results of a job contain."""

    def __init__(self) -> None:
        # Few combinations of fields occur, so this stays small for any number of rows.
        self._combinations: dict[tuple[str, ...], None] = {}

    def add(self, result: RowResult) -> None:
        """Collect the field names of a result. Results must be added in row order."""
        if result.found and result.outcome == SUCCESS:
            self._combinations.setdefault(tuple(result.found))

    def in_order(self) -> tuple[str, ...]:
        """Return the field names in the order in which they first occur."""
        return tuple(dict.fromkeys(field for fields in self._combinations for field in fields))


def rows_match(row: Mapping[str, Any], given: Mapping[str, Any]) -> bool:
    """
    Return whether a row of the input and a row that LeadMagic received are probably the same.

    LeadMagic normalizes its input, for example a URL to its domain. So the comparison ignores spaces, missing
    words, and whatever :func:`words_of` ignores.

    :param row: A row of the input.
    :param given: The row as LeadMagic received it. Fields that the input does not have are ignored.
    """
    return all(name not in row or row[name] == value or _is_similar(row[name], value) for name, value in given.items())


def _is_similar(one: object, other: object) -> bool:
    words, other_words = set(words_of(one)), set(words_of(other))
    if words == other_words:
        return True
    if all(_number(_plain(value)) is not None for value in (one, other)):
        return False
    if re.sub(r"[\W_]", "", _plain(one)) == re.sub(r"[\W_]", "", _plain(other)):
        return True
    return bool(words and other_words) and (words <= other_words or other_words <= words)


def row_key(row: Mapping[str, Any], names: Iterable[str]) -> bytes:
    """
    Return a digest of the words in some fields of a row. Rows with the same words have the same digest.

    :param row: A row of the input, or a row as LeadMagic received it.
    :param names: The fields.
    """
    words = [[name, words_of(row.get(name))] for name in names]
    return hashlib.blake2b(json.dumps(words).encode(), digest_size=16).digest()


def differing_names(row: dict[str, Any], given: dict[str, Any]) -> tuple[str, ...]:
    """
    Return the names of all shared fields if the words of any of them differ, else an empty tuple.

    :param row: A row of the input.
    :param given: The row as LeadMagic received it.
    """
    if all(row.get(name, value) == value for name, value in given.items()):
        return ()
    names = tuple(sorted(given.keys() & row.keys()))
    return () if row_key(row, names) == row_key(given, names) else names


def choose_result(row: dict[str, Any], results: list[RowResult]) -> tuple[RowResult, bool]:
    """
    Return the best of several results for a row, and whether another one could be right as well.

    :param row: A row of the input.
    :param results: The results, oldest first.
    """
    paid = [result for result in results if result.outcome == SUCCESS] or results[-1:]
    matching = [result for result in paid if rows_match(row, result.given or {})] or paid
    return matching[-1], any(result.found != matching[-1].found for result in matching)


def words_of(value: object) -> list[str]:
    """
    Return the words of a value in alphabetical order, or one canonical number.

    Case, accents, full or half width of characters, and word order are ignored, as are punctuation, the encoding of
    URLs and international domain names, the scheme and ``www.`` of an address, and the notation of a number: LeadMagic
    may change all of them.

    :param value: A JSON value.
    """
    text = _plain(value)
    number = _number(text)
    if number is not None:
        return [number]
    return sorted(word for word in re.findall(r"[^\W_]+", text) if word not in ("http", "https", "www"))


#: Letters that Unicode does not decompose: ligatures, letters with a stroke, and a few others.
_LETTERS = str.maketrans(
    {"ø": "o", "ł": "l", "đ": "d", "æ": "ae", "œ": "oe", "\N{LATIN SMALL LETTER DOTLESS I}": "i", "ð": "d", "þ": "th"}
)


def _plain(value: object) -> str:
    text = value if isinstance(value, str) else "" if value is None else json.dumps(value, ensure_ascii=False)
    text = unicodedata.normalize("NFKC", unquote(text)).casefold()
    text = unicodedata.normalize("NFKD", re.sub(r"xn--([a-z0-9-]+)", _decoded_label, text).casefold())
    return "".join(letter for letter in text if not unicodedata.combining(letter)).translate(_LETTERS).strip()


def _decoded_label(label: re.Match[str]) -> str:
    try:
        return label[1].encode().decode("punycode")
    except UnicodeError:
        return label[0]


def _number(text: str) -> str | None:
    if len(text) > 40 or not re.fullmatch(r"[+-]?\d[\d,' ]*(\.\d+)?(e[+-]?\d{1,2})?", text, re.ASCII):
        return None
    return str(Decimal(re.sub(r"[,' ]", "", text)).normalize())


_decode = json.JSONDecoder().raw_decode  # takes half the time of json.loads, which matters for a million rows


class UnreadableDownloadError(Exception):
    """The download failed, or is not in the expected CSV format, which LeadMagic does not document."""


def csv_results(file: BinaryIO) -> Iterator[RowResult]:
    """
    Yield the results in a download, whose format LeadMagic does not document.

    :param file: The download.
    :raises UnreadableDownloadError: If it is not in the expected format.
    """
    file.seek(0)
    table = csv.reader(io.TextIOWrapper(file, encoding="utf-8-sig", newline=""), strict=True)
    try:
        header = next(table, [])
        pick = _picker(header)
        for cells in table:
            if len(cells) != len(header):
                raise UnreadableDownloadError(
                    f"has {len(cells)} cells instead of {len(header)} in line {table.line_num}"
                )
            index, status, given, found, *rest = pick(cells)
            yield read_result(index, status, _from_json(given), _from_json(found), *rest)
    except (csv.Error, ValueError, RecursionError) as error:
        raise UnreadableDownloadError(f"is invalid in line {table.line_num} ({type(error).__name__})") from None


def _picker(header: list[str]) -> Callable[[list[str]], tuple[str, ...]]:
    missing = [name for name in FIELDS if name not in header]
    if missing:
        raise UnreadableDownloadError(f"has no column {', '.join(missing)}")
    return itemgetter(*map(header.index, FIELDS))


def _from_json(cell: str) -> Any:
    text = cell.strip()
    if not text:
        return None
    value, end = _decode(text)
    if end != len(text):
        raise ValueError("more than one value")
    return value
