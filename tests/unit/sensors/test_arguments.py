"""Invalid arguments are rejected with a message that names the argument and the value."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_leadmagic.sensors.credits import SufficientCreditsSensor
from tests.support.sensor_runner import MODES, run_to_end

if TYPE_CHECKING:
    from airflow_provider_leadmagic.sandbox.sandbox import Sandbox
    from tests.unit.sensors.conftest import MakeSensor


@pytest.mark.parametrize(
    "value",
    [0, -1, True, "5", None, float("nan"), float("inf"), 1e-7, 1e15, 10**400, timedelta(0), timedelta(seconds=-1)],
)
def test_an_invalid_poke_interval_is_rejected_when_the_dag_is_parsed(value: Any) -> None:
    with pytest.raises(
        ValueError, match=r"^poke_interval must be a timedelta or a number of seconds, above 0; got "
    ) as e:
        SufficientCreditsSensor(task_id="wait_for_credits", minimum_credits=1, poke_interval=value)
    assert repr(value)[:40] in str(e.value)


@pytest.mark.parametrize("value", [-1, True, "5", float("nan"), 1e12, 10**400, timedelta(seconds=-1), timedelta.max])
def test_an_invalid_timeout_is_rejected_when_the_dag_is_parsed(value: Any) -> None:
    with pytest.raises(ValueError, match=r"^timeout must be a timedelta or a number of seconds, 0 or more; got "):
        SufficientCreditsSensor(task_id="wait_for_credits", minimum_credits=1, timeout=value)


@pytest.mark.parametrize("argument", ["refresh", "deferrable"])
@pytest.mark.parametrize("value", ["no", 1, None])
def test_an_invalid_flag_is_rejected_when_the_dag_is_parsed(argument: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"^{argument} must be True or False; got "):
        SufficientCreditsSensor(task_id="wait_for_credits", minimum_credits=1, **{argument: value})


@pytest.mark.parametrize("value", ["defer", "", None, True])
def test_an_unknown_mode_is_rejected_when_the_dag_is_parsed(value: Any) -> None:
    with pytest.raises(ValueError, match=r"^mode must be poke or reschedule; got "):
        SufficientCreditsSensor(task_id="wait_for_credits", minimum_credits=1, mode=value)


@pytest.mark.parametrize("value", [True, float("nan"), float("inf"), "-1", -0.05, "many", "", None, [1], "1,000"])
@pytest.mark.parametrize("mode", MODES)
def test_an_invalid_threshold_fails_the_task_before_any_request(
    make_sensor: MakeSensor, leadmagic_sandbox: Sandbox, value: Any, mode: str
) -> None:
    outcome = run_to_end(make_sensor(minimum_credits=value, **MODES[mode]))

    assert outcome.message == f"minimum_credits must be a number of credits, 0 or more; got {value!r}"
    assert (outcome.state, outcome.error) == ("failed", "ValueError")
    assert leadmagic_sandbox.requests == []


@pytest.mark.parametrize("value", [100, 100.0, "100", " 100.00 ", "1e2", Decimal("99.95"), 0])
@pytest.mark.parametrize("mode", MODES)
def test_a_threshold_can_be_a_number_or_a_numeric_string(make_sensor: MakeSensor, value: Any, mode: str) -> None:
    assert run_to_end(make_sensor(minimum_credits=value, **MODES[mode])).state == "success"


@pytest.mark.parametrize("value", ["", "  ", None, 7])
def test_an_invalid_connection_id_is_named(make_sensor: MakeSensor, value: Any) -> None:
    outcome = run_to_end(make_sensor(leadmagic_conn_id=value))

    assert outcome.message == f"leadmagic_conn_id must be a connection ID; got {value!r}"


def test_a_missing_connection_is_named(make_sensor: MakeSensor, airflow_database: object) -> None:
    assert "Connection 'nowhere' not found: create it" in run_to_end(make_sensor(leadmagic_conn_id="nowhere")).message


def test_the_defaults_match_the_documentation() -> None:
    sensor = SufficientCreditsSensor(task_id="wait_for_credits", minimum_credits=1)

    assert (sensor.mode, sensor.poke_interval, sensor.leadmagic_conn_id) == ("reschedule", 300, "leadmagic_default")
    assert (sensor.deferrable, sensor.refresh) == (False, False)
