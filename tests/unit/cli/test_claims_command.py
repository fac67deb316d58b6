"""Tests of the command ``claims``: who holds and who waits, the totals, and problems of the pools."""

from __future__ import annotations

import json
import re
import shlex
import time
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from airflow.models.dagrun import DagRun
from airflow.models.pool import Pool
from airflow.models.taskinstance import TaskInstance
from airflow.models.variable import Variable
from airflow.utils.session import create_session
from sqlalchemy import delete, insert

from airflow_provider_leadmagic.claims.pool import variable_key
from airflow_provider_leadmagic.compat.metadata import TaskKey
from airflow_provider_leadmagic.decisions.ledger import Claim, Ledger, SpendingTask
from tests.support.airflow_home import REPOSITORY

POOL = "leadmagic"
COMMAND = "airflow pools set leadmagic 1 'LeadMagic claims'"
ALL = (TaskInstance.__table__, DagRun.__table__, Variable.__table__)


class Airflow:
    """Creates runs, tasks, pools and ledgers in Airflow's database."""

    def run(self, run_id: str, *, state: str = "running", **tasks: str | None) -> None:
        """Create a run of the DAG ``reports`` with the states of its tasks."""
        with create_session() as session:
            session.add(DagRun(dag_id="reports", run_id=run_id, run_type="manual", state=state))
            session.flush()
            for name, task_state in tasks.items():
                task_id, _, index = name.partition("__")
                fields = {"task_id": task_id, "map_index": int(index or -1), "state": task_state}
                session.execute(
                    insert(TaskInstance).values(dag_id="reports", run_id=run_id, pool=POOL, pool_slots=1, **fields)
                )

    def pool(self, name: str = POOL, *, slots: int = 1, include_deferred: bool = False, **fields: Any) -> None:
        with create_session() as session:
            fields |= {"pool": name, "slots": slots, "include_deferred": include_deferred}
            session.execute(insert(Pool).values(**fields))

    def ledger(self, *claims: Claim, pool: str = POOL) -> None:
        self.variable(variable_key(pool), Ledger(claims, pool).to_text())

    def variable(self, key: str, text: str) -> None:
        with create_session() as session:
            session.add(Variable(key=key, val=text))


@pytest.fixture
def airflow(airflow_database, monkeypatch):
    """Return an Airflow without runs, Variables and pools of other tests."""

    def clear():
        with create_session() as session:
            for table in ALL:
                session.execute(delete(table))
            session.execute(delete(Pool).where(Pool.pool != "default_pool"))

    clear()
    yield Airflow()
    clear()


def claim(run_id: str, credits: int | str = 500, *, task_id: str = "wait", map_index: int = -1, **fields: Any) -> Claim:
    """Return a claim of a task of the DAG ``reports``, which began to wait ten minutes ago."""
    defaults = {"since": time.time() - 600, "conn_id": "leadmagic_default"}
    return Claim(TaskKey("reports", run_id, task_id, map_index), Decimal(credits), **{**defaults, **fields})


def held(run_id: str, credits: int | str = 500, **fields: Any) -> Claim:
    """Return a claim that was granted five minutes ago."""
    return claim(run_id, credits, **{"granted_at": time.time() - 300, **fields})


def words(outcome: Any) -> str:
    """Return the table with single spaces, because the width of its columns depends on their content."""
    return " ".join(outcome.out.split())


@pytest.fixture
def two_runs(airflow):
    """Return a pool in which one run holds 700 credits, and another waits for 500."""
    airflow.pool()
    airflow.run("monday", wait="success", enrich="running")
    airflow.run("tuesday", wait="deferred")
    airflow.ledger(
        held("monday", 700, spent_by=(SpendingTask("enrich"), SpendingTask("load", 3))),
        claim("tuesday", 500, reserve=Decimal("50.5"), priority=7),
    )
    return airflow


