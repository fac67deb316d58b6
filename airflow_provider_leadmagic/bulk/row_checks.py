"""Check the rows before anything is sent to LeadMagic."""

from __future__ import annotations

import hashlib
import json
import logging
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_provider_leadmagic.api.text import describe_value
from airflow_provider_leadmagic.bulk.rows import InvalidRow, NoRowsError, json_size, valid_rows

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, KeysView, Mapping

    from airflow_provider_leadmagic.api.products import Product
    from airflow_provider_leadmagic.bulk.rows import RowSource
    from airflow_provider_leadmagic.bulk.storage import StoredFile


log = logging.getLogger(__name__)

#: Longest row in MiB. The result contains the row as escaped JSON, which can be three times as long, and a response has
#: a limit of 10 MiB: the result of a longer row would be paid for, but could not be read.
MAX_ROW = 3


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


class RenamedRows:
    """
    Rows whose columns have the names of LeadMagic's fields.

    :param source: The rows with the user's column names.
    :param mapping: The user's column names, each with the name of its field in LeadMagic.
    :param fields: LeadMagic's fields. A column whose name differs from a field only in case is renamed to that field.
    :raises ValueError: If the mapping is not a dict of column names.
    """

    def __init__(self, source: RowSource, mapping: object, fields: Collection[str]) -> None:
        self._source = source
        self._mapping = _checked_mapping(mapping)
        self._fields = fields
        self.name = source.name
        self.file: StoredFile | None = source.file

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """
        Read the rows.

        :raises ValueError: If a row cannot be read, a column of the mapping is missing, or two get the same name.
        """
        return valid_rows(self.with_invalid(), self.name)

    def with_invalid(self) -> Iterator[dict[str, Any]]:
        """Read the rows, with an :class:`~airflow_provider_leadmagic.bulk.rows.InvalidRow` for each invalid one."""
        columns: KeysView[Any] | None = None
        names: dict[Any, Any] = {}
        for number, row in enumerate(self._source.with_invalid(), 1):
            problem = row.problem if isinstance(row, InvalidRow) else None
            if problem is None and columns != row.keys():
                problem = self._problem_of(row, number, is_first=columns is None)
                if problem is None:
                    columns, names = row.keys(), self._names_of(row)
            renamed = {names.get(column) or self._name_of(column, row): value for column, value in row.items()}
            yield renamed if problem is None else InvalidRow(renamed, problem)

    def user_names(self, source: RowSource) -> dict[str, str]:
        """
        Return a dict from new column names to the user's names for these columns, read from the first valid row.

        :param source: The same rows with new names: a :class:`RenamedRows`, or a :class:`ValidRows` of one.
        """
        for row, renamed in zip(self._source.with_invalid(), source.with_invalid(), strict=False):
            if not isinstance(renamed, InvalidRow):
                return {name: column for column, name in self._names_of(row).items()}
        return {}

    def _problem_of(self, row: dict[Any, Any], number: int, *, is_first: bool) -> str | None:
        if is_first and (missing := [describe_value(column) for column in self._mapping if column not in row]):
            return f"column_mapping has columns that row {number} does not have: {', '.join(missing)}"
        names = self._names_of(row)
        for name in set(names.values()):
            twins = [describe_value(other) for other in names if names[other] == name]
            if len(twins) > 1:
                problem = f"Columns {' and '.join(twins)} would both be sent as {describe_value(name)} in row {number}"
                return f"{problem}: rename one, or use column_mapping"
        return None

    def _names_of(self, row: dict[Any, Any]) -> dict[Any, Any]:
        return {column: self._name_of(column, row) for column in row}

    def _name_of(self, column: Any, row: dict[Any, Any]) -> Any:
        if column in self._mapping:
            return self._mapping[column]
        field = column.lower() if isinstance(column, str) else column
        is_field = field in self._fields and field not in row and field not in self._mapping.values()
        return field if is_field else column


def _checked_mapping(mapping: object) -> dict[str, str]:
    names = mapping if isinstance(mapping, dict) else {"": ""} if mapping is not None else {}
    if not all(isinstance(name, str) and name.strip() for name in (*names, *names.values())):
        raise ValueError("column_mapping must be a dict that maps column names to LeadMagic's fields")
    return names


