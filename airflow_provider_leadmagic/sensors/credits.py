"""The gate: a sensor that holds a DAG until the LeadMagic balance covers its work."""

from __future__ import annotations

import time
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow_provider_leadmagic.api.validation import check_choice, check_flag, check_seconds, parse_credits
from airflow_provider_leadmagic.compat import deferral
from airflow_provider_leadmagic.compat.imports import (
    AirflowRescheduleException,
    AirflowSensorTimeout,
    AirflowSkipException,
    BaseSensorOperator,
    PokeReturnValue,
    conf,
)
from airflow_provider_leadmagic.compat.task_state import first_reschedule
from airflow_provider_leadmagic.decisions.events import report_from
from airflow_provider_leadmagic.decisions.gate import (
    is_sufficient,
    requested_wait,
    tolerate_failed_poll,
    warn_of_short_interval,
)
from airflow_provider_leadmagic.exceptions import LeadMagicError
from airflow_provider_leadmagic.links import CREDITS_LINKS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from decimal import Decimal

    from airflow_provider_leadmagic.api.models import CreditBalance
    from airflow_provider_leadmagic.compat.imports import Context

#: Seconds from one look of a rescheduled sensor to its end, where its deadline would have it sooner.
SHORTEST_RESCHEDULE = 5.0


