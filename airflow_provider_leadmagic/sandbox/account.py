"""The account that the API serves: its balance, its API key, and the ledger of its lookups."""

from __future__ import annotations

import secrets
import threading
import time
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation

DEFAULT_CREDITS = 1000
DEFAULT_API_KEY = "sandbox-key-for-tests"
DEFAULT_FREEZE_MESSAGE = "Your credits are frozen. Contact support to release them."

Amount = Decimal | int | float | str


class InsufficientCreditsError(Exception):
    """The spendable credits do not cover a price."""

    def __init__(self, required: Decimal, available: Decimal) -> None:
        super().__init__(f"need {required}, have {available}")
        self.required = required
        self.available = available


@dataclass(frozen=True)
class Charge:
    """
    One entry of the ledger: a lookup and its cost.

    :param at: When it was made, in seconds since the Unix epoch.
    :param product: The product's name, for example ``email_finder``.
    :param credits: The credits charged; 0 for a miss.
    """

    at: float
    product: str
    credits: Decimal


@dataclass(frozen=True)
class Receipt:
    """
    The cost of one lookup.

    :param price: Credits per hit.
    :param consumed: Credits charged: the price for a hit, 0 for a miss.
    :param before: The balance before the charge.
    """

    price: Decimal
    consumed: Decimal
    before: Decimal


def to_credits(value: Amount) -> Decimal:
    """
    Convert a value to credits.

    :param value: A finite number, 0 or more, or its text.
    :raises ValueError: If the value is not such a number.
    """
    try:
        # str() first: Decimal(0.1) would not be exactly 0.1. A bool becomes "True", which Decimal rejects.
        amount = Decimal(str(value))
    except InvalidOperation:
        amount = Decimal("NaN")
    if not amount.is_finite() or amount < 0:
        raise ValueError(f"credits must be a finite number, 0 or more; got {value!r}")
    return amount


class Account:
    """
    A balance and its ledger. Thread-safe.

    :param balance: The initial balance in credits; :meth:`reset` restores it.
    :param api_key: The only key that the API accepts.
    :raises ValueError: If the balance is not a finite number, 0 or more.
    """

    def __init__(self, balance: Amount = DEFAULT_CREDITS, api_key: str = DEFAULT_API_KEY) -> None:
        self.api_key = api_key
        self._lock = threading.RLock()
        self._initial = to_credits(balance)
        self.reset()

    def reset(self) -> None:
        """Restore the initial balance, unfreeze the account, clear the ledger and set ``bare_body`` to ``False``."""
        with self._lock:
            self._credits = self._initial
            self._liquid: Decimal | None = None
            self._freeze_message: str | None = None
            self._charges: list[Charge] = []
            self.bare_body = False  # if true, the body of the balance has no field but ``credits``

    def accepts(self, api_key: str) -> bool:
        """Return whether a key is the key of this account, compared in constant time."""
        return secrets.compare_digest(api_key.encode(), self.api_key.encode())

    @property
    def credits(self) -> Decimal:
        """The total balance, including frozen credits."""
        return self._credits

    @property
    def spendable(self) -> Decimal:
        """The part of the balance that is not frozen."""
        with self._lock:
            return self._credits if self._liquid is None else min(self._liquid, self._credits)

    @property
    def charges(self) -> list[Charge]:
        """A copy of the ledger, oldest entry first."""
        with self._lock:
            return list(self._charges)

    def set_credits(self, amount: Amount) -> None:
        """
        Replace the balance.

        :raises ValueError: If the amount is not a finite number, 0 or more.
        """
        with self._lock:
            self._credits = to_credits(amount)

    def add_credits(self, amount: Amount) -> None:
        """
        Add to the balance.

        :raises ValueError: If the amount is not a finite number, 0 or more.
        """
        with self._lock:
            self._credits += to_credits(amount)

    def freeze(self, message: str | None = DEFAULT_FREEZE_MESSAGE, liquid: Amount = 0) -> None:
        """
        Freeze all credits, also those of later top-ups, except ``liquid``.

        :param message: The reason, returned by the API as ``credit_freeze_message``.
        :param liquid: Credits that stay spendable.
        :raises ValueError: If ``liquid`` is not a finite number, 0 or more.
        """
        with self._lock:
            self._liquid = to_credits(liquid)
            self._freeze_message = message

    def unfreeze(self) -> None:
        """Make the whole balance spendable again."""
        with self._lock:
            self._liquid = self._freeze_message = None

    def balance(self) -> dict[str, object]:
        """Build the body of ``GET /v1/credits``."""
        with self._lock:
            if self.bare_body:
                return {"credits": self._credits}
            return {
                "credits": self._credits,
                "is_frozen": self._liquid is not None,
                "credits_frozen": self._credits - self.spendable,
                "credits_liquid": self.spendable,
                "credit_freeze_message": self._freeze_message,
                "credit_freeze_plan_hint": None,
            }

    def pay(self, product: str, price: Decimal, *, found: bool, at: float | None = None) -> Receipt:
        """
        Charge one lookup and add it to the ledger. A miss is free, but the spendable credits must cover the price of a
        hit.

        :param product: The product's name in the ledger.
        :param price: Credits per hit.
        :param found: Whether the lookup is a hit.
        :param at: When it was made, in seconds since the Unix epoch; now by default.
        :raises InsufficientCreditsError: If the spendable credits do not cover the price.
        """
        with self._lock:
            if self.spendable < price:
                raise InsufficientCreditsError(price, self.spendable)
            before = self._credits
            if found:
                self._deduct(price)
            receipt = Receipt(price, before - self._credits, before)
            self.record(Charge(time.time() if at is None else at, product, receipt.consumed))
            return receipt

    def record(self, charge: Charge) -> None:
        """Add an entry to the ledger without changing the balance."""
        with self._lock:
            self._charges.append(charge)

    def _deduct(self, price: Decimal) -> None:
        if self._liquid is not None:
            self._liquid = self.spendable - price
        self._credits -= price
