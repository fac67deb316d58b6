"""Gates in a cluster in which what they depend on fails once: a worker, a triggerer, Redis, PostgreSQL, LeadMagic."""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from typing import TYPE_CHECKING

import pytest

from tests.distributed.cluster import TRIGGERERS, WORKERS
from tests.distributed.gates import AFTER_TOP_UP, AT_ONCE, BEFORE, DEFERRABLE, FATES, INTERVALS, MODES, POKE, RESCHEDULE

if TYPE_CHECKING:
    from airflow_provider_leadmagic.sandbox.request_log import LoggedRequest
    from tests.distributed.story import Story

pytestmark = pytest.mark.distributed

#: Requests within one interval that are no burst.
POLITE = 3


@pytest.mark.parametrize("mode", MODES)
def test_every_gate_ends_in_its_right_state(story: Story, mode: str) -> None:
    seen = story.tasks.states()
    gates = [gate for gate in story.gates if gate.mode == mode]

    wrong = {gate: seen[gate.key] for gate in gates if seen[gate.key] != gate.end}

    assert gates
    assert wrong == {}


def test_before_the_top_up_only_gates_were_open_that_the_balance_covered(story: Story) -> None:
    opened = {key for key, state in story.before_top_up.items() if state == "success" and key[0].startswith("gates_")}

    assert opened == {gate.key for gate in story.gates_that(AT_ONCE)}


def test_no_gate_opened_below_its_threshold(story: Story) -> None:
    reports = story.tasks.xcoms()
    opened = story.gates_that(AT_ONCE, AFTER_TOP_UP)

    assert {gate.key for gate in opened} == set(reports)
    for gate in opened:
        report = reports[gate.key]
        assert report["minimum_credits"] == gate.minimum_credits <= report["spendable"]
        if gate.minimum_credits > BEFORE:
            assert datetime.fromisoformat(report["observed_at"]).timestamp() >= story.topped_up_at


def test_no_gate_is_lost(story: Story) -> None:
    assert story.tasks.unfinished() == []
    assert len([key for key in story.tasks.states() if key[0].startswith("gates_")]) == len(story.gates)
    assert story.tasks.triggers_left() == []


def test_no_worker_and_no_triggerer_ended_by_itself(story: Story) -> None:
    assert {*WORKERS, *TRIGGERERS} & set(story.cluster.ended) == set()


def test_the_gates_saw_all_that_happened(story: Story) -> None:
    """Without the faults this run would prove nothing."""
    assert story.orphans > 0
    assert max(story.tasks.tries(f"{POKE}_{AFTER_TOP_UP}")) > 1
    assert story.accounts.looks(POKE, status=500)
    assert story.accounts.looks(RESCHEDULE, status=500)
    assert any(story.accounts.looks(name, status=500) for name in TRIGGERERS)


@pytest.mark.parametrize("triggerer", TRIGGERERS)
def test_a_triggerer_never_asks_in_bursts(story: Story, triggerer: str) -> None:
    looks = story.accounts.looks(triggerer)

    most = largest_burst(looks, INTERVALS[DEFERRABLE])

    print(f"{triggerer}: {len(looks)} requests, at most {most} within {INTERVALS[DEFERRABLE]} s")
    assert looks
    assert most <= POLITE


def test_a_deferrable_gate_costs_its_worker_one_look_a_try(story: Story) -> None:
    looks = story.accounts.looks(DEFERRABLE)

    assert len(story.gates_that(*FATES, mode=DEFERRABLE)) <= len(looks) <= sum(story.tasks.tries(DEFERRABLE))


def test_a_bulk_job_is_ordered_and_paid_once(story: Story) -> None:
    [job] = story.accounts["bulk"].bulk_jobs

    assert job.status == "completed"
    assert story.accounts["bulk"].charges_per_row(job.job_id) == Counter(range(20))
    assert story.tasks.states()["traces", "bulk"] == "success"


def test_a_dag_starts_once_for_the_top_up(story: Story) -> None:
    runs = story.cluster.query("SELECT state FROM dag_run WHERE dag_id = 'starts_on_top_up'")

    assert runs == [("success",)]


def largest_burst(looks: list[LoggedRequest], interval: float) -> int:
    times = [look.at for look in looks]
    return max((sum(start <= at < start + interval for at in times) for start in times), default=0)
