"""What the tests of the gate share."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol

import pytest

from airflow_provider_leadmagic.sensors.credits import SufficientCreditsSensor
from demo.local_airflow import IS_AIRFLOW_3

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_mock import MockerFixture

    from airflow_provider_leadmagic.sandbox.sandbox import Sandbox


class MakeGate(Protocol):
    def __call__(self, **arguments: Any) -> SufficientCreditsSensor: ...


@pytest.fixture
def gate(leadmagic_sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, mocker: MockerFixture) -> MakeGate:
    """Make sensors whose connection is the sandbox and has little patience."""
    connection = json.loads(leadmagic_sandbox.connection_json) | {"extra": {"timeout": 0.15}}
    monkeypatch.setenv("AIRFLOW_CONN_LEADMAGIC_DEFAULT", json.dumps(connection))
    if not IS_AIRFLOW_3:
        # Airflow 2 asks its database, not the task instance, when the first look was.
        first_asked = datetime.now(UTC)
        mocker.patch("airflow.sensors.base._orig_start_date", return_value=first_asked)

    def make(**arguments: Any) -> SufficientCreditsSensor:
        defaults = {"task_id": "gate", "minimum_credits": 100, "poke_interval": 0.02, "timeout": 20}
        return SufficientCreditsSensor(**{**defaults, **arguments})

    return make


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]) -> Callable[[], str]:
    """Collect what the gate wrote: Airflow 2 logs through the standard library, Airflow 3 to standard output."""
    caplog.set_level(logging.INFO)
    caplog.set_level(logging.INFO, logger="airflow.task")
    return lambda: capsys.readouterr().out if IS_AIRFLOW_3 else caplog.text
