"""The query parameters of lists."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_leadmagic.sandbox.errors import ApiError, validation_error

if TYPE_CHECKING:
    from fastapi import Request

# Where the contract names no end.
ENDLESS = 10**100


def whole_number(request: Request, name: str, default: int, allowed: range) -> int:
    """
    Read a parameter.

    :raises ApiError: if it is not one of the numbers allowed.
    """
    text = request.query_params.get(name, str(default))
    is_number = text.isascii() and text.isdigit() and len(text) <= len(str(ENDLESS))
    if not is_number or int(text) not in allowed:
        ends = f"from {allowed[0]} to {allowed[-1]}" if allowed.stop < ENDLESS else f"of {allowed[0]} or more"
        raise ApiError(validation_error(f"{name} must be a whole number {ends}.", name))
    return int(text)
