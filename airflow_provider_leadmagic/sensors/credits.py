"""A sensor that holds a DAG until the LeadMagic balance is sufficient."""

from __future__ import annotations

import math
import time
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow_provider_leadmagic.api.validation import as_seconds, check_choice, check_flag, check_seconds, parse_credits
from airflow_provider_leadmagic.compat import deferral
from airflow_provider_leadmagic.compat.imports import (
    AirflowRescheduleException,
    AirflowSensorTimeout,
    AirflowSkipException,
    BaseSensorOperator,
    PokeReturnValue,
    conf,
)
from airflow_provider_leadmagic.compat.task_state import can_claim, first_reschedule
from airflow_provider_leadmagic.decisions.events import is_wake, report_from, seen_from
from airflow_provider_leadmagic.decisions.gate import (
    format_seconds,
    is_sufficient,
    requested_wait,
    tolerate_failed_poll,
    warn_about_short_interval,
)
from airflow_provider_leadmagic.exceptions import LeadMagicError
from airflow_provider_leadmagic.links import CREDITS_LINKS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from decimal import Decimal

    from airflow_provider_leadmagic.api.models import CreditBalance
    from airflow_provider_leadmagic.compat.imports import Context
    from airflow_provider_leadmagic.decisions.claims import Seen, Standing
    from airflow_provider_leadmagic.triggers.credits import BalanceTrigger

#: The sensor waits for less than an interval in two cases: with ``claim_pool``, if the decision about the claim can
#: change earlier, for example because an ended claim stops counting; and in reschedule mode, if the timeout comes
#: earlier. Even then it waits for at least these seconds, or ``poke_interval`` if that is shorter.
SHORTEST_WAIT = 5.0


class NextPoll(NamedTuple):
    """
    When a sensor polls next.

    :param wait: Seconds until then.
    :param requested_wait: The part of ``wait`` that LeadMagic requested with ``Retry-After``; 0 for none.
    :param time_left: Seconds until the sensor times out.
    """

    wait: float = 0.0
    requested_wait: float = 0.0
    time_left: float = math.inf

    @property
    def is_too_late(self) -> bool:
        """Whether the sensor times out before the next poll."""
        return self.wait >= self.time_left


