"""Detect when a balance crosses a threshold, and log what a watcher does about it."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from airflow_provider_leadmagic.api.text import describe_value, format_credits, json_number, redact
from airflow_provider_leadmagic.api.validation import check_choice, parse_credits
from airflow_provider_leadmagic.decisions.gate import describe_retry

if TYPE_CHECKING:
    from airflow_provider_leadmagic.api.models import CreditBalance
    from airflow_provider_leadmagic.compat.imports import Log
    from airflow_provider_leadmagic.exceptions import LeadMagicError

Direction = Literal["rises_to", "falls_below"]

#: Default hysteresis, as a fraction of the threshold.
DEFAULT_HYSTERESIS = Decimal("0.1")


class CrossingVerdict(NamedTuple):
    """
    The result of comparing a balance with a threshold.

    :param is_armed: Whether the next crossing fires an event.
    :param crosses: Whether this balance fires an event: it crosses the threshold, and the watcher was armed.
    """

    is_armed: bool
    crosses: bool


@dataclass(frozen=True)
class Crossing:
    """
    A threshold, and the direction in which crossing it fires an event.

    :param direction: ``rises_to`` or ``falls_below``.
    :param minimum_credits: The threshold.
    :param hysteresis: Credits by which the balance must move back across the threshold before another event.
    """

    direction: Direction
    minimum_credits: Decimal
    hysteresis: Decimal

    @classmethod
    def parse(cls, direction: object, minimum_credits: object, hysteresis: object = None) -> Crossing:
        """
        Validate the arguments of a user, and build the crossing.

        :param direction: ``rises_to`` or ``falls_below``.
        :param minimum_credits: A number of credits, above 0.
        :param hysteresis: A number of credits, 0 or more; None for a tenth of the threshold.
        :raises ValueError: If an argument is invalid; the message names it.
        """
        check_choice("direction", direction, ("rises_to", "falls_below"))
        threshold = parse_credits("minimum_credits", minimum_credits)
        if not threshold:
            raise ValueError(f"minimum_credits must be above 0; got {describe_value(minimum_credits)}")
        margin = threshold * DEFAULT_HYSTERESIS if hysteresis is None else parse_credits("hysteresis", hysteresis)
        if direction == "rises_to" and margin > threshold:
            # Otherwise the balance would have to fall below 0 before the next event.
            problem = "hysteresis must not be above minimum_credits for direction rises_to"
            raise ValueError(f"{problem}; got {describe_value(hysteresis)} and {describe_value(minimum_credits)}")
        return cls("rises_to" if direction == "rises_to" else "falls_below", threshold, margin)

    def judge(self, was_armed: bool | None, balance: CreditBalance) -> CrossingVerdict:
        """
        Compare a balance with the threshold.

        :param was_armed: Whether the watcher was armed before this balance; None if unknown, as at the first reading.
        :param balance: The balance that was read.
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
    Build the payload of the event: the report that a sensor returns, and the crossing.

    :param balance: The balance that was read.
    :param crossing: The crossing that was detected.
    :param conn_id: Connection the balance belongs to.
    """
    return {
        **balance.report(crossing.minimum_credits),
        "direction": crossing.direction,
        "hysteresis": json_number(crossing.hysteresis),
        "leadmagic_conn_id": conn_id,
    }


def log_change(log: Log, verdict: CrossingVerdict, balance: CreditBalance, crossing: Crossing, conn_id: str) -> None:
    """
    Log that a watcher fired, was armed, or starts beyond its threshold.

    :param log: Logger of the trigger.
    :param verdict: The result of :meth:`Crossing.judge`.
    :param balance: The balance that was read.
    :param crossing: The crossing the watcher waits for.
    :param conn_id: Connection the balance belongs to.
    """
    rises = crossing.direction == "rises_to"
    if verdict.crosses:
        state, relation = "fired", "reached" if rises else "fell below"
    elif verdict.is_armed:
        state, relation = "armed", "are below" if rises else "are not below"
    else:
        state, relation = "not armed", "already reach" if rises else "are already below"
    log.info(
        "Watcher %s: %s spendable credits %s the threshold of %s (%s) on connection %r.",
        state,
        format_credits(balance.spendable),
        relation,
        format_credits(crossing.minimum_credits),
        crossing.direction,
        conn_id,
    )


def log_failed_poll(log: Log, error: LeadMagicError, failures: int, conn_id: str, next_poll_in: float) -> None:
    """
    Log a failed poll of watchers: as a warning if the error is transient, else as an error.

    :param log: Logger of the trigger.
    :param error: The error of the poll.
    :param failures: Number of consecutive failed polls, including this one.
    :param conn_id: Connection that was polled.
    :param next_poll_in: Seconds until the next poll.
    """
    level = log.warning if error.transient else log.error
    advice = "resume automatically" if error.transient else "resume automatically once this is fixed"
    line = "Watcher poll failed (%d in a row)%s: %s. Watchers on connection %r %s."
    level(line, failures, describe_retry(next_poll_in), str(error).rstrip("."), conn_id, advice)


def log_lost_state(log: Log, error: Exception, conn_id: str) -> None:
    """
    Log that a watcher could not read or write its state in Airflow.

    :param log: Logger of the trigger.
    :param error: The exception that Airflow raised.
    :param conn_id: Connection of the watcher.
    """
    problem = "Watcher cannot read or write Airflow's asset state store, retrying at the next poll"
    log.warning("%s: %s: %s (connection %r)", problem, type(error).__name__, redact(str(error)), conn_id)
