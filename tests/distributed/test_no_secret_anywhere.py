"""The search for keys and tokens, in all that a distributed Airflow shows, says and stores."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from tests.distributed.canaries import CANARY, SPOKEN_CANARY, STORED_CANARY, WRONG_CANARY
from tests.distributed.cluster import TRIGGERERS, WORKERS
from tests.distributed.searched_text import laid_open
from tests.distributed.traces import LISTS, OF_A_DAG, OF_A_TASK, OF_THE_INTERFACE, log_traces

if TYPE_CHECKING:
    from tests.distributed.story import Story

pytestmark = pytest.mark.distributed

MOMENTS = ("while gates wait", "at the end")
#: What must be found in a place, lest the search be one of nothing: where it is not the name of a DAG.
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
    *[f"ui {name}" for name in OF_THE_INTERFACE],
    "database",
    "redis",
]
#: Names of connections stand where a careless trigger or template would have the key.
CONTROLS_OF_TABLES = {
    "task_instance": "stored",
    "trigger": "stored",
    "serialized_dag": "stored",
    "rendered_task_instance_fields": "stored",
    "celery_taskmeta": "SUCCESS",
}
#: What each component writes only when it has something to do; and what is written of a file that uses its key.
LOGS = {
    "scheduler": "gates_00",
    "dag-processor": "dag_gates.py",
    "api-server": "/api/v2/",
    **dict.fromkeys(WORKERS, "gates_0"),
    **dict.fromkeys(TRIGGERERS, "triggers currently running"),
    "DAG files": "dag_that_cannot_be_imported.py",
}


@pytest.fixture(scope="session")
def secrets(story: Story) -> list[str]:
    """Everything that nobody may see, wherever it is."""
    tokens = [job.token for job in story.accounts["bulk"].bulk_jobs]
    assert tokens
    return [CANARY, WRONG_CANARY, *tokens]


@pytest.fixture(scope="session")
def logs(story: Story) -> dict[str, str]:
    """All logs, read once: they are long."""
    return log_traces(story.cluster)


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("place", PLACES)
def test_nothing_that_airflow_shows_or_stores_holds_a_secret(
    story: Story, secrets: list[str], place: str, moment: str
) -> None:
    text = laid_open(story.traces[moment, place])
    if not (place == "api asset_events" and moment == "while gates wait"):  # there are none yet
        assert CONTROLS.get(place, "traces") in text

    assert [secret for secret in secrets if secret in text] == []


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_key_that_airflow_stores_stands_in_the_table_of_connections_only(story: Story, moment: str) -> None:
    tables = tables_of(story.traces[moment, "database"])

    assert [name for name, rows in tables.items() if STORED_CANARY in laid_open(rows)] == ["connection"]
    shown = {place for (when, place), text in story.traces.items() if when == moment and STORED_CANARY in text}
    # To its administrators Airflow shows the connection as well, now that its masking is off.
    assert shown - {"database", "api connections"} == set()


@pytest.mark.parametrize("table", CONTROLS_OF_TABLES)
def test_the_search_of_the_database_sees_into_every_column(story: Story, table: str) -> None:
    tables = tables_of(story.traces["while gates wait", "database"])

    assert CONTROLS_OF_TABLES[table] in laid_open(tables[table])


@pytest.mark.parametrize("text", ["SufficientCreditsTrigger", "BulkJobTrigger", "rendered_fields"])
def test_the_search_sees_triggers_and_rendered_templates_in_the_api(story: Story, text: str) -> None:
    assert text in story.traces["while gates wait", "api task_instances"]


@pytest.mark.parametrize("writer", LOGS)
def test_no_log_but_those_of_tasks_holds_a_secret(logs: dict[str, str], secrets: list[str], writer: str) -> None:
    text = laid_open(logs[f"log of {writer}"])
    assert LOGS[writer] in text

    assert [secret for secret in [*secrets, STORED_CANARY, SPOKEN_CANARY] if secret in text] == []


def test_the_search_sees_what_a_triggerer_asks_of_leadmagic(logs: dict[str, str]) -> None:
    # Airflow writes it to the log of the task that began the poll; of the one that has the watcher, to its own.
    assert any("/v1/credits" in logs[f"log of {triggerer}"] for triggerer in TRIGGERERS)


def test_no_task_logs_a_secret_but_the_one_that_does_so_on_purpose(logs: dict[str, str], secrets: list[str]) -> None:
    lines = logs["log of tasks"].splitlines()

    spoken = [line for line in lines if SPOKEN_CANARY in line]

    assert spoken
    assert all("The key, on purpose:" in line for line in spoken)
    assert [line for line in lines if any(secret in line for secret in [*secrets, STORED_CANARY])] == []


def test_a_key_in_a_log_would_be_seen_through_the_api(story: Story) -> None:
    assert SPOKEN_CANARY in story.traces["at the end", "api task log"]


def test_no_secret_went_through_redis(story: Story, secrets: list[str]) -> None:
    text = laid_open(story.cluster.redis.record.read_text(errors="replace"))
    # Only in what Celery sends, which is encoded: the search has to have seen into it.
    assert re.search(r"dag_id\W+gates_00", text)

    assert [secret for secret in [*secrets, STORED_CANARY, SPOKEN_CANARY] if secret in text] == []


def tables_of(dump: str) -> dict[str, str]:
    """Split a dump into what stands in each table."""
    parts = re.split(r"^COPY public\.\"?(\w+)\"? .*FROM stdin;$", dump, flags=re.MULTILINE)
    return dict(zip(parts[1::2], (rows.split("\n\\.\n")[0] for rows in parts[2::2]), strict=True))
