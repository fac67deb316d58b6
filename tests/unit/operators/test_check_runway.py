"""Tests of CheckCreditsOperator with ``minimum_runway_days``."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_leadmagic.compat.imports import AirflowSkipException, BaseOperator
from airflow_provider_leadmagic.exceptions import (
    InsufficientCreditsError,
    LeadMagicNotFoundError,
    LeadMagicResponseError,
)
from airflow_provider_leadmagic.operators.credits import CheckCreditsOperator
from tests.support.airflow_names import DAG
from tests.support.sandbox_requests import paths
from tests.support.sensor_runner import TaskInstance

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_leadmagic.sandbox.sandbox import Sandbox

USAGE, CREDITS, REFRESH = "/v1/analytics/credits", "/v1/credits", "/v1/credits/refresh"
KEYS_WITHOUT_RUNWAY = {
    "credits",
    "spendable",
    "is_frozen",
    "freeze_message",
    "observed_at",
    "minimum_credits",
    "sufficient",
}


class Upstream(TaskInstance):
    """A task instance whose upstream tasks all returned the same value."""

    def __init__(self, task: Any, returned: Any) -> None:
        super().__init__()
        self.task = task
        self.returned = returned

    def xcom_pull(self, **_: Any) -> Any:
        return self.returned

    def get_relevant_upstream_map_indexes(self, *_: Any, **__: Any) -> None:
        return None


@pytest.fixture
def account(leadmagic_sandbox: Sandbox) -> Sandbox:
    """Return an account whose 1,000 credits last five days: it spent 200 a day on average over the last seven days."""
    leadmagic_sandbox.record_spending("email_finder", 1400)
    return leadmagic_sandbox


def check(context: dict[str, Any] | None = None, **arguments: Any) -> Any:
    operator = CheckCreditsOperator(task_id="check", **arguments)
    return operator.execute({"ti": TaskInstance()} if context is None else context)


def test_xcom_contains_the_runway(account: Sandbox) -> None:
    report = check(minimum_runway_days=5)

    assert set(report) == KEYS_WITHOUT_RUNWAY | {"minimum_runway_days", "runway_days", "runs_out_at", "daily_credits"}
    runway = datetime.fromisoformat(report["runs_out_at"]) - datetime.fromisoformat(report["observed_at"])
    assert runway == timedelta(days=5)
    assert datetime.fromisoformat(report["runs_out_at"]).tzinfo == UTC
    assert (report["runway_days"], report["daily_credits"], report["minimum_runway_days"]) == (5, 200, 5)
    assert (report["credits"], report["minimum_credits"], report["sufficient"]) == (1000, None, True)


def test_runway_is_unlimited_if_nothing_was_spent(leadmagic_sandbox: Sandbox) -> None:
    report = check(minimum_runway_days=365)

    assert (report["runway_days"], report["runs_out_at"], report["daily_credits"]) == (None, None, 0)
    assert report["sufficient"] is True


@pytest.mark.parametrize("frozen", [False, True], ids=["empty", "frozen"])
def test_runway_of_an_empty_account_is_zero_although_it_spends_nothing(
    leadmagic_sandbox: Sandbox, frozen: bool
) -> None:
    leadmagic_sandbox.freeze() if frozen else leadmagic_sandbox.set_credits(0)

    report = check(minimum_runway_days=1, on_insufficient="continue")

    assert (report["runway_days"], report["sufficient"]) == (0, False)


def test_without_minimum_runway_days_the_usage_is_not_requested(account: Sandbox) -> None:
    report = check(minimum_credits=5, warn_below=50)

    assert set(report) == KEYS_WITHOUT_RUNWAY
    assert paths(account) == [CREDITS]


@pytest.mark.parametrize(("refresh", "requests"), [(False, [CREDITS, USAGE]), (True, [REFRESH, CREDITS, USAGE])])
def test_minimum_runway_days_takes_one_more_request(account: Sandbox, refresh: bool, requests: list[str]) -> None:
    check(minimum_runway_days=5, refresh=refresh)

    assert paths(account) == requests


@pytest.mark.parametrize(
    ("minimum_credits", "minimum_runway_days", "sufficient"),
    [(1000, 5, True), (1001, 5, False), (1000, 5.1, False), (1001, 5.1, False), (None, 5.1, False), (None, 0, True)],
)
def test_sufficient_covers_both_minimums(
    account: Sandbox, minimum_credits: int | None, minimum_runway_days: float, sufficient: bool
) -> None:
    report = check(minimum_credits=minimum_credits, minimum_runway_days=minimum_runway_days, on_insufficient="continue")

    assert report["sufficient"] is sufficient


def test_short_runway_fails_the_task_with_the_required_credits(account: Sandbox) -> None:
    task_instance = TaskInstance()

    with pytest.raises(InsufficientCreditsError) as error:
        check({"ti": task_instance}, minimum_runway_days=7)

    report = task_instance.pushed["return_value"]
    assert str(error.value) == (
        "Credits last 5.0 days, minimum_runway_days is 7: 1,000 spendable at 200 credits a day "
        "(average of the last 7 days) on connection 'leadmagic_default', used up by "
        f"{datetime.fromisoformat(report['runs_out_at']):%Y-%m-%d %H:%M} UTC."
    )
    assert (error.value.required, error.value.available) == (1400, 1000)
    assert (report["runway_days"], report["sufficient"]) == (5, False)


def test_required_credits_satisfy_the_higher_minimum(account: Sandbox) -> None:
    with pytest.raises(InsufficientCreditsError) as error:
        check(minimum_credits=5000, minimum_runway_days=7)

    assert error.value.required == Decimal(5000)


def test_message_names_both_shortfalls(account: Sandbox) -> None:
    with pytest.raises(InsufficientCreditsError) as error:
        check(minimum_credits=2000, minimum_runway_days=7)

    assert str(error.value).startswith(
        "Not enough credits: 1,000 spendable, 2,000 required on connection 'leadmagic_default'. "
        "Credits last 5.0 days, minimum_runway_days is 7: 1,000 spendable at 200 credits a day "
    )


def test_short_runway_skips_the_task_with_on_insufficient_skip(account: Sandbox) -> None:
    task_instance = TaskInstance()

    with pytest.raises(AirflowSkipException, match=r"^Credits last 5\.0 days, minimum_runway_days is 7: .* UTC\.$"):
        check({"ti": task_instance}, minimum_runway_days=7, on_insufficient="skip")

    assert task_instance.pushed["return_value"]["runway_days"] == 5


def test_short_runway_is_logged_once_with_on_insufficient_continue(account: Sandbox, logged: Callable[[], str]) -> None:
    assert check(minimum_runway_days=7, on_insufficient="continue")["sufficient"] is False

    [line] = [line for line in logged().splitlines() if "Credits last " in line]
    assert (
        "Credits last 5.0 days, minimum_runway_days is 7: 1,000 spendable at 200 credits a day "
        "(average of the last 7 days)" in line
    )
    assert " UTC. Continuing because on_insufficient is 'continue'." in line
    assert "warning" in line.lower()


@pytest.mark.parametrize("on_insufficient", ["fail", "skip"])
def test_short_runway_that_ends_the_task_is_reported_by_its_exception_only(
    account: Sandbox, logged: Callable[[], str], on_insufficient: Any
) -> None:
    with pytest.raises((InsufficientCreditsError, AirflowSkipException), match=r"^Credits last 5\.0 days, "):
        check(minimum_runway_days=7, on_insufficient=on_insufficient)

    assert "Credits last " not in logged()


def test_sufficient_runway_logs_no_warning(account: Sandbox, logged: Callable[[], str]) -> None:
    notifications: list[Any] = []

    check(minimum_runway_days=5, on_low_credits=notifications.append)

    output = logged()
    assert (output.count("Credits low"), output.count("Credits last")) == (0, 0)
    assert notifications == []


@pytest.mark.parametrize("on_insufficient", ["fail", "skip", "continue"])
def test_short_runway_calls_on_low_credits_with_the_runway(account: Sandbox, on_insufficient: Any) -> None:
    notifications: list[Any] = []
    context = {"ti": TaskInstance(), "ds": "2026-01-01"}

    try:
        check(context, minimum_runway_days=7, on_low_credits=notifications.append, on_insufficient=on_insufficient)
    except (InsufficientCreditsError, AirflowSkipException):
        assert on_insufficient != "continue"

    [notification] = notifications
    assert notification["ds"] == "2026-01-01"
    assert (notification["leadmagic_credits"]["runway_days"], notification["leadmagic_credits"]["sufficient"]) == (
        5,
        False,
    )


def test_on_low_credits_is_called_once_for_low_credits_and_short_runway(
    account: Sandbox, logged: Callable[[], str]
) -> None:
    notifications: list[Any] = []

    check(warn_below=2000, minimum_runway_days=7, on_low_credits=notifications.append, on_insufficient="continue")

    assert len(notifications) == 1
    output = logged()
    assert (output.count("Credits low: "), output.count("Credits last ")) == (1, 1)


@pytest.mark.parametrize("value", [5, 5.0, "5", " 5.00 ", "5e0", Decimal("4.95")])
def test_minimum_runway_days_may_be_any_number_type(account: Sandbox, value: Any) -> None:
    assert check(minimum_runway_days=value)["sufficient"] is True


def test_minimum_runway_days_may_be_a_template(account: Sandbox) -> None:
    operator = CheckCreditsOperator(task_id="check", minimum_runway_days="{{ days }}")
    operator.render_template_fields({"days": 5})

    assert operator.execute({"ti": TaskInstance()})["minimum_runway_days"] == 5


def test_minimum_runway_days_may_be_the_output_of_another_task(account: Sandbox) -> None:
    with DAG("runway", schedule=None):
        estimate = BaseOperator(task_id="estimate")
        operator = CheckCreditsOperator(task_id="check", minimum_runway_days=estimate.output)
    context = {"ti": Upstream(operator, 4.5), "expanded_ti_count": None}
    operator.render_template_fields(context)

    assert operator.upstream_task_ids == {"estimate"}
    assert operator.execute(context)["minimum_runway_days"] == 4.5


@pytest.mark.parametrize("value", ["soon", "", True, float("nan"), float("inf"), -1, "-0.5", [5], {}], ids=repr)
def test_invalid_minimum_runway_days_is_rejected_before_any_request(leadmagic_sandbox: Sandbox, value: Any) -> None:
    with pytest.raises(ValueError, match=r"^minimum_runway_days must be a number of days, 0 or more; got ") as error:
        check(minimum_runway_days=value)

    assert str(error.value).endswith(repr(value))
    assert leadmagic_sandbox.requests == []


@pytest.mark.parametrize("on_insufficient", ["fail", "skip", "continue"])
def test_missing_analytics_endpoint_fails_the_task(leadmagic_sandbox: Sandbox, on_insufficient: Any) -> None:
    leadmagic_sandbox.fail_next(USAGE, status=404)
    request = (
        r"check the host of connection 'leadmagic_default'\. .* \[GET \S+/v1/analytics/credits\?days=7, request id "
    )

    with pytest.raises(LeadMagicNotFoundError, match=request):
        check(minimum_runway_days=7, on_insufficient=on_insufficient)


def test_malformed_usage_fails_the_task(leadmagic_sandbox: Sandbox) -> None:
    leadmagic_sandbox.fail_next(USAGE, body="{}")

    with pytest.raises(LeadMagicResponseError, match=r"`summary\.total_credits` is not a finite number"):
        check(minimum_runway_days=7, on_insufficient="continue")
