"""Read the rows to enrich from a list or from a file."""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
import zlib
from collections.abc import Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol, cast

from airflow_provider_leadmagic.api.text import describe_value, redact
from airflow_provider_leadmagic.api.validation import plain_number
from airflow_provider_leadmagic.bulk.storage import find_file, format_of, storage_errors_as

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_provider_leadmagic.bulk.storage import StoredFile


class NoRowsError(ValueError):
    """The input has no rows, which is not an error if ``on_empty`` is ``skip``."""


class RowSource(Protocol):
    """Rows that can be iterated repeatedly; each iteration reads them again."""

    @property
    def name(self) -> str:
        """How messages name the source: ``rows``, or the path of the file."""

    @property
    def file(self) -> StoredFile | None:
        """The input file; None for a list."""

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """
        Read the rows.

        :raises ValueError: If one cannot be read; the message contains its number, counted from 1.
        """

    def with_invalid(self) -> Iterator[dict[str, Any]]:
        """Read the rows, with an :class:`InvalidRow` for each that cannot be read."""


class InvalidRow(dict[str, Any]):
    """
    The values of a row that cannot be submitted, as far as they could be read. They can be written to the error file.

    :param values: The values. One that is not plain JSON is kept as its ``repr``.
    :param problem: Why it cannot be submitted: a sentence that names the row, counted from 1.
    """

    def __init__(self, values: dict[str, Any], problem: str) -> None:
        super().__init__({name: _json_or_text(value) for name, value in values.items()})
        self.problem = problem


def json_size(value: object) -> int | None:
    """Return the length of a value as JSON in bytes; None if it is not plain JSON."""
    try:
        # Encode as well: Python text may contain a lone surrogate, which cannot be written to a UTF-8 file.
        return len(json.dumps(value, allow_nan=False, ensure_ascii=False).encode())
    except (TypeError, ValueError, RecursionError):
        return None


def _json_or_text(value: object) -> object:
    if json_size(value) is not None:
        return value
    try:
        return repr(value)
    except Exception:  # the repr of a deeply nested list or of a very long number, for example
        return _kind(value)


def valid_rows(rows: Iterator[dict[str, Any]], name: str) -> Iterator[dict[str, Any]]:
    """
    Yield the rows.

    :param name: How the message names the source.
    :raises ValueError: If a row is an :class:`InvalidRow`.
    """
    for row in rows:
        if isinstance(row, InvalidRow):
            raise ValueError(f"{row.problem}. [{name}]")
        yield row


