"""The response to one HTTP request, read whole and not yet judged."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from airflow_provider_leadmagic.exceptions import LeadMagicResponseError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

#: Longest number that is taken for one: the largest float has 309 digits, and may be written with decimals.
MOST_DIGITS = 1000


@dataclass(frozen=True)
class Response:
    """What came back: status, headers and body, before anyone judged it."""

    call: str
    status: int
    headers: Mapping[str, str]
    text: str
    redact: Callable[[object], str | None] = field(repr=False)
    """Makes text out of it fit for a message."""

    def json(self, *, exact_numbers: bool = False) -> Any:
        """
        Parse the body.

        :param exact_numbers: Read every number as Decimal, and refuse an object that has two values for one name:
            what decides about money must not depend on which of them is read.
        :raises LeadMagicResponseError: If the body is not JSON. Transient, as it is usually a proxy's error page.
        """
        number, fields = (_exact_number, self._unambiguous) if exact_numbers else (None, None)
        try:
            return json.loads(self.text, parse_float=number, parse_int=number, object_pairs_hook=fields)
        except (ValueError, RecursionError):
            kind = self.redact(self.headers.get("Content-Type")) or "no content type"
            raise LeadMagicResponseError(
                f"{self.call} was answered {self.status} with a body that is not JSON ({kind})",
                status=self.status,
                transient=True,
            ) from None

    def _unambiguous(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        fields = dict(pairs)
        if len(fields) < len(pairs):
            raise LeadMagicResponseError(f"{self.call} was answered with JSON that has two values for one name")
        return fields

    def json_object(self) -> dict[str, Any]:
        """
        Parse the body, which has to be an object.

        :raises LeadMagicResponseError: If it is anything else.
        """
        body = self.json()
        if not isinstance(body, dict):
            raise LeadMagicResponseError(f"{self.call} was answered with JSON that is no object", status=self.status)
        return body


def _exact_number(digits: str) -> Decimal:
    # No number is as long as that, and none that is should stay in the cache.
    return _decimal(digits) if len(digits) <= MOST_DIGITS else Decimal("NaN")


@lru_cache(1024)  # a body of five million ones must not become five million objects
def _decimal(digits: str) -> Decimal:
    try:
        return Decimal(digits)
    except InvalidOperation:
        return Decimal("NaN")  # an exponent beyond all reason, which no check of ours lets pass
