"""Write the output file and the error file: as drafts first, which replace the files when both are complete."""

from __future__ import annotations

import csv
import io
import json
import logging
import re
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, Protocol, Self, TextIO

from airflow_provider_leadmagic.api.text import redact
from airflow_provider_leadmagic.bulk.rows import InvalidRow
from airflow_provider_leadmagic.bulk.storage import find_file, format_of, reason_of, storage_errors_as

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

    from airflow_provider_leadmagic.bulk.drafts import Draft
    from airflow_provider_leadmagic.bulk.result_rows import RowResult
    from airflow_provider_leadmagic.bulk.rows import RowSource
    from airflow_provider_leadmagic.bulk.storage import StoredFile

log = logging.getLogger(__name__)

_CANNOT_WRITE = "Cannot write output_path"


class ResultFiles:
    """
    The output file with the rows that succeeded, and next to it the error file with the rows that did not.

    The error file has ``.errors`` before its suffix: ``leads.csv`` and ``leads.errors.csv``.

    :param output_path: A local path or a URL, as text or a path object. The suffix determines the format.
    :param escape_formulas: See :class:`CsvWriter`.
    :raises ValueError: If it is not a path, or its suffix is not supported.
    """

    def __init__(self, output_path: object, *, escape_formulas: bool = True) -> None:
        self._escape_formulas = escape_formulas
        self._output = find_file("output_path", output_path)
        self._format = format_of("output_path", self._output)
        self._errors = _with_infix(self._output, "errors")

    @property
    def output_path(self) -> str:
        """Path or URL of the output file, or of the new file with its rows if the output file could not be replaced."""
        return self._output.location

    @property
    def errors_path(self) -> str:
        """Path or URL of the error file, or of the new file with its rows if the error file could not be replaced."""
        return self._errors.location

    def check_not_input(self, source: RowSource) -> None:
        """Check that the rows do not come from one of the two files; raise ValueError if they do."""
        for file in (self._output, self._errors):
            with storage_errors_as(_CANNOT_WRITE, file.location):
                is_input = source.file is not None and file.is_same_file(source.file)
            if is_input:
                raise ValueError(f"output_path must not overwrite the input file; got {redact(file.location)}")

    def check_writable(self) -> None:
        """
        Check that both files can be replaced or created under exactly these names. Existing files stay unchanged.

        Removes the drafts in the directory that were left by killed processes.

        :raises ValueError: If one cannot be written; the message contains the reason.
        """
        for file in (self._output, self._errors):
            with storage_errors_as(_CANNOT_WRITE, file.location):
                file.remove_leftovers()
                file.check_replaceable()

    @contextmanager
    def replaced(
        self, output_columns: Sequence[str], error_columns: Sequence[str], job_id: str
    ) -> Iterator[tuple[RowWriter, RowWriter]]:
        """
        Replace both files when the ``with`` block ends. If the block raises, the existing files stay unchanged.

        The error file is replaced first, and stays replaced if the output file then cannot be written. If a file can no
        longer be replaced, its rows, which are paid for, go to a new file next to it, with the job ID in its name.

        :param output_columns: Columns of the output file.
        :param error_columns: Columns of the error file.
        :param job_id: The job whose results are written.
        :return: The writers of the two files.
        :raises ValueError: If one cannot be written.
        """
        with ExitStack() as stack:
            output = stack.enter_context(_delivery(self._output, "output_path", job_id))
            errors = stack.enter_context(_delivery(self._errors, "the error file", job_id, self._output))
            with self._output.write_errors(_CANNOT_WRITE, _advice(job_id)):
                yield self._writer(output.text, output_columns), self._writer(errors.text, error_columns)
                output.text.flush()
                errors.text.flush()
            # The error file first: a reader that sees the new output file also sees the errors that belong to it.
            for step in (errors.stage, output.stage, errors.commit, output.commit):
                step()
            self._output, self._errors = output.file, errors.file

    def _writer(self, text: TextIO, columns: Sequence[str]) -> RowWriter:
        if self._format == "jsonl":
            return JsonlWriter(text, columns)
        return CsvWriter(text, columns, escape_formulas=self._escape_formulas)


