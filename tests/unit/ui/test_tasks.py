"""Tests of the queries: which tasks wait, and what tasks spent."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from airflow.models.trigger import Trigger
from airflow.utils.session import create_session
from sqlalchemy import update

from airflow_provider_leadmagic.ui import tasks
from airflow_provider_leadmagic.ui.tasks import Spending, WaitingTask, spending_by_task, spending_records, waiting_tasks
from tests.support.stored_rows import XCOMS
from tests.support.task_rows import (
    add_reschedule,
    add_spending,
    add_task,
    ago,
    clear,
    waits_for_credits,
    waits_for_job,
)

FIELDS = {"leadmagic_conn_id": "leadmagic_default", "minimum_credits": 800}
CONN_ID = "leadmagic_default"


@pytest.fixture(autouse=True)
def _empty_database(airflow_database: Path) -> Iterator[None]:
    clear()
    yield
    clear()


def found() -> list[WaitingTask]:
    with create_session() as session:
        return list(waiting_tasks(session).tasks)


def may_have_more() -> bool:
    with create_session() as session:
        return waiting_tasks(session).may_have_more


def spent(days: int = 30, conn_id: str = CONN_ID) -> list[Spending]:
    with create_session() as session:
        return spending_by_task(spending_records(session, days), conn_id)


class TestWaiting:
    def test_a_deferred_sensor_waits_for_its_credits(self) -> None:
        since = ago(20)
        add_task("leads", "deferred", trigger=waits_for_credits(credits="1500.5", interval=120), since=since)

        [task] = found()

        assert (task.key.dag_id, task.key.task_id, task.key.map_index) == ("leads", "wait", -1)
        assert (task.conn_id, task.state, task.required) == (CONN_ID, "deferred", Decimal("1500.5"))
        assert (task.since, task.interval, task.next_poll, task.job_id) == (since, 120, None, None)

    def test_a_deferred_sensor_does_not_poll_before_leadmagic_allows_it(self) -> None:
        allowed = datetime.now(UTC) + timedelta(hours=1)
        add_task("leads", "deferred", trigger=waits_for_credits(not_before=allowed.timestamp()))

        assert [task.next_poll for task in found()] == [allowed]

    def test_a_deferred_bulk_task_waits_for_its_job(self) -> None:
        add_task("leads", "deferred", trigger=waits_for_job("j-17"))

        [task] = found()

        assert (task.job_id, task.required, task.interval) == ("j-17", None, 60)

    def test_a_rescheduled_sensor_polls_at_its_reschedule_date_and_waits_since_its_first_start(self) -> None:
        first, next_poll = ago(90), ago(-5)
        task_instance_id = add_task("leads", "up_for_reschedule", rendered=FIELDS, since=ago(1))
        add_reschedule(task_instance_id, first, ago(80))
        add_reschedule(task_instance_id, ago(1), next_poll)

        [task] = found()

        assert (task.state, task.required, task.conn_id) == ("up_for_reschedule", 800, CONN_ID)
        assert (task.since, task.next_poll) == (first, next_poll)

    def test_a_sensor_in_poke_mode_polls_by_itself(self) -> None:
        add_task("leads", "running", rendered=FIELDS)

        [task] = found()

        assert (task.state, task.required, task.next_poll, task.interval) == ("running", 800, None, None)

    def test_a_subclass_is_found_by_its_template_fields(self) -> None:
        add_task("leads", "running", rendered=FIELDS, operator="OurSensor")

        assert [task.key.dag_id for task in found()] == ["leads"]

    def test_tasks_of_other_operators_do_not_push_it_out_of_the_limit(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(tasks, "MAX_TASKS", 2)
        for _ in range(3):
            add_task("other", "running", rendered={"bash_command": "true"}, operator="BashOperator", since=ago(60))
        add_task("leads", "running", rendered=FIELDS)

        assert [task.key.dag_id for task in found()] == ["leads"]

    @pytest.mark.parametrize(
        ("state", "fields"),
        [
            pytest.param("running", {"operator": "CheckCreditsOperator"}, id="a check"),
            pytest.param("running", {"rendered": {"bash_command": "true"}}, id="another operator"),
            pytest.param("running", {"rendered": None}, id="no rendered fields yet"),
            pytest.param("success", {}, id="a sensor that has finished"),
            pytest.param("queued", {}, id="a sensor that has not started"),
        ],
    )
    def test_other_tasks_do_not_wait(self, state: str, fields: dict[str, Any]) -> None:
        add_task("leads", state, **{"rendered": FIELDS, **fields})

        assert found() == []

    def test_a_deferred_task_of_another_provider_does_not_wait(self) -> None:
        from airflow.providers.standard.triggers.temporal import TimeDeltaTrigger

        add_task("leads", "deferred", trigger=TimeDeltaTrigger(timedelta(hours=1)))

        assert found() == []

    @pytest.mark.parametrize("arguments", ["gAAAAABm-encrypted-with-another-key", "{}", "{"])
    def test_a_task_whose_trigger_cannot_be_read_is_left_out(self, arguments: str) -> None:
        add_task("leads", "deferred", trigger=waits_for_credits())
        with create_session() as session:
            session.execute(update(Trigger).values(encrypted_kwargs=arguments))
        add_task("accounts", "deferred", trigger=waits_for_credits())

        assert [task.key.dag_id for task in found()] == ["accounts"]

    def test_more_may_wait_if_tasks_of_other_operators_reach_the_limit(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(tasks, "MAX_TASKS", 2)
        for _ in range(2):
            add_task("other", "running", rendered={"bash_command": "true"}, operator="BashOperator", since=ago(60))
        add_task("leads", "running", rendered=FIELDS, operator="OurSensor")

        assert (found(), may_have_more()) == ([], True)

    def test_more_may_wait_if_deferred_tasks_that_cannot_be_read_reach_the_limit(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(tasks, "MAX_TASKS", 2)
        for _ in range(2):
            add_task("leads", "deferred", trigger=waits_for_credits())
        with create_session() as session:
            session.execute(update(Trigger).values(encrypted_kwargs="gAAAAABm-encrypted-with-another-key"))

        assert (found(), may_have_more()) == ([], True)

    def test_no_more_wait_if_only_both_queries_together_reach_the_limit(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(tasks, "MAX_TASKS", 2)
        add_task("first", "deferred", trigger=waits_for_credits())
        add_task("second", "running", rendered=FIELDS)

        assert (len(found()), may_have_more()) == (2, False)

    @pytest.mark.parametrize("minimum", [None, "{{ params.credits }}", "Truncated. You can change this", [1]])
    def test_a_threshold_that_is_no_number_is_unknown(self, minimum: object) -> None:
        add_task("leads", "running", rendered={**FIELDS, "minimum_credits": minimum})

        assert [task.required for task in found()] == [None]

    def test_the_longest_waiting_task_comes_first(self) -> None:
        add_task("second", "running", rendered=FIELDS, since=ago(5))
        add_task("first", "deferred", trigger=waits_for_credits(), since=ago(9))
        add_task("third", "running", rendered=FIELDS, since=ago(1), map_index=3)

        assert [task.key.dag_id for task in found()] == ["first", "second", "third"]


class TestSpending:
    def test_records_are_added_up_by_task_and_the_highest_spending_comes_first(self) -> None:
        add_spending("leads", credits=2.5)
        add_spending("leads", credits=4)
        add_spending("accounts", credits=7)

        assert spent() == [
            Spending("accounts", "wait", Decimal(7), 1),
            Spending("leads", "wait", Decimal("6.5"), 2),
        ]

    @pytest.mark.parametrize("credits", [None, "unknown", True])
    def test_a_job_without_a_known_price_counts_as_a_job(self, credits: object) -> None:
        add_spending("leads", credits=credits)

        assert spent() == [Spending("leads", "wait", Decimal(0), 1)]

    def test_another_connection_is_left_out(self) -> None:
        add_spending("leads", conn_id="other")

        assert spent() == []
        assert [each.dag_id for each in spent(conn_id="other")] == ["leads"]

    def test_a_record_from_before_the_window_is_left_out(self) -> None:
        add_spending("leads", at=ago(60 * 24 * 31))

        assert spent() == []

    def test_an_xcom_with_another_key_is_left_out(self) -> None:
        add_spending("leads", key="return_value")

        assert spent() == []

    @pytest.mark.parametrize(
        "value",
        [
            pytest.param('{"__classname__": "os.system", "__version__": 1, "__data__": "true"}', id="a class"),
            pytest.param("no JSON", id="a text"),
            pytest.param(["leadmagic_default"], id="a list"),
            pytest.param({"credits": 5}, id="no connection"),
            pytest.param({"conn_id": ["leadmagic_default"]}, id="a connection that is not a text"),
            pytest.param(None, id="nothing"),
        ],
    )
    def test_an_xcom_that_is_no_record_is_left_out(self, value: object) -> None:
        add_spending("leads")
        with create_session() as session:
            session.execute(update(XCOMS).values(value=value))

        with create_session() as session:
            assert spending_records(session, 30) == []

    def test_a_record_that_the_api_server_stored_without_encoding_it_counts(self) -> None:
        add_spending("leads")
        with create_session() as session:
            session.execute(update(XCOMS).values(value={"conn_id": "leadmagic_default", "credits": 8}))

        assert [each.credits for each in spent()] == [8]
