"""The rows that are to be enriched, from a list or from a file."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

from airflow_provider_leadmagic.api.text import describe_value, redact
from airflow_provider_leadmagic.bulk.storage import find_file, format_of, storage_errors_as

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_provider_leadmagic.bulk.storage import Place


class RowSource(Protocol):
    """Rows that can be read again and again; each iteration reads them anew."""

    @property
    def name(self) -> str:
        """What messages call it: ``rows``, or the path of the file."""

    @property
    def place(self) -> Place | None:
        """The file they come from, if it is one."""

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """
        Read the rows.

        :raises ValueError: If one cannot be read; the message names it by its number, counted from 1.
        """


class RowList:
    """
    Rows that were given as they are.

    :param rows: A list of dicts, or the JSON text of one.
    :raises ValueError: If it is anything else. The message shows no content: leads are personal data.
    """

    name = "rows"
    place = None

    def __init__(self, rows: object) -> None:
        self._rows = _sequence(_parsed(rows) if isinstance(rows, str) else rows)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """
        Read the rows.

        :raises ValueError: If one is no dict; the message names it by its number, counted from 1.
        """
        for number, row in enumerate(self._rows, 1):
            if not isinstance(row, dict):
                raise ValueError(f"row {number} of rows must be a dict; got {_kind(row)}")
            yield row


def row_source(*, rows: object = None, input_path: object = None) -> RowSource:
    """
    Find where the rows come from; exactly one of the two is given.

    :param rows: A list of dicts, or the JSON text of one, as templates render it.
    :param input_path: A CSV or JSONL file: a local path or a URL, as text or a path object.
    :raises ValueError: If both or none is given, or what is given cannot be rows.
    """
    if (rows is None) == (input_path is None):
        raise ValueError(f"give either rows or input_path; got {'none of them' if rows is None else 'both'}")
    return RowList(rows) if input_path is None else RowFile(input_path)


def _parsed(text: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        advice = "render it with the filter `tojson`, or set render_template_as_native_obj=True on the DAG"
        raise ValueError(f"rows must be a list of dicts; got text (str) that is not JSON: {advice}") from None


def _sequence(rows: object) -> Sequence[object]:
    # Not only a list: what mapped tasks returned comes as a sequence of another class.
    if isinstance(rows, Sequence) and not isinstance(rows, str | bytes | bytearray):
        return rows
    raise ValueError(f"rows must be a list of dicts, or the JSON text of one; got {_kind(rows)}")


def _kind(value: object) -> str:
    return type(value).__name__


class RowFile:
    """
    The rows of a CSV or JSONL file. Its text is UTF-8; empty lines are passed over.

    :param input_path: A local path or a URL, as text or a path object.
    :raises ValueError: If it is no path, or its suffix tells no format we read.
    """

    def __init__(self, input_path: object) -> None:
        self.place: Place = find_file("input_path", input_path)
        self.name = redact(self.place.text) or ""
        self._is_csv = format_of("input_path", self.place) == "csv"

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """
        Read the file from its beginning.

        :raises ValueError: If it cannot be read, or what stands in it is no row; the message names file and row.
        """
        lines = _lines(self.place, self.name)
        return _csv_rows(lines, self.name) if self._is_csv else _json_rows(lines, self.name)


def _lines(place: Place, name: str) -> Iterator[str]:
    with storage_errors_as(f"input_path {name} cannot be read"):
        binary = place.open()
    # What is no UTF-8 comes as surrogates, so that the line it stands in can be named.
    with io.TextIOWrapper(binary, encoding="utf-8-sig", errors="surrogateescape", newline="") as text:
        for number, line in enumerate(_read_on(text, name), 1):
            _check_text(line, number, name)
            yield line


def _read_on(text: io.TextIOWrapper, name: str) -> Iterator[str]:
    with storage_errors_as(f"input_path {name} cannot be read"):
        yield from text


def _check_text(line: str, number: int, name: str) -> None:
    # The encoding first: in UTF-16 every other byte is NUL, and that is not what has to be mended.
    if not (line.isascii() or _is_utf8(line)):
        raise ValueError(f"line {number} of {name} is not UTF-8: save the file in that encoding")
    if "\0" in line:
        raise ValueError(f"line {number} of {name} holds a NUL character, as no text file does")


def _is_utf8(line: str) -> bool:
    try:
        line.encode()
    except UnicodeEncodeError:
        return False
    return True


def _csv_rows(lines: Iterator[str], name: str) -> Iterator[dict[str, Any]]:
    records = _csv_records(lines, name)
    _, columns = next(records, (0, None))
    if columns is None:
        raise ValueError(f"{name} is empty: it needs a line with the names of the columns, and rows")
    _check_header(columns, name)
    for number, cells in records:
        if len(cells) != len(columns):
            raise ValueError(f"row {number} of {name} has {len(cells)} cells, but there are {len(columns)} columns")
        yield dict(zip(columns, cells, strict=True))


def _csv_records(lines: Iterator[str], name: str) -> Iterator[tuple[int, list[str]]]:
    table = csv.reader(lines, strict=True)
    number = 0
    try:
        for cells in table:
            if cells:
                yield number, cells
                number += 1
    except csv.Error as error:
        record = f"row {number}" if number else "the first line"
        raise ValueError(f"{record} of {name} is not CSV: {error} (line {table.line_num})") from None


def _check_header(columns: list[str], name: str) -> None:
    for position, column in enumerate(columns):
        if not column.strip():
            raise ValueError(f"column {position + 1} of {name} has no name in the first line")
        if column in columns[:position]:
            raise ValueError(f"the first line of {name} names the column {describe_value(column)} twice")


def _json_rows(lines: Iterator[str], name: str) -> Iterator[dict[str, Any]]:
    number = 0
    for line_number, line in enumerate(lines, 1):
        if not line.isspace():
            number += 1
            yield _json_row(line, f"row {number} of {name} (line {line_number})")


def _json_row(line: str, row_name: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        raise ValueError(f"{row_name} is not valid JSON") from None
    if not isinstance(row, dict):
        raise ValueError(f"{row_name} is not a JSON object")
    return row
