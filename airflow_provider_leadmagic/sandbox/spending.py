"""Spending that tests make up, to give the account a past."""

from __future__ import annotations

import time
from decimal import Decimal
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field
from pydantic.dataclasses import dataclass

from airflow_provider_leadmagic.sandbox.account import Charge, to_credits
from airflow_provider_leadmagic.sandbox.headers import DAY
from airflow_provider_leadmagic.sandbox.products import PRODUCTS


def _known_product(name: str) -> str:
    names = [product.name for product in PRODUCTS]
    if name not in names:
        raise ValueError(f"product must be one of {', '.join(names)}, not {name!r}")
    return name


Credits = Annotated[Decimal, BeforeValidator(to_credits)]


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Spending:
    """
    One lookup that was never made.

    :param product: the name of what was bought.
    :param credits: what was charged for it, 0 for a miss.
    :param days_ago: how many days ago it was.
    """

    product: Annotated[str, AfterValidator(_known_product)]
    credits: Credits
    days_ago: Annotated[int, Field(strict=True, ge=0, le=365)] = 0

    def as_charge(self) -> Charge:
        """Build the line of the ledger, at this time of that day."""
        return Charge(time.time() - self.days_ago * DAY, self.product, self.credits)
