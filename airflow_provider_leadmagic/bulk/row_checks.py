"""What is checked of the rows before anything is sent."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_provider_leadmagic.api.text import describe_value

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_provider_leadmagic.api.products import Product
    from airflow_provider_leadmagic.bulk.rows import RowSource


class RowsDigest:
    """
    Takes in row after row.

    :param product: What they are looked up for.
    """

    def __init__(self, product: str) -> None:
        self._hash = hashlib.sha256(product.encode())

    def add(self, row: Mapping[str, Any]) -> None:
        """
        Take in the next row.

        :param row: The row; the order of its columns does not matter.
        """
        self._hash.update(json.dumps(row, sort_keys=True).encode() + b"\n")

    def text(self) -> str:
        """Tell the digest of the rows so far."""
        return self._hash.hexdigest()[:16]


@dataclass(frozen=True)
class RowSummary:
    """
    What the rows are.

    :param count: How many there are.
    :param digest: Tells them from others (see :class:`~airflow_provider_leadmagic.bulk.row_checks.RowsDigest`).
    """

    count: int
    digest: str


def check_rows(source: RowSource, product: Product) -> RowSummary:
    """
    Read all rows once and refuse what could not be enriched, or not be written afterwards.

    :param source: The rows.
    :param product: What they are submitted for.
    :raises ValueError: If there are none, or one is no good: it is named by its number, counted from 1, but never
        shown, as leads are personal data.
    """
    count, digest = 0, RowsDigest(product.name)
    columns: tuple[str, ...] = ()
    for count, row in enumerate(source, 1):
        try:
            columns = columns or _checked_columns(row)
            _check_row(row, columns, product)
            digest.add(row)
        except ValueError as error:
            raise ValueError(f"row {count} of {source.name} {error}") from None
    if not count:
        raise ValueError(f"{source.name} has no rows: there is nothing to enrich")
    return RowSummary(count, digest.text())


def _checked_columns(row: dict[str, Any]) -> tuple[str, ...]:
    if not row:
        raise ValueError("has no columns")
    for column in row:
        if not isinstance(column, str) or not column.strip():
            raise ValueError(f"has a column whose name is not text, or blank: {describe_value(column)}")
    return tuple(row)


def _check_row(row: dict[str, Any], columns: tuple[str, ...], product: Product) -> None:
    if row.keys() != set(columns):
        raise ValueError(f"has other columns than row 1: {_difference(row, columns)}")
    if not _is_plain_json(row):
        column = next((name for name, value in row.items() if not _is_plain_json(value)), "")
        raise ValueError(f"holds a value that is not plain JSON in column {describe_value(column)}")
    alternatives = product.missing_fields(row)
    if alternatives:
        raise ValueError(f"lacks what {product.name} needs: {' or '.join(alternatives)}")


def _difference(row: dict[str, Any], columns: tuple[str, ...]) -> str:
    missing = [describe_value(name) for name in columns if name not in row]
    added = [describe_value(name) for name in row if name not in columns]
    parts = (("without", missing), ("with", added))
    return ", ".join(f"{word} {' and '.join(names)}" for word, names in parts if names)


def _is_plain_json(value: object) -> bool:
    try:
        # Encoded as well: half of a surrogate pair is text to Python, but no file takes it.
        json.dumps(value, allow_nan=False, ensure_ascii=False).encode()
    except (TypeError, ValueError, RecursionError):
        return False
    return True