class RowList:
    """
    Rows passed as the ``rows`` argument.

    :param rows: A list of dicts, or JSON text of such a list.
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
        return valid_rows(self.with_invalid(), self.name)

    def with_invalid(self) -> Iterator[dict[str, Any]]:
        """Read the rows, with an :class:`InvalidRow` for each that is not a dict."""
        for number, row in enumerate(self._rows, 1):
            if isinstance(row, dict):
                yield _plain_row(row)
            else:
                yield InvalidRow({}, f"Row {number} must be a dict; got {_kind(row)}")


def row_source(*, rows: object = None, input_path: object = None, delimiter: str | None = None) -> RowSource:
    """
    Return the source of the rows; exactly one of ``rows`` and ``input_path`` must be given.

    :param rows: A list of dicts, or JSON text of such a list, as templates render it.
    :param input_path: A CSV or JSONL file: a local path or a URL, as text or a path object.
    :param delimiter: The character between the cells of a CSV file; detected from the header by default.
    :raises ValueError: If both or neither is given, or the one given is invalid.
    """
    if (rows is None) == (input_path is None):
        given = "neither" if rows is None else "both"
        raise ValueError(f"Exactly one of rows and input_path must be given; got {given}")
    return RowList(rows) if input_path is None else RowFile(input_path, delimiter)


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
    raise ValueError(f"rows must be a list of dicts, or JSON text of such a list; got {_kind(rows)}")


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


#: Characters that can separate the cells of a CSV file. The first of them that occurs in the header is used.
DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "vertical bars"}
#: Longest cell in characters. Python's own limit of 131,072 is too short for some CRM notes.
MAX_CELL = 2**24
_SEPARATOR_LINE = re.compile(r'"?sep=(.)"?\s*', re.IGNORECASE)  # a first line that declares the delimiter to Excel
_QUOTED = re.compile(r'"[^"]*("|$)')
_BOM = "\ufeff"


class RowFile:
    """
    Rows of a CSV or JSONL file in UTF-8, which may be compressed with gzip. Empty lines are skipped.

    :param input_path: A local path or a URL, as text or a path object.
    :param delimiter: The character between the cells of a CSV file; detected from the header by default.
    :raises ValueError: If it is not a path, or its suffix is not supported.
    """

    def __init__(self, input_path: object, delimiter: str | None = None) -> None:
        self.file: StoredFile = find_file("input_path", input_path)
        self.name = redact(self.file.location) or ""
        self._is_csv = format_of("input_path", self.file, may_be_gzip=True) == "csv"
        self._delimiter = delimiter

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """
        Read the file from the beginning.

        :raises ValueError: If it cannot be read or a row is malformed; the message contains the file and the row.
        """
        return valid_rows(self.with_invalid(), self.name)

    def with_invalid(self) -> Iterator[dict[str, Any]]:
        """
        Read the file, with an :class:`InvalidRow` for each row that is malformed.

        :raises ValueError: If the file cannot be read.
        """
        lines = _lines(self.file, self.name)
        return _csv_rows(lines, self.name, self._delimiter) if self._is_csv else _json_rows(lines)


def _lines(file: StoredFile, name: str) -> Iterator[str]:
    with storage_errors_as("Cannot read input_path", name):
        binary = file.open()
    with binary:
        content = cast("BinaryIO", gzip.GzipFile(fileobj=binary)) if file.name.lower().endswith(".gz") else binary
        # Bytes that are not UTF-8 become surrogates, so that the error can name the line.
        text = io.TextIOWrapper(content, encoding="utf-8", errors="surrogateescape", newline="")
        for number, line in enumerate(_raw_lines(text, name), 1):
            _check_text(line, number, name)
            yield line.lstrip(_BOM)  # also inside the file, where another file was appended


def _raw_lines(text: io.TextIOWrapper, name: str) -> Iterator[str]:
    with storage_errors_as("Cannot read input_path", name):
        try:
            yield from text
        except (EOFError, gzip.BadGzipFile, zlib.error):
            raise ValueError("the file is not a complete gzip file") from None


def _check_text(line: str, number: int, name: str) -> None:
    # Check the encoding first: in UTF-16 every second byte is NUL, and the encoding is what has to be fixed.
    if not (line.isascii() or _is_utf8(line)):
        raise ValueError(f"Line {number} is not UTF-8: save the file in UTF-8. [{name}]")
    if "\0" in line:
        raise ValueError(f"Line {number} contains a NUL character: the file is not plain text. [{name}]")


def _is_utf8(line: str) -> bool:
    try:
        line.encode()
    except UnicodeEncodeError:
        return False
    return True


def _csv_rows(lines: Iterator[str], name: str, delimiter: str | None) -> Iterator[dict[str, Any]]:
    records = _csv_records(lines, name, delimiter)
    _, header = next(records, (0, None))
    if header is None:
        raise NoRowsError(f"The file is empty: it must have a line of column names, and rows. [{name}]")
    columns = _columns_in(header, name)
    for number, cells in records:
        if any(cell.strip() for cell in cells[len(columns) :]) or len(cells) < len(columns):
            problem = f"Row {number} must have {len(columns)} cells, like the header; got {len(cells)}"
            yield InvalidRow(dict(zip(columns, cells, strict=False)), problem)
        else:
            yield dict(zip(columns, cells, strict=False))


def _csv_records(lines: Iterator[str], name: str, delimiter: str | None) -> Iterator[tuple[int, list[str]]]:
    """Yield the header with the number 0, and the rows from 1. Blank lines and repeated headers are skipped."""
    csv.field_size_limit(max(csv.field_size_limit(), MAX_CELL))
    table = _csv_table(lines, delimiter)
    number = 0
    header: list[str] | None = None
    try:
        for cells in table:
            if cells != header and any(cell.strip() for cell in cells):
                yield number, cells
                header = header or cells
                number += 1
    except csv.Error as error:
        record = f"Row {number}" if number else "The header"
        raise ValueError(f"{record} is not valid CSV: {error} (line {table.line_num}). [{name}]") from None


def _csv_table(lines: Iterator[str], delimiter: str | None) -> Any:
    first_lines: list[str] = []
    header = ""
    for header in lines:
        stated = _SEPARATOR_LINE.fullmatch(header)
        first_lines.append("\r\n" if stated else header)  # keeps the line numbers correct
        if stated:
            delimiter = delimiter or stated[1]
        if not stated and header.strip(' ",;|\t\r\n'):
            break
    outside_quotes = _QUOTED.sub("", header)
    delimiter = delimiter or next((character for character in DELIMITERS if character in outside_quotes), ",")
    rest = outside_quotes.split(delimiter)[1:]
    blank_after_each = bool(rest) and all(cell.startswith(" ") for cell in rest)
    return csv.reader(chain(first_lines, lines), delimiter=delimiter, skipinitialspace=blank_after_each, strict=True)


def _columns_in(header: list[str], name: str) -> list[str]:
    columns = [column.strip() for column in header]
    while not columns[-1]:  # spreadsheets write commas for empty columns
        columns.pop()
    for position, column in enumerate(columns):
        if not column:
            raise ValueError(f"Column {position + 1} has no name in the header. [{name}]")
        if column in columns[:position]:
            raise ValueError(f"Column {describe_value(column)} appears twice in the header. [{name}]")
    if len(columns) == 1:
        _check_only_column(columns[0], name)
    return columns


def _check_only_column(column: str, name: str) -> None:
    for delimiter, characters in DELIMITERS.items():
        if delimiter in column:
            raise ValueError(f"The first line has one column: is the file separated by {characters}? [{name}]")


def _json_rows(lines: Iterator[str]) -> Iterator[dict[str, Any]]:
    number = 0
    for line_number, line in enumerate(lines, 1):
        if line.strip():
            number += 1
            yield _json_row(line, f"Row {number} (line {line_number})")


def _json_row(line: str, label: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return InvalidRow({}, f"{label} is not valid JSON")
    return row if isinstance(row, dict) else InvalidRow({}, f"{label} is not a JSON object")
