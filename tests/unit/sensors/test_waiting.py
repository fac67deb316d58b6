"""How a sensor waits: number of polls, log lines, intervals and Retry-After."""

from __future__ import annotations

import asyncio
import os
import time
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_leadmagic.api.models import CreditBalance
from airflow_provider_leadmagic.exceptions import LeadMagicError
from tests.support.airflow_names import TaskDeferred
from tests.support.sensor_runner import MODES, TaskInstance, first_event, run_to_end, running

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_leadmagic.sandbox.sandbox import Sandbox
    from airflow_provider_leadmagic.sensors.credits import SufficientCreditsSensor
    from tests.unit.sensors.conftest import MakeSensor


@pytest.mark.parametrize("mode", MODES)
def test_a_sufficient_balance_takes_exactly_one_request(
    make_sensor: MakeSensor, leadmagic_sandbox: Sandbox, mode: str
) -> None:
    assert run_to_end(make_sensor(**MODES[mode])).state == "success"
    assert [request.path for request in leadmagic_sandbox.requests] == ["/v1/credits"]


def test_a_sufficient_balance_does_not_defer_the_task(make_sensor: MakeSensor) -> None:
    report = make_sensor(deferrable=True).execute({"ti": TaskInstance()})

    assert report["sufficient"] is True


def test_a_balance_equal_to_the_threshold_is_sufficient(make_sensor: MakeSensor, leadmagic_sandbox: Sandbox) -> None:
    leadmagic_sandbox.set_credits("100.05")

    assert run_to_end(make_sensor(minimum_credits="100.05")).state == "success"


@pytest.mark.parametrize("mode", MODES)
def test_frozen_credits_do_not_count(make_sensor: MakeSensor, leadmagic_sandbox: Sandbox, mode: str) -> None:
    leadmagic_sandbox.freeze(liquid=99)

    assert run_to_end(make_sensor(timeout=0.2, **MODES[mode])).error == "AirflowSensorTimeout"


@pytest.mark.parametrize("mode", MODES)
def test_the_liquid_part_of_a_frozen_account_counts(
    make_sensor: MakeSensor, leadmagic_sandbox: Sandbox, mode: str
) -> None:
    leadmagic_sandbox.freeze(liquid=100)

    assert run_to_end(make_sensor(**MODES[mode])).xcom["spendable"] == 100


@pytest.mark.parametrize("mode", MODES)
def test_a_sensor_waits_at_least_as_long_as_retry_after_asks_for(
    make_sensor: MakeSensor, leadmagic_sandbox: Sandbox, mode: str
) -> None:
    leadmagic_sandbox.fail_next("/v1/credits", status=429, retry_after="0.6")

    assert run_to_end(make_sensor(**MODES[mode])).state == "success"

    first, second = (request.at for request in leadmagic_sandbox.requests)
    assert second - first >= 0.6


@pytest.mark.parametrize("mode", MODES)
def test_a_retry_after_of_a_year_does_not_extend_the_timeout(
    make_sensor: MakeSensor, leadmagic_sandbox: Sandbox, mode: str
) -> None:
    leadmagic_sandbox.fail_next("/v1/credits", status=429, retry_after="31536000", times=None)

    assert run_to_end(make_sensor(timeout=0.2, **MODES[mode])).error == "AirflowSensorTimeout"