class _Delivery:
    """
    A draft and the file that it becomes: the given one, or, if that cannot be replaced, a new one next to it.

    :param subject: How messages name the file.
    """

    def __init__(self, file: StoredFile, subject: str, job_id: str, draft: Draft) -> None:
        self.file = file
        self._subject = subject
        self._job_id = job_id
        self._draft = draft
        # A lone surrogate, which can only come from LeadMagic, is written as an escape sequence, as in JSON.
        self.text = io.TextIOWrapper(draft.file, encoding="utf-8", errors="backslashreplace", newline="")

    def stage(self) -> None:
        with _write_errors(self.file, self._job_id):
            try:
                self.file.stage(self._draft)
            except Exception as error:
                self._stage_next_to_it(error)

    def commit(self) -> None:
        with _write_errors(self.file, self._job_id):
            try:
                self._draft.commit()
            except Exception as error:
                self._stage_next_to_it(error)
                self._draft.commit()

    def _stage_next_to_it(self, error: Exception) -> None:
        sibling = _with_infix(self.file, re.sub(r"[^\w-]", "_", self._job_id))
        sibling.stage(self._draft)
        self.file = sibling
        problem = f"Cannot replace {self._subject}: {reason_of(error)}"
        log.warning("%s. Writing rows of bulk job %s to a new file. [%s]", problem, self._job_id, sibling.location)


@contextmanager
def _delivery(
    file: StoredFile, subject: str, job_id: str, permissions_from: StoredFile | None = None
) -> Iterator[_Delivery]:
    with _write_errors(file, job_id):
        file.remove_leftovers()
        draft = file.draft(permissions_from)
    try:
        yield _Delivery(file, subject, job_id, draft)
    finally:
        draft.discard()


def _write_errors(file: StoredFile, job_id: str) -> AbstractContextManager[None]:
    return storage_errors_as(_CANNOT_WRITE, file.location, _advice(job_id))


def _advice(job_id: str) -> str:
    return f"The rows of bulk job {job_id} have been paid for, and reading them again is free"


def _with_infix(file: StoredFile, infix: str) -> StoredFile:
    suffix = PurePath(file.name).suffix
    return file.sibling(f"{file.name.removesuffix(suffix)}.{infix}{suffix}")


class RowWriter(Protocol):
    """Writes rows that all have the same columns."""

    def write(self, values: Sequence[object]) -> None:
        """Write a row of JSON values in column order."""


class CsvWriter:
    r"""
    Writes CSV. Null is an empty cell; booleans, objects and arrays are written as JSON.

    Lines end with ``\r\n``, as in RFC 4180. If they ended with ``\n``, older Pythons would not quote a lone ``\r`` in a
    value (python/cpython#67044), and readers would take it for the end of the line.

    :param text: The file, opened with ``newline=""``.
    :param columns: The header.
    :param escape_formulas: Whether to escape texts that look like formulas in each column whose name starts with
        ``lm_``: LeadMagic's columns, whose texts come from web pages, and input columns with that prefix.
    """

    def __init__(self, text: TextIO, columns: Sequence[str], *, escape_formulas: bool = True) -> None:
        self._is_escaped = [escape_formulas and column.startswith(PREFIX) for column in columns]
        self._table = csv.writer(text)
        self._table.writerow(columns)

    def write(self, values: Sequence[object]) -> None:
        """Write a row of JSON values in column order."""
        cells = zip(values, self._is_escaped, strict=True)
        self._table.writerow(
            [_text_cell(value, escaped) if isinstance(value, str) else _cell(value) for value, escaped in cells]
        )


class JsonlWriter:
    """
    Writes one JSON object per line.

    :param text: The file.
    :param columns: The keys of each object.
    """

    def __init__(self, text: TextIO, columns: Sequence[str]) -> None:
        self._text = text
        self._columns = columns

    def write(self, values: Sequence[object]) -> None:
        """Write a row of JSON values in column order."""
        row = dict(zip(self._columns, values, strict=True))
        self._text.write(f"{_json(row)}\n")


#: First characters of a text that a spreadsheet evaluates, including the full-width ones of East Asian keyboards.
_FORMULA = re.compile(r"[=@\t\r\n\uff1d\uff20+\-\uff0b\uff0d]")
#: Numbers and phone numbers. They are harmless: the only letter is the ``e`` of an exponent, so at most they are
#: evaluated as arithmetic: they cannot call a function or refer to a cell.
_NUMBER = re.compile(r"[+-][\d\s().,/%+-]*(?:(?<=\d)[eE][+-]?\d+)?")


