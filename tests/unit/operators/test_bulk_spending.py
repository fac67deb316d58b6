"""What a bulk task reports about its spending: an XCom, the extra of its asset events, and a metric."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_leadmagic.compat.imports import AirflowSkipException
from airflow_provider_leadmagic.exceptions import LeadMagicRequestError
from airflow_provider_leadmagic.operators._bulk_reports import SPENDING_XCOM_KEY
from airflow_provider_leadmagic.operators.bulk import BulkEnrichmentOperator
from airflow_provider_leadmagic.triggers.credits import SufficientCreditsTrigger
from dev.local_airflow import IS_AIRFLOW_3
from tests.support.airflow_names import Asset, AssetAlias
from tests.support.bulk_task_runner import StateStore, Task
from tests.unit.operators.conftest import leads

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from airflow_provider_leadmagic.sandbox.sandbox import Sandbox
    from tests.support.listeners import Statsd
    from tests.unit.operators.conftest import MakeTask, When

# Airflow 2 warns that Airflow 3 will behave differently.
pytestmark = pytest.mark.filterwarnings("ignore:The basic metric validator")

LEADS = Asset("x-leads://found")


def record_of(sandbox: Sandbox, credits: float | None = 5, **counts: int) -> dict[str, Any]:
    """Return the spending record of the newest job; by default all of its five rows are hits."""
    job = {"job_id": sandbox.bulk_jobs[-1].job_id, "conn_id": "leadmagic_default", "product": "email_finder"}
    return {**job, "credits": credits, "rows": 5, "succeeded": 5, "failed": 0, "skipped": 0, **counts}


def spent(credits: float, **tags: str) -> str:
    tags = {"conn_id": "leadmagic_default", "product": "email_finder", "dag_id": "night", "task_id": "enrich", **tags}
    return f"airflow.leadmagic.credits_spent,{','.join(f'{name}={value}' for name, value in tags.items())}:{credits}|c"


def spent_lines(statsd: Statsd) -> list[str]:
    return [line for line in statsd.lines if "credits_spent" in line]


def test_the_record_is_pushed_as_a_second_xcom(task: MakeTask, leadmagic_sandbox: Sandbox, deferrable: bool) -> None:
    enrich = task(deferrable=deferrable)

    enrich.run()

    assert enrich.ti.xcoms == {SPENDING_XCOM_KEY: record_of(leadmagic_sandbox)}
    assert SPENDING_XCOM_KEY == "leadmagic"


def test_after_every_kind_of_deferral_the_record_is_reported_once(
    task: MakeTask, leadmagic_sandbox: Sandbox, statsd: Statsd, when: When
) -> None:
    leadmagic_sandbox.set_credits(1)
    leadmagic_sandbox.bulk_speed(paused_clock=True)
    enrich = task(deferrable=True)
    when(lambda: enrich.deferrals == ["SufficientCreditsTrigger"], lambda: leadmagic_sandbox.set_credits(5))
    when(lambda: "BulkJobTrigger" in enrich.deferrals, lambda: run_out_of_credits(leadmagic_sandbox))
    when(lambda: "PausedBulkJobTrigger" in enrich.deferrals, lambda: top_up(leadmagic_sandbox))

    enrich.run()

    assert enrich.ti.xcoms == {SPENDING_XCOM_KEY: record_of(leadmagic_sandbox)}
    assert spent_lines(statsd) == [spent(5)]


class ReturnsThePath(BulkEnrichmentOperator):
    """A subclass whose result is not that of the operator."""

    def job_seen(self, *arguments: Any, **options: Any) -> Any:
        return super().job_seen(*arguments, **options)["output_path"]


class DefersFirst(BulkEnrichmentOperator):
    """A subclass that defers, and starts the operator's work when it has resumed."""

    def begin(self, context: Any, event: Any = None) -> dict[str, Any]:
        return super().execute(context)

    def execute(self, context: Any) -> Any:
        trigger = SufficientCreditsTrigger("leadmagic_default", "0", 0.02)
        self.defer(trigger=trigger, method_name="begin", timeout=timedelta(seconds=30))


