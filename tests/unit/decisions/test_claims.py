"""Which claims count, and which waiting task is granted its credits."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from airflow_provider_leadmagic.compat.metadata import ReadActiveRuns, ReadTaskStates, TaskKey
from airflow_provider_leadmagic.decisions.claims import (
    FINISHED,
    NOTHING_SEEN,
    Seen,
    Survey,
    held_claims,
    observe,
    queue,
    standings,
    survey,
)
from airflow_provider_leadmagic.decisions.ledger import Claim, Ledger, SpendingTask

NOW = 100_000.0
RUN = ("night", "run")
WAITING = [None, "scheduled", "queued", "running", "deferred", "up_for_reschedule", "up_for_retry", "restarting"]
NOT_GRANTED = sorted(FINISHED - {"success"})


def claim_of(run: str = "run", credits: int = 500, task_id: str = "sensor", index: int = -1, **options: Any) -> Claim:
    return Claim(TaskKey("night", run, task_id, index), Decimal(credits), **{"since": NOW - 1000, **options})


def found(
    claims: Mapping[Claim, str | None], work: Mapping[TaskKey, str | None] | None = None, ended: Iterable[str] = ()
) -> Survey:
    """Return a survey with the states of the tasks of claims. All runs are active except those that have ended."""
    states = {claim.task: state for claim, state in claims.items() if state != "missing"}
    return Survey(states | dict(work or {}), {claim.run for claim in claims if claim.task.run_id not in ended})


def work(state: str | None, task_id: str = "work", index: int = -1) -> dict[TaskKey, str | None]:
    return {TaskKey(*RUN, task_id, index): state}


# What the states of its task mean for a claim

SENSOR = claim_of()
OPERATOR = claim_of(is_spent_by_claimant=True)
GRANTED = claim_of(is_spent_by_claimant=True, granted_at=NOW - 10)


@pytest.mark.parametrize(
    ("claim", "states", "expected"),
    [
        (SENSOR, WAITING, "waits"),
        (SENSOR, ["success"], "holds"),
        (SENSOR, [*NOT_GRANTED, "missing"], None),
        (replace(SENSOR, granted_at=NOW), WAITING, "waits"),
        (replace(SENSOR, granted_at=NOW), ["success"], "holds"),
        (replace(SENSOR, granted_at=NOW), [*NOT_GRANTED, "missing"], "has_ended"),
        (OPERATOR, WAITING, "waits"),
        (OPERATOR, [*FINISHED, "missing"], None),
        (GRANTED, WAITING, "holds"),
        (GRANTED, [*FINISHED, "missing"], "has_ended"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_state_of_its_task_determines_whether_a_claim_holds_waits_or_has_ended(
    claim: Claim, states: list[str | None], expected: str | None
) -> None:
    for state in states:
        says = found({claim: state})
        kinds = {"holds": says.holds(claim), "waits": says.waits(claim), "has_ended": says.has_ended(claim)}
        assert [kind for kind, is_true in kinds.items() if is_true] == ([expected] if expected else []), state


@pytest.mark.parametrize("claim", [SENSOR, replace(SENSOR, granted_at=NOW), OPERATOR, GRANTED])
@pytest.mark.parametrize("state", [*WAITING, "success", "missing"])
def test_in_a_run_that_has_ended_no_claim_holds_or_waits(claim: Claim, state: str | None) -> None:
    says = found({claim: state}, ended=["run"])

    assert not says.holds(claim)
    assert not says.waits(claim)
    assert says.has_ended(claim) == (claim.granted_at is not None)


ALL, FIRST = (SpendingTask("work"),), (SpendingTask("work", 1),)
BOTH = (SpendingTask("work"), SpendingTask("more"))


@pytest.mark.parametrize(
    ("spent_by", "states", "holds"),
    [
        ((), work("success"), True),
        (ALL, {}, True),  # not expanded yet, or renamed
        (ALL, work(None), True),
        (ALL, work("running"), True),
        (ALL, work("up_for_retry"), True),
        (ALL, work("success"), False),
        (ALL, work("failed"), False),
        (ALL, work("skipped"), False),
        (ALL, work("removed"), False),
        (ALL, work("success", index=0) | work("running", index=1), True),
        (ALL, work("success", index=0) | work("failed", index=1), False),
        (FIRST, work("success", index=0), True),
        (FIRST, work("running", index=0) | work("success", index=1), False),
        (FIRST, work("success", index=0) | work("running", index=1), True),
        (BOTH, work("success"), True),
        (BOTH, work("success") | work(None, "more"), True),
        (BOTH, work("success") | work("success", "more"), False),
    ],
)
def test_a_claim_ends_when_all_tasks_that_spend_it_have_finished(
    spent_by: tuple[SpendingTask, ...], states: dict[TaskKey, str | None], holds: bool
) -> None:
    claim = claim_of(spent_by=spent_by, granted_at=NOW)

    says = found({claim: "success"}, states)

    assert says.holds(claim) == holds
    assert says.has_ended(claim) == (not holds)


def test_a_survey_asks_two_questions_for_each_dag() -> None:
    claims = [claim_of("a", spent_by=ALL), claim_of("b"), Claim(TaskKey("day", "a", "gate"), Decimal(1), since=0.0)]
    steps = survey(Ledger(tuple(claims)))

    assert next(steps) == ReadTaskStates("day", ("a",), ("gate",))
    assert steps.send({claims[2].task: "success"}) == ReadActiveRuns("day", ("a",))
    assert steps.send(frozenset({"a"})) == ReadTaskStates("night", ("a", "b"), ("sensor", "work"))
    assert steps.send({claims[0].task: "running"}) == ReadActiveRuns("night", ("a", "b"))
    with pytest.raises(StopIteration) as end:
        steps.send(frozenset({"a"}))

    says = end.value.value
    assert [says.state(claim.task) for claim in claims] == ["running", "removed", "success"]
    assert [says.is_active(claim) for claim in claims] == [True, False, True]


# When claims begin and end


def observed(claim: Claim, says: Survey, seen: Seen = NOTHING_SEEN) -> Claim | None:
    return observe(Ledger((claim,)), says, NOW, seen).find(claim.task)


def test_a_claim_begins_when_it_is_seen_that_a_user_marked_the_task_success() -> None:
    assert observed(SENSOR, found({SENSOR: "success"})) == replace(SENSOR, granted_at=NOW)


def test_the_first_time_at_which_a_claim_was_seen_to_have_ended_is_kept() -> None:
    claim = claim_of(granted_at=NOW - 100)
    ended = observed(claim, found({claim: "failed"}))

    assert ended == replace(claim, ended_at=NOW)
    assert observe(Ledger((ended,)), found({claim: "failed"}), NOW + 30) == Ledger((ended,))


def test_the_claim_of_a_sensor_that_was_granted_it_and_still_runs_has_not_ended() -> None:
    claim = claim_of(granted_at=NOW - 100)

    assert observed(claim, found({claim: "running"}), Seen({claim.task: 30.0}, {})) == claim


@pytest.mark.parametrize(
    ("ended_at", "seen", "expected"),
    [
        (None, None, NOW),
        (None, 30.0, NOW - 30),
        (None, 100.0, NOW),  # the end of an earlier grant does not count
        (NOW - 20, 30.0, NOW - 30),
        (NOW - 40, 30.0, NOW - 40),
        (NOW - 40, None, NOW - 40),
    ],
)
def test_a_claim_ended_when_triggerer_or_worker_first_saw_its_end(
    ended_at: float | None, seen: float | None, expected: float
) -> None:
    claim = claim_of(granted_at=NOW - 100, ended_at=ended_at)

    after = observed(claim, found({claim: "failed"}), Seen({} if seen is None else {claim.task: seen}, {}))

    assert after is not None
    assert after.ended_at == expected


def test_a_claim_whose_spending_task_was_cleared_starts_over() -> None:
    claim = claim_of(granted_at=NOW - 200, ended_at=NOW - 100, spent_by=ALL)

    assert observed(claim, found({claim: "success"}, work("running"))) == replace(claim, granted_at=NOW, ended_at=None)


@pytest.mark.parametrize(
    ("affordable_since", "seen", "expected"),
    [(None, 30.0, NOW - 30), (NOW - 50, 30.0, NOW - 50), (NOW - 10, 30.0, NOW - 30), (NOW - 50, None, NOW - 50)],
)
def test_affordable_since_is_when_triggerer_or_worker_first_saw_enough_credits(
    affordable_since: float | None, seen: float | None, expected: float
) -> None:
    claim = claim_of(affordable_since=affordable_since)

    after = observed(claim, found({claim: "deferred"}), Seen({}, {} if seen is None else {claim.task: seen}))

    assert after is not None
    assert after.affordable_since == expected


def test_seen_has_the_times_of_the_ledger_as_seconds_before_now() -> None:
    ended, affordable = claim_of("a", granted_at=1.0, ended_at=NOW - 7), claim_of("b", affordable_since=NOW - 9)

    seen = Seen.in_ledger(Ledger((ended, affordable, claim_of("c"))), NOW)

    assert seen == Seen({ended.task: 7.0}, {affordable.task: 9.0})


@pytest.mark.parametrize(
    ("claim", "state", "ended", "is_kept"),
    [
        (SENSOR, "deferred", False, True),
        (SENSOR, "success", False, True),
        (SENSOR, "failed", False, True),  # a user can still mark it success
        (SENSOR, "missing", False, False),
        (SENSOR, "failed", True, False),
        (SENSOR, "success", True, False),
        (claim_of(earlier=Decimal(70), earlier_ended_at=NOW - 59), "missing", True, True),
        (claim_of(earlier=Decimal(70), earlier_ended_at=NOW - 60), "missing", True, False),
        (claim_of(granted_at=NOW - 9), "missing", True, True),
        (claim_of(granted_at=1.0, ended_at=NOW - 3599.0), "success", True, True),
        (claim_of(granted_at=1.0, ended_at=NOW - 3600.0), "success", True, False),
        (claim_of(granted_at=1.0, ended_at=NOW - 3600.0, settle=3601.0), "success", True, True),
        (claim_of(granted_at=1.0, ended_at=NOW - 3600.0), "failed", False, True),  # it can be cleared
    ],
)
def test_a_claim_is_kept_while_it_can_count_again(claim: Claim, state: str, ended: bool, is_kept: bool) -> None:
    says = found({claim: state}, ended=["run"] if ended else [])

    assert (observed(claim, says) is not None) == is_kept


def test_a_task_that_is_cleared_after_its_run_has_ended_counts_again() -> None:
    claim = claim_of(granted_at=NOW - 900, ended_at=NOW - 800)
    ledger = observe(Ledger((claim,)), found({claim: "success"}, ended=["run"]), NOW)
    assert held_claims(ledger, found({claim: "success"}, ended=["run"]), NOW) == []

    active = found({claim: "success"})
    ledger = observe(ledger, active, NOW)

    assert [held.task for held in held_claims(ledger, active, NOW)] == [claim.task]


# Which claims count


def credits_held(*claims: Claim, says: Survey) -> Decimal:
    return sum((claim.credits for claim in held_claims(Ledger(claims), says, NOW)), Decimal(0))


@pytest.mark.parametrize(
    ("claim", "state", "credits"),
    [
        (SENSOR, "deferred", 0),
        (claim_of(granted_at=NOW), "success", 500),
        (claim_of(granted_at=1.0, ended_at=NOW - 59), "failed", 500),
        (claim_of(granted_at=1.0, ended_at=NOW - 60), "failed", 0),
        (claim_of(granted_at=1.0, ended_at=NOW, settle=0.0), "failed", 0),
        (claim_of(granted_at=1.0, ended_at=NOW - 59), "running", 500),  # cleared, and waits again
        (claim_of(earlier=Decimal(70), earlier_ended_at=NOW - 59), "running", 70),
        (claim_of(earlier=Decimal(70), earlier_ended_at=NOW - 60), "running", 0),
        (claim_of(granted_at=NOW, earlier=Decimal(70), earlier_ended_at=NOW - 59), "success", 570),
    ],
)
def test_a_claim_counts_while_it_holds_and_until_it_has_settled(claim: Claim, state: str, credits: int) -> None:
    assert credits_held(claim, says=found({claim: state})) == credits


UPSTREAM = claim_of(task_id="first", granted_at=1.0)
SECOND = claim_of(credits=300, granted_at=NOW - 20, replaces=(SpendingTask("first"),), since=NOW - 60)


@pytest.mark.parametrize(
    ("second", "state", "credits"),
    [
        (SECOND, "success", 300),
        (replace(SECOND, since=NOW - 59), "success", 800),  # the balance may not show yet what the first one spent
        (replace(SECOND, granted_at=None), "running", 500),
        (replace(SECOND, ended_at=NOW - 1), "failed", 300),
        (replace(SECOND, ended_at=NOW - 60), "failed", 0),
        (replace(SECOND, replaces=(SpendingTask("first"), SpendingTask("other"))), "success", 300),
        (replace(SECOND, replaces=()), "success", 800),
        (replace(SECOND, replaces=(SpendingTask("first", 0),)), "success", 800),  # of a mapped task group
        (replace(SECOND, task=SECOND.task._replace(run_id="other")), "success", 800),
    ],
)
def test_a_claim_replaces_those_of_upstream_tasks_of_its_run(second: Claim, state: str, credits: int) -> None:
    assert credits_held(UPSTREAM, second, says=found({UPSTREAM: "success", second: state})) == credits


# Who is granted credits


def decide(spendable: int, holding: list[Claim], waiting: list[Claim], now: float = NOW) -> Any:
    says = found(dict.fromkeys(holding, "success") | dict.fromkeys(waiting, "deferred"))
    ledger = observe(Ledger((*holding, *waiting)), says, now)
    return standings(ledger, says, Decimal(spendable), now)


def granted(spendable: int, holding: list[Claim], waiting: list[Claim]) -> list[str]:
    result = decide(spendable, holding, waiting)
    return [task.run_id for task, standing in result.by_task.items() if standing.is_granted]


A, B, C = (claim_of(run, credits=300, since=NOW - 900 + place) for place, run in enumerate("abc"))
HELD = [claim_of("held", credits=500, granted_at=1.0)]
BIG, HURRIED = replace(A, credits=Decimal(900)), replace(C, priority=2)
LATE = replace(A, affordable_since=NOW - A.patience)
ALMOST_LATE = replace(A, affordable_since=NOW - A.patience + 1)


@pytest.mark.parametrize(
    ("spendable", "holding", "waiting", "expected"),
    [
        (300, [], [A], ["a"]),
        (299, [], [A], []),
        (799, HELD, [A], []),
        (800, HELD, [A], ["a"]),
        (599, [], [A, B], ["a"]),
        (600, [], [B, A], ["a", "b"]),
        (899, [], [A, B, C], ["a", "b"]),
        (300, [], [A, HURRIED], ["c"]),
        (300, [], [BIG, B], ["b"]),  # first fit: one that cannot be granted its credits does not hold up others
        (300, [], [ALMOST_LATE, B], ["a"]),
        (300, [], [LATE, B], ["a", "b"]),  # both may try now, and the one that decides first gets the credits
        (309, [], [replace(A, reserve=Decimal(10))], []),
        (310, [], [replace(A, reserve=Decimal(10))], ["a"]),
        (610, [], [replace(A, reserve=Decimal(10)), B], ["a", "b"]),  # enough for both and for the reserve of A
        (609, [], [replace(A, reserve=Decimal(10)), B], ["a"]),  # until A has decided, B cannot count on its reserve
    ],
)
def test_credits_are_granted_by_priority_and_then_by_the_time_of_the_first_poll(
    spendable: int, holding: list[Claim], waiting: list[Claim], expected: list[str]
) -> None:
    assert granted(spendable, holding, waiting) == expected


def test_the_queue_is_in_the_order_in_which_credits_are_granted() -> None:
    says = found({A: "deferred", B: None, HURRIED: "running", HELD[0]: "success"})

    assert queue(Ledger((B, HURRIED, HELD[0], A)), says) == [HURRIED, A, B]


@pytest.mark.parametrize(
    ("spendable", "since", "is_granted"), [(500, 60, True), (499, 60, False), (500, 59, False), (1000, 59, True)]
)
def test_the_claim_of_an_upstream_task_does_not_count_once_its_work_has_settled(
    spendable: int, since: int, is_granted: bool
) -> None:
    second = claim_of(task_id="second", replaces=(SpendingTask("sensor"),), since=NOW - since)

    result = decide(spendable, [claim_of(granted_at=1.0)], [second])

    assert result.by_task[second.task].is_granted == is_granted


@pytest.mark.parametrize(("spendable", "is_granted"), [(799, False), (800, True)])
def test_a_task_that_replaces_a_larger_claim_leaves_the_rest_to_the_tasks_behind(
    spendable: int, is_granted: bool
) -> None:
    second = claim_of(credits=300, task_id="second", replaces=(SpendingTask("sensor"),))

    result = decide(spendable, [claim_of(granted_at=1.0)], [second, B])

    assert result.by_task[B.task].is_granted == is_granted


@pytest.mark.parametrize(("spendable", "is_granted"), [(569, False), (570, True)])
def test_the_claim_of_an_earlier_attempt_counts_against_the_task_itself(spendable: int, is_granted: bool) -> None:
    claim = claim_of(earlier=Decimal(70), earlier_ended_at=NOW - 30)

    assert decide(spendable, [], [claim]).by_task[claim.task].is_granted == is_granted


def test_a_standing_has_the_claims_of_others_and_the_number_of_tasks_ahead() -> None:
    mapped = [claim_of("held", credits=100, index=index, granted_at=1.0) for index in range(3)]

    standing = decide(1000, [*HELD, *mapped], [A, B]).by_task[B.task]

    assert standing == (False, Decimal(1000 - 800 - 0), Decimal(800), 1, 1)


def test_the_run_of_the_task_is_not_counted_among_the_others() -> None:
    second = claim_of(task_id="second", replaces=(SpendingTask("sensor"),))

    standing = decide(700, [claim_of(granted_at=1.0), *HELD], [second]).by_task[second.task]

    assert (standing.available, standing.claimed, standing.runs) == (200, 500, 1)


def test_affordable_since_is_kept_until_the_credits_no_longer_suffice() -> None:
    assert decide(300, [], [A]).ledger.find(A.task).affordable_since == NOW
    waiting = replace(A, affordable_since=NOW - 50)
    assert decide(300, [], [waiting]).ledger.find(A.task).affordable_since == NOW - 50
    assert decide(299, [], [waiting]).ledger.find(A.task).affordable_since is None
    assert decide(299, [], [LATE]).ledger.find(A.task) == LATE  # overtaken until it decides


SETTLES = claim_of("held", granted_at=1.0, ended_at=NOW - 45)


@pytest.mark.parametrize(
    ("claims", "states", "seconds"),
    [
        ([A], ["deferred"], math.inf),
        ([SETTLES], ["failed"], 15.0),
        ([claim_of(earlier=Decimal(70), earlier_ended_at=NOW - 50)], ["running"], 10.0),
        ([replace(A, credits=Decimal(100))], ["deferred"], 660.0),
        ([replace(A, credits=Decimal(100), affordable_since=NOW - 600)], ["deferred"], 60.0),
        ([UPSTREAM, replace(SECOND, granted_at=None, since=NOW - 25)], ["success", "running"], 35.0),
        ([UPSTREAM, replace(SECOND, since=NOW - 40)], ["success", "success"], 20.0),
        ([UPSTREAM, replace(SECOND, granted_at=None)], ["success", "running"], math.inf),  # it has replaced the claim
        ([UPSTREAM, replace(SECOND, since=NOW - 25, replaces=FIRST)], ["success", "success"], math.inf),
        ([SETTLES, claim_of("later", granted_at=1.0, ended_at=NOW - 30)], ["failed", "failed"], 15.0),
    ],
)
def test_standings_have_the_seconds_until_they_change_without_an_event(
    claims: list[Claim], states: list[str], seconds: float
) -> None:
    says = found(dict(zip(claims, states, strict=True)))

    assert standings(Ledger(tuple(claims)), says, Decimal(100), NOW).changes_in == seconds


@pytest.mark.parametrize("runs", [1, 1000])
def test_standings_of_a_thousand_claims_are_computed_quickly(runs: int) -> None:
    claims = {
        claim_of(f"run_{number % runs}", index=number, spent_by=ALL): "success" if number % 2 else "deferred"
        for number in range(1000)
    }
    says, ledger = found(claims), Ledger(tuple(claims))

    durations = []
    for _ in range(3):  # Python's garbage collection may interrupt one of them
        started = time.thread_time()
        result = standings(observe(ledger, says, NOW), says, Decimal(500_000), NOW)
        durations.append(time.thread_time() - started)

    assert min(durations) < 0.5  # about 0.02 s
    assert len(result.by_task) == 500
