"""The two files that results go to: written under other names, and moved into place when they are complete."""

from __future__ import annotations

import csv
import io
import json
import re
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, Protocol, Self, TextIO
from uuid import uuid4

from airflow_provider_leadmagic.api.text import redact
from airflow_provider_leadmagic.bulk.result_rows import SUCCESS, RowResult
from airflow_provider_leadmagic.bulk.storage import find_file, format_of, storage_errors_as

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from airflow_provider_leadmagic.bulk.rows import RowSource
    from airflow_provider_leadmagic.bulk.storage import Format, Place


class ResultFiles:
    """
    The file of the rows with a result, and next to it the file of the rows without one.

    The second has ``.errors`` before its suffix: ``leads.csv`` and ``leads.errors.csv``.

    :param output_path: Where results go: a local path or a URL, as text or a path object. Its suffix tells the format.
    :raises ValueError: If it is no path, or its suffix tells no format we write.
    """

    def __init__(self, output_path: object) -> None:
        self._output = find_file("output_path", output_path)
        self._format = format_of("output_path", self._output)
        suffix = PurePath(self._output.name).suffix
        self._errors = self._output.sibling(f"{self._output.name.removesuffix(suffix)}.errors{suffix}")

    @property
    def output_path(self) -> str:
        """Path or URL of the rows with a result."""
        return self._output.text

    @property
    def errors_path(self) -> str:
        """Path or URL of the rows without one."""
        return self._errors.text

    def check_writable(self, source: RowSource | None = None) -> None:
        """
        Find out whether both files can be written, by writing one under another name and removing it.

        :param source: The rows. If they come from one of these very files, that is refused, too.
        :raises ValueError: If one cannot be written; the message says why.
        """
        for place in (self._output, self._errors):
            _refuse_input(place, source)
            with storage_errors_as(_problem(place)):
                if place.is_folder():
                    raise IsADirectoryError
                _try_out(place)

    @contextmanager
    def replaced(
        self, output_columns: Sequence[str], error_columns: Sequence[str]
    ) -> Iterator[tuple[RowWriter, RowWriter]]:
        """
        Write both files anew; the old ones stay until the ``with`` block ends, and for good if it fails.

        :param output_columns: Columns of the rows with a result.
        :param error_columns: Columns of the rows without one.
        :return: The writers of the two.
        :raises ValueError: If one cannot be written.
        """
        with _draft(self._output) as output, _draft(self._errors) as errors:
            with ExitStack() as stack:
                drafts = ((output, self._output), (errors, self._errors))
                output_text, errors_text = (stack.enter_context(_text(*draft)) for draft in drafts)
                writer = WRITERS[self._format]
                yield writer(output_text, output_columns), writer(errors_text, error_columns)
            # In this order: whoever sees the results sees the errors that belong to them.
            for draft, place in ((errors, self._errors), (output, self._output)):
                with storage_errors_as(_problem(place)):
                    draft.move_to(place)


@contextmanager
def _draft(place: Place) -> Iterator[Place]:
    """Find another name for a file to be, and see to it that nothing remains under it."""
    with storage_errors_as(_problem(place)):
        place.remove_siblings(re.compile(rf"\.{re.escape(place.name)}\.[0-9a-f]{{32}}\.part"))
    draft = _draft_of(place)
    try:
        yield draft
    except BaseException:
        draft.remove()
        raise


def _try_out(place: Place) -> None:
    first, second = _draft_of(place), _draft_of(place)
    try:
        first.create().close()
        first.move_to(second)
    finally:
        first.remove()
        second.remove()


def _draft_of(place: Place) -> Place:
    return place.sibling(f".{place.name}.{uuid4().hex}.part")


def _text(draft: Place, place: Place) -> io.TextIOWrapper:
    with storage_errors_as(_problem(place)):
        binary = draft.create()
    # Half of a surrogate pair, which only a server can have sent, is written as JSON would.
    return io.TextIOWrapper(binary, encoding="utf-8", errors="backslashreplace", newline="")


def _refuse_input(place: Place, source: RowSource | None) -> None:
    if source is not None and source.place is not None and source.place.identity == place.identity:
        raise ValueError(f"output_path must not lead to the input: {redact(place.text)} would be overwritten")


def _problem(place: Place) -> str:
    return f"output_path cannot be used, as {redact(place.text)} cannot be written"


class RowWriter(Protocol):
    """Writes rows of one set of columns."""

    def write(self, values: Sequence[object]) -> None:
        """
        Write a row.

        :param values: Plain JSON, in the order of the columns.
        """


