"""Operator that checks the LeadMagic credit balance."""

from __future__ import annotations

import asyncio
import inspect
from typing import TYPE_CHECKING, Any, Literal, get_args

from airflow_provider_leadmagic.api.text import format_credits
from airflow_provider_leadmagic.api.validation import check_choice, check_flag, parse_guard
from airflow_provider_leadmagic.compat.imports import (
    NOT_GIVEN,
    XCOM_RETURN_KEY,
    AirflowSkipException,
    BaseOperator,
    Guard,
    async_notification,
)
from airflow_provider_leadmagic.exceptions import InsufficientCreditsError
from airflow_provider_leadmagic.links import CREDITS_LINKS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from decimal import Decimal

    from airflow_provider_leadmagic.compat.imports import Context
    from airflow_provider_leadmagic.decisions.check import CreditCheck

OnInsufficient = Literal["fail", "skip", "continue"]


class CheckCreditsOperator(BaseOperator):
    """
    Read the LeadMagic balance once, and fail, skip or continue if there are too few credits.

    The XCom is ``{"credits", "spendable", "is_frozen", "freeze_message", "observed_at", "minimum_credits",
    "sufficient"}``, even if the task then fails or is skipped. With ``minimum_runway_days`` it also contains
    ``{"minimum_runway_days", "runway_days", "runs_out_at", "daily_credits"}``, and ``sufficient`` covers both minimums.

    A threshold that is given must have a value when the task runs: None from a template or another task is an error.

    :param minimum_credits: Number of credits that must be spendable. Without it, the number is not checked. Templated;
        may be the output of another task.
    :param warn_below: Log a warning and call ``on_low_credits`` if fewer credits are spendable. Templated.
    :param minimum_runway_days: Number of days the credits must last at the average spending of the last seven days. If
        they last fewer, call ``on_low_credits`` and do what ``on_insufficient`` says. Templated.
    :param on_low_credits: A callable, a notifier, or a list of them. Each is called with the task's context, in which
        ``leadmagic_credits`` is the XCom above. They may be async. An exception in one of them is logged and does not
        fail the task.
    :param on_insufficient: What to do if ``minimum_credits`` or ``minimum_runway_days`` is not reached: ``fail``
        (default), ``skip``, or ``continue``.
    :param leadmagic_conn_id: Airflow connection ID, ``leadmagic_default`` by default. Templated.
    :param refresh: If True, LeadMagic first re-reads the balance from its database. False by default.
    :raises InsufficientCreditsError: If a minimum is not reached and ``on_insufficient`` is ``fail``.
    :raises LeadMagicError: If the connection cannot be used, or a request is rejected or gets no response.
    :raises ValueError: If an argument is invalid; the message names it.
    """

    template_fields: Sequence[str] = ("leadmagic_conn_id", "minimum_credits", "warn_below", "minimum_runway_days")
    operator_extra_links = CREDITS_LINKS
    ui_color = "#e8f4ea"
    minimum_credits: Any = Guard()
    warn_below: Any = Guard()
    minimum_runway_days: Any = Guard()

    def __init__(
        self,
        *,
        minimum_credits: Decimal | float | str | None = NOT_GIVEN,
        warn_below: Decimal | float | str | None = NOT_GIVEN,
        minimum_runway_days: Decimal | float | str | None = NOT_GIVEN,
        on_low_credits: Callable[[Context], Any] | Sequence[Callable[[Context], Any]] | None = None,
        on_insufficient: OnInsufficient = "fail",
        leadmagic_conn_id: str = "leadmagic_default",
        refresh: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_flag("refresh", refresh)
        check_choice("on_insufficient", on_insufficient, get_args(OnInsufficient))
        for callback in _as_list(on_low_credits):
            if not callable(callback):  # show only its type: its value may contain a secret
                problem = "on_low_credits must be a callable, a notifier, or a list of them"
                raise ValueError(f"{problem}; got {_name_of(callback)}")
        self.minimum_credits = minimum_credits
        self.warn_below = warn_below
        self.minimum_runway_days = minimum_runway_days
        self.on_low_credits = on_low_credits
        self.on_insufficient = on_insufficient
        self.leadmagic_conn_id = leadmagic_conn_id
        self.refresh = refresh

    def execute(self, context: Context) -> dict[str, Any]:
        """Read the balance, notify if it is low, and fail, skip or continue."""
        check = self._check()
        spendable = format_credits(check.balance.spendable)
        self.log.info("%s credits spendable on connection %r.", spendable, self.leadmagic_conn_id)
        report = check.report()
        if warning := check.warning():
            self.log.warning("%s", warning)
        if check.is_low:
            self._notify(context, report)
        if shortfalls := check.shortfalls():
            self._handle_shortfall(context, check, " ".join(shortfalls), report)
        return report

    def _check(self) -> CreditCheck:
        # Imported here to keep DAG parsing fast: the hook imports the HTTP client.
        from airflow_provider_leadmagic.decisions.check import CreditCheck
        from airflow_provider_leadmagic.hooks.leadmagic import LeadMagicHook

        minimum = self._threshold("minimum_credits", "credits")
        warn_below = self._threshold("warn_below", "credits")
        days = self._threshold("minimum_runway_days", "days")
        hook = LeadMagicHook(self.leadmagic_conn_id)
        if days is None:
            balance = hook.get_credits(refresh=self.refresh)
            return CreditCheck(self.leadmagic_conn_id, balance, minimum, warn_below)
        runway = hook.credits_runway(refresh=self.refresh)
        return CreditCheck(self.leadmagic_conn_id, runway.balance, minimum, warn_below, runway, days)

    def _threshold(self, argument: str, unit: str) -> Decimal | None:
        given = getattr(CheckCreditsOperator, argument).is_given(self)
        return parse_guard(argument, getattr(self, argument), is_given=given, unit=unit)

    def _notify(self, context: Context, report: dict[str, Any]) -> None:
        # Imported here because Airflow 3.0 defines it in a module that imports database models.
        from airflow_provider_leadmagic.compat.imports import context_merge

        context_merge(context, {"leadmagic_credits": report})
        for callback in _as_list(self.on_low_credits):
            try:
                _run_callback(callback, context)
            except Exception:
                # A failed notification, such as during a Slack outage, must not stop the DAG run.
                self.log.exception("on_low_credits callback %r failed; the check continues.", _name_of(callback))

    def _handle_shortfall(self, context: Context, check: CreditCheck, message: str, report: dict[str, Any]) -> None:
        if self.on_insufficient == "continue":
            self.log.warning("%s Continuing because on_insufficient is 'continue'.", message)
            return
        if self.do_xcom_push:  # Airflow pushes no return value for a task that raises
            single_keys = report if self.multiple_outputs else {}
            for key, value in {**single_keys, XCOM_RETURN_KEY: report}.items():
                context["ti"].xcom_push(key=key, value=value)
        if self.on_insufficient == "skip":
            raise AirflowSkipException(message)
        raise InsufficientCreditsError(message, required=check.required, available=check.balance.spendable)


def _run_callback(callback: Callable[[Context], Any], context: Context) -> None:
    result = async_notification(callback, context) or callback(context)
    if inspect.isawaitable(result):
        asyncio.run(_finished(result))


async def _finished(work: Awaitable[Any]) -> None:
    await work


def _as_list(callbacks: Any) -> list[Any]:
    if callbacks is None:
        return []
    return list(callbacks) if isinstance(callbacks, list | tuple) else [callbacks]


def _name_of(callback: object) -> str:
    # Not its repr, which for a notifier may contain its configuration.
    return getattr(callback, "__name__", type(callback).__name__)
