"""CheckCreditsOperator with ``minimum_runway_days``: credits that must last, one promise at a time."""

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
USUAL_KEYS = {
    "credits",
    "spendable",
    "is_frozen",
    "freeze_message",
    "observed_at",
    "minimum_credits",
    "sufficient",
}


class Upstream(TaskInstance):
    """The instance of a task whose upstream tasks have all returned the same."""

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
    """An account with 1000 credits, which last five days: 200 are spent on an average day of the last seven."""
    leadmagic_sandbox.record_spending("email_finder", 1400)
    return leadmagic_sandbox


def check(context: dict[str, Any] | None = None, **arguments: Any) -> Any:
    operator = CheckCreditsOperator(task_id="check", **arguments)
    return operator.execute({"ti": TaskInstance()} if context is None else context)


def test_it_returns_the_runway_beside_the_balance(account: Sandbox) -> None:
    report = check(minimum_runway_days=5)

    assert set(report) == USUAL_KEYS | {"minimum_runway_days", "runway_days", "runs_out_at", "daily_credits"}
    lasts = datetime.fromisoformat(report["runs_out_at"]) - datetime.fromisoformat(report["observed_at"])
    assert lasts == timedelta(days=5)
    assert datetime.fromisoformat(report["runs_out_at"]).tzinfo == UTC
    assert (report["runway_days"], report["daily_credits"], report["minimum_runway_days"]) == (5, 200, 5)
    assert (report["credits"], report["minimum_credits"], report["sufficient"]) == (1000, None, True)


def test_where_nothing_was_spent_no_end_is_in_sight(leadmagic_sandbox: Sandbox) -> None:
    report = check(minimum_runway_days=365)

    assert (report["runway_days"], report["runs_out_at"], report["daily_credits"]) == (None, None, 0)
    assert report["sufficient"] is True


@pytest.mark.parametrize("frozen", [False, True], ids=["empty", "frozen"])
def test_an_account_that_has_run_dry_does_not_last_because_it_spends_nothing(
    leadmagic_sandbox: Sandbox, frozen: bool
) -> None:
    leadmagic_sandbox.freeze() if frozen else leadmagic_sandbox.set_credits(0)

    report = check(minimum_runway_days=1, on_insufficient="continue")

    assert (report["runway_days"], report["sufficient"]) == (0, False)


def test_without_it_there_is_one_request_and_the_usual_keys(account: Sandbox) -> None:
    report = check(minimum_credits=5, warn_below=50)

    assert set(report) == USUAL_KEYS
    assert paths(account) == [CREDITS]


@pytest.mark.parametrize(("refresh", "requests"), [(False, [CREDITS, USAGE]), (True, [REFRESH, CREDITS, USAGE])])
def test_it_takes_one_request_more(account: Sandbox, refresh: bool, requests: list[str]) -> None:
    check(minimum_runway_days=5, refresh=refresh)

    assert paths(account) == requests


@pytest.mark.parametrize(
    ("minimum_credits", "minimum_runway_days", "sufficient"),
    [(1000, 5, True), (1001, 5, False), (1000, 5.1, False), (1001, 5.1, False), (None, 5.1, False), (None, 0, True)],
)
def test_the_verdict_covers_both_thresholds(
    account: Sandbox, minimum_credits: int | None, minimum_runway_days: float, sufficient: bool
) -> None:
    report = check(minimum_credits=minimum_credits, minimum_runway_days=minimum_runway_days, on_insufficient="continue")

    assert report["sufficient"] is sufficient


def test_with_too_few_days_it_fails_with_the_credits_that_would_do_and_still_leaves_the_numbers(
    account: Sandbox,
) -> None:
    task_instance = TaskInstance()

    with pytest.raises(InsufficientCreditsError) as error:
        check({"ti": task_instance}, minimum_runway_days=7)

    report = task_instance.pushed["return_value"]
    assert str(error.value) == (
        "Connection 'leadmagic_default' can spend 1,000 credits; these last 5.0 days "
        f"(until {datetime.fromisoformat(report['runs_out_at']):%Y-%m-%d %H:%M} UTC) at 200 credits a day, "
        "as in the last 7 days; minimum_runway_days is 7."
    )
    assert (error.value.required, error.value.available) == (1400, 1000)
    assert (report["runway_days"], report["sufficient"]) == (5, False)


def test_the_credits_that_would_do_are_those_for_the_dearer_threshold(account: Sandbox) -> None:
    with pytest.raises(InsufficientCreditsError) as error:
        check(minimum_credits=5000, minimum_runway_days=7)

    assert error.value.required == Decimal(5000)


def test_where_both_fall_short_both_are_told(account: Sandbox) -> None:
    with pytest.raises(InsufficientCreditsError) as error:
        check(minimum_credits=2000, minimum_runway_days=7)

    credits, _, days = str(error.value).partition("needed. ")
    assert credits == "Connection 'leadmagic_default' can spend 1,000 credits, 2,000 are "
    assert days.startswith("Connection 'leadmagic_default' can spend 1,000 credits; these last 5.0 days (until ")


