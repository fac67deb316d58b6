"""The columns of the two files, and what of a row and its result goes into each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from airflow_provider_leadmagic.bulk.row_results import SUCCESS, RowResult

if TYPE_CHECKING:
    from collections.abc import Iterator

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
