"""One table of responses: poke, reschedule and deferrable end alike in every case."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_leadmagic.sandbox.sandbox import Sandbox
from tests.support.sensor_runner import MODES, run_to_end

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_mock import MockerFixture

    from tests.unit.sensors.conftest import MakeSensor

FLAGS: dict[str, dict[str, Any]] = {"plain": {}, "soft_fail": {"soft_fail": True}, "never_fail": {"never_fail": True}}

SUCCEEDS = {"plain": ("success", None), "soft_fail": ("success", None), "never_fail": ("success", None)}
TIMES_OUT = {
    "plain": ("failed", "AirflowSensorTimeout"),
    "soft_fail": ("skipped", None),
    "never_fail": ("skipped", None),
}


def fails_with(error: str) -> dict[str, tuple[str, str | None]]:
    """Expect a permanent error to fail the sensor even with soft_fail: after a skip, the run would be a success."""
    return {"plain": ("failed", error), "soft_fail": ("failed", error), "never_fail": ("skipped", None)}


@dataclass(frozen=True)
class Case:
    """The response to the first polls or to all polls, and the expected end of the sensor."""

    ends: dict[str, tuple[str, str | None]]
    fault: dict[str, Any] = field(default_factory=dict)
    times: int | None = 2
    timeout: float = 20
    frozen: bool = False
    arguments: dict[str, Any] = field(default_factory=dict)


def responds(body: str, ends: dict[str, tuple[str, str | None]]) -> Case:
    return Case(ends, {"body": body, "content_type": "application/json"})


CASES = {
    "sufficient": Case(SUCCEEDS),
    "insufficient, then sufficient": responds('{"credits": 99.95}', SUCCEEDS),
    "frozen": Case(TIMES_OUT, frozen=True, timeout=0.15),
    "401": Case(fails_with("LeadMagicAuthenticationError"), {"status": 401}),
    "403": Case(fails_with("LeadMagicPermissionError"), {"status": 403}),
    "429 with Retry-After": Case(SUCCEEDS, {"status": 429, "retry_after": "0.1"}),
    "429 without Retry-After": Case(SUCCEEDS, {"status": 429}),
    "429 forever": Case(TIMES_OUT, {"status": 429}, times=None, timeout=0.15),
    "500": Case(SUCCEEDS, {"status": 500}),
    "dropped connection": Case(SUCCEEDS, {"drop": True}),
    "timeout": Case(SUCCEEDS, {"delay": 0.2}, arguments={"leadmagic_conn_id": "impatient"}),
    "Retry-After beyond the timeout": Case(TIMES_OUT, {"status": 429, "retry_after": "3600"}, times=1, timeout=0.15),
    "interval beyond the timeout": Case(
        TIMES_OUT, {"status": 500}, times=1, timeout=0.15, arguments={"poke_interval": 0.3}
    ),
    "zero timeout": Case(TIMES_OUT, {"status": 500}, times=1, timeout=0),
    "zero timeout, sufficient": Case(SUCCEEDS, timeout=0),
    "200 with HTML": Case(SUCCEEDS, {"body": "<html>sorry</html>", "content_type": "text/html"}),
    "truncated body": Case(SUCCEEDS, {"truncate": True}),
    "JSON without credits": responds("{}", fails_with("LeadMagicResponseError")),
    "credits true": responds('{"credits": true}', fails_with("LeadMagicResponseError")),
    "credits NaN": responds('{"credits": NaN}', fails_with("LeadMagicResponseError")),
    "credits '12'": responds('{"credits": "12"}', fails_with("LeadMagicResponseError")),
    "credits null": responds('{"credits": null}', fails_with("LeadMagicResponseError")),
    "redirect to another host": Case(fails_with("LeadMagicResponseError"), {"redirect_to": "other_host"}),
}

#: The cases with a permanent error.
PERMANENT = {name: case for name, case in CASES.items() if case.ends["plain"][1] not in (None, "AirflowSensorTimeout")}

REPORT = {
    "credits": 1000,
    "spendable": 1000,
    "is_frozen": False,
    "freeze_message": None,
    "minimum_credits": 100,
    "sufficient": True,
}


@pytest.fixture(scope="module")
def other_host() -> Iterator[Sandbox]:
    with Sandbox() as sandbox:
        yield sandbox


@pytest.mark.parametrize("flag", FLAGS)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_sensor_ends_alike_in_every_mode(
    make_sensor: MakeSensor, leadmagic_sandbox: Sandbox, other_host: Sandbox, case: Case, mode: str, flag: str
) -> None:
    if case.frozen:
        leadmagic_sandbox.freeze("payment overdue")
    queue_fault(leadmagic_sandbox, other_host, case)

    outcome = run_to_end(make_sensor(timeout=case.timeout, **case.arguments, **MODES[mode], **FLAGS[flag]))

    assert (outcome.state, outcome.error) == case.ends[flag], outcome.message
    assert case.times != 1 or len(leadmagic_sandbox.requests) == 1, "polled after the deadline"
    assert outcome.state != "success" or without_time(outcome.xcom) == REPORT


@pytest.mark.parametrize("flag", FLAGS)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("case", PERMANENT.values(), ids=PERMANENT)
def test_a_permanent_error_ends_a_waiting_sensor_like_an_error_of_the_first_poll(
    make_sensor: MakeSensor, leadmagic_sandbox: Sandbox, other_host: Sandbox, case: Case, mode: str, flag: str
) -> None:
    leadmagic_sandbox.fail_next("/v1/credits", body='{"credits": 1}', content_type="application/json")
    queue_fault(leadmagic_sandbox, other_host, case)

    outcome = run_to_end(make_sensor(**MODES[mode], **FLAGS[flag]))

    assert (outcome.state, outcome.error) == case.ends[flag], outcome.message
    assert len(leadmagic_sandbox.requests_to("/v1/credits")) == 2


def queue_fault(sandbox: Sandbox, other_host: Sandbox, case: Case) -> None:
    if case.fault:
        target = {"redirect_to": other_host.url} if "redirect_to" in case.fault else {}
        sandbox.fail_next("/v1/credits", times=case.times, **{**case.fault, **target})


def without_time(report: dict[str, Any]) -> dict[str, Any]:
    assert report["observed_at"]
    return {name: value for name, value in report.items() if name != "observed_at"}


@pytest.mark.parametrize("flag", FLAGS)
@pytest.mark.parametrize("mode", MODES)
def test_an_unrelated_exception_ends_every_mode_alike(
    make_sensor: MakeSensor, mocker: MockerFixture, mode: str, flag: str
) -> None:
    method = "airflow_provider_leadmagic.hooks.leadmagic.LeadMagicHook.get_connection"
    mocker.patch(method, side_effect=RuntimeError("Airflow's API server is unavailable"))

    outcome = run_to_end(make_sensor(**MODES[mode], **FLAGS[flag]))

    assert (outcome.state, outcome.error) == fails_with("RuntimeError")[flag]