@pytest.mark.parametrize("mode", MODES)
def test_each_poll_logs_the_spendable_and_the_missing_credits(
    make_sensor: MakeSensor, leadmagic_sandbox: Sandbox, logged: Callable[[], str], mode: str
) -> None:
    leadmagic_sandbox.fail_next("/v1/credits", body='{"credits": 40.5}', content_type="application/json", times=2)

    run_to_end(make_sensor(minimum_credits=1000, **MODES[mode]))

    cause = "959.5 short (40.5 spendable, 1,000 required) on connection 'leadmagic_default'"
    line = f"Waiting for credits: {cause}. Next poll in 0 s."
    assert logged().count(line) == 2


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("arguments", "retry_after", "text"),
    [
        pytest.param({}, None, "(1 spendable, 100 required) on connection 'x'. Next poll in 300 s.", id="interval"),
        pytest.param({"timeout": 100}, None, "connection 'x'. No further poll before the timeout.", id="timeout"),
        pytest.param({}, "60", "(1 in a row), retrying in 300 s: ", id="short Retry-After"),
        pytest.param({}, "900", "(1 in a row), retrying in 900 s: ", id="long Retry-After"),
        pytest.param(
            {"timeout": 600}, "900", "(1 in a row), no further poll before the timeout: ", id="Retry-After and timeout"
        ),
    ],
)
def test_the_first_poll_logs_the_time_until_the_next_one(
    make_sensor: MakeSensor,
    leadmagic_sandbox: Sandbox,
    logged: Callable[[], str],
    monkeypatch: pytest.MonkeyPatch,
    mode: str,
    arguments: dict[str, Any],
    retry_after: str | None,
    text: str,
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_X", leadmagic_sandbox.connection_json)
    leadmagic_sandbox.set_credits(1)
    if retry_after:
        leadmagic_sandbox.fail_next("/v1/credits", status=429, retry_after=retry_after)

    run_first_poll(
        make_sensor(**{"leadmagic_conn_id": "x", "poke_interval": 300, "timeout": 3600, **arguments, **MODES[mode]})
    )

    assert text in logged()


@pytest.mark.parametrize("mode", ["poke", "reschedule"])
def test_the_logged_time_until_the_next_poll_includes_exponential_backoff(
    make_sensor: MakeSensor, leadmagic_sandbox: Sandbox, logged: Callable[[], str], mode: str
) -> None:
    leadmagic_sandbox.set_credits(1)

    sensor = make_sensor(poke_interval=300, timeout=86_400, exponential_backoff=True, **MODES[mode])
    wait = run_first_poll(sensor)

    assert 150 <= wait < 300
    assert f"Next poll in {wait:.0f} s." in logged()


@pytest.mark.parametrize(("timeout", "wait"), [(8.0, 8.0), (2.0, 5.0)])
def test_the_last_reschedule_is_long_enough_for_the_scheduler_to_notice_the_end_of_the_process(
    make_sensor: MakeSensor, leadmagic_sandbox: Sandbox, timeout: float, wait: float
) -> None:
    leadmagic_sandbox.set_credits(1)

    planned = run_first_poll(make_sensor(poke_interval=300, timeout=timeout, **MODES["reschedule"]))

    assert planned == pytest.approx(wait, abs=1)


def test_a_retry_after_delays_one_poll_only(
    make_sensor: MakeSensor, leadmagic_sandbox: Sandbox, logged: Callable[[], str]
) -> None:
    sensor = make_sensor(poke_interval=300, timeout=3600, **MODES["poke"])
    leadmagic_sandbox.set_credits(1)
    leadmagic_sandbox.fail_next("/v1/credits", status=429, retry_after="900")

    sensor.poke({})
    sensor.poke({})

    text = logged()
    assert "retrying in 900 s: " in text
    assert "Next poll in 300 s." in text


@pytest.mark.parametrize(("timeout", "is_last"), [(300, True), (301, False)])
def test_a_poll_at_the_deadline_is_not_announced(
    make_sensor: MakeSensor, leadmagic_sandbox: Sandbox, logged: Callable[[], str], timeout: float, is_last: bool
) -> None:
    leadmagic_sandbox.set_credits(1)

    run_first_poll(make_sensor(poke_interval=300, timeout=timeout, deferrable=True))

    assert ("No further poll before the timeout." in logged()) is is_last


def run_first_poll(sensor: SufficientCreditsSensor) -> float:
    """Run a sensor until it starts to wait, and return the planned seconds; 0 if it defers."""

    class StartsToWaitError(Exception):
        pass

    def stop(*_: Any) -> float:
        raise StartsToWaitError(planned_wait(None, None, 1))

    planned_wait, sensor._get_next_poke_interval = sensor._get_next_poke_interval, stop  # type: ignore[method-assign]
    running.first_reschedule = None
    try:
        sensor.execute({"ti": running})
    except TaskDeferred:
        return 0.0
    except StartsToWaitError as error:
        return float(error.args[0])
    raise AssertionError("the sensor did not wait")


@pytest.mark.parametrize("mode", MODES)
def test_the_timeout_message_names_the_credits_that_the_sensor_waited_for(
    make_sensor: MakeSensor, leadmagic_sandbox: Sandbox, mode: str
) -> None:
    leadmagic_sandbox.set_credits(1)

    outcome = run_to_end(make_sensor(poke_interval=0.5, timeout=0.2, **MODES[mode]))

    assert outcome.message == (
        "Timed out after 0.2 s: no poll found 100 spendable credits on connection 'leadmagic_default'."
    )


@pytest.mark.parametrize("mode", ["poke", "deferrable"])  # in reschedule mode each poll is a process of its own
def test_the_warning_counts_consecutive_failed_polls(
    make_sensor: MakeSensor, leadmagic_sandbox: Sandbox, logged: Callable[[], str], mode: str
) -> None:
    leadmagic_sandbox.fail_next("/v1/credits", body='{"credits": 1}', content_type="application/json")
    leadmagic_sandbox.fail_next("/v1/credits", status=503, times=2)

    assert run_to_end(make_sensor(**MODES[mode])).state == "success"

    text = logged()
    for number in (1, 2):
        assert text.count(f"Waiting for credits: poll failed ({number} in a row), retrying in 0 s: ") == 1
    assert "retrying in 0 s: Server error (503 service_unavailable): " in text


def test_a_frozen_account_is_logged_with_its_reason(
    make_sensor: MakeSensor, leadmagic_sandbox: Sandbox, logged: Callable[[], str]
) -> None:
    leadmagic_sandbox.freeze("payment overdue")

    run_to_end(make_sensor(mode="poke", timeout=0.1))

    cause = 'account frozen by LeadMagic ("payment overdue"), 0 of 100 required credits spendable'
    assert f"Waiting for credits: {cause} on connection 'leadmagic_default'. Next poll in 0 s." in logged()


@pytest.mark.parametrize("mode", MODES)
def test_refresh_re_reads_the_balance_before_each_poll(
    make_sensor: MakeSensor, leadmagic_sandbox: Sandbox, mode: str
) -> None:
    leadmagic_sandbox.fail_next("/v1/credits", body='{"credits": 1}', content_type="application/json")

    run_to_end(make_sensor(refresh=True, **MODES[mode]))

    paths = [request.path for request in leadmagic_sandbox.requests]
    assert paths == ["/v1/credits/refresh", "/v1/credits"] * 2


def test_a_poke_interval_below_ten_seconds_logs_a_warning(make_sensor: MakeSensor, logged: Callable[[], str]) -> None:
    run_to_end(make_sensor(poke_interval=9.5))

    assert "poke_interval of 9.5 s is short: " in logged()


def test_a_poke_interval_of_ten_seconds_logs_no_warning(make_sensor: MakeSensor, logged: Callable[[], str]) -> None:
    run_to_end(make_sensor(poke_interval=10))

    assert "poke_interval" not in logged()


def test_base_arguments_that_a_deferrable_sensor_ignores_are_logged(
    make_sensor: MakeSensor, logged: Callable[[], str]
) -> None:
    run_to_end(make_sensor(deferrable=True, exponential_backoff=True, max_wait=60))

    assert "exponential_backoff, max_wait ignored: deferrable mode polls at a fixed interval." in logged()


@pytest.mark.parametrize("mode", MODES)
def test_silent_fail_does_not_keep_polling_with_an_invalid_key(
    make_sensor: MakeSensor, leadmagic_sandbox: Sandbox, logged: Callable[[], str], mode: str
) -> None:
    leadmagic_sandbox.fail_next("/v1/credits", status=401, times=None)

    outcome = run_to_end(make_sensor(silent_fail=True, **MODES[mode]))

    assert outcome.error == "LeadMagicAuthenticationError"
    advice = "transient errors are retried anyway, and permanent errors fail the task"
    assert f"silent_fail is ignored: {advice}." in logged()


@pytest.mark.parametrize("flag", [{}, {"soft_fail": True}], ids=["plain", "soft_fail"])
def test_a_crashed_trigger_fails_the_sensor_even_with_soft_fail(make_sensor: MakeSensor, flag: dict[str, bool]) -> None:
    with pytest.raises(
        LeadMagicError, match=r"^Trigger failed \(Trigger failure\): see the traceback above in the task log\.$"
    ):
        make_sensor(**flag).resume_execution("__fail__", {"error": "Trigger failure", "traceback": ["line"]}, {})


def test_the_deferral_has_the_timeout_of_the_sensor_and_no_secret(
    make_sensor: MakeSensor, leadmagic_sandbox: Sandbox
) -> None:
    leadmagic_sandbox.set_credits(1)

    with pytest.raises(TaskDeferred) as deferral:
        make_sensor(deferrable=True, timeout=3600).execute({"ti": TaskInstance()})

    assert deferral.value.timeout.total_seconds() == 3600
    kwargs = deferral.value.trigger.serialize()[1]
    assert kwargs.pop("waiting_since") == pytest.approx(time.time(), abs=60)
    assert kwargs == {
        "leadmagic_conn_id": "leadmagic_default",
        "minimum_credits": "100",
        "poke_interval": 0.02,
        "refresh": False,
        "not_before": 0.0,
    }


def test_a_deferred_sensor_keeps_waiting_while_its_connection_cannot_be_read(
    make_sensor: MakeSensor, leadmagic_sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, airflow_database: object
) -> None:
    """Airflow reports an outage of its secrets backend as a missing connection."""
    leadmagic_sandbox.set_credits(1)
    with pytest.raises(TaskDeferred) as deferral:
        make_sensor(deferrable=True).execute({"ti": TaskInstance()})
    connection = os.environ["AIRFLOW_CONN_LEADMAGIC_DEFAULT"]
    monkeypatch.delenv("AIRFLOW_CONN_LEADMAGIC_DEFAULT")

    async def outage() -> Any:
        waiting = asyncio.create_task(first_event(deferral.value.trigger))
        await asyncio.sleep(0.3)
        assert not waiting.done()
        monkeypatch.setenv("AIRFLOW_CONN_LEADMAGIC_DEFAULT", connection)
        leadmagic_sandbox.add_credits(1000)
        return await asyncio.wait_for(waiting, 10)

    assert asyncio.run(outage())["status"] == "open"


def test_the_report_has_the_threshold_of_the_trigger(make_sensor: MakeSensor) -> None:
    event = {"status": "open", "balance": CreditBalance(Decimal(150), datetime.now(UTC)).to_json()}

    report = make_sensor(minimum_credits=2000).execute_complete({}, {**event, "minimum_credits": "100"})

    assert (report["minimum_credits"], report["sufficient"]) == (100, True)
