"""Tests of CheckCreditsOperator, except for ``minimum_runway_days``."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_leadmagic.compat.imports import AirflowSkipException
from airflow_provider_leadmagic.exceptions import InsufficientCreditsError, LeadMagicAuthenticationError
from airflow_provider_leadmagic.operators.credits import CheckCreditsOperator
from dev.local_airflow import AIRFLOW_SERIES
from tests.support.airflow_names import BaseNotifier
from tests.support.numbers import NumpyFloat, NumpyInteger
from tests.support.sensor_runner import TaskInstance

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_leadmagic.sandbox.sandbox import Sandbox


def check(context: dict[str, Any] | None = None, **arguments: Any) -> Any:
    operator = CheckCreditsOperator(task_id="check", **arguments)
    return operator.execute({"ti": TaskInstance()} if context is None else context)


def test_xcom_is_the_balance_and_whether_it_is_sufficient(leadmagic_sandbox: Sandbox) -> None:
    leadmagic_sandbox.set_credits("1979.15")

    report = check(minimum_credits=1000)

    observed_at = datetime.fromisoformat(report.pop("observed_at"))
    assert datetime.now(UTC) - observed_at < timedelta(seconds=10)
    assert report == {
        "credits": 1979.15,
        "spendable": 1979.15,
        "is_frozen": False,
        "freeze_message": None,
        "minimum_credits": 1000,
        "sufficient": True,
    }


def test_without_a_minimum_sufficient_is_none(leadmagic_sandbox: Sandbox) -> None:
    leadmagic_sandbox.set_credits(0)

    report = check()

    assert (report["credits"], report["minimum_credits"], report["sufficient"]) == (0, None, None)


def test_frozen_account_is_reported_with_the_reason(leadmagic_sandbox: Sandbox) -> None:
    leadmagic_sandbox.freeze("payment overdue", liquid=20)

    report = check(minimum_credits=50, on_insufficient="continue")

    assert report["is_frozen"] is True
    assert (report["spendable"], report["freeze_message"], report["sufficient"]) == (20, "payment overdue", False)


def test_check_makes_one_request(leadmagic_sandbox: Sandbox) -> None:
    check(minimum_credits=5, warn_below=50)

    assert [request.path for request in leadmagic_sandbox.requests] == ["/v1/credits"]


def test_refresh_makes_leadmagic_re_read_the_balance_first(leadmagic_sandbox: Sandbox) -> None:
    check(refresh=True)

    assert [request.path for request in leadmagic_sandbox.requests] == ["/v1/credits/refresh", "/v1/credits"]


def test_task_below_the_minimum_fails_and_still_pushes_its_xcom(leadmagic_sandbox: Sandbox) -> None:
    task_instance = TaskInstance()

    with pytest.raises(InsufficientCreditsError) as error:
        check({"ti": task_instance}, minimum_credits=1000.05)

    assert str(error.value) == (
        "Not enough credits: 1,000 spendable, 1,000.05 required on connection 'leadmagic_default'."
    )
    assert (error.value.required, error.value.available) == (Decimal("1000.05"), Decimal(1000))
    assert task_instance.pushed["return_value"]["sufficient"] is False


def test_task_below_the_minimum_is_skipped_with_on_insufficient_skip(leadmagic_sandbox: Sandbox) -> None:
    task_instance = TaskInstance()

    with pytest.raises(AirflowSkipException, match="Not enough credits: 1,000 spendable, 2,000 required"):
        check({"ti": task_instance}, minimum_credits=2000, on_insufficient="skip")

    assert task_instance.pushed["return_value"]["credits"] == 1000


def test_task_below_the_minimum_continues_with_on_insufficient_continue(leadmagic_sandbox: Sandbox) -> None:
    assert check(minimum_credits=2000, on_insufficient="continue")["sufficient"] is False


def test_no_xcom_is_pushed_if_do_xcom_push_is_false(leadmagic_sandbox: Sandbox) -> None:
    task_instance = TaskInstance()

    with pytest.raises(InsufficientCreditsError):
        check({"ti": task_instance}, minimum_credits=2000, do_xcom_push=False)

    assert task_instance.pushed == {}


@pytest.mark.parametrize(("warn_below", "calls"), [(999, 0), (1000, 0), ("1000.05", 1), (5000, 1)])
def test_on_low_credits_is_called_below_warn_below(leadmagic_sandbox: Sandbox, warn_below: Any, calls: int) -> None:
    notifications: list[Any] = []

    check(warn_below=warn_below, on_low_credits=notifications.append)

    assert len(notifications) == calls


def test_callbacks_receive_the_context_and_the_xcom(leadmagic_sandbox: Sandbox) -> None:
    notifications: list[Any] = []

    report = check(
        {"ti": TaskInstance(), "ds": "2026-01-01"}, warn_below=5000, on_low_credits=[notifications.append] * 2
    )

    assert len(notifications) == 2
    assert (notifications[0]["ds"], notifications[0]["leadmagic_credits"]) == ("2026-01-01", report)


def test_failing_callback_fails_neither_the_task_nor_the_next_callback(leadmagic_sandbox: Sandbox) -> None:
    notifications: list[Any] = []

    def fail(_context: Any) -> None:
        raise RuntimeError("Slack is down")

    assert check(warn_below=5000, on_low_credits=[fail, notifications.append])["credits"] == 1000
    assert len(notifications) == 1


def test_on_low_credits_is_called_before_the_task_fails(leadmagic_sandbox: Sandbox) -> None:
    notifications: list[Any] = []

    with pytest.raises(InsufficientCreditsError):
        check(minimum_credits=2000, warn_below=2000, on_low_credits=notifications.append)

    assert len(notifications) == 1


def test_rejected_request_fails_the_task(leadmagic_sandbox: Sandbox) -> None:
    leadmagic_sandbox.fail_next("/v1/credits", status=401)

    with pytest.raises(LeadMagicAuthenticationError, match="check the password of connection 'leadmagic_default'"):
        check(on_insufficient="continue")


@pytest.mark.parametrize("argument", ["minimum_credits", "warn_below"])
@pytest.mark.parametrize("value", [True, float("nan"), "-1", "many", "", [1], {}])
def test_invalid_threshold_is_rejected_before_any_request(
    leadmagic_sandbox: Sandbox, argument: str, value: Any
) -> None:
    with pytest.raises(ValueError, match=f"^{argument} must be a number of credits, 0 or more; got "):
        check(**{argument: value})
    assert leadmagic_sandbox.requests == []


@pytest.mark.parametrize("value", [NumpyInteger(5000), NumpyFloat(1000.05), Decimal(5000)], ids=repr)
def test_threshold_can_be_a_number_of_any_type(leadmagic_sandbox: Sandbox, value: Any) -> None:
    assert check(minimum_credits=value, on_insufficient="continue")["sufficient"] is False


def test_each_key_is_pushed_with_multiple_outputs_also_if_the_task_fails_or_is_skipped(
    leadmagic_sandbox: Sandbox,
) -> None:
    for on_insufficient, outcome in (("fail", InsufficientCreditsError), ("skip", AirflowSkipException)):
        task_instance = TaskInstance()

        with pytest.raises(outcome):
            check({"ti": task_instance}, minimum_credits=2000, on_insufficient=on_insufficient, multiple_outputs=True)

        report = task_instance.pushed.pop("return_value")
        assert task_instance.pushed == report
        assert report["sufficient"] is False


def test_each_key_is_not_pushed_without_multiple_outputs(leadmagic_sandbox: Sandbox) -> None:
    task_instance = TaskInstance()

    with pytest.raises(InsufficientCreditsError):
        check({"ti": task_instance}, minimum_credits=2000)

    assert list(task_instance.pushed) == ["return_value"]


async def async_function(context: Any) -> None:
    await asyncio.sleep(0)
    context["called"].append(context["leadmagic_credits"]["spendable"])


class AsyncCallable:
    async def __call__(self, context: Any) -> None:
        await async_function(context)


@pytest.mark.parametrize(
    "callback",
    [async_function, AsyncCallable(), partial(async_function), lambda context: async_function(context)],
    ids=["function", "object", "partial", "lambda"],
)
def test_callbacks_may_be_async(leadmagic_sandbox: Sandbox, callback: Any) -> None:
    called: list[Any] = []

    check({"ti": TaskInstance(), "called": called}, warn_below=5000, on_low_credits=[callback, callback])

    assert called == [1000, 1000]


@pytest.mark.skipif(AIRFLOW_SERIES < (3, 1), reason="notifiers of older versions cannot be awaited")
def test_a_notifier_that_can_only_be_awaited_is_awaited(leadmagic_sandbox: Sandbox) -> None:
    class AsyncNotifier(BaseNotifier):  # type: ignore[misc]
        template_fields = ("message",)
        message = "{{ leadmagic_credits.spendable }} left"

        async def async_notify(self, context: Any) -> None:
            context["called"].append(self.message)

    called: list[Any] = []

    check({"ti": TaskInstance(), "called": called}, warn_below=5000, on_low_credits=AsyncNotifier())

    assert called == ["1000 left"]


def test_async_callback_that_fails_is_logged_and_does_not_fail_the_task(
    leadmagic_sandbox: Sandbox, logged: Callable[[], str]
) -> None:
    async def fail(_context: Any) -> None:
        raise RuntimeError("Slack is down")

    check(warn_below=5000, on_low_credits=fail)

    assert "on_low_credits callback 'fail' failed; the check continues." in logged()


@pytest.mark.parametrize("value", ["ignore", "", None, True])
def test_invalid_on_insufficient_is_rejected_when_the_dag_is_parsed(value: Any) -> None:
    with pytest.raises(ValueError, match=r"^on_insufficient must be fail, skip or continue; got "):
        CheckCreditsOperator(task_id="check", on_insufficient=value)


@pytest.mark.parametrize("value", ["no", 1, None])
def test_refresh_that_is_not_a_bool_is_rejected_when_the_dag_is_parsed(value: Any) -> None:
    with pytest.raises(ValueError, match=r"^refresh must be True or False; got "):
        CheckCreditsOperator(task_id="check", refresh=value)


@pytest.mark.parametrize("value", ["mail", 7, ["mail"]])
def test_on_low_credits_that_is_not_callable_is_rejected_when_the_dag_is_parsed(value: Any) -> None:
    with pytest.raises(ValueError, match=r"^on_low_credits must be a callable, a notifier, or a list of them; got "):
        CheckCreditsOperator(task_id="check", on_low_credits=value)


def test_error_does_not_show_the_value_of_on_low_credits() -> None:
    with pytest.raises(ValueError, match=r"got dict$"):
        CheckCreditsOperator(task_id="check", on_low_credits={"webhook": "secret-url"})


@pytest.mark.parametrize("field", ["leadmagic_conn_id", "minimum_credits", "warn_below"])
def test_argument_is_templated(field: str) -> None:
    assert field in CheckCreditsOperator.template_fields
