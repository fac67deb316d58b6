"""
Request bodies that hold rows, in any number: written into a file row by row, and sent from there.

What is in a row is personal data, and stays out of messages.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, BinaryIO

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_encode = json.JSONEncoder(allow_nan=False).encode


@contextmanager
def body_with_list(fields: Mapping[str, Any], name: str, items: Iterable[str]) -> Iterator[BinaryIO]:
    """
    Write a JSON object that ends with a long list.

    :param fields: What comes before the list.
    :param name: Name of the list.
    :param items: Its items, as JSON; they are not held as a whole.
    :return: A temporary file, which is gone after the ``with`` block.
    """
    with tempfile.TemporaryFile() as file:
        head = "".join(f"{_encode(key)}: {_encode(value)}, " for key, value in fields.items())
        file.write(f"{{{head}{_encode(name)}: [".encode())
        separator = ""
        for item in items:
            file.write(f"{separator}{item}".encode())
            separator = ", "
        file.write(b"]}")
        yield file


def json_rows(rows: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """
    Write rows as JSON, one at a time.

    :param rows: The rows, which are read once.
    :raises ValueError: If there is none, or one is not plain JSON; the message has its number, counted from 1.
    """
    number = 0
    for number, row in enumerate(rows, start=1):
        yield _json_row(number, row)
    if not number:
        raise ValueError("rows must hold at least one row; got none")


def _json_row(number: int, row: object) -> str:
    if not isinstance(row, Mapping):
        raise ValueError(f"row {number} must be a dict of column names and values; got {type(row).__name__}")
    if not all(isinstance(column, str) for column in row):
        raise ValueError(f"row {number} has a column whose name is no text")  # json would make text of it
    try:
        return _encode(dict(row))
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"row {number} must be plain JSON: {error}") from None
