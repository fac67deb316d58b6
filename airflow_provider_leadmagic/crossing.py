"""A line drawn through the balance, and what counts as crossing it."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Literal

from airflow_provider_leadmagic.api.models import parse_credits
from airflow_provider_leadmagic.api.text import shown
from airflow_provider_leadmagic.api.validation import check_choice

if TYPE_CHECKING:
    from airflow_provider_leadmagic.api.models import CreditBalance

Direction = Literal["rises_to", "falls_below"]

#: How far back a balance must go before a second crossing counts, where nobody said: this part of the line.
DEFAULT_HYSTERESIS = Decimal("0.1")


@dataclass(frozen=True)
class Crossing:
    """
    A change of the spendable balance that is worth an event.

    :param direction: ``rises_to`` or ``falls_below``.
    :param minimum_credits: The line.
    :param hysteresis: Credits by which the balance has to go back beyond the line before a next crossing counts.
    """

    direction: Direction
    minimum_credits: Decimal
    hysteresis: Decimal

    @classmethod
    def parse(cls, direction: object, minimum_credits: object, hysteresis: object = None) -> Crossing:
        """
        Read what a user gave.

        :param direction: ``rises_to`` or ``falls_below``.
        :param minimum_credits: A number of credits, above 0.
        :param hysteresis: A number of credits, 0 or more; None for a tenth of the line.
        :raises ValueError: If one makes no sense; the message names it.
        """
        check_choice("direction", direction, ("rises_to", "falls_below"))
        line = parse_credits("minimum_credits", minimum_credits)
        if not line:
            raise ValueError(
                f"minimum_credits must be above 0, or nothing could cross it; got {shown(minimum_credits)}"
            )
        back = line * DEFAULT_HYSTERESIS if hysteresis is None else parse_credits("hysteresis", hysteresis)
        if direction == "rises_to" and back > line:
            problem = "hysteresis must not be above minimum_credits, as no balance falls further than to 0"
            raise ValueError(f"{problem}; got {shown(hysteresis)} and {shown(minimum_credits)}")
        return cls("rises_to" if direction == "rises_to" else "falls_below", line, back)

    def judge(self, was_armed: bool | None, balance: CreditBalance) -> tuple[bool, bool]:
        """
        Tell whether a balance has crossed the line.

        :param was_armed: Whether a crossing would have counted before; None if nothing is known of before.
        :param balance: What is seen now.
        :return: Whether the next crossing counts, and whether this was one.
        """
        is_across = balance.covers(self.minimum_credits) == (self.direction == "rises_to")
        if was_armed is None:
            return not is_across, False
        if was_armed:
            return not is_across, is_across
        return not is_across and self._distance(balance) >= self.hysteresis, False

    def _distance(self, balance: CreditBalance) -> Decimal:
        return abs(balance.spendable - self.minimum_credits)
