"""Read the LeadMagic balance in a task, and act on it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, get_args

from airflow_provider_leadmagic.api.text import format_credits
from airflow_provider_leadmagic.api.validation import check_choice, check_flag, parse_amount
from airflow_provider_leadmagic.compat.imports import XCOM_RETURN_KEY, AirflowSkipException, BaseOperator, context_merge
from airflow_provider_leadmagic.exceptions import InsufficientCreditsError
from airflow_provider_leadmagic.links import CREDITS_LINKS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from decimal import Decimal

    from airflow_provider_leadmagic.compat.imports import Context
    from airflow_provider_leadmagic.decisions.check import CreditCheck

OnInsufficient = Literal["fail", "skip", "continue"]


class CheckCreditsOperator(BaseOperator):
    """
    Read the LeadMagic balance once, and fail, skip or continue by it.

    Returns ``{"credits", "spendable", "is_frozen", "freeze_message", "observed_at", "minimum_credits", "sufficient"}``
    as XCom, also when the task then fails or is skipped. With ``minimum_runway_days`` it also holds
    ``{"minimum_runway_days", "runway_days", "runs_out_at", "daily_credits"}``, and ``sufficient`` covers both.

    :param minimum_credits: Credits that must be spendable, compared by ``>=``. Without it the balance is only read.
        Templated; may be the output of another task.
    :param warn_below: Write a warning and call ``on_low_credits`` when fewer credits can be spent. Templated.
    :param minimum_runway_days: Days the credits must last at the average pace of the last seven days; with fewer, write
        a warning, call ``on_low_credits``, and do what ``on_insufficient`` says. Templated.
    :param on_low_credits: A callable, a notifier, or a list of them, each called with the task's context, in which
        ``leadmagic_credits`` is what this task returns. One that fails is logged and does not fail the task.
    :param on_insufficient: What to do below ``minimum_credits`` or ``minimum_runway_days``: ``fail`` (default),
        ``skip``, or ``continue``.
    :param leadmagic_conn_id: The connection, ``leadmagic_default`` by default. Templated.
    :param refresh: Have LeadMagic re-read the balance from its database first. Off by default.
    :raises InsufficientCreditsError: Below one of the two, unless told to skip or continue.
    :raises LeadMagicError: If LeadMagic refuses or does not response.
    :raises ValueError: If an argument makes no sense; the message names it.
    """

    template_fields: Sequence[str] = ("leadmagic_conn_id", "minimum_credits", "warn_below", "minimum_runway_days")
    operator_extra_links = CREDITS_LINKS
    ui_color = "#e8f4ea"

    def __init__(
        self,
        *,
        minimum_credits: Decimal | float | str | None = None,
        warn_below: Decimal | float | str | None = None,
        minimum_runway_days: Decimal | float | str | None = None,
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
            if not callable(callback):  # by its type only: what it holds may be a secret
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
        """Read the balance, warn where it is low, and decide."""
        check = self._check()
        spendable = format_credits(check.balance.spendable)
        self.log.info("Connection %r can spend %s credits.", self.leadmagic_conn_id, spendable)
        report = check.report()
        if warnings := check.warnings():
            self._warn(context, warnings, report)
        if shortfalls := check.shortfalls():
            self._refuse(context, check, " ".join(shortfalls), report)
        return report

    def _check(self) -> CreditCheck:
        # Imported here because no DAG file needs them in order to be parsed; the hook brings the HTTP client.
        from airflow_provider_leadmagic.decisions.check import CreditCheck
        from airflow_provider_leadmagic.hooks.leadmagic import LeadMagicHook

        minimum = _optional("minimum_credits", self.minimum_credits)
        warn_below = _optional("warn_below", self.warn_below)
        days = _optional("minimum_runway_days", self.minimum_runway_days, unit="days")
        hook = LeadMagicHook(self.leadmagic_conn_id)
        if days is None:
            balance = hook.get_credits(refresh=self.refresh)
            return CreditCheck(self.leadmagic_conn_id, balance, minimum, warn_below)
        runway = hook.credits_runway(refresh=self.refresh)
        return CreditCheck(self.leadmagic_conn_id, runway.balance, minimum, warn_below, runway, days)

    def _warn(self, context: Context, warnings: list[str], report: dict[str, Any]) -> None:
        for warning in warnings:
            self.log.warning("LeadMagic credits are low: %s Top up soon.", warning)
        context_merge(context, {"leadmagic_credits": report})
        for callback in _as_list(self.on_low_credits):
            try:
                callback(context)
            except Exception:
                # The check is worth more than its messenger: a Slack outage must not stop the night's run.
                self.log.exception("on_low_credits %r failed; the check goes on.", _name_of(callback))

    def _refuse(self, context: Context, check: CreditCheck, message: str, report: dict[str, Any]) -> None:
        if self.on_insufficient == "continue":
            self.log.warning("%s Continuing, as on_insufficient says.", message)
            return
        if self.do_xcom_push:  # a task that raises returns nothing, and whoever looks into it wants the numbers
            context["ti"].xcom_push(key=XCOM_RETURN_KEY, value=report)
        if self.on_insufficient == "skip":
            raise AirflowSkipException(message)
        raise InsufficientCreditsError(message, required=check.required, available=check.balance.spendable)


def _optional(argument: str, value: object, unit: str = "credits") -> Decimal | None:
    return None if value is None else parse_amount(argument, value, unit)


def _as_list(callbacks: Any) -> list[Any]:
    if callbacks is None:
        return []
    return list(callbacks) if isinstance(callbacks, list | tuple) else [callbacks]


def _name_of(callback: object) -> str:
    # Not its repr: a notifier's may show what it was configured with.
    return getattr(callback, "__name__", type(callback).__name__)
