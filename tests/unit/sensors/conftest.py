"""Fixtures of the sensor tests."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Protocol

import pytest

from airflow_provider_leadmagic.sensors.credits import SufficientCreditsSensor
from dev.local_airflow import IS_AIRFLOW_3
from tests.support.sensor_runner import running

if TYPE_CHECKING:
    from pytest_mock import MockerFixture

    from airflow_provider_leadmagic.sandbox.sandbox import Sandbox


class MakeSensor(Protocol):
    def __call__(self, **arguments: Any) -> SufficientCreditsSensor: ...


@pytest.fixture
def make_sensor(leadmagic_sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, mocker: MockerFixture) -> MakeSensor:
    """Return a function that makes sensors with a short interval. Connection ``impatient`` has a timeout of 0.1 s."""
    impatient = json.loads(leadmagic_sandbox.connection_json) | {"extra": {"timeout": 0.1}}
    monkeypatch.setenv("AIRFLOW_CONN_IMPATIENT", json.dumps(impatient))
    if not IS_AIRFLOW_3:
        # Airflow 2 reads the time of the first poke from its database, not from the task instance.
        mocker.patch("airflow.sensors.base._orig_start_date", side_effect=lambda **_: running.first_reschedule)

    def make(**arguments: Any) -> SufficientCreditsSensor:
        defaults = {"task_id": "wait_for_credits", "minimum_credits": 100, "poke_interval": 0.02, "timeout": 20}
        return SufficientCreditsSensor(**{**defaults, **arguments})

    return make
