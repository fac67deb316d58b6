"""Sensors that claim credits: arguments, decisions in both modes, timeouts, and what they log and return."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from airflow import DAG

from airflow_provider_leadmagic.compat.imports import (
    AirflowRescheduleException,
    AirflowSensorTimeout,
    AirflowSkipException,
)
from airflow_provider_leadmagic.compat.metadata import TaskKey
from airflow_provider_leadmagic.decisions.claims import NOTHING_SEEN, Seen
from airflow_provider_leadmagic.decisions.events import wake_event
from airflow_provider_leadmagic.decisions.ledger import Claim, SpendingTask
from airflow_provider_leadmagic.exceptions import ClaimsError
from airflow_provider_leadmagic.operators.credits import CheckCreditsOperator
from airflow_provider_leadmagic.sensors.credits import SufficientCreditsSensor
from airflow_provider_leadmagic.triggers.claims import ClaimedCreditsTrigger
from dev.local_airflow import IS_AIRFLOW_3
from tests.support.airflow_names import TaskDeferred
from tests.support.claiming_airflow import POOL, ClaimingAirflow
from tests.support.sensor_runner import TaskInstance

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_leadmagic.sandbox.sandbox import Sandbox

OTHER = TaskKey("other", "run", "wait_for_credits")
MINE = TaskKey("waiting", "run", "wait_for_credits")
WAKE = wake_event(NOTHING_SEEN)


@pytest.fixture
def airflow(monkeypatch: pytest.MonkeyPatch, leadmagic_sandbox: Sandbox) -> ClaimingAirflow:
    """Return an Airflow in which the task of these tests is running. The balance is 1,000."""
    airflow = ClaimingAirflow({MINE: "running"})
    monkeypatch.setattr("airflow_provider_leadmagic.claims.admission.ask", airflow.ask)
    if not IS_AIRFLOW_3:  # Airflow 2 reads the time of the first poke from its database
        monkeypatch.setattr("airflow.sensors.base._orig_start_date", lambda **_: None)
    return airflow


def make(**arguments: Any) -> SufficientCreditsSensor:
    """Return a sensor in a DAG, with a task after it."""
    defaults: dict[str, Any] = {"minimum_credits": 500, "claim_pool": POOL, "deferrable": True}
    with DAG("waiting", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC)):
        sensor = SufficientCreditsSensor(task_id="wait_for_credits", **{**defaults, **arguments})
        sensor >> CheckCreditsOperator(task_id="enrich")
    return sensor


def context(**fields: Any) -> Any:
    ti = TaskInstance(**fields)
    return {"ti": ti, "task_instance": ti}


def held(credits: int, **fields: Any) -> Claim:
    return Claim(OTHER, Decimal(credits), since=0.0, granted_at=1.0, **fields)


def deferral_of(sensor: SufficientCreditsSensor, event: Any = None, deadline: float = 0.0) -> TaskDeferred:
    step = partial(sensor.execute_complete, event=event, deadline=deadline) if event else sensor.execute
    with pytest.raises(TaskDeferred) as deferred:
        step(context())
    return deferred.value


# --- Arguments ---


def test_it_runs_in_the_claim_pool() -> None:
    assert make().pool == POOL


def test_claim_pool_overrides_the_pool_of_default_args() -> None:
    assert make(default_args={"pool": "nightly"}).pool == POOL


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"pool": "nightly"}, "pool must be left out or equal claim_pool 'leadmagic'; got 'nightly'"),
        ({"claim_pool": ""}, "claim_pool must be text that is not blank; got ''"),
        ({"claim_settle": -1}, "claim_settle must be a timedelta or a number of seconds, 0 or more; got -1"),
        ({"release_after": "enrich"}, "release_after must be a list of task IDs; got 'enrich'"),
        (
            {"claim_pool": None, "release_after": ["enrich"]},
            "release_after needs claim_pool: without a pool the task claims no credits",
        ),
        (
            {"mode": "poke", "deferrable": False},
            "mode must not be 'poke' with claim_pool: the sensor would hold the pool's only slot while it waits",
        ),
    ],
    ids=lambda value: "" if isinstance(value, str) else str(value),
)
def test_an_invalid_argument_is_rejected_when_the_dag_is_parsed(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        make(**arguments)


@pytest.mark.usefixtures("airflow")
def test_release_after_must_name_a_task_after_the_sensor() -> None:
    with pytest.raises(
        ValueError, match=r"^release_after must name tasks downstream of 'wait_for_credits' \(one or more of 'enrich'\)"
    ):
        make(release_after=["report"]).execute(context())


# --- Decisions ---


def test_unclaimed_credits_are_granted(airflow: ClaimingAirflow, logged: Callable[[], str]) -> None:
    airflow.add(held(500), "success")

    report = make(release_after=["enrich"], claim_settle=timedelta(seconds=30)).execute(context())

    assert (report["sufficient"], report["claimed_by_others"], report["available"]) == (True, 500, 500)
    assert "Credits sufficient: 1,000 spendable, 500 claimed by 1 run, 500 required on connection" in logged()
    claim = airflow.ledger.find(MINE)
    assert claim is not None
    assert (claim.credits, claim.settle, claim.spent_by) == (Decimal(500), 30.0, (SpendingTask("enrich"),))
    assert claim.granted_at is not None


def test_claimed_credits_are_not_granted(airflow: ClaimingAirflow, logged: Callable[[], str]) -> None:
    airflow.add(held(501), "success")

    deferral = deferral_of(make())

    line = "Waiting for credits: 1 short (1,000 spendable, 501 claimed by 1 run, 500 required) on connection"
    assert line in logged()
    assert isinstance(deferral.trigger, ClaimedCreditsTrigger)
    assert deferral.trigger.serialize()[1]["claimed_by"] == list(MINE)
    claim = airflow.ledger.find(MINE)
    assert claim is not None
    assert claim.granted_at is None


def test_the_log_has_the_credits_that_are_kept_for_the_tasks_ahead(
    airflow: ClaimingAirflow, logged: Callable[[], str]
) -> None:
    airflow.add(Claim(OTHER, Decimal(600), since=0.0), "deferred")

    deferral_of(make())

    assert "100 short (1,000 spendable, 600 kept for tasks ahead, 500 required) on connection" in logged()


def test_in_reschedule_mode_it_decides_at_each_poll(airflow: ClaimingAirflow) -> None:
    airflow.add(held(501), "success")
    sensor = make(deferrable=False, mode="reschedule")
    with pytest.raises(AirflowRescheduleException):
        sensor.execute(context())
    airflow.states[OTHER] = "failed"
    airflow.ended_runs.add(("other", "run"))
    airflow.variables.clear()

    assert sensor.execute(context())["claimed_by_others"] == 0


def test_a_rescheduled_sensor_polls_when_an_ended_claim_stops_counting(airflow: ClaimingAirflow) -> None:
    airflow.add(held(501, ended_at=time.time(), settle=60), "success")
    airflow.ended_runs.add(("other", "run"))

    with pytest.raises(AirflowRescheduleException) as reschedule:
        make(deferrable=False, mode="reschedule").execute(context())

    wait = (reschedule.value.reschedule_date - datetime.now(UTC)).total_seconds()
    assert 50 < wait <= 60


def test_the_trigger_of_a_sensor_polls_when_an_ended_claim_stops_counting(
    airflow: ClaimingAirflow, logged: Callable[[], str]
) -> None:
    airflow.add(held(501, ended_at=time.time(), settle=60), "success")
    airflow.ended_runs.add(("other", "run"))

    deferral = deferral_of(make(poke_interval=300))

    assert isinstance(deferral.trigger, ClaimedCreditsTrigger)
    assert 0 < deferral.trigger.waiting_since + 300 - time.time() <= 60
    assert deferral.trigger.deferred_at == pytest.approx(time.time(), abs=5)
    assert re.search(r"Next poll in ([1-5]?\d|60) s\.", logged())


def test_without_a_claim_pool_no_request_is_sent_to_airflow(airflow: ClaimingAirflow) -> None:
    make(claim_pool=None).execute(context())
    deferral = deferral_of(make(claim_pool=None, minimum_credits=5000))

    assert not airflow.asked
    assert (type(deferral.trigger).__name__, deferral.kwargs) == ("SufficientCreditsTrigger", None)


def test_the_command_airflow_tasks_test_makes_no_claim(airflow: ClaimingAirflow, logged: Callable[[], str]) -> None:
    report = make().execute(context(run_id="__airflow_temporary_run_1__"))

    assert report["sufficient"] is True
    assert not airflow.asked
    assert "No credits claimed: this test run does not record tasks as running, which a claim needs." in logged()


# --- Waking up in the triggerer ---


def test_a_task_that_is_woken_decides_on_the_worker(airflow: ClaimingAirflow) -> None:
    report = make().execute_complete(context(), WAKE, time.time() + 60)

    assert (report["available"], report["claimed_by_others"]) == (1000, 0)
    assert airflow.ledger.find(MINE) is not None


def test_a_woken_task_without_enough_credits_defers_for_the_rest_of_its_timeout(airflow: ClaimingAirflow) -> None:
    airflow.add(held(501), "success")
    deadline = time.time() + 100

    deferral = deferral_of(make(timeout=3600), WAKE, deadline)

    assert deferral.timeout is not None
    assert 90 < deferral.timeout.total_seconds() <= 100
    assert deferral.kwargs is not None
    assert deferral.kwargs["deadline"] == pytest.approx(deadline, abs=1)


def test_a_task_that_is_woken_after_its_timeout_times_out(airflow: ClaimingAirflow) -> None:
    with pytest.raises(AirflowSensorTimeout):
        make(timeout=3600).execute_complete(context(), WAKE, time.time() - 1)

    assert not airflow.asked


def test_a_claim_settles_from_the_time_at_which_the_triggerer_saw_its_end(airflow: ClaimingAirflow) -> None:
    airflow.add(held(501, settle=60), "success")
    airflow.ended_runs.add(("other", "run"))

    report = make().execute_complete(context(), wake_event(Seen({OTHER: 61.0}, {})), time.time() + 60)

    assert report["claimed_by_others"] == 0


def test_a_task_that_no_longer_claims_when_it_is_woken_polls_the_balance(airflow: ClaimingAirflow) -> None:
    assert make(claim_pool=None).execute_complete(context(), WAKE, time.time() + 60)["sufficient"] is True
    deferral = deferral_of(make(claim_pool=None, minimum_credits=5000), WAKE, time.time() + 60)

    assert type(deferral.trigger).__name__ == "SufficientCreditsTrigger"
    assert not airflow.asked


# --- Errors ---


def test_it_keeps_waiting_while_airflow_does_not_respond(airflow: ClaimingAirflow, logged: Callable[[], str]) -> None:
    airflow.error = ClaimsError("Cannot read the Variable 'x' (API_SERVER_ERROR 500)", transient=True)

    deferral_of(make())

    assert "Waiting for credits: poll failed (1 in a row), retrying in 300 s: Cannot read the Variable" in logged()


def test_unreadable_claims_fail_the_task_even_with_soft_fail(airflow: ClaimingAirflow) -> None:
    airflow.variables["leadmagic_claims_leadmagic"] = "{}"

    with pytest.raises(ClaimsError, match=r"^Unreadable claims: restore the Variable 'leadmagic_claims_leadmagic'"):
        make(soft_fail=True).execute(context())


def test_with_never_fail_unreadable_claims_skip_the_task(airflow: ClaimingAirflow) -> None:
    airflow.variables["leadmagic_claims_leadmagic"] = "{}"

    with pytest.raises(AirflowSkipException):
        make(never_fail=True).execute(context())


def test_a_second_task_in_the_pool_is_an_error(airflow: ClaimingAirflow) -> None:
    airflow.add(Claim(OTHER, Decimal(1), since=0.0), "running")

    with pytest.raises(ClaimsError, match=r"^Pool 'leadmagic' must have exactly 1 slot"):
        make().execute(context())


def test_a_permanent_error_of_the_trigger_is_raised(airflow: ClaimingAirflow) -> None:
    with pytest.raises(ClaimsError, match="boom"):
        make().execute_complete(context(), {"status": "error", "error": "ClaimsError", "message": "boom", "fields": {}})

    assert not airflow.asked