class SufficientCreditsSensor(BaseSensorOperator):
    """
    Wait until the spendable LeadMagic balance reaches a threshold.

    The outcome of an attempt is the same in the modes poke, reschedule and deferrable, except that a deferred sensor
    keeps waiting if the connection is missing or invalid. In reschedule mode all attempts share one timeout. The return
    value is the report of the sufficient balance (see
    :meth:`~airflow_provider_leadmagic.api.models.CreditBalance.report`). If the first balance is sufficient, the
    sensor succeeds without deferring, after one request to LeadMagic (two with ``refresh``).

    After a transient error (429, 5xx, no connection, an unreadable body) the sensor keeps waiting, however often it
    occurs. After a permanent error (an invalid key, a missing permission, a redirect, a balance that is not a number)
    it fails at once, even with ``soft_fail``.

    :param minimum_credits: Credits that must be spendable (``>=``): a number or a numeric string. Templated; can be
        the output of another task.
    :param leadmagic_conn_id: Connection to use, ``leadmagic_default`` by default. Templated.
    :param refresh: Whether LeadMagic re-reads the balance from its database before each poll. Off by default.
    :param deferrable: Whether to wait in the triggerer. The default is ``[operators] default_deferrable``.
    :param mode: ``reschedule`` (default) or ``poke``; ignored if deferrable.
    :param poke_interval: Time between two polls as a timedelta or in seconds; 300 s by default. A failed
        request is not repeated before the next poll.
    :param claim_pool: Name of an Airflow pool with one slot, in which the sensor runs. The sensor claims the credits,
        so that other tasks with the same ``claim_pool`` cannot count on them. By default it claims nothing.
    :param release_after: IDs of the downstream tasks that spend the credits: the claim ends when all of them have
        finished. By default it ends with the run.
    :param claim_settle: Seconds, or timedelta, for which a claim still counts after its end was seen; 60 by default.
    :param kwargs: Arguments of ``BaseSensorOperator``: ``timeout`` (seconds), ``soft_fail``, ``never_fail`` and so on.
        ``exponential_backoff`` and ``max_wait`` are ignored if deferrable, ``silent_fail`` always.
    :raises LeadMagicError: If a poll fails with a permanent error.
    :raises ClaimsError: If the claims are invalid, Airflow does not permit reading or writing them, the pool does not
        have exactly one slot, or Airflow no longer runs this attempt.
    :raises AirflowSensorTimeout: If no poll before ``timeout`` finds enough credits.
    :raises ValueError: If an argument is invalid; the message names it.
    """

    template_fields: Sequence[str] = ("leadmagic_conn_id", "minimum_credits")
    operator_extra_links = CREDITS_LINKS
    ui_color = "#e8f4ea"

    def __init__(
        self,
        *,
        minimum_credits: Decimal | float | str,
        leadmagic_conn_id: str = "leadmagic_default",
        refresh: bool = False,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        mode: str = "reschedule",
        poke_interval: timedelta | float = 300,
        claim_pool: str | None = None,
        release_after: Sequence[str] | None = None,
        claim_settle: timedelta | float = 60,
        **kwargs: Any,
    ) -> None:
        check_flag("refresh", refresh)
        check_flag("deferrable", deferrable)
        check_choice("mode", mode, ("poke", "reschedule"))
        check_seconds("poke_interval", poke_interval, above_zero=True)
        if kwargs.get("timeout") is not None:
            check_seconds("timeout", kwargs["timeout"])
        if claim_pool is not None or release_after is not None:
            from airflow_provider_leadmagic.claims.pool import check_claim_arguments

            check_claim_arguments(claim_pool, claim_settle, kwargs, release_after)
            if mode == "poke" and not deferrable:
                problem = "the sensor would hold the pool's only slot while it waits"
                raise ValueError(f"mode must not be 'poke' with claim_pool: {problem}")
        super().__init__(mode=mode, poke_interval=poke_interval, **kwargs)
        self.minimum_credits = minimum_credits
        self.leadmagic_conn_id = leadmagic_conn_id
        self.refresh = refresh
        self.deferrable = deferrable
        self.claim_pool = claim_pool
        self.release_after = release_after
        self.claim_settle = claim_settle
        self._seen: Seen | None = None
        self._failed_polls = 0
        self._poke_count = 0
        self._started_at: datetime | float | None = None
        self._next_poll = NextPoll()

    def execute(self, context: Context) -> Any:
        """Poll, and wait in the chosen mode while the balance is insufficient."""
        self._warn_about_ignored_settings()
        with self._skip_if_never_fail():
            if self.deferrable:
                if self.claim_pool is not None:  # it may defer several times, within one timeout
                    self._started_at = datetime.now(UTC)
                return self._poke_and_defer(context)
            self._start_clock(context)
            return super().execute(context)

    def poke(self, context: Context) -> PokeReturnValue:
        """Poll once, unless the timeout is reached."""
        if self._is_time_up():
            raise self._timed_out()
        minimum = parse_credits("minimum_credits", self.minimum_credits)
        self._poke_count += 1
        try:
            balance, standing, changes_in = self._read(context, minimum)
        except LeadMagicError as error:
            self._failed_polls += 1
            next_poll_in = self._plan_next_poll(requested_wait=requested_wait(error)) if error.transient else None
            tolerate_failed_poll(self.log, error, self._failed_polls, next_poll_in)
            return self._poke_result(is_done=False)
        self._failed_polls = 0
        is_granted = standing.is_granted if standing else balance.covers(minimum)
        next_poll_in = None if is_granted else self._plan_next_poll(changes_in=changes_in)
        is_done = is_sufficient(self.log, balance, minimum, self.leadmagic_conn_id, next_poll_in, standing)
        return self._poke_result(is_done, {**balance.report(minimum), **(standing.report() if standing else {})})

    def execute_complete(self, context: Context, event: Any = None, deadline: float = 0.0) -> dict[str, Any]:
        """
        Return the report of the event that the trigger sent, or raise its error. With a claim, poll again.

        :param context: Context of the task.
        :param event: Payload of the trigger's event.
        :param deadline: Unix time of the timeout; 0 for a full timeout from now on.
        """
        if self.claim_pool is None and not is_wake(event):
            return report_from(event)
        self._seen = seen_from(event)
        self._started_at = datetime.fromtimestamp(deadline - self.timeout if deadline else time.time(), UTC)
        if self._elapsed() >= self.timeout:
            raise self._timed_out()
        report: dict[str, Any] = self._poke_and_defer(context)
        return report

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Continue after a deferral. If it timed out, raise what a sensor raises at its timeout."""
        with self._skip_if_never_fail():
            if next_method == deferral.FAILED:
                raise self._failed_deferral(next_kwargs or {})
            return super().resume_execution(next_method, next_kwargs, context)

    def _failed_deferral(self, failure: dict[str, Any]) -> Exception:
        return self._timed_out() if deferral.is_timeout(failure) else deferral.trigger_error(self.log, failure)

    def _timed_out(self) -> Exception:
        required = f"{self.minimum_credits} spendable credits on connection {self.leadmagic_conn_id!r}"
        message = f"Timed out after {format_seconds(self.timeout)} s: no poll found {required}."
        return AirflowSkipException(message) if self.soft_fail else AirflowSensorTimeout(message)

    def _start_clock(self, context: Context) -> None:
        if not self.reschedule:
            self._started_at = time.monotonic()
            return
        first_poke = first_reschedule(context["ti"], self.retries or 0, context)
        self._started_at = first_poke or datetime.now(UTC)
        # The base class would poke once more after the deadline, and might succeed.
        if first_poke is not None and self._elapsed() >= self.timeout:
            raise self._timed_out()

    def _elapsed(self) -> float:
        if self._started_at is None:
            return 0.0
        if isinstance(self._started_at, datetime):
            return (datetime.now(UTC) - self._started_at).total_seconds()
        return time.monotonic() - self._started_at

    def _read(self, context: Context, minimum: Decimal) -> tuple[CreditBalance, Standing | None, float]:
        """Read the balance, and decide about the claim. The last value is the seconds until the decision changes."""
        if self.claim_pool is None:
            return self._read_balance(), None, math.inf
        if not can_claim(context):
            self.log.warning("No credits claimed: this test run does not record tasks as running, which a claim needs.")
            return self._read_balance(), None, math.inf
        from airflow_provider_leadmagic.claims.admission import decide
        from airflow_provider_leadmagic.claims.pool import ClaimSettings, new_claim
        from airflow_provider_leadmagic.decisions.claims import NOTHING_SEEN

        settings = ClaimSettings(
            self.claim_pool, as_seconds(self.claim_settle), self.poke_interval, self.release_after or ()
        )
        claim = new_claim(self, context["ti"], settings, minimum)
        decision = decide(self.claim_pool, claim, self._read_balance, self._seen or NOTHING_SEEN)
        return decision.balance, decision.standing, decision.standings.changes_in

    def _read_balance(self) -> CreditBalance:
        # Imported here because it imports the HTTP client, which DAG parsing does not need.
        from airflow_provider_leadmagic.hooks.leadmagic import LeadMagicHook

        return LeadMagicHook(self.leadmagic_conn_id, max_attempts=1).get_credits(refresh=self.refresh)

    def _plan_next_poll(self, *, changes_in: float = math.inf, requested_wait: float = 0.0) -> float:
        """
        Compute and return the seconds until the next poll; ``math.inf`` if the timeout comes first.

        :param changes_in: Seconds until the result of the poll changes even if the balance does not.
        :param requested_wait: Seconds that LeadMagic requested to wait.
        """
        wait: float = self.poke_interval
        if not self.deferrable:  # where the base class applies exponential_backoff and max_wait
            wait = super()._get_next_poke_interval(self._started_at or 0.0, self._elapsed, self._poke_count)
        wait = min(wait, max(changes_in, SHORTEST_WAIT))
        time_left = max(self.timeout - self._elapsed(), 0.0)
        self._next_poll = NextPoll(max(wait, requested_wait), requested_wait, time_left)
        return math.inf if self._next_poll.is_too_late else self._next_poll.wait

    def _is_time_up(self) -> bool:
        return self._started_at is not None and self._next_poll.is_too_late

    def _poke_result(self, is_done: bool, report: dict[str, Any] | None = None) -> PokeReturnValue:
        if not is_done and self._is_time_up() and not self._next_poll.time_left:
            raise self._timed_out()  # The base class would raise the same error now, with a different message.
        return PokeReturnValue(is_done=is_done, xcom_value=report)

    def _poke_and_defer(self, context: Context) -> Any:
        result = self.poke(context)
        if result.is_done:
            return result.xcom_value
        left = self.timeout - self._elapsed()
        # Airflow stores this timeout in its database, so it survives a restart of the triggerer.
        return self.defer(
            trigger=self._trigger(context["ti"]),
            method_name="execute_complete",
            kwargs=None if self.claim_pool is None else {"deadline": time.time() + left},
            timeout=timedelta(seconds=left),
        )

    def _trigger(self, ti: Any) -> BalanceTrigger:
        from airflow_provider_leadmagic.triggers.credits import SufficientCreditsTrigger

        now, requested = time.time(), self._next_poll.requested_wait
        arguments: dict[str, Any] = {
            "leadmagic_conn_id": self.leadmagic_conn_id,
            "minimum_credits": str(self.minimum_credits),
            "poke_interval": self.poke_interval,
            "refresh": self.refresh,
            "not_before": now + requested if requested else 0.0,
            # The trigger first polls one interval after this time. If the decision about the claim changes in less than
            # one interval, this time is in the past, so that the poll comes earlier.
            "waiting_since": now - max(self.poke_interval - self._next_poll.wait, 0.0),
        }
        if self.claim_pool is None:
            return SufficientCreditsTrigger(**arguments)
        from airflow_provider_leadmagic.claims.pool import key_of
        from airflow_provider_leadmagic.triggers.claims import ClaimedCreditsTrigger

        arguments |= {"claim_pool": self.claim_pool, "claimed_by": list(key_of(ti)), "deferred_at": now}
        return ClaimedCreditsTrigger(**arguments)

    def _get_next_poke_interval(self, started_at: Any, run_duration: Any, poke_count: int) -> float:
        """Return the wait that :meth:`poke` planned, shortened to end at the deadline: there is no poll after it."""
        left = self._next_poll.time_left
        if self.reschedule:
            # If the task is due again before the scheduler notices that this process ended, Airflow fails the attempt.
            left = max(left, min(self.poke_interval, SHORTEST_WAIT))
        return float(min(self._next_poll.wait, left))

    @contextmanager
    def _skip_if_never_fail(self) -> Iterator[None]:
        """Apply ``never_fail`` where Airflow does not: to the timeout, and to errors before and after a deferral."""
        try:
            yield
        except (AirflowSkipException, AirflowRescheduleException):
            raise
        except Exception as error:
            if not self.never_fail:
                raise
            raise AirflowSkipException(f"Skipped because never_fail is set: {error}") from error

    def _warn_about_ignored_settings(self) -> None:
        warn_about_short_interval(self.log, self.poke_interval)
        if self.silent_fail:
            # It would make two of the three modes keep polling with an invalid key.
            self.silent_fail = False
            advice = "transient errors are retried anyway, and permanent errors fail the task"
            self.log.warning("silent_fail is ignored: %s.", advice)
        ignored = [name for name in ("exponential_backoff", "max_wait") if getattr(self, name)]
        if self.deferrable and ignored:
            self.log.warning("%s ignored: deferrable mode polls at a fixed interval.", ", ".join(ignored))