class CsvWriter:
    r"""
    Writes CSV. Null is an empty cell, true and false are these words, and what is nested is JSON.

    Lines end with ``\r\n``, as RFC 4180 has it. With another end Python would leave a lone ``\r`` in a value unquoted,
    where it reads as the end of a line.

    :param text: Where it goes; opened so that the ends of lines stay as they are.
    :param columns: The first line.
    """

    def __init__(self, text: TextIO, columns: Sequence[str]) -> None:
        self._table = csv.writer(text)
        self._table.writerow(columns)

    def write(self, values: Sequence[object]) -> None:
        """
        Write a row.

        :param values: Plain JSON, in the order of the columns.
        """
        self._table.writerow([value if isinstance(value, str) else _cell(value) for value in values])


class JsonlWriter:
    """
    Writes a JSON object for each row, and a line for each object.

    :param text: Where it goes.
    :param columns: The keys.
    """

    def __init__(self, text: TextIO, columns: Sequence[str]) -> None:
        self._text = text
        self._columns = columns

    def write(self, values: Sequence[object]) -> None:
        """
        Write a row.

        :param values: Plain JSON, in the order of the columns.
        """
        row = dict(zip(self._columns, values, strict=True))
        self._text.write(f"{json.dumps(row, ensure_ascii=False)}\n")


WRITERS: dict[Format, type[CsvWriter | JsonlWriter]] = {"csv": CsvWriter, "jsonl": JsonlWriter}


def _cell(value: object) -> object:
    if value is None:
        return ""
    if isinstance(value, bool | dict | list | tuple):
        return json.dumps(value, ensure_ascii=False)
    return value


CREDITS = "credits_consumed"
ERROR_FIELDS = ("error_message", "http_status_code")
PREFIX = "lm_"
SKIPPED_MESSAGE = "skipped: the job has no result for this row"


class FoundFields:
    """The fields that were found in a whole job, in the order in which its rows show them."""

    def __init__(self) -> None:
        # Rows with the same fields are alike, so that this stays small however many rows there are.
        self._first_rows: dict[tuple[str, ...], int] = {}

    def watch(self, results: Iterator[RowResult]) -> Iterator[RowResult]:
        """Let results pass, and take note of their fields; whoever begins anew has them forgotten."""
        self._first_rows.clear()
        for result in results:
            if result.found and result.outcome == SUCCESS:
                fields = tuple(result.found)
                earliest = self._first_rows.get(fields, result.row_index)
                self._first_rows[fields] = min(earliest, result.row_index)
            yield result

    def in_order(self) -> tuple[str, ...]:
        """List them, the fields of the first row first."""
        by_row = sorted(self._first_rows, key=self._first_rows.__getitem__)
        return tuple(dict.fromkeys(field for fields in by_row for field in fields))


@dataclass(frozen=True)
class Layout:
    """
    The columns: those of the input, and ours under a prefix that makes none of them occur twice.

    :param columns: The columns of the input.
    :param found: The fields that were found.
    :param prefix: What ours begin with.
    """

    columns: tuple[str, ...]
    found: tuple[str, ...]
    prefix: str

    @classmethod
    def of(cls, columns: tuple[str, ...], found: tuple[str, ...]) -> Self:
        """
        Choose the prefix: ``lm_``, as often as it takes.

        :param columns: The columns of the input.
        :param found: The fields that were found.
        """
        prefix = PREFIX
        while any(prefix + name in columns for name in (*found, CREDITS, *ERROR_FIELDS)):
            prefix += PREFIX
        return cls(columns, found, prefix)

    @property
    def output_columns(self) -> tuple[str, ...]:
        """The columns of the rows with a result."""
        return (*self.columns, *(self.prefix + name for name in (*self.found, CREDITS)))

    @property
    def error_columns(self) -> tuple[str, ...]:
        """The columns of the rows without one."""
        return (*self.columns, *(self.prefix + name for name in ERROR_FIELDS))

    def output_row(self, row: dict[str, Any], result: RowResult) -> list[object]:
        """Put a row and what was found for it together."""
        found = result.found or {}
        return [*map(row.get, self.columns), *map(found.get, self.found), result.credits_consumed]

    def error_row(self, row: dict[str, Any], result: RowResult | None) -> list[object]:
        """Put a row and the reason why nothing was found together."""
        if result is None:
            return [*map(row.get, self.columns), SKIPPED_MESSAGE, None]
        reason = result.error_message or f"{result.outcome}: LeadMagic gives no reason"
        return [*map(row.get, self.columns), reason, result.http_status]