class TestTable:
    def test_table_shows_the_totals_who_holds_and_who_waits(self, run, two_runs):
        outcome = run("claims")
        shown = words(outcome)
        assert shown.startswith(
            "Pool 'leadmagic': 1,000 spendable, 700 claimed, 300 available on connection 'leadmagic_default'. "
        )
        assert "Holds credits Credits Since (UTC) Until" in shown
        assert "Waits for credits" in shown
        assert "reports.wait" in shown
        assert "250.5 short" in shown
        assert (outcome.code, outcome.err) == (0, "")

    def test_table_fits_eighty_columns_with_the_run_ids_of_airflow(self, run, airflow):
        run_id = "scheduled__2026-11-26T09:54:02.123456+00:00_AbCdEfGh"
        airflow.pool()
        airflow.run(run_id, wait_until_there_are_enough_credits="success", wait="deferred")
        airflow.ledger(
            held(run_id, 1_234_567, task_id="wait_until_there_are_enough_credits"),
            claim(run_id, "1234567.25", reserve=Decimal(1000)),
        )
        out = run("claims").out
        assert max(map(len, out.splitlines())) <= 80
        assert "1,234,567 " in out
        assert "1,234,567.25 " in out

    def test_without_claims_it_prints_one_line(self, run, airflow, leadmagic_sandbox):
        outcome = run("claims")
        assert (outcome.code, outcome.out, outcome.err) == (
            0,
            "No claims: no task with claim_pool has polled yet.\n",
            "",
        )
        assert leadmagic_sandbox.requests == []

    def test_frozen_credits_are_named(self, run, two_runs, leadmagic_sandbox):
        leadmagic_sandbox.freeze(liquid=40)
        assert "40 spendable (account frozen by LeadMagic)" in words(run("claims"))


def only_pool(outcome):
    [pool] = json.loads(outcome.out)["pools"]
    return pool


class TestJson:
    def test_json_has_the_claims_with_numbers_and_times(self, run, airflow):
        airflow.pool()
        airflow.run("monday", wait__2="success", enrich="running")
        airflow.run("tuesday", wait="deferred")
        began = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC).timestamp()
        airflow.ledger(
            held(
                "monday", 700, map_index=2, granted_at=began, spent_by=(SpendingTask("enrich"), SpendingTask("load", 3))
            ),
            claim("tuesday", 500, reserve=Decimal("50.5"), priority=7, since=began),
        )
        outcome = run("claims", "--output", "json")
        assert (outcome.code, outcome.err) == (0, "")
        assert json.loads(outcome.out) == {
            "pools": [
                {
                    "pool": "leadmagic",
                    "conn_id": "leadmagic_default",
                    "spendable": 1000,
                    "claimed": 700,
                    "available": 300,
                    "holding": [
                        {
                            "dag_id": "reports",
                            "run_id": "monday",
                            "task_id": "wait",
                            "map_index": 2,
                            "credits": 700,
                            "since": "2026-01-02T03:04:05+00:00",
                            "release_after": ["enrich", "load[3]"],
                            "settles_in": None,
                            "until": "enrich, load[3]",
                        }
                    ],
                    "waiting": [
                        {
                            "dag_id": "reports",
                            "run_id": "tuesday",
                            "task_id": "wait",
                            "map_index": -1,
                            "credits": 500,
                            "reserve": 50.5,
                            "priority": 7,
                            "since": "2026-01-02T03:04:05+00:00",
                            "state": "deferred",
                            "status": "short",
                            "short": 250.5,
                            "ahead": 0,
                            "reason": "250.5 short",
                        }
                    ],
                    "problems": [],
                }
            ]
        }

    def test_the_documented_example_has_the_same_fields(self, run, two_runs):
        example = (REPOSITORY / "docs" / "cli.md").read_text().partition("```json\n")[2].partition("```")[0]

        def fields(pool):
            return list(pool), [list(entry) for entry in (*pool["holding"], *pool["waiting"])]

        [documented] = json.loads(example)["pools"]
        assert fields(documented) == fields(only_pool(run("claims", "-o", "json")))

    def test_without_claims_the_list_is_empty(self, run, airflow):
        assert json.loads(run("claims", "-o", "json").out) == {"pools": []}


@pytest.mark.parametrize(
    ("fields", "states", "until"),
    [
        pytest.param({}, {}, "end of run", id="run"),
        pytest.param({"spent_by": (SpendingTask("enrich"),)}, {"enrich": None}, "enrich", id="task"),
        pytest.param({"is_spent_by_claimant": True}, {"wait": "running"}, "end of task", id="bulk task"),
    ],
)
def test_a_claim_lasts_until_its_run_or_its_tasks_end(run, airflow, fields, states, until):
    airflow.pool()
    airflow.run("monday", **{"wait": "success", **states})
    airflow.ledger(held("monday", **fields))
    [holding] = only_pool(run("claims", "-o", "json"))["holding"]
    assert (holding["until"], holding["settles_in"]) == (until, None)


def test_a_claim_that_has_ended_is_settling(run, airflow):
    airflow.pool()
    airflow.run("monday", wait="success", state="failed")
    airflow.ledger(held("monday", settle=10_000, ended_at=time.time()))
    pool = only_pool(run("claims", "-o", "json"))
    [holding] = pool["holding"]
    assert holding["until"].startswith("settling, ")
    assert 9_000 < holding["settles_in"] <= 10_000
    assert pool["claimed"] == 500


