"""Read the LeadMagic balance in a task, and act on it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, get_args

from airflow.providers.common.compat.sdk import XCOM_RETURN_KEY, AirflowSkipException, BaseOperator, context_merge

from airflow_provider_leadmagic.arguments import check_choice, check_flag
from airflow_provider_leadmagic.exceptions import InsufficientCreditsError
from airflow_provider_leadmagic.models import format_credits, parse_credits

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from decimal import Decimal

    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_leadmagic.models import CreditBalance

OnInsufficient = Literal["fail", "skip", "continue"]


class CheckCreditsOperator(BaseOperator):
    """
    Read the LeadMagic balance once, and fail, skip or continue by it.

    Returns ``{"credits", "spendable", "is_frozen", "freeze_message", "observed_at", "minimum_credits", "sufficient"}``
    as XCom, also when the task then fails or is skipped.

    :param minimum_credits: Credits that must be spendable, compared by ``>=``. Without it the balance is only read.
        Templated; may be the output of another task.
    :param warn_below: Write a warning and call ``on_low_credits`` when fewer credits can be spent. Templated.
    :param on_low_credits: A callable, a notifier, or a list of them, each called with the task's context, in which
        ``leadmagic_credits`` is what this task returns. One that fails is logged and does not fail the task.
    :param on_insufficient: What to do below ``minimum_credits``: ``fail`` (default), ``skip``, or ``continue``.
    :param leadmagic_conn_id: The connection, ``leadmagic_default`` by default. Templated.
    :param refresh: Have LeadMagic re-read the balance from its database first. Off by default.
    :raises InsufficientCreditsError: Below ``minimum_credits``, unless told to skip or continue.
    :raises LeadMagicError: If LeadMagic refuses or does not answer.
    :raises ValueError: If an argument makes no sense; the message names it.
    """

    template_fields: Sequence[str] = ("leadmagic_conn_id", "minimum_credits", "warn_below")
    ui_color = "#e8f4ea"

    def __init__(
        self,
        *,
        minimum_credits: Decimal | float | str | None = None,
        warn_below: Decimal | float | str | None = None,
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
        self.on_low_credits = on_low_credits
        self.on_insufficient = on_insufficient
        self.leadmagic_conn_id = leadmagic_conn_id
        self.refresh = refresh

    def execute(self, context: Context) -> dict[str, Any]:
        """Read the balance, warn where it is low, and decide."""
        minimum = _optional_credits("minimum_credits", self.minimum_credits)
        warn_below = _optional_credits("warn_below", self.warn_below)
        balance = self._read_balance()
        report = balance.report(minimum)
        self.log.info("Connection %r can spend %s credits.", self.leadmagic_conn_id, format_credits(balance.spendable))
        if warn_below is not None and not balance.covers(warn_below):
            self._warn(context, balance, warn_below, report)
        if minimum is not None and not balance.covers(minimum):
            self._refuse(context, balance, minimum, report)
        return report

    def _read_balance(self) -> CreditBalance:
        # Imported here because it brings the HTTP client, which no DAG file needs in order to be parsed.
        from airflow_provider_leadmagic.hooks.leadmagic import LeadMagicHook

        return LeadMagicHook(self.leadmagic_conn_id).read_balance(refresh=self.refresh)

    def _warn(self, context: Context, balance: CreditBalance, warn_below: Decimal, report: dict[str, Any]) -> None:
        self.log.warning(
            "LeadMagic credits are low: connection %r can spend %s, and warn_below is %s. Top up soon.",
            self.leadmagic_conn_id,
            format_credits(balance.spendable),
            format_credits(warn_below),
        )
        context_merge(context, {"leadmagic_credits": report})
        for callback in _as_list(self.on_low_credits):
            try:
                callback(context)
            except Exception:
                # The check is worth more than its messenger: a Slack outage must not stop the night's run.
                self.log.exception("on_low_credits %r failed; the check goes on.", _name_of(callback))

    def _refuse(self, context: Context, balance: CreditBalance, minimum: Decimal, report: dict[str, Any]) -> None:
        needed, spendable = format_credits(minimum), format_credits(balance.spendable)
        message = f"Connection {self.leadmagic_conn_id!r} can spend {spendable} credits, {needed} are needed."
        if self.on_insufficient == "continue":
            self.log.warning("%s Continuing, as on_insufficient says.", message)
            return
        if self.do_xcom_push:  # a task that raises returns nothing, and whoever looks into it wants the numbers
            context["ti"].xcom_push(key=XCOM_RETURN_KEY, value=report)
        if self.on_insufficient == "skip":
            raise AirflowSkipException(message)
        raise InsufficientCreditsError(message, required=minimum, available=balance.spendable)


def _optional_credits(argument: str, value: object) -> Decimal | None:
    return None if value is None else parse_credits(argument, value)


def _as_list(callbacks: Any) -> list[Any]:
    if callbacks is None:
        return []
    return list(callbacks) if isinstance(callbacks, list | tuple) else [callbacks]


def _name_of(callback: object) -> str:
    # Not its repr: a notifier's may show what it was configured with.
    return getattr(callback, "__name__", type(callback).__name__)