class SufficientCreditsSensor(BaseSensorOperator):
    """
    Wait until the spendable LeadMagic balance reaches a threshold.

    The mode decides what waiting costs, never how it ends: poke, reschedule and deferrable have the same outcome and
    return the same value, the balance that opened the gate (see
    :meth:`~airflow_provider_leadmagic.api.models.CreditBalance.report`). A balance that suffices on the first look
    opens the gate with one request and without deferring.

    What does not answer (429, 5xx, no connection, an unreadable body) counts as "not yet", however often. What waiting
    cannot mend (a wrong key, a missing permission, a redirect, a balance that is no number) fails at once, also
    under ``soft_fail``.

    :param minimum_credits: Credits that must be spendable, compared by ``>=``: a number, or text that is one.
        Templated; may be the output of another task.
    :param leadmagic_conn_id: The connection, ``leadmagic_default`` by default. Templated.
    :param refresh: Have LeadMagic re-read the balance from its database for each look. Off by default.
    :param deferrable: Wait in the triggerer. By default what ``[operators] default_deferrable`` says.
    :param mode: ``reschedule`` by default, or ``poke``; without meaning when deferrable.
    :param poke_interval: Seconds, or timedelta, from one look to the next; 300 by default. Each look is one request:
        there are no retries within it.
    :param kwargs: Arguments of ``BaseSensorOperator``: ``timeout`` (seconds), ``soft_fail``, ``never_fail`` and so on.
        ``exponential_backoff`` and ``max_wait`` do nothing when deferrable, ``silent_fail`` never does.
    :raises LeadMagicError: What LeadMagic refuses for good.
    :raises AirflowSensorTimeout: When ``timeout`` is reached.
    :raises ValueError: If an argument makes no sense; the message names it.
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
        **kwargs: Any,
    ) -> None:
        check_flag("refresh", refresh)
        check_flag("deferrable", deferrable)
        check_choice("mode", mode, ("poke", "reschedule"))
        check_seconds("poke_interval", poke_interval, above_zero=True)
        if kwargs.get("timeout") is not None:
            check_seconds("timeout", kwargs["timeout"])
        super().__init__(mode=mode, poke_interval=poke_interval, **kwargs)
        self.minimum_credits = minimum_credits
        self.leadmagic_conn_id = leadmagic_conn_id
        self.refresh = refresh
        self.deferrable = deferrable
        self._failed_polls = 0
        self._requested_wait = 0.0
        self._is_time_up = False

    def execute(self, context: Context) -> Any:
        """Look, and wait in the way that was chosen if that is not enough."""
        self._warn_about_ignored_settings()
        with self._never_failing():
            if self.deferrable:
                return self._poke_and_defer(context)
            if self.reschedule and self._is_past_deadline(context):
                raise self._timed_out()
            return super().execute(context)

    def poke(self, context: Context) -> PokeReturnValue:
        """Look once, unless the time is up."""
        if self._is_time_up:
            raise self._timed_out()
        minimum = parse_credits("minimum_credits", self.minimum_credits)
        self._requested_wait = 0.0
        try:
            balance = self._look()
        except LeadMagicError as error:
            self._failed_polls += 1
            tolerate_failed_poll(self.log, error, self._failed_polls)
            self._requested_wait = requested_wait(error)
            return PokeReturnValue(is_done=False)
        self._failed_polls = 0
        is_open = is_sufficient(self.log, balance, minimum, self.leadmagic_conn_id)
        return PokeReturnValue(is_done=is_open, xcom_value=balance.report(minimum))

    def execute_complete(self, context: Context, event: Any = None) -> dict[str, Any]:
        """
        Finish after the trigger fired.

        :param context: The task's context.
        :param event: What the trigger sent.
        """
        return report_from(event)

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Come back from a deferral; the end of its time is the end of the sensor's, on every Airflow."""
        with self._never_failing():
            if next_method == deferral.FAILED:
                raise self._failed_deferral(next_kwargs or {})
            return super().resume_execution(next_method, next_kwargs, context)

    def _failed_deferral(self, failure: dict[str, Any]) -> Exception:
        return self._timed_out() if deferral.is_timeout(failure) else deferral.trigger_error(self.log, failure)

    def _timed_out(self) -> Exception:
        message = f"The gate did not open in time: its timeout is {self.timeout} seconds."
        return AirflowSkipException(message) if self.soft_fail else AirflowSensorTimeout(message)

    def _is_past_deadline(self, context: Context) -> bool:
        """Tell whether a rescheduled look comes too late; the base class would look once more and might open."""
        first_poke = first_reschedule(context["ti"], self.retries or 0, context)
        return first_poke is not None and (datetime.now(UTC) - first_poke).total_seconds() >= self.timeout

    def _look(self) -> CreditBalance:
        # Imported here because it brings the HTTP client, which no DAG file needs in order to be parsed.
        from airflow_provider_leadmagic.hooks.leadmagic import LeadMagicHook

        return LeadMagicHook(self.leadmagic_conn_id, max_attempts=1).get_credits(refresh=self.refresh)

    def _poke_and_defer(self, context: Context) -> Any:
        from airflow_provider_leadmagic.triggers.credits import SufficientCreditsTrigger

        first_poke = self.poke(context)
        if first_poke.is_done:
            return first_poke.xcom_value
        now = time.time()
        trigger = SufficientCreditsTrigger(
            leadmagic_conn_id=self.leadmagic_conn_id,
            minimum_credits=str(self.minimum_credits),
            poke_interval=self.poke_interval,
            refresh=self.refresh,
            not_before=now + self._requested_wait if self._requested_wait else 0.0,
            waiting_since=now,
        )
        # Airflow keeps this deadline in its database, so it survives a restart of the triggerer.
        return self.defer(trigger=trigger, method_name="execute_complete", timeout=timedelta(seconds=self.timeout))

    def _get_next_poke_interval(self, started_at: Any, run_duration: Any, poke_count: int) -> float:
        """Wait as long as LeadMagic asked for, but not beyond the deadline, after which there is no look."""
        wait = max(super()._get_next_poke_interval(started_at, run_duration, poke_count), self._requested_wait)
        left = max(self.timeout - run_duration(), 0.0)
        self._is_time_up = wait >= left
        if self.reschedule:
            # A scheduler that has not yet seen this process end takes a task that is due again for one that was lost.
            left = max(left, min(self.poke_interval, SHORTEST_RESCHEDULE))
        return float(min(wait, left))

    @contextmanager
    def _never_failing(self) -> Iterator[None]:
        """Let ``never_fail`` cover what Airflow leaves out: the timeout, and errors before and after a deferral."""
        try:
            yield
        except (AirflowSkipException, AirflowRescheduleException):
            raise
        except Exception as error:
            if not self.never_fail:
                raise
            raise AirflowSkipException(f"Skipping because never_fail is set. {error}") from error

    def _warn_about_ignored_settings(self) -> None:
        warn_of_short_interval(self.log, self.poke_interval)
        if self.silent_fail:
            # It would have a wrong key waited out in two of the three modes; what may pass is tolerated anyway.
            self.silent_fail = False
            self.log.warning("silent_fail has no effect: what may pass is waited out, and anything else ends the gate.")
        without_effect = [name for name in ("exponential_backoff", "max_wait") if getattr(self, name)]
        if self.deferrable and without_effect:
            self.log.warning("Without effect when deferrable: %s.", ", ".join(without_effect))