def test_with_too_few_days_it_skips_if_told_so(account: Sandbox) -> None:
    task_instance = TaskInstance()

    with pytest.raises(AirflowSkipException, match=r"these last 5\.0 days .*; minimum_runway_days is 7\.$"):
        check({"ti": task_instance}, minimum_runway_days=7, on_insufficient="skip")

    assert task_instance.pushed["return_value"]["runway_days"] == 5


def test_with_too_few_days_it_continues_if_told_so(account: Sandbox, said: Callable[[], str]) -> None:
    assert check(minimum_runway_days=7, on_insufficient="continue")["sufficient"] is False
    assert "minimum_runway_days is 7. Continuing, as on_insufficient says." in said()


def test_with_too_few_days_it_writes_a_warning(account: Sandbox, said: Callable[[], str]) -> None:
    check(minimum_runway_days=7, on_insufficient="continue")

    low = (
        "LeadMagic credits are low: Connection 'leadmagic_default' can spend 1,000 credits; these last 5.0 days (until "
    )
    [line] = [line for line in said().splitlines() if low in line]
    assert "minimum_runway_days is 7. Top up soon." in line
    assert "warning" in line.lower()


def test_with_days_enough_it_warns_of_nothing(account: Sandbox, said: Callable[[], str]) -> None:
    heard: list[Any] = []

    check(minimum_runway_days=5, on_low_credits=heard.append)

    assert "credits are low" not in said()
    assert heard == []


@pytest.mark.parametrize("on_insufficient", ["fail", "skip", "continue"])
def test_with_too_few_days_it_calls_for_help_with_the_runway_in_the_context(
    account: Sandbox, on_insufficient: Any
) -> None:
    heard: list[Any] = []
    context = {"ti": TaskInstance(), "ds": "2026-01-01"}

    try:
        check(context, minimum_runway_days=7, on_low_credits=heard.append, on_insufficient=on_insufficient)
    except (InsufficientCreditsError, AirflowSkipException):
        assert on_insufficient != "continue"

    [told] = heard
    assert told["ds"] == "2026-01-01"
    assert (told["leadmagic_credits"]["runway_days"], told["leadmagic_credits"]["sufficient"]) == (5, False)


def test_it_calls_for_help_once_where_credits_and_days_are_low(account: Sandbox, said: Callable[[], str]) -> None:
    heard: list[Any] = []

    check(warn_below=2000, minimum_runway_days=7, on_low_credits=heard.append, on_insufficient="continue")

    assert len(heard) == 1
    assert said().count("LeadMagic credits are low: ") == 2


@pytest.mark.parametrize("value", [5, 5.0, "5", " 5.00 ", "5e0", Decimal("4.95")])
def test_it_may_be_any_kind_of_number(account: Sandbox, value: Any) -> None:
    assert check(minimum_runway_days=value)["sufficient"] is True


def test_it_may_be_a_template(account: Sandbox) -> None:
    operator = CheckCreditsOperator(task_id="check", minimum_runway_days="{{ days }}")
    operator.render_template_fields({"days": 5})

    assert operator.execute({"ti": TaskInstance()})["minimum_runway_days"] == 5


def test_it_may_be_the_output_of_another_task(account: Sandbox) -> None:
    with DAG("runway", schedule=None):
        estimate = BaseOperator(task_id="estimate")
        operator = CheckCreditsOperator(task_id="check", minimum_runway_days=estimate.output)
    context = {"ti": Upstream(operator, 4.5), "expanded_ti_count": None}
    operator.render_template_fields(context)

    assert operator.upstream_task_ids == {"estimate"}
    assert operator.execute(context)["minimum_runway_days"] == 4.5


@pytest.mark.parametrize("value", ["soon", "", True, float("nan"), float("inf"), -1, "-0.5", [5], {}], ids=repr)
def test_a_number_of_days_that_is_none_is_refused_before_any_request(leadmagic_sandbox: Sandbox, value: Any) -> None:
    with pytest.raises(ValueError, match=r"^minimum_runway_days must be a number of days, 0 or more; got ") as error:
        check(minimum_runway_days=value)

    assert str(error.value).endswith(repr(value))
    assert leadmagic_sandbox.requests == []


@pytest.mark.parametrize("on_insufficient", ["fail", "skip", "continue"])
def test_where_leadmagic_has_no_analytics_it_fails_and_says_what_was_asked(
    leadmagic_sandbox: Sandbox, on_insufficient: Any
) -> None:
    leadmagic_sandbox.fail_next(USAGE, status=404)
    asked = r"/v1/analytics/credits\?days=7 was answered 404: .* Check the base URL of connection 'leadmagic_default'"

    with pytest.raises(LeadMagicNotFoundError, match=asked):
        check(minimum_runway_days=7, on_insufficient=on_insufficient)


def test_a_usage_that_cannot_be_reckoned_with_fails_the_task(leadmagic_sandbox: Sandbox) -> None:
    leadmagic_sandbox.fail_next(USAGE, body="{}")

    with pytest.raises(LeadMagicResponseError, match=r"`summary\.total_credits` is not a finite number"):
        check(minimum_runway_days=7, on_insufficient="continue")