@pytest.mark.parametrize("kind", [ReturnsThePath, DefersFirst])
def test_the_record_is_reported_once_by_a_subclass_that_changes_the_result_or_defers_first(
    leadmagic_sandbox: Sandbox, statsd: Statsd, output: Path, kind: type[BulkEnrichmentOperator]
) -> None:
    arguments: dict[str, Any] = {"product": "email_finder", "rows": leads(5), "output_path": output, "deferrable": True}
    enrich = Task(kind(task_id="enrich", poll_interval=0.02, timeout=30, **arguments), StateStore())
    leadmagic_sandbox.bulk_speed(50)

    enrich.run()

    assert "BulkJobTrigger" in enrich.deferrals

    assert enrich.ti.xcoms == {SPENDING_XCOM_KEY: record_of(leadmagic_sandbox)}
    assert spent_lines(statsd) == [spent(5)]


def run_out_of_credits(sandbox: Sandbox) -> None:
    sandbox.set_credits(2)
    sandbox.advance_bulk(5)


def top_up(sandbox: Sandbox) -> None:
    sandbox.set_credits(100)
    sandbox.bulk_speed()


def test_without_do_xcom_push_the_record_is_not_pushed_but_the_credits_are_counted(
    task: MakeTask, statsd: Statsd
) -> None:
    enrich = task(do_xcom_push=False, outlets=[LEADS])

    enrich.run()

    assert enrich.ti.xcoms == {}
    assert enrich.outlet_events[LEADS].extra["leadmagic"]["credits"] == 5
    assert spent_lines(statsd) == [spent(5)]


def test_the_record_also_counts_the_rows_in_the_errors_file(task: MakeTask, leadmagic_sandbox: Sandbox) -> None:
    invalid = {"crm_id": 5, "full_name": "", "domain": ""}
    enrich = task(rows=[*leads(5), invalid], on_invalid_rows="skip")

    enrich.run()

    assert enrich.ti.xcoms["leadmagic"] == record_of(leadmagic_sandbox, rows=6, skipped=1)


def test_invalid_credits_are_null_in_the_record_and_not_counted(
    task: MakeTask, leadmagic_sandbox: Sandbox, statsd: Statsd
) -> None:
    status = {"status": "completed", "total_rows": 5, "processed_items": 5, "total_credits_consumed": "5,00"}
    leadmagic_sandbox.fail_next("/bulk/jobs/*", body=json.dumps(status))
    enrich = task()

    enrich.run()

    assert enrich.ti.xcoms["leadmagic"] == record_of(leadmagic_sandbox, credits=None)
    assert spent_lines(statsd) == []


# --- Asset events ---


def test_the_event_of_each_outlet_asset_contains_the_record(task: MakeTask, leadmagic_sandbox: Sandbox) -> None:
    other = Asset("x-leads://other")
    enrich = task(outlets=[LEADS, other])

    enrich.run()

    record = {"leadmagic": record_of(leadmagic_sandbox)}
    assert [enrich.outlet_events[asset].extra for asset in (LEADS, other)] == [record, record]


def test_the_extra_that_a_dag_has_given_the_event_is_kept_and_not_changed(task: MakeTask) -> None:
    given = {"team": "sales"}
    enrich = task(outlets=[LEADS])
    enrich.outlet_events[LEADS].extra = given

    enrich.run()

    assert list(enrich.outlet_events[LEADS].extra) == ["team", "leadmagic"]
    assert given == {"team": "sales"}


def test_the_assets_of_an_alias_keep_their_extra(task: MakeTask) -> None:
    alias = AssetAlias("found")
    enrich = task(outlets=[alias])
    enrich.outlet_events[alias].add(LEADS, extra={"team": "sales"})

    enrich.run()

    event = enrich.outlet_events[alias]
    [added] = event.asset_alias_events if IS_AIRFLOW_3 else event.dataset_alias_events
    assert (added.extra if IS_AIRFLOW_3 else added["extra"]) == {"team": "sales"}
    assert event.extra == {}


