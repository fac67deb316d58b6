"""Check the rows before anything is sent to LeadMagic."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_provider_leadmagic.api.text import describe_value
from airflow_provider_leadmagic.bulk.rows import NoRowsError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from airflow_provider_leadmagic.api.products import Product
    from airflow_provider_leadmagic.bulk.rows import RowSource
    from airflow_provider_leadmagic.bulk.storage import StoredFile


class RowsDigest:
    """
    A digest of rows and product, to detect later that the input has changed.

    :param product: The product's name.
    """

    def __init__(self, product: str) -> None:
        self._hash = hashlib.sha256(product.encode())

    def add(self, row: Mapping[str, Any]) -> None:
        """
        Add the next row.

        :param row: The row; the order of its columns does not matter.
        """
        self._hash.update(json.dumps(row, sort_keys=True).encode() + b"\n")

    def text(self) -> str:
        """Return the digest of the rows added so far."""
        return self._hash.hexdigest()[:16]


@dataclass(frozen=True)
class RowSummary:
    """
    Number and digest of the checked rows.

    :param count: The number of rows.
    :param digest: See :class:`~airflow_provider_leadmagic.bulk.row_checks.RowsDigest`.
    """

    count: int
    digest: str


class CheckedRows:
    """
    Rows that must still be those that were checked whenever they are read.

    A file or a lazy sequence can change between two readings, and what is sent must be what was counted and priced.

    :param source: The rows.
    :param product: The product's name.
    :param summary: Number and digest of the rows when they were checked.
    """

    def __init__(self, source: RowSource, product: str, summary: RowSummary) -> None:
        self._source = source
        self._product = product
        self._summary = summary
        self.name = source.name
        self.file: StoredFile | None = source.file

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """
        Read the rows.

        :raises ValueError: After the last row if they have changed, and before the first row too many.
        """
        count, digest = 0, RowsDigest(self._product)
        for count, row in enumerate(self._source, 1):
            if count > self._summary.count:
                raise self._changed(f"more than the {self._summary.count:,} rows that were checked")
            digest.add(row)
            yield row
        if count != self._summary.count:
            raise self._changed(f"{count:,} rows instead of {self._summary.count:,}")
        if digest.text() != self._summary.digest:
            raise self._changed("not the rows that were checked")

    def _changed(self, problem: str) -> ValueError:
        text = f"Input changed while it was being submitted: {problem}. Nothing was submitted. [{self.name}]"
        return ValueError(text)


def check_rows(source: RowSource, product: Product) -> RowSummary:
    """
    Read all rows once, and reject the first that cannot be enriched or could not be written to the output.

    :param source: The rows.
    :param product: The product they are submitted for.
    :raises NoRowsError: If there are no rows.
    :raises ValueError: If a row is invalid. The message contains its number, counted from 1, but
        none of its values, because leads are personal data.
    """
    count, digest = 0, RowsDigest(product.name)
    columns: tuple[str, ...] = ()
    for count, row in enumerate(source, 1):
        try:
            columns = columns or _checked_columns(row)
            _check_row(row, columns, product)
            digest.add(row)
        except ValueError as error:
            raise ValueError(f"Row {count} {error}. [{source.name}]") from None
    if not count:
        raise NoRowsError(f"No rows to enrich. [{source.name}]")
    return RowSummary(count, digest.text())


def _checked_columns(row: dict[str, Any]) -> tuple[str, ...]:
    if not row:
        raise ValueError("has no columns")
    for column in row:
        if not isinstance(column, str) or not column.strip():
            raise ValueError(f"has an invalid column name: must be non-blank text; got {describe_value(column)}")
    return tuple(row)


def _check_row(row: dict[str, Any], columns: tuple[str, ...], product: Product) -> None:
    if row.keys() != set(columns):
        raise ValueError(f"must have the same columns as row 1: {_difference(row, columns)}")
    if not _is_plain_json(row):
        column = next((name for name, value in row.items() if not _is_plain_json(value)), "")
        raise ValueError(f"has a value that is not JSON-serializable in column {describe_value(column)}")
    alternatives = product.missing_fields(row)
    if alternatives:
        raise ValueError(f"is missing {' or '.join(alternatives)}, required by {product.name}")


def _difference(row: dict[str, Any], columns: tuple[str, ...]) -> str:
    missing = [describe_value(name) for name in columns if name not in row]
    added = [describe_value(name) for name in row if name not in columns]
    parts = (("missing", missing), ("unexpected", added))
    return "; ".join(f"{word} {', '.join(names)}" for word, names in parts if names)


def _is_plain_json(value: object) -> bool:
    try:
        # Encode as well: Python text may contain a lone surrogate, which cannot be written to a UTF-8 file.
        json.dumps(value, allow_nan=False, ensure_ascii=False).encode()
    except (TypeError, ValueError, RecursionError):
        return False
    return True
