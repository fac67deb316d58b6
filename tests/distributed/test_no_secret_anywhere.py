"""No API key or link token appears in anything that a distributed Airflow shows, logs or stores."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from tests.distributed.canaries import CANARY, LOGGED_CANARY, STORED_CANARY, WRONG_CANARY
from tests.distributed.cluster import TRIGGERERS, WORKERS
from tests.distributed.decoded_text import with_decoded_parts
from tests.distributed.traces import LISTS, OF_A_DAG, OF_A_TASK, OF_THE_WEB_INTERFACE, log_traces

if TYPE_CHECKING:
    from tests.distributed.run import DistributedRun

pytestmark = pytest.mark.distributed

MOMENTS = ("while sensors wait", "at the end")
#: Text that each place must contain, to prove that the search sees its content; by default the DAG ID "traces".
CONTROLS = {
    "api connections": "stored",
    "api import_errors": "dag_that_cannot_be_imported",
    "api assets": "credits_topped_up",
    "api asset_events": "rises_to",
    "api dag_warnings": "total_entries",
    "api pools": "poking",
    "api jobs": "TriggererJob",
    "api providers": "airflow-provider-leadmagic",
    "api plugins": "total_entries",
    "api task log": "leadmagic",
    "api task dependencies": "dependencies",
    "api task links": "LeadMagic usage",
    "api dag tasks": "SufficientCreditsSensor",
    "api xcom": "minimum_credits",
    "ui connection_form": "leadmagic",
    "ui grid_structure": "echo_deferrable",
    "ui grid_runs": "manual",
    "ui graph": "echo_deferrable",
    "redis": "_kombu",
}
PLACES = [
    *[f"api {name}" for name in LISTS],
    *[f"api dag {name}" for name in OF_A_DAG],
    *[f"api task {name}" for name in OF_A_TASK],
    "api xcom",
    *[f"ui {name}" for name in OF_THE_WEB_INTERFACE],
    "database",
    "redis",
]
#: The same as ``CONTROLS``, for tables of the database. If the search finds ``stored``, the ID of a connection, it also
#: sees the columns that could contain the API key of this connection.
CONTROLS_OF_TABLES = {
    "task_instance": "stored",
    "trigger": "stored",
    "serialized_dag": "stored",
    "rendered_task_instance_fields": "stored",
    "celery_taskmeta": "SUCCESS",
}
#: The same for the logs of the components: text that each component logs only when it does its work.
LOGS = {
    "scheduler": "sensors_00",
    "dag-processor": "dag_sensors.py",
    "api-server": "/api/v2/",
    **dict.fromkeys(WORKERS, "sensors_0"),
    **dict.fromkeys(TRIGGERERS, "triggers currently running"),
    "DAG files": "dag_that_cannot_be_imported.py",
}


@pytest.fixture(scope="session")
def secrets(run: DistributedRun) -> list[str]:
    """Return the secrets that must not appear anywhere."""
    tokens = [job.token for job in run.accounts["bulk"].bulk_jobs]
    assert tokens
    return [CANARY, WRONG_CANARY, *tokens]


@pytest.fixture(scope="session")
def logs(run: DistributedRun) -> dict[str, str]:
    """Read all logs, once, because they are long."""
    return log_traces(run.cluster)


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("place", PLACES)
def test_no_secret_in_anything_that_airflow_shows_or_stores(
    run: DistributedRun, secrets: list[str], place: str, moment: str
) -> None:
    text = with_decoded_parts(run.traces[moment, place])
    if not (place == "api asset_events" and moment == "while sensors wait"):  # no events yet
        assert CONTROLS.get(place, "traces") in text

    assert [secret for secret in secrets if secret in text] == []


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_stored_key_is_only_in_the_connection_table(run: DistributedRun, moment: str) -> None:
    tables = tables_of(run.traces[moment, "database"])

    assert [name for name, rows in tables.items() if STORED_CANARY in with_decoded_parts(rows)] == ["connection"]
    found = {place for (when, place), text in run.traces.items() if when == moment and STORED_CANARY in text}
    # Masking is off in this Airflow, so its API shows the key of a connection to administrators.
    assert found - {"database", "api connections"} == set()


@pytest.mark.parametrize("table", CONTROLS_OF_TABLES)
def test_the_search_sees_every_table_of_the_database(run: DistributedRun, table: str) -> None:
    tables = tables_of(run.traces["while sensors wait", "database"])

    assert CONTROLS_OF_TABLES[table] in with_decoded_parts(tables[table])


@pytest.mark.parametrize("text", ["SufficientCreditsTrigger", "BulkJobTrigger", "rendered_fields"])
def test_the_search_sees_triggers_and_rendered_templates_in_the_api(run: DistributedRun, text: str) -> None:
    assert text in run.traces["while sensors wait", "api task_instances"]


@pytest.mark.parametrize("writer", LOGS)
def test_no_secret_in_the_logs_of_components(logs: dict[str, str], secrets: list[str], writer: str) -> None:
    text = with_decoded_parts(logs[f"log of {writer}"])
    assert LOGS[writer] in text

    assert [secret for secret in [*secrets, STORED_CANARY, LOGGED_CANARY] if secret in text] == []


def test_the_search_sees_the_requests_of_a_triggerer_to_leadmagic(logs: dict[str, str]) -> None:
    # These are requests of watchers, which have no task. If a task has started a poll, its log has the requests.
    assert any("/v1/credits" in logs[f"log of {triggerer}"] for triggerer in TRIGGERERS)


def test_no_secret_in_task_logs_except_the_one_logged_on_purpose(logs: dict[str, str], secrets: list[str]) -> None:
    lines = logs["log of tasks"].splitlines()

    logged = [line for line in lines if LOGGED_CANARY in line]

    assert logged
    assert all("The key, on purpose:" in line for line in logged)
    assert [line for line in lines if any(secret in line for secret in [*secrets, STORED_CANARY])] == []


def test_the_search_sees_a_key_in_a_log_through_the_api(run: DistributedRun) -> None:
    assert LOGGED_CANARY in run.traces["at the end", "api task log"]


def test_no_secret_in_the_commands_sent_to_redis(run: DistributedRun, secrets: list[str]) -> None:
    text = with_decoded_parts(run.cluster.redis.command_log.read_text(errors="replace"))
    # This is only in Celery's encoded messages, so it proves that the search decodes them.
    assert re.search(r"dag_id\W+sensors_00", text)

    assert [secret for secret in [*secrets, STORED_CANARY, LOGGED_CANARY] if secret in text] == []


def tables_of(dump: str) -> dict[str, str]:
    """Split a database dump into the rows of each table."""
    parts = re.split(r"^COPY public\.\"?(\w+)\"? .*FROM stdin;$", dump, flags=re.MULTILINE)
    return dict(zip(parts[1::2], (rows.split("\n\\.\n")[0] for rows in parts[2::2]), strict=True))