@pytest.mark.parametrize("outlets", [[], ["a text"], [object()]], ids=["none", "text", "object"])
def test_a_task_without_outlet_assets_has_no_asset_events(task: MakeTask, outlets: list[object]) -> None:
    enrich = task(outlets=outlets)

    assert enrich.run()["succeeded"] == 5

    assert len(enrich.outlet_events) == 0


@pytest.mark.skipif(not IS_AIRFLOW_3, reason="Airflow 2 has no references to assets")
def test_a_reference_to_an_asset_that_cannot_be_looked_up_does_not_fail_a_task_that_has_paid(
    task: MakeTask, logged: Callable[[], str]
) -> None:
    enrich = task(outlets=[Asset.ref(name="unknown"), LEADS])  # no supervisor runs in this process

    assert enrich.run()["succeeded"] == 5

    assert "Cannot add the spending record to the asset event: " in logged()
    assert "leadmagic" in enrich.outlet_events[LEADS].extra


# --- The counter ---


def test_fractions_of_credits_are_counted(task: MakeTask, statsd: Statsd) -> None:
    enrich = task(product="email_validation", rows=[{"email": f"{number}@example.com"} for number in range(5)])

    enrich.run()

    assert spent_lines(statsd) == [spent(1.25, product="email_validation")]


def test_an_attempt_that_joins_a_finished_job_counts_its_credits_once(
    task: MakeTask, leadmagic_sandbox: Sandbox, statsd: Statsd
) -> None:
    enrich = task()
    for path in ("download", "results"):
        leadmagic_sandbox.fail_next(f"/bulk/jobs/*/{path}", status=400)
    with pytest.raises(LeadMagicRequestError):
        enrich.run()
    assert (spent_lines(statsd), enrich.ti.xcoms) == ([], {})

    enrich.retry()

    assert spent_lines(statsd) == [spent(5)]
    assert enrich.ti.xcoms["leadmagic"] == record_of(leadmagic_sandbox)
    assert len(leadmagic_sandbox.bulk_jobs) == 1


def test_an_attempt_whose_xcom_cannot_be_pushed_does_not_count(
    task: MakeTask, statsd: Statsd, monkeypatch: pytest.MonkeyPatch
) -> None:
    enrich = task()

    def fail(key: str, value: Any) -> None:
        raise ConnectionError

    with monkeypatch.context() as broken:
        broken.setattr(enrich.ti, "xcom_push", fail)
        with pytest.raises(ConnectionError):
            enrich.run()
    enrich.retry()

    assert spent_lines(statsd) == [spent(5)]


def test_a_cleared_task_pays_again_and_counts_again(task: MakeTask, leadmagic_sandbox: Sandbox, statsd: Statsd) -> None:
    enrich = task()
    enrich.run()
    enrich.clear()

    enrich.retry()

    assert spent_lines(statsd) == [spent(5), spent(5)]
    assert enrich.ti.xcoms["leadmagic"] == record_of(leadmagic_sandbox)
    assert len(leadmagic_sandbox.bulk_jobs) == 2


def test_a_task_that_is_skipped_reports_nothing(task: MakeTask, statsd: Statsd, tmp_path: Path) -> None:
    empty = tmp_path / "empty.csv"
    empty.write_text("full_name,domain\n")
    enrich = task(input_path=empty, on_empty="skip")

    with pytest.raises(AirflowSkipException):
        enrich.run()

    assert (enrich.ti.xcoms, spent_lines(statsd)) == ({}, [])


def test_the_record_contains_neither_rows_nor_paths(task: MakeTask, output: Path) -> None:
    enrich = task(outlets=[LEADS])

    enrich.run()

    text = json.dumps([enrich.ti.xcoms, enrich.outlet_events[LEADS].extra])
    assert "Lead 1" not in text
    assert str(output) not in text