def _text_cell(text: str, is_escaped: bool) -> str:
    """Return a text with an apostrophe before it if a spreadsheet would evaluate it as a formula."""
    if is_escaped and _FORMULA.match(text) and not _NUMBER.fullmatch(text):
        return f"'{text}"
    return text


def _cell(value: object) -> object:
    if value is None:
        return ""
    if isinstance(value, bool | dict | list | tuple):
        return _json(value)
    return value


def _json(value: object) -> str:
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False)
    except ValueError:  # NaN or infinity in a result: not JSON, but Python accepts them when it parses a response
        return _json(json.loads(json.dumps(value), parse_constant=lambda _: None))


CREDITS = "credits_consumed"
ERROR_FIELDS = ("error_message", "http_status_code")
MATCH = "match"
DOUBTFUL = "doubtful"
PREFIX = "lm_"
SKIPPED_MESSAGE = "skipped: the job has no result for this row"


@dataclass(frozen=True)
class Layout:
    """
    The columns of the two files: those of the input, then LeadMagic's, with a prefix that keeps them distinct.

    :param columns: The columns of the input.
    :param found: The names of the fields that LeadMagic found.
    :param prefix: The prefix of LeadMagic's columns.
    :param header: The name under which each input column is written to the files, in the order of ``columns``.
    :param has_doubts: Whether there is a column that marks doubtful results: those that may not belong to their row.
    """

    columns: tuple[str, ...]
    found: tuple[str, ...]
    prefix: str
    header: tuple[str, ...]
    has_doubts: bool = False

    @classmethod
    def of(
        cls,
        columns: tuple[str, ...],
        found: tuple[str, ...],
        names: Mapping[str, str] | None = None,
        *,
        has_doubts: bool = False,
    ) -> Self:
        """
        Build a layout with the prefix ``lm_``, repeated until no column name occurs twice.

        :param columns: The columns of the input.
        :param found: The names of the fields that LeadMagic found.
        :param names: For each input column that is written to the files under another name, that name.
        :param has_doubts: Whether to add a column that marks doubtful results.
        """
        header = tuple((names or {}).get(column, column) for column in columns)
        prefix = PREFIX
        while any(prefix + name in header for name in (*found, CREDITS, *ERROR_FIELDS, MATCH)):
            prefix += PREFIX
        return cls(columns, found, prefix, header, has_doubts)

    @property
    def output_columns(self) -> tuple[str, ...]:
        """The columns of the output file."""
        return (*self.header, *(self.prefix + name for name in (*self.found, CREDITS)), *self._match_column())

    @property
    def error_columns(self) -> tuple[str, ...]:
        """The columns of the error file."""
        return (*self.header, *(self.prefix + name for name in ERROR_FIELDS), *self._match_column())

    @property
    def match_column(self) -> str:
        """The column that marks doubtful results; it exists only if there are any."""
        repeated = PREFIX if MATCH in self.found else ""  # LeadMagic may find a field of this name
        return f"{repeated}{self.prefix}{MATCH}"

    def _match_column(self) -> tuple[str, ...]:
        return (self.match_column,) if self.has_doubts else ()

    def _match(self, is_doubtful: bool) -> list[object]:
        return [DOUBTFUL if is_doubtful else None] if self.has_doubts else []

    def output_row(self, row: dict[str, Any], result: RowResult, is_doubtful: bool = False) -> list[object]:
        """Return the values of a row of the output file."""
        found = result.found or {}
        values = [*map(row.get, self.columns), *map(found.get, self.found), result.credits_consumed]
        return values + self._match(is_doubtful)

    def error_row(self, row: dict[str, Any], result: RowResult | None, is_doubtful: bool = False) -> list[object]:
        """Return the values of a row of the error file. ``result`` is None if the row has no result."""
        if result is None:
            reason = f"skipped: {row.problem}" if isinstance(row, InvalidRow) else SKIPPED_MESSAGE
            return [*map(row.get, self.columns), reason, None, *self._match(is_doubtful)]
        reason = result.error_message or f"{result.outcome}: LeadMagic gave no reason"
        return [*map(row.get, self.columns), reason, result.http_status, *self._match(is_doubtful)]
