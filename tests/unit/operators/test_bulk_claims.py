"""Bulk tasks that claim the price of their job."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_leadmagic.compat.metadata import TaskKey
from airflow_provider_leadmagic.decisions.ledger import Claim
from airflow_provider_leadmagic.exceptions import InsufficientCreditsError
from airflow_provider_leadmagic.operators.bulk import BulkEnrichmentOperator
from tests.support.airflow_names import DAG
from tests.support.claiming_airflow import POOL, ClaimingAirflow

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_leadmagic.sandbox.sandbox import Sandbox
    from tests.support.bulk_task_runner import Task
    from tests.unit.operators.conftest import MakeTask, When

MINE = TaskKey("night", "run", "enrich")
OTHER = TaskKey("other", "run", "enrich")


@pytest.fixture
def airflow(monkeypatch: pytest.MonkeyPatch, leadmagic_sandbox: Sandbox) -> ClaimingAirflow:
    """Return an Airflow in which the task of these tests is running. The balance is 10 credits."""
    leadmagic_sandbox.set_credits(10)
    airflow = ClaimingAirflow({MINE: "running"})
    monkeypatch.setattr("airflow_provider_leadmagic.claims.admission.ask", airflow.ask)
    monkeypatch.setattr("airflow_provider_leadmagic.triggers.claims.aask", airflow.aask)
    return airflow


@pytest.fixture
def claiming(task: MakeTask) -> Callable[..., Task]:
    """Return a function that makes a bulk task with a claim pool, whose job costs 5 credits."""

    def make(**arguments: Any) -> Task:
        with DAG("night", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC)):
            return task(**{"claim_pool": POOL, "deferrable": True, **arguments})

    return make


def other(credits: int, **fields: Any) -> Claim:
    return Claim(OTHER, Decimal(credits), since=0.0, is_spent_by_claimant=True, settle=0.0, **fields)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"pool": "nightly"}, "^pool must be left out or equal claim_pool 'leadmagic'"),
        ({"deferrable": False}, "^deferrable must be True with claim_pool"),
        ({"claim_settle": -1}, "^claim_settle must be a timedelta or a number of seconds"),
    ],
    ids=str,
)
def test_an_invalid_argument_is_rejected_when_the_dag_is_parsed(arguments: dict[str, Any], message: str) -> None:
    defaults = {"product": "email_finder", "rows": [], "output_path": "out.csv", "claim_pool": POOL, "deferrable": True}

    with pytest.raises(ValueError, match=message):
        BulkEnrichmentOperator(task_id="enrich", **defaults | arguments)


def test_it_claims_the_price_of_its_job(
    airflow: ClaimingAirflow, claiming: Callable[..., Task], logged: Callable[[], str]
) -> None:
    airflow.add(other(5, granted_at=1.0), "deferred")

    assert claiming().run()["succeeded"] == 5

    claim = airflow.ledger.find(MINE)
    assert claim is not None
    assert (claim.credits, claim.reserve, claim.is_spent_by_claimant) == (Decimal(5), Decimal(0), True)
    assert claim.granted_at is not None
    assert "Claimed 5 credits for the job, based on: 10 spendable, 5 claimed by 1 run, 5 required." in logged()


def test_credits_that_must_remain_are_not_claimed_but_must_be_available(
    airflow: ClaimingAirflow, claiming: Callable[..., Task]
) -> None:
    airflow.add(other(5, granted_at=1.0), "deferred")

    with pytest.raises(InsufficientCreditsError) as error:
        claiming(minimum_balance_after=1, on_insufficient="fail").run()

    assert str(error.value) == (
        "Not enough credits: 10 spendable, 5 claimed by 1 run, 6 required on connection 'leadmagic_default'."
    )
    assert (error.value.required, error.value.available) == (Decimal(6), Decimal(5))


def test_it_waits_in_the_triggerer_until_the_claim_of_another_task_ends(
    airflow: ClaimingAirflow, claiming: Callable[..., Task], when: When, leadmagic_sandbox: Sandbox
) -> None:
    airflow.add(other(6, granted_at=1.0), "deferred")
    enrich = claiming()
    when(lambda: airflow.asked["ReadVariable"] >= 3, lambda: airflow.states.update({OTHER: "success"}))

    assert enrich.run()["succeeded"] == 5

    assert enrich.deferrals[0] == "ClaimedCreditsTrigger"
    assert len(leadmagic_sandbox.bulk_jobs) == 1


def test_a_task_whose_claim_pool_is_removed_while_it_waits_continues_without_a_claim(
    airflow: ClaimingAirflow, claiming: Callable[..., Task], when: When
) -> None:
    airflow.add(other(6, granted_at=1.0), "deferred")
    enrich = claiming()

    def remove_claims() -> None:
        enrich.operator.claim_pool = None
        airflow.states[OTHER] = "success"

    when(lambda: airflow.asked["ReadVariable"] >= 3, remove_claims)

    assert enrich.run()["succeeded"] == 5


@pytest.mark.usefixtures("sleeps")
def test_its_earlier_claim_counts_until_it_has_settled_if_it_is_cleared(
    airflow: ClaimingAirflow, claiming: Callable[..., Task], leadmagic_sandbox: Sandbox
) -> None:
    enrich = claiming(on_insufficient="fail")
    enrich.run()
    leadmagic_sandbox.set_credits(5)
    enrich.clear()

    with pytest.raises(InsufficientCreditsError, match="5 spendable, 5 claimed by 1 run, 5 required"):
        enrich.retry()

    enrich.operator.claim_settle = 0
    enrich.clear()
    assert enrich.retry()["succeeded"] == 5


def test_a_retry_that_joins_its_job_claims_nothing_more(
    airflow: ClaimingAirflow, claiming: Callable[..., Task]
) -> None:
    enrich = claiming()
    enrich.run()
    airflow.asked.clear()

    assert enrich.retry()["succeeded"] == 5

    assert not airflow.asked


def test_it_waits_if_others_spent_the_credits_without_a_claim(
    airflow: ClaimingAirflow, claiming: Callable[..., Task], when: When, leadmagic_sandbox: Sandbox
) -> None:
    leadmagic_sandbox.fail_next("/bulk/submit", status=402)
    enrich = claiming()
    when(lambda: len(leadmagic_sandbox.requests_to("/bulk/submit")) >= 2, lambda: None)

    assert enrich.run()["succeeded"] == 5

    assert enrich.deferrals[0] == "ClaimedCreditsTrigger"


def test_the_command_airflow_tasks_test_makes_no_claim(airflow: ClaimingAirflow, claiming: Callable[..., Task]) -> None:
    enrich = claiming()
    enrich.ti.run_id = "__airflow_temporary_run_1__"

    assert enrich.run()["succeeded"] == 5

    assert not airflow.asked
