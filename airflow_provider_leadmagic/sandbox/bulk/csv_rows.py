"""Rows that are sent as CSV text."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

from airflow_provider_leadmagic.sandbox.errors import ApiError, validation_error

if TYPE_CHECKING:
    from airflow_provider_leadmagic.sandbox.products import Row


def read_csv(text: str) -> list[Row]:
    """
    Read rows whose fields are named by the first line.

    :raises ApiError: if it is no CSV, or a line has more cells than there are names.
    """
    reader = csv.DictReader(io.StringIO(text.removeprefix("\ufeff"), newline=""), strict=True)
    try:
        # A line may end before its last cells; those are missing, not empty.
        return [{name: cell for name, cell in _named(row).items() if cell is not None} for row in reader]
    except (csv.Error, ValueError) as error:
        raise ApiError(validation_error(f"csv, line {reader.reader.line_num}: {error}.", "csv")) from error


def _named(row: dict[str | None, object]) -> dict[str, object]:
    if None in row:
        raise ValueError("more cells than the first line has names")
    return {str(name): cell for name, cell in row.items()}
