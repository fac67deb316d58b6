"""Rows of Airflow's database that the page shows: connections, waiting tasks, claims and spending."""

from __future__ import annotations

import json
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from sqlalchemy import create_engine, insert
from sqlalchemy.orm import Session

from airflow_provider_leadmagic.claims.pool import variable_key
from airflow_provider_leadmagic.decisions.ledger import Claim, Ledger

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TRIGGER = "airflow_provider_leadmagic.triggers.credits.SufficientCreditsTrigger"
RUN_ID = "manual_run"


class PageRows:
    """
    Adds rows to the database of an Airflow that has another home than the tests.

    :param database: Path of the SQLite file.
    """

    def __init__(self, database: Path) -> None:
        self._database = database
        self._runs: dict[str, int] = {}
        self._triggers = 0

    @contextmanager
    def session(self) -> Iterator[Session]:
        """Return a session, and commit it at the end."""
        engine = create_engine(f"sqlite:///{self._database}", connect_args={"timeout": 60})
        with Session(engine) as session, session.begin():
            yield session
        engine.dispose()

    def add_connection(self, conn_id: str, connection_json: str, **fields: Any) -> None:
        """Store a connection."""
        from airflow.models.connection import Connection

        with self.session() as session:
            session.add(Connection(conn_id=conn_id, **json.loads(connection_json), **fields))

    def add_team(self, name: str, dag_id: str) -> None:
        """Add a team and its DAG (Airflow 3.2+)."""
        from airflow.models.dag import DagModel
        from airflow.models.dagbundle import DagBundleModel
        from airflow.models.team import Team

        with self.session() as session:
            bundle = DagBundleModel(name=f"bundle_of_{name}")
            bundle.teams = [Team(name=name)]
            session.add(bundle)
            session.flush()
            session.add(DagModel(dag_id=dag_id, bundle_name=bundle.name))

    def add_run(self, dag_id: str) -> int:
        """Add a running run of a DAG, once, and return its key."""
        from airflow.models.dagrun import DagRun

        if dag_id not in self._runs:
            self._runs[dag_id] = len(self._runs) + 1
            now = datetime.now(UTC)
            row = {"id": self._runs[dag_id], "dag_id": dag_id, "run_id": RUN_ID, "_state": "running"}
            times = dict.fromkeys(("start_date", "run_after", "queued_at"), now)
            with self.session() as session:
                session.execute(insert(DagRun), [{**row, **times, "run_type": "manual", "clear_number": 0}])
        return self._runs[dag_id]

    def add_deferred(self, dag_id: str, conn_id: str, minimum_credits: str, count: int = 1) -> None:
        """Add a run whose mapped sensor waits in the triggerer."""
        from airflow.models.trigger import Trigger

        arguments = {"leadmagic_conn_id": conn_id, "minimum_credits": minimum_credits, "poke_interval": 60.0}
        first, self._triggers = self._triggers + 1, self._triggers + count
        kwargs = Trigger.encrypt_kwargs({**arguments, "refresh": False, "not_before": 0.0, "waiting_since": 0.0})
        triggers = [
            {"id": number, "classpath": TRIGGER, "encrypted_kwargs": kwargs, "created_date": datetime.now(UTC)}
            for number in range(first, first + count)
        ]
        with self.session() as session:
            session.execute(insert(Trigger), triggers)
        more = [{"trigger_id": row["id"], "map_index": index} for index, row in enumerate(triggers)]
        self.add_tasks(dag_id, "wait_for_credits", "deferred", more)

    def add_rescheduled(self, dag_id: str, conn_id: str, minimum_credits: str, count: int = 1) -> None:
        """Add a run whose mapped sensor waits for the scheduler."""
        from airflow.models.taskreschedule import TaskReschedule

        from tests.support.stored_rows import insert_rendered

        now = datetime.now(UTC)
        ids = self.add_tasks(dag_id, "wait", "up_for_reschedule", [{"map_index": index} for index in range(count)])
        fields = {"leadmagic_conn_id": conn_id, "minimum_credits": minimum_credits}
        times = {"start_date": now, "end_date": now, "reschedule_date": now + timedelta(minutes=5), "duration": 1}
        with self.session() as session:
            insert_rendered(session, _named(ids, dag_id, "wait"), fields)
            session.execute(insert(TaskReschedule), [{"ti_id": id_, **times} for id_ in ids])

    def add_tasks(self, dag_id: str, task_id: str, state: str, rows: list[dict[str, Any]]) -> list[Any]:
        """Add task instances with the given columns, and return their keys."""
        from airflow.models.taskinstance import TaskInstance

        self.add_run(dag_id)
        common = {"dag_id": dag_id, "run_id": RUN_ID, "task_id": task_id, "state": state, "pool": "default_pool"}
        common |= {
            "operator": "SufficientCreditsSensor",
            "start_date": datetime.now(UTC),
            "pool_slots": 1,
            "try_number": 1,
        }
        # The synonym of Airflow 3.4 is ignored by inserts of several rows.
        index = "region_index" if hasattr(TaskInstance, "region_index") else "map_index"
        rows = [{**row, index: row.get("map_index", -1)} for row in rows]
        ids = [_new_id() for _ in rows]
        with self.session() as session:
            session.execute(
                insert(TaskInstance), [{**common, "id": id_, **row} for id_, row in zip(ids, rows, strict=True)]
            )
        return ids

    def add_spending(self, dag_id: str, conn_id: str, credits: float, task_id: str = "enrich", count: int = 1) -> None:
        """Add the records of a mapped bulk task."""
        record = {"job_id": "job_1", "conn_id": conn_id, "product": "email_finder", "credits": credits}
        self.add_xcoms(dag_id, task_id, {**record, "rows": 9, "succeeded": 9, "failed": 0, "skipped": 0}, count)

    def add_xcoms(self, dag_id: str, task_id: str, value: Any, count: int = 1) -> None:
        """Add any XCom with the key of the spending."""
        from tests.support.stored_rows import insert_xcoms

        ids = self.add_tasks(dag_id, task_id, "success", [{"map_index": index} for index in range(count)])
        row = {"key": "leadmagic", "value": value, "timestamp": datetime.now(UTC)}
        with self.session() as session:
            insert_xcoms(session, _named(ids, dag_id, task_id), self.add_run(dag_id), row)

    def add_claims(self, pool: str, *claims: Claim) -> None:
        """Store the claims of a pool."""
        self.add_variable(variable_key(pool), Ledger(claims, pool).to_text())

    def add_variable(self, key: str, value: str) -> None:
        """Store a Variable."""
        from airflow.models.variable import Variable

        with self.session() as session:
            session.add(Variable(key=key, val=value))


def _named(ids: list[Any], dag_id: str, task_id: str) -> list[tuple[Any, dict[str, Any]]]:
    common = {"dag_id": dag_id, "run_id": RUN_ID, "task_id": task_id}
    return [(id_, {**common, "map_index": index}) for index, id_ in enumerate(ids)]


def _new_id() -> Any:
    from airflow.models.taskinstance import TaskInstance

    # Since 3.2 the column takes a UUID, before that a string.
    new = uuid4()
    return new if TaskInstance.__table__.c.id.type.python_type is type(new) else str(new)
