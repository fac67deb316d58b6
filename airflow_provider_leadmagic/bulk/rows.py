"""The rows that are to be enriched, from a list or from a file."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

from airflow_provider_leadmagic.bulk.row_files import RowFile

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_provider_leadmagic.bulk.places import Place


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
