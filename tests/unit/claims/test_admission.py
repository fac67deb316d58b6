"""How a running task decides about its claim: the requests, their sequence, and when a decision is discarded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import pytest
from pytest_mock import MockerFixture

from airflow_provider_leadmagic.claims import admission as module
from airflow_provider_leadmagic.claims.admission import LONGEST_DECISION, Decision, ReadBalance, admission, decide
from airflow_provider_leadmagic.compat.metadata import (
    ReadActiveRuns,
    ReadTaskStates,
    ReadVariable,
    TaskKey,
    WriteVariable,
)
from airflow_provider_leadmagic.decisions.claims import NOTHING_SEEN
from airflow_provider_leadmagic.decisions.ledger import Claim, Ledger, SpendingTask
from airflow_provider_leadmagic.exceptions import ClaimsError

VARIABLE = "leadmagic_claims_leadmagic"
TASK = TaskKey("night", "run", "sensor")
OTHER = TaskKey("day", "run", "sensor")
CLAIM = Claim(TASK, Decimal(500), since=1000.0)


class Airflow:
    """Responds to the requests of a decision. ``before[kind, n]`` is called before the n-th request of a kind."""

    def __init__(self, *claims: Claim, balance: int = 500) -> None:
        self.text = Ledger(claims, "leadmagic").to_text() if claims else None
        self.states: dict[TaskKey, str | None] = {TASK: "running", OTHER: "deferred"}
        self.balance, self.now = balance, 2000.0
        self.asked: list[Any] = []
        self.before: dict[tuple[type, int], Callable[[], None]] = {}

    def decide(self, claim: Claim = CLAIM) -> Decision:
        steps = admission("leadmagic", claim, NOTHING_SEEN, lambda: self.now)
        try:
            question = next(steps)
            while True:
                question = steps.send(self.respond(question))
        except StopIteration as end:
            return end.value

    def respond(self, question: Any) -> Any:
        self.asked.append(question)
        number = sum(type(each) is type(question) for each in self.asked)
        self.before.get((type(question), number), lambda: None)()
        match question:
            case ReadVariable():
                return self.text
            case WriteVariable(value=text):
                self.text = text
            case ReadActiveRuns(run_ids=runs):
                return frozenset(runs)
            case ReadTaskStates(dag_id=dag):
                return {task: state for task, state in self.states.items() if task.dag_id == dag}
            case ReadBalance():
                return SimpleNamespace(spendable=Decimal(self.balance))
        return None

    @property
    def ledger(self) -> Ledger:
        return Ledger.from_text(self.text, VARIABLE)


def test_states_are_read_before_the_balance_and_checked_once_more_before_the_ledger_is_written() -> None:
    airflow = Airflow(replace(CLAIM, task=OTHER, since=1.0))

    airflow.decide()

    assert [type(question).__name__ for question in airflow.asked] == [
        "ReadVariable",
        *["ReadTaskStates", "ReadActiveRuns"] * 2,  # of two DAGs
        "ReadBalance",
        "ReadVariable",
        "ReadTaskStates",
        "WriteVariable",
    ]
    assert airflow.asked[-2] == ReadTaskStates("night", ("run",), ("sensor",))
    assert airflow.asked[-1].key == VARIABLE


def test_a_task_that_is_granted_its_credits_saves_the_time_of_the_grant() -> None:
    airflow = Airflow()

    assert airflow.decide().standing.is_granted
    assert airflow.ledger.claims == (replace(CLAIM, granted_at=2000.0),)


def test_a_task_that_waits_saves_its_place_in_the_queue() -> None:
    airflow = Airflow(balance=499)

    assert not airflow.decide().standing.is_granted
    assert airflow.ledger.claims == (CLAIM,)


def test_a_task_that_polls_again_keeps_its_place_and_saves_its_new_values() -> None:
    airflow = Airflow(CLAIM, balance=499)

    airflow.decide(replace(CLAIM, since=1900.0, priority=9))

    assert airflow.ledger.claims == (replace(CLAIM, priority=9),)


def test_nothing_is_written_if_nothing_has_changed() -> None:
    airflow = Airflow(CLAIM, balance=499)

    assert not airflow.decide(replace(CLAIM, since=1900.0)).standing.is_granted
    assert WriteVariable not in map(type, airflow.asked)


@pytest.mark.parametrize("state", ["success", "failed", "removed", "skipped"])
def test_a_task_that_airflow_considers_ended_does_not_decide(state: str) -> None:
    airflow = Airflow()
    airflow.states[TASK] = state

    with pytest.raises(ClaimsError, match=rf"^No credits claimed: Airflow no longer runs this .* \(state '{state}'\)"):
        airflow.decide()

    assert ReadBalance not in map(type, airflow.asked)


@pytest.mark.parametrize("state", ["up_for_retry", "restarting", "failed", "success", "queued", None])
def test_a_task_that_airflow_considers_lost_while_it_decides_writes_nothing(state: str | None) -> None:
    airflow = Airflow()
    airflow.before[ReadTaskStates, 2] = lambda: airflow.states.update({TASK: state})

    with pytest.raises(ClaimsError, match=r"^No credits claimed: Airflow no longer runs this attempt") as caught:
        airflow.decide()

    assert airflow.text is None
    assert not caught.value.transient


def test_a_task_that_is_deleted_while_it_decides_writes_nothing() -> None:
    airflow = Airflow()
    airflow.before[ReadTaskStates, 2] = airflow.states.clear

    with pytest.raises(ClaimsError, match="state 'removed'"):
        airflow.decide()


@pytest.mark.parametrize(("seconds", "is_discarded"), [(LONGEST_DECISION, False), (LONGEST_DECISION + 1, True)])
def test_a_decision_that_took_too_long_is_discarded(seconds: float, is_discarded: bool) -> None:
    airflow = Airflow()
    airflow.before[ReadTaskStates, 2] = lambda: setattr(airflow, "now", airflow.now + seconds)

    if not is_discarded:
        assert airflow.decide().standing.is_granted
        return
    with pytest.raises(ClaimsError, match=r"^Claim decision discarded: it took 26 s, and the limit") as caught:
        airflow.decide()
    assert airflow.text is None
    assert caught.value.transient


def test_a_decision_is_discarded_if_another_process_has_decided_meanwhile() -> None:
    airflow = Airflow()
    written = Ledger((replace(CLAIM, task=OTHER, granted_at=1999.0),)).to_text()
    airflow.before[ReadVariable, 2] = lambda: setattr(airflow, "text", written)

    with pytest.raises(ClaimsError, match=r"^Claim decision discarded: another task changed") as caught:
        airflow.decide()

    assert airflow.text == written
    assert caught.value.transient


@pytest.mark.parametrize("state", ["queued", "running"])
def test_another_task_in_the_slot_is_an_error_that_names_pool_and_task(state: str) -> None:
    airflow = Airflow(replace(CLAIM, task=OTHER))
    airflow.states[OTHER] = state

    with pytest.raises(ClaimsError, match=r"^Pool 'leadmagic' must have exactly 1 slot.*'sensor' of DAG 'day'"):
        airflow.decide()

    assert ReadBalance not in map(type, airflow.asked)


@pytest.mark.parametrize("state", [None, "scheduled", "deferred", "up_for_reschedule", "up_for_retry", "success"])
def test_a_task_that_occupies_no_slot_is_not_an_error(state: str | None) -> None:
    airflow = Airflow(replace(CLAIM, task=OTHER), balance=5000)
    airflow.states[OTHER] = state

    assert airflow.decide().standing.is_granted


def test_the_clock_is_read_before_the_balance_because_a_slow_response_has_an_old_balance() -> None:
    settles = replace(CLAIM, task=OTHER, granted_at=1000.0, ended_at=1941.0)  # counts until 2001
    airflow = Airflow(settles)
    airflow.states[OTHER] = "failed"
    airflow.before[ReadBalance, 1] = lambda: setattr(airflow, "now", 2010.0)

    assert not airflow.decide().standing.is_granted


@pytest.mark.parametrize("is_spent_by_claimant", [False, True], ids=["sensor", "bulk task"])
def test_the_earlier_claim_of_a_cleared_task_counts_until_it_has_settled(is_spent_by_claimant: bool) -> None:
    claim = replace(CLAIM, is_spent_by_claimant=is_spent_by_claimant)
    airflow = Airflow(replace(claim, granted_at=1500.0), balance=900)

    assert not airflow.decide(claim).standing.is_granted
    airflow.now += 59.0
    assert not airflow.decide(claim).standing.is_granted
    airflow.now += 1.0
    assert airflow.decide(claim).standing.is_granted


def test_others_do_not_wait_for_a_task_that_has_lost_its_place_until_it_has_decided_again() -> None:
    absent = replace(CLAIM, task=OTHER, since=1.0, affordable_since=1000.0)  # for example, its DAG is paused
    airflow = Airflow(replace(absent, credits=Decimal(501)), balance=500)  # too much at the moment
    assert airflow.decide(replace(CLAIM, credits=Decimal(501))).standing.is_granted is False
    airflow.balance = 501

    assert airflow.decide().standing.is_granted


def test_a_task_that_was_overtaken_and_has_decided_holds_up_others_again() -> None:
    absent = replace(CLAIM, task=OTHER, since=1.0, affordable_since=1000.0)
    airflow = Airflow(absent, CLAIM, balance=499)
    airflow.states |= {OTHER: "running", TASK: "deferred"}
    assert not airflow.decide(absent).standing.is_granted
    airflow.states |= {OTHER: "deferred", TASK: "running"}
    airflow.balance = 500

    assert not airflow.decide().standing.is_granted


UPSTREAM = replace(CLAIM, task=TASK._replace(task_id="before"), granted_at=900.0)
DOWNSTREAM = replace(CLAIM, attempt=1, replaces=(SpendingTask("before"),))


def after_upstream(upstream: Claim) -> Airflow:
    airflow = Airflow(upstream, DOWNSTREAM, balance=500)
    airflow.states[upstream.task] = "success"
    return airflow


def test_an_upstream_claim_stops_counting_a_settle_time_after_the_first_poll_of_the_downstream_task() -> None:
    assert after_upstream(UPSTREAM).decide(replace(DOWNSTREAM, since=2000.0)).standing.is_granted


@pytest.mark.parametrize(
    ("attempt", "granted_at"), [(2, 900.0), (1, 1500.0)], ids=["cleared", "run deleted and created again"]
)
def test_an_upstream_claim_settles_again_if_more_may_have_been_spent(attempt: int, granted_at: float) -> None:
    airflow = after_upstream(replace(UPSTREAM, granted_at=granted_at))
    polls = replace(DOWNSTREAM, since=2000.0, attempt=attempt)

    assert not airflow.decide(polls).standing.is_granted
    airflow.now += 60.0
    assert airflow.decide(polls).standing.is_granted


@pytest.mark.parametrize("text", ["", "{}", '{"version": 2, "claims": []}'])
def test_a_ledger_that_cannot_be_read_grants_nothing(text: str) -> None:
    airflow = Airflow()
    airflow.text = text

    with pytest.raises(ClaimsError, match=VARIABLE):
        airflow.decide()


def test_decide_sends_requests_to_airflow_and_leadmagic_and_reports_the_claims(mocker: MockerFixture) -> None:
    airflow = Airflow(replace(CLAIM, task=OTHER), balance=5000)
    mocker.patch.object(module, "ask", airflow.respond)
    mocker.patch.object(module.time, "time", return_value=2000.0)
    report = mocker.patch.object(module, "report_claims")

    decision = decide("leadmagic", CLAIM, lambda: airflow.respond(ReadBalance()))

    assert decision.balance.spendable == 5000
    assert decision.standing == decision.standings.by_task[TASK]
    report.assert_called_once_with("leadmagic", Decimal(0), Decimal(5000), 1)