class ValidRows:
    """
    The rows that can be submitted. The others are skipped.

    :param source: The rows.
    :param product: The product they are submitted for.
    """

    def __init__(self, source: RowSource, product: Product) -> None:
        self._source = source
        self._product = product
        self.name = source.name
        self.file: StoredFile | None = source.file

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Read the rows that can be submitted."""
        return (row for row in self.with_invalid() if not isinstance(row, InvalidRow))

    def with_invalid(self) -> Iterator[dict[str, Any]]:
        """Read all rows, with an :class:`~airflow_provider_leadmagic.bulk.rows.InvalidRow` for each skipped one."""
        columns: tuple[str, ...] = ()
        first = 1
        for number, row in enumerate(self._source.with_invalid(), 1):
            if isinstance(row, InvalidRow):
                yield row
                continue
            try:
                checked = _checked_columns(row)
                _check_row(row, columns or checked, self._product, first)
            except ValueError as error:
                yield InvalidRow(row, f"Row {number} {error}")
            else:
                first = first if columns else number
                columns = columns or checked
                yield row


class CheckedRows:
    """
    Rows that have been checked, and must not have changed since: each reading verifies this.

    A file or a lazy sequence can change between two readings, and what is sent must be what was counted and priced.

    :param source: The rows.
    :param product: The product's name.
    :param summary: Number and digest of the rows when they were checked.
    :param job_id: The job that is about to be resumed; None if the rows are about to be submitted.
    """

    def __init__(self, source: RowSource, product: str, summary: RowSummary, job_id: str | None = None) -> None:
        self._source = source
        self._product = product
        self._summary = summary
        self._job_id = job_id
        self.name = source.name
        self.file: StoredFile | None = source.file

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """
        Read the rows.

        :raises ValueError: After the last row if the rows have changed, or as soon as there are more than were checked.
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

    def with_invalid(self) -> Iterator[dict[str, Any]]:
        """Read the rows, which were all checked."""
        return iter(self)

    def _changed(self, problem: str) -> ValueError:
        if self._job_id is None:
            return ValueError(
                f"Input changed while it was being submitted: {problem}. Nothing was submitted. [{self.name}]"
            )
        return ValueError(
            f"Input changed while it was being priced: {problem}. Bulk job {self._job_id} is unchanged. [{self.name}]"
        )


def check_rows(source: RowSource, product: Product) -> RowSummary:
    """
    Read all rows, and reject the first one that cannot be enriched or written to the output.

    :param source: The rows.
    :param product: The product they are submitted for.
    :raises NoRowsError: If there are no rows.
    :raises ValueError: If a row is invalid. The message contains its number, counted from 1, but
        none of its values, because leads are personal data.
    """
    count, digest = 0, RowsDigest(product.name)
    columns: tuple[str, ...] = ()
    _report_invalid(source)
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


def _report_invalid(source: RowSource) -> None:
    if not isinstance(source, ValidRows):
        return
    first, counts = "", Counter[bool]()
    for row in source.with_invalid():
        counts[isinstance(row, InvalidRow)] += 1
        if isinstance(row, InvalidRow):
            first = first or row.problem
    invalid, total = f"{counts[True]:,}", f"{counts.total():,}"
    if counts[True] and not counts[False]:
        raise ValueError(f"No valid rows to enrich, {invalid} invalid. The first: {first}. [{source.name}]")
    if counts[True]:
        log.warning("Skipping %s of %s rows. The first: %s. [%s]", invalid, total, first, source.name)


def _checked_columns(row: dict[str, Any]) -> tuple[str, ...]:
    if not row:
        raise ValueError("has no columns")
    for column in row:
        if not isinstance(column, str) or not column.strip():
            raise ValueError(f"has an invalid column name: must be non-blank text; got {describe_value(column)}")
    return tuple(row)


def _check_row(row: dict[str, Any], columns: tuple[str, ...], product: Product, first: int = 1) -> None:
    if row.keys() != set(columns):
        raise ValueError(f"must have the same columns as row {first}: {_difference(row, columns)}")
    size = json_size(row)
    if size is None:
        column = next((name for name, value in row.items() if json_size(value) is None), "")
        raise ValueError(f"has a value that is not JSON-serializable in column {describe_value(column)}")
    if size > MAX_ROW * 2**20:
        longest = max(row, key=lambda name: json_size(row[name]) or 0)
        raise ValueError(f"is larger than {MAX_ROW} MiB: shorten column {describe_value(longest)}")
    alternatives = product.missing_fields(row)
    if alternatives:
        raise ValueError(f"is missing {' or '.join(alternatives)}, required by {product.name}")


def _difference(row: dict[str, Any], columns: tuple[str, ...]) -> str:
    missing = [describe_value(name) for name in columns if name not in row]
    added = [describe_value(name) for name in row if name not in columns]
    parts = (("missing", missing), ("unexpected", added))
    return "; ".join(f"{word} {', '.join(names)}" for word, names in parts if names)
