"""A line drawn through the balance, and what counts as crossing it."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from airflow_provider_leadmagic.api.text import describe_value, format_credits, json_number, redact
from airflow_provider_leadmagic.api.validation import check_choice, parse_credits

if TYPE_CHECKING:
    from airflow_provider_leadmagic.api.models import CreditBalance
    from airflow_provider_leadmagic.compat.imports import Log
    from airflow_provider_leadmagic.exceptions import LeadMagicError

Direction = Literal["rises_to", "falls_below"]

#: How far back a balance must go before a second crossing counts, where nobody said: this part of the line.
DEFAULT_HYSTERESIS = Decimal("0.1")


class CrossingVerdict(NamedTuple):
    """
    What a balance means for a crossing.

    :param is_armed: Whether the next crossing counts.
    :param crosses: Whether this was one.
    """

    is_armed: bool
    crosses: bool


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
                f"minimum_credits must be above 0, or nothing could cross it; got {describe_value(minimum_credits)}"
            )
        back = line * DEFAULT_HYSTERESIS if hysteresis is None else parse_credits("hysteresis", hysteresis)
        if direction == "rises_to" and back > line:
            problem = "hysteresis must not be above minimum_credits, as no balance falls further than to 0"
            raise ValueError(f"{problem}; got {describe_value(hysteresis)} and {describe_value(minimum_credits)}")
        return cls("rises_to" if direction == "rises_to" else "falls_below", line, back)

    def judge(self, was_armed: bool | None, balance: CreditBalance) -> CrossingVerdict:
        """
        Tell whether a balance has crossed the line.

        :param was_armed: Whether a crossing would have counted before; None if nothing is known of before.
        :param balance: What is seen now.
        """
        is_across = balance.covers(self.minimum_credits) == (self.direction == "rises_to")
        if was_armed is None:
            return CrossingVerdict(is_armed=not is_across, crosses=False)
        if was_armed:
            return CrossingVerdict(is_armed=not is_across, crosses=is_across)
        is_back = not is_across and self._distance(balance) >= self.hysteresis
        return CrossingVerdict(is_armed=is_back, crosses=False)

    def _distance(self, balance: CreditBalance) -> Decimal:
        return abs(balance.spendable - self.minimum_credits)


def crossing_event(balance: CreditBalance, crossing: Crossing, conn_id: str) -> dict[str, Any]:
    """
    Build the payload of the event: what a gate returns, and what was crossed.

    :param balance: What was seen.
    :param crossing: The line.
    :param conn_id: Connection the balance belongs to.
    """
    return {
        **balance.report(crossing.minimum_credits),
        "direction": crossing.direction,
        "hysteresis": json_number(crossing.hysteresis),
        "leadmagic_conn_id": conn_id,
    }


def log_change(log: Log, state: str, balance: CreditBalance, crossing: Crossing, conn_id: str) -> None:
    """
    Say in one log line that a watcher has fired, or may fire from now on.

    :param log: Logger of the trigger.
    :param state: What has become of it.
    :param balance: What was seen.
    :param crossing: The line.
    :param conn_id: Connection the balance belongs to.
    """
    log.info(
        "Watcher of connection %r, %s %s credits: %s. It can spend %s credits.",
        conn_id,
        crossing.direction,
        format_credits(crossing.minimum_credits),
        state,
        format_credits(balance.spendable),
    )


def log_failed_poll(log: Log, error: LeadMagicError, failures: int, conn_id: str) -> None:
    """
    Say that watchers see nothing: loudly, if somebody has to do something about it.

    :param log: Logger of the trigger.
    :param error: Why there is no balance.
    :param failures: How many looks have failed in a row, this one included.
    :param conn_id: Connection the balance belongs to.
    """
    tell = log.warning if error.transient else log.error
    advice = "" if error.transient else " Somebody has to mend this; the watchers then go on by themselves."
    problem = "Watchers of connection %r see no balance, failed look %d in a row. %s.%s"
    tell(problem, conn_id, failures, str(error).rstrip("."), advice)


def log_lost_state(log: Log, error: Exception, conn_id: str) -> None:
    """
    Say that a watcher could not ask Airflow, or tell it, on which side of its line the balance is.

    :param log: Logger of the trigger.
    :param error: What Airflow raised.
    :param conn_id: Connection the balance belongs to.
    """
    problem = (
        "A watcher of connection %r cannot reach the state that Airflow keeps for it; the next look tries again. %s: %s"
    )
    log.warning(problem, conn_id, type(error).__name__, redact(str(error)))
