"""One short text for all rows of an order, by which a later try knows whether they are still the same."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


class RowsDigest:
    """
    Takes in row after row.

    :param product: What they are looked up for.
    """

    def __init__(self, product: str) -> None:
        self._hash = hashlib.sha256(product.encode())

    def add(self, row: Mapping[str, Any]) -> None:
        """
        Take in the next row.

        :param row: The row; the order of its columns does not matter.
        """
        self._hash.update(json.dumps(row, sort_keys=True).encode() + b"\n")

    def text(self) -> str:
        """Tell the digest of the rows so far."""
        return self._hash.hexdigest()[:16]
