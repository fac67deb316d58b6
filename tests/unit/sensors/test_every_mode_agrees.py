"""One table: whatever LeadMagic says, poke, reschedule and deferrable end alike."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_leadmagic.sandbox.sandbox import Sandbox
from tests.support.sensor_runner import MODES, run_to_the_end

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_mock import MockerFixture

    from tests.unit.sensors.conftest import MakeGate

FLAGS: dict[str, dict[str, Any]] = {"plain": {}, "soft_fail": {"soft_fail": True}, "never_fail": {"never_fail": True}}

OPENS = {"plain": ("success", None), "soft_fail": ("success", None), "never_fail": ("success", None)}
TIMES_OUT = {
    "plain": ("failed", "AirflowSensorTimeout"),
    "soft_fail": ("skipped", None),
    "never_fail": ("skipped", None),
}


def fails_with(error: str) -> dict[str, tuple[str, str | None]]:
    """What waiting cannot mend fails also under soft_fail: a wrong key must not end as a green run."""
    return {"plain": ("failed", error), "soft_fail": ("failed", error), "never_fail": ("skipped", None)}


@dataclass(frozen=True)
class Case:
    """What LeadMagic says, to the first looks or to all, and how the gate must end."""

    ends: dict[str, tuple[str, str | None]]
    fault: dict[str, Any] = field(default_factory=dict)
    times: int | None = 2
    timeout: float = 20
    frozen: bool = False
    arguments: dict[str, Any] = field(default_factory=dict)


def answers(body: str, ends: dict[str, tuple[str, str | None]]) -> Case:
    return Case(ends, {"body": body, "content_type": "application/json"})


CASES = {
    "enough": Case(OPENS),
    "not yet, then enough": answers('{"credits": 99.95}', OPENS),
    "frozen": Case(TIMES_OUT, frozen=True, timeout=0.15),
    "401": Case(fails_with("LeadMagicAuthenticationError"), {"status": 401}),
    "403": Case(fails_with("LeadMagicPermissionError"), {"status": 403}),
    "429 with Retry-After": Case(OPENS, {"status": 429, "retry_after": "0.1"}),
    "429 without Retry-After": Case(OPENS, {"status": 429}),
    "429 for ever": Case(TIMES_OUT, {"status": 429}, times=None, timeout=0.15),
    "500": Case(OPENS, {"status": 500}),
    "dropped connection": Case(OPENS, {"drop": True}),
    "timeout": Case(OPENS, {"delay": 0.2}, arguments={"leadmagic_conn_id": "impatient"}),
    "Retry-After beyond the timeout": Case(TIMES_OUT, {"status": 429, "retry_after": "3600"}, times=1, timeout=0.15),
    "interval beyond the timeout": Case(
        TIMES_OUT, {"status": 500}, times=1, timeout=0.15, arguments={"poke_interval": 0.3}
    ),
    "no time at all": Case(TIMES_OUT, {"status": 500}, times=1, timeout=0),
    "no time at all, and enough": Case(OPENS, timeout=0),
    "HTML with status 200": Case(OPENS, {"body": "<html>sorry</html>", "content_type": "text/html"}),
    "cut-off body": Case(OPENS, {"truncate": True}),
    "JSON without credits": answers("{}", fails_with("LeadMagicResponseError")),
    "credits true": answers('{"credits": true}', fails_with("LeadMagicResponseError")),
    "credits NaN": answers('{"credits": NaN}', fails_with("LeadMagicResponseError")),
    "credits '12'": answers('{"credits": "12"}', fails_with("LeadMagicResponseError")),
    "credits null": answers('{"credits": null}', fails_with("LeadMagicResponseError")),
    "redirect to another host": Case(fails_with("LeadMagicResponseError"), {"redirect_to": "elsewhere"}),
}

#: The cases that waiting cannot mend.
FATAL = {name: case for name, case in CASES.items() if case.ends["plain"][1] not in (None, "AirflowSensorTimeout")}

OPENED_BY = {
    "credits": 1000,
    "spendable": 1000,
    "is_frozen": False,
    "freeze_message": None,
    "minimum_credits": 100,
    "sufficient": True,
}


@pytest.fixture(scope="module")
def elsewhere() -> Iterator[Sandbox]:
    with Sandbox() as other:
        yield other


@pytest.mark.parametrize("flag", FLAGS)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_gate_ends_alike_in_every_mode(
    gate: MakeGate, leadmagic_sandbox: Sandbox, elsewhere: Sandbox, case: Case, mode: str, flag: str
) -> None:
    if case.frozen:
        leadmagic_sandbox.freeze("payment overdue")
    queue_fault(leadmagic_sandbox, elsewhere, case)

    outcome = run_to_the_end(gate(timeout=case.timeout, **case.arguments, **MODES[mode], **FLAGS[flag]))

    assert (outcome.state, outcome.error) == case.ends[flag], outcome.message
    assert case.times != 1 or len(leadmagic_sandbox.requests) == 1, "there is no look after the deadline"
    assert outcome.state != "success" or without_time(outcome.xcom) == OPENED_BY


@pytest.mark.parametrize("flag", FLAGS)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("case", FATAL.values(), ids=FATAL)
def test_what_a_waiting_gate_meets_ends_it_as_on_the_first_look(
    gate: MakeGate, leadmagic_sandbox: Sandbox, elsewhere: Sandbox, case: Case, mode: str, flag: str
) -> None:
    leadmagic_sandbox.fail_next("/v1/credits", body='{"credits": 1}', content_type="application/json")
    queue_fault(leadmagic_sandbox, elsewhere, case)

    outcome = run_to_the_end(gate(**MODES[mode], **FLAGS[flag]))

    assert (outcome.state, outcome.error) == case.ends[flag], outcome.message
    assert len(leadmagic_sandbox.requests_to("/v1/credits")) == 2


def queue_fault(sandbox: Sandbox, elsewhere: Sandbox, case: Case) -> None:
    if case.fault:
        target = {"redirect_to": elsewhere.url} if "redirect_to" in case.fault else {}
        sandbox.fail_next("/v1/credits", times=case.times, **{**case.fault, **target})


def without_time(report: dict[str, Any]) -> dict[str, Any]:
    assert report["observed_at"]
    return {name: value for name, value in report.items() if name != "observed_at"}


@pytest.mark.parametrize("flag", FLAGS)
@pytest.mark.parametrize("mode", MODES)
def test_a_failure_that_is_none_of_ours_ends_every_mode_alike_too(
    gate: MakeGate, mocker: MockerFixture, mode: str, flag: str
) -> None:
    away = "airflow_provider_leadmagic.hooks.leadmagic.LeadMagicHook.get_connection"
    mocker.patch(away, side_effect=RuntimeError("Airflow's API server is away"))

    outcome = run_to_the_end(gate(**MODES[mode], **FLAGS[flag]))

    assert (outcome.state, outcome.error) == fails_with("RuntimeError")[flag]
