"""JSON answers, and how they write credits and moments."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from starlette.responses import Response

if TYPE_CHECKING:
    from decimal import Decimal


def to_number(value: Decimal) -> int | float:
    """Turn credits into a JSON number, whole where they are whole."""
    return int(value) if value == value.to_integral_value() else float(value)


def to_timestamp(moment: float) -> str:
    """Write a moment as the API does."""
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class JsonAnswer(Response):
    """A JSON body in ASCII, because clients may send (and get back) text that UTF-8 cannot carry."""

    media_type = "application/json"

    def render(self, content: object) -> bytes:
        """Encode the body, decimals as numbers."""
        return json.dumps(content, default=to_number).encode()
