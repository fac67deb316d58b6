"""Whether a result belongs to a row: the input may have changed since it was submitted."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


def agree(row: Mapping[str, Any], given: Mapping[str, Any]) -> bool:
    """
    Tell whether two rows have the same values in the fields that both have.

    They are compared by letters and digits, and a part will do: CSV knows nothing but text, and LeadMagic may have
    tidied what it got, an address to its domain for example. Results that were paid for must not be refused for that.

    :param row: A row of the input.
    :param given: The row that LeadMagic says it got.
    """
    return all(name not in row or row[name] == value or _is_like(row[name], value) for name, value in given.items())


def _is_like(ours: object, theirs: object) -> bool:
    one, other = (re.sub(r"\W", "", _as_text(value)) for value in (ours, theirs))
    return one == other or bool(one and other and (one in other or other in one))


def _as_text(value: object) -> str:
    if isinstance(value, str):
        return value.strip().casefold()
    if value is None:
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return json.dumps(value).casefold()
