"""Rows that are written to a file, one at a time."""

from __future__ import annotations

import csv
import json
from typing import TYPE_CHECKING, Protocol, TextIO

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_provider_leadmagic.bulk.formats import Format


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
