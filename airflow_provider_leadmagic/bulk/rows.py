"""Read the rows to enrich from a list or from a file."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

from airflow_provider_leadmagic.api.text import describe_value, redact
from airflow_provider_leadmagic.api.validation import plain_number
from airflow_provider_leadmagic.bulk.storage import find_file, format_of, storage_errors_as

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_provider_leadmagic.bulk.storage import StoredFile


class RowSource(Protocol):
    """Rows that can be iterated repeatedly; each iteration reads them again."""

    @property
    def name(self) -> str:
        """The source in messages: ``rows``, or the path of the file."""

    @property
    def file(self) -> StoredFile | None:
        """The input file; None for a list."""

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """
        Read the rows.

        :raises ValueError: If one cannot be read; the message contains its number, counted from 1.
        """


class RowList:
    """
    Rows passed as the ``rows`` argument.

    :param rows: A list of dicts, or the JSON text of one.
    :raises ValueError: If it is anything else. The message contains none of the values, because leads are personal
        data.
    """

    name = "rows"
    file = None

    def __init__(self, rows: object) -> None:
        self._rows = _sequence(_parsed(rows) if isinstance(rows, str) else rows)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """
        Read the rows.

        :raises ValueError: If one is not a dict; the message contains its number, counted from 1.
        """
        for number, row in enumerate(self._rows, 1):
            if not isinstance(row, dict):
                raise ValueError(f"Row {number} must be a dict; got {_kind(row)}. [{self.name}]")
            yield _plain_row(row)


def row_source(*, rows: object = None, input_path: object = None) -> RowSource:
    """
    Return the source of the rows; exactly one argument must be given.

    :param rows: A list of dicts, or the JSON text of one, as templates render it.
    :param input_path: A CSV or JSONL file: a local path or a URL, as text or a path object.
    :raises ValueError: If both or neither is given, or the one given is invalid.
    """
    if (rows is None) == (input_path is None):
        given = "neither" if rows is None else "both"
        raise ValueError(f"Exactly one of rows and input_path must be given; got {given}")
    return RowList(rows) if input_path is None else RowFile(input_path)


def _parsed(text: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        advice = "Render it with the filter `tojson`, or set render_template_as_native_obj=True on the DAG"
        raise ValueError(f"rows must be a list of dicts; got text (str) that is not JSON. {advice}.") from None


def _sequence(rows: object) -> Sequence[object]:
    # Accept any sequence, not only a list: Airflow passes the results of mapped tasks as a lazy sequence.
    if isinstance(rows, Sequence) and not isinstance(rows, str | bytes | bytearray):
        return rows
    raise ValueError(f"rows must be a list of dicts, or the JSON text of one; got {_kind(rows)}")


def _plain_row(row: dict[Any, Any]) -> dict[Any, Any]:
    """Convert the numbers in a row to types of JSON. Values that are nested too deeply are left to the row checks."""
    try:
        return {column: _plain(value) for column, value in row.items()}
    except RecursionError:
        return row


def _plain(value: object) -> object:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, dict):
        return {name: _plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return plain_number(value)


def _kind(value: object) -> str:
    return type(value).__name__


class RowFile:
    """
    Rows of a CSV or JSONL file in UTF-8. Empty lines are skipped.

    :param input_path: A local path or a URL, as text or a path object.
    :raises ValueError: If it is not a path, or its suffix is not supported.
    """

    def __init__(self, input_path: object) -> None:
        self.file: StoredFile = find_file("input_path", input_path)
        self.name = redact(self.file.location) or ""
        self._is_csv = format_of("input_path", self.file) == "csv"

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """
        Read the file from the beginning.

        :raises ValueError: If it cannot be read or a row is malformed; the message contains the file and the row.
        """
        lines = _lines(self.file, self.name)
        return _csv_rows(lines, self.name) if self._is_csv else _json_rows(lines, self.name)


def _lines(file: StoredFile, name: str) -> Iterator[str]:
    with storage_errors_as("Cannot read input_path", name):
        binary = file.open()
    # Bytes that are not UTF-8 become surrogates, so that the error can name the line.
    with io.TextIOWrapper(binary, encoding="utf-8-sig", errors="surrogateescape", newline="") as text:
        for number, line in enumerate(_raw_lines(text, name), 1):
            _check_text(line, number, name)
            yield line


def _raw_lines(text: io.TextIOWrapper, name: str) -> Iterator[str]:
    with storage_errors_as("Cannot read input_path", name):
        yield from text


def _check_text(line: str, number: int, name: str) -> None:
    # Check the encoding first: in UTF-16 every second byte is NUL, and the encoding is what has to be fixed.
    if not (line.isascii() or _is_utf8(line)):
        raise ValueError(f"Line {number} is not UTF-8: save the file in that encoding. [{name}]")
    if "\0" in line:
        raise ValueError(f"Line {number} contains a NUL character: the file is not plain text. [{name}]")


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
        raise ValueError(f"The file is empty: it must have a line of column names, and rows. [{name}]")
    _check_header(columns, name)
    for number, cells in records:
        if len(cells) != len(columns):
            problem = f"Row {number} must have {len(columns)} cells, like the header; got {len(cells)}"
            raise ValueError(f"{problem}. [{name}]")
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
        record = f"Row {number}" if number else "The header"
        raise ValueError(f"{record} is not valid CSV: {error} (line {table.line_num}). [{name}]") from None


def _check_header(columns: list[str], name: str) -> None:
    for position, column in enumerate(columns):
        if not column.strip():
            raise ValueError(f"Column {position + 1} has no name in the header. [{name}]")
        if column in columns[:position]:
            raise ValueError(f"Column {describe_value(column)} appears twice in the header. [{name}]")


def _json_rows(lines: Iterator[str], name: str) -> Iterator[dict[str, Any]]:
    number = 0
    for line_number, line in enumerate(lines, 1):
        if not line.isspace():
            number += 1
            yield _json_row(line, f"Row {number} (line {line_number})", name)


def _json_row(line: str, label: str, name: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        raise ValueError(f"{label} is not valid JSON. [{name}]") from None
    if not isinstance(row, dict):
        raise ValueError(f"{label} is not a JSON object. [{name}]")
    return row