def test_a_claim_whose_run_was_deleted_is_not_shown_after_it_settled(run, airflow):
    airflow.pool()
    airflow.ledger(held("deleted", ended_at=time.time() - 100))
    pool = only_pool(run("claims", "-o", "json"))
    assert (pool["holding"], pool["waiting"], pool["claimed"]) == ([], [], 0)


def reasons(outcome):
    return {waiting["run_id"]: (waiting["status"], waiting["reason"]) for waiting in only_pool(outcome)["waiting"]}


class TestReasons:
    @pytest.mark.parametrize(
        ("state", "reason"),
        [
            ("scheduled", "can be granted: waits for the pool's slot"),
            ("deferred", "can be granted at its next poll"),
            ("up_for_reschedule", "can be granted at its next poll"),
            ("running", "decides now"),
        ],
    )
    def test_a_task_that_can_be_granted_its_credits(self, run, airflow, state, reason):
        airflow.pool()
        airflow.run("monday", wait=state)
        airflow.ledger(claim("monday"))
        assert reasons(run("claims", "-o", "json")) == {"monday": ("grantable", reason)}

    def test_tasks_are_in_the_order_of_the_queue_and_count_those_ahead(self, run, airflow):
        airflow.pool()
        for run_id in ("late", "early", "urgent", "huge"):
            airflow.run(run_id, wait="deferred")
        now = time.time()
        airflow.ledger(
            claim("huge", 1200, since=now - 1),
            claim("late", 700, since=now - 10),
            claim("early", 300, since=now - 20),
            claim("urgent", 200, since=now - 5, priority=2),
        )
        assert list(reasons(run("claims", "-o", "json")).items()) == [
            ("urgent", ("grantable", "can be granted at its next poll")),
            ("early", ("grantable", "can be granted at its next poll")),
            ("late", ("behind", "2 tasks ahead")),
            ("huge", ("short", "700 short, 3 tasks ahead")),
        ]

    def test_a_task_that_does_not_claim_its_credits_is_overtaken(self, run, airflow):
        airflow.pool()
        airflow.run("monday", wait="scheduled")
        airflow.run("tuesday", wait="deferred")
        airflow.ledger(
            claim("monday", 900, patience=660, affordable_since=time.time() - 100_000), claim("tuesday", 900)
        )
        found = reasons(run("claims", "-o", "json"))
        status, reason = found["monday"]
        assert status == "overtaken"
        assert re.fullmatch(r"can be overtaken: has not claimed its credits for 1000\d\d s", reason)
        assert found["tuesday"] == ("grantable", "can be granted at its next poll")


class TestPools:
    @pytest.mark.parametrize(
        ("settings", "problem"),
        [
            pytest.param(
                None,
                f"Pool 'leadmagic' does not exist, so Airflow never starts its tasks: run `{COMMAND}`.",
                id="missing",
            ),
            pytest.param(
                {"slots": 4}, f"Pool 'leadmagic' must have exactly 1 slot, not 4: run `{COMMAND}`.", id="slots"
            ),
            pytest.param(
                {"include_deferred": True},
                f"Pool 'leadmagic' must not include deferred tasks: run `{COMMAND}`.",
                id="deferred",
            ),
            pytest.param(
                {"slots": 0, "description": "for sales"},
                "Pool 'leadmagic' must have exactly 1 slot, not 0: run `airflow pools set leadmagic 1 'for sales'`.",
                id="description",
            ),
        ],
    )
    @pytest.mark.parametrize("arguments", [[], ["--pool", POOL]], ids=" ".join)
    def test_a_pool_with_wrong_settings_is_named_with_the_command_that_corrects_it(
        self, run, airflow, settings, problem, arguments
    ):
        airflow.ledger()
        if settings is not None:
            airflow.pool(**settings)
        outcome = run("claims", "-o", "json", *arguments)
        assert (outcome.code, outcome.error) == (1, problem)
        assert only_pool(outcome)["problems"] == [problem]

    def test_the_command_corrects_slots_and_deferred_tasks(self, run, airflow):
        from airflow.cli.cli_parser import get_parser

        airflow.ledger()
        airflow.pool(slots=4, include_deferred=True)
        outcome = run("claims")
        assert (outcome.code, len(outcome.err.splitlines())) == (1, 2)
        [command] = set(re.findall("`(.*)`", outcome.err))
        options = get_parser().parse_args(shlex.split(command)[1:])
        options.func(options)
        assert run("claims").code == 0

    def test_every_pool_with_claims_is_listed_by_name(self, run, airflow):
        for name in ("sales & ops", "leadmagic"):
            airflow.pool(name)
            airflow.ledger(pool=name)
        pools = json.loads(run("claims", "-o", "json").out)["pools"]
        assert {pool["pool"] for pool in pools} == {"sales & ops", "leadmagic"}

    def test_pool_option_selects_one(self, run, airflow):
        for name in ("sales & ops", "leadmagic"):
            airflow.pool(name)
            airflow.ledger(pool=name)
        assert only_pool(run("claims", "-o", "json", "--pool", "sales & ops"))["pool"] == "sales & ops"

    def test_a_pool_without_claims_can_be_selected(self, run, airflow):
        airflow.pool("new")
        outcome = run("claims", "--pool", "new")
        assert (outcome.code, outcome.out) == (0, "Pool 'new': 0 claimed, balance unknown.\n")

    def test_a_blank_pool_is_rejected(self, run, airflow):
        outcome = run("claims", "--pool", " ")
        assert (outcome.code, outcome.out) == (2, "")
        assert outcome.error == "--pool must be text that is not blank; got ' '"


