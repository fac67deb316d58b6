"""Whether a result belongs to a row: the input may have changed since it was submitted."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


def agree(row: Mapping[str, Any], given: Mapping[str, Any]) -> bool:
    """
    Tell whether two rows have the same values in the fields that both have.

    They are compared as text, because CSV knows nothing else; outer blanks and the case of letters do not matter,
    because LeadMagic may have tidied them.

    :param row: A row of the input.
    :param given: The row that LeadMagic says it got.
    """
    return all(
        name not in row or row[name] == value or _as_text(row[name]) == _as_text(value) for name, value in given.items()
    )


def _as_text(value: object) -> str:
    if isinstance(value, str):
        return value.strip().casefold()
    if value is None:
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return json.dumps(value).casefold()
