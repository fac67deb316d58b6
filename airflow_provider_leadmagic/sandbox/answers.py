"""JSON answers."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from starlette.responses import Response

if TYPE_CHECKING:
    from decimal import Decimal


def to_number(value: Decimal) -> int | float:
    """Turn credits into a JSON number, whole where they are whole."""
    return int(value) if value == value.to_integral_value() else float(value)


class JsonAnswer(Response):
    """A JSON body in ASCII, because clients may send (and get back) text that UTF-8 cannot carry."""

    media_type = "application/json"

    def render(self, content: object) -> bytes:
        """Encode the body, decimals as numbers."""
        return json.dumps(content, default=to_number).encode()