class TestBalance:
    def test_the_connection_is_that_of_the_latest_claim(self, run, airflow, leadmagic_sandbox, monkeypatch):
        monkeypatch.setenv("AIRFLOW_CONN_SALES", leadmagic_sandbox.connection_json)
        airflow.pool()
        airflow.run("monday", wait="deferred")
        airflow.ledger(claim("old", since=0), claim("monday", conn_id="sales"))
        assert only_pool(run("claims", "-o", "json"))["conn_id"] == "sales"

    def test_conn_id_selects_the_connection(self, run, two_runs, leadmagic_sandbox, monkeypatch):
        monkeypatch.setenv("AIRFLOW_CONN_SALES", leadmagic_sandbox.connection_json)
        assert only_pool(run("claims", "-o", "json", "--conn-id", "sales"))["conn_id"] == "sales"

    @pytest.mark.parametrize("output", ["json", "table"])
    def test_claims_are_shown_if_the_balance_cannot_be_read(self, run, two_runs, leadmagic_sandbox, output):
        leadmagic_sandbox.fail_next(status=503)
        outcome = run("claims", "-o", output)
        assert outcome.code == 2
        assert outcome.error.startswith("Server error (503 service_unavailable)")
        assert "balance unknown" in words(outcome)
        assert "monday" in outcome.out
        assert "tuesday" in outcome.out

    def test_unknown_numbers_are_null(self, run, two_runs, leadmagic_sandbox):
        leadmagic_sandbox.fail_next(status=503)
        pool = only_pool(run("claims", "-o", "json"))
        [waiting] = pool["waiting"]
        assert (pool["spendable"], pool["available"], pool["claimed"]) == (None, None, 700)
        assert (waiting["status"], waiting["short"], waiting["ahead"]) == ("unknown", None, None)

    def test_claims_are_shown_if_the_connection_is_missing(self, run, two_runs):
        outcome = run("claims", "--conn-id", "missing")
        assert outcome.code == 2
        assert outcome.error.startswith("Connection 'missing' not found: create it")
        assert "monday" in outcome.out

    def test_an_unreadable_balance_decides_the_exit_code_also_with_a_wrong_pool(self, run, airflow, leadmagic_sandbox):
        leadmagic_sandbox.fail_next(status=503)
        airflow.ledger(claim("monday"))
        outcome = run("claims")
        assert (outcome.code, len(outcome.err.splitlines())) == (2, 2)


class TestLedgers:
    def test_a_ledger_that_cannot_be_read_does_not_hide_the_others(self, run, two_runs):
        two_runs.variable("leadmagic_claims_broken", "{}")
        outcome = run("claims", "-o", "json")
        assert outcome.code == 2
        assert outcome.error.startswith("Unreadable claims: restore the Variable 'leadmagic_claims_broken'")
        assert only_pool(outcome)["claimed"] == 700

    def test_a_ledger_that_cannot_be_read_does_not_mean_that_there_are_no_claims(self, run, airflow):
        airflow.variable("leadmagic_claims_broken", "{}")
        outcome = run("claims")
        assert (outcome.code, outcome.out) == (2, "")

    def test_a_database_that_does_not_respond_prints_one_line(self, run, airflow, mocker):
        failure = RuntimeError("postgresql://airflow:lm_canary_5f0c9b7e2d1a4c83@db")
        mocker.patch("airflow.utils.session.create_session", side_effect=failure)
        outcome = run("claims", "--conn-id", "lead")
        assert (outcome.code, outcome.out) == (2, "")
        assert outcome.error == "Cannot read the Variables 'leadmagic_claims_*' (RuntimeError)"

    def test_the_command_writes_nothing(self, run, two_runs):
        def text():
            with create_session() as session:
                return session.query(Variable).one().get_val()

        before = text()
        run("claims")
        assert text() == before
