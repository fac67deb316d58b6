"""A running Airflow for each pytest-xdist worker that runs end-to-end tests, and LeadMagic accounts."""

from __future__ import annotations

import json
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from airflow_provider_leadmagic.sandbox.sandbox import Sandbox
from dev.local_airflow import AIRFLOW_SERIES, LocalAirflow, wait_until
from tests.e2e import claim_scenarios
from tests.e2e.bulk_scenarios import IN_TRIGGERER, ON_WORKER, ROWS, SCENARIOS, STARTED_BY_THEIR_TEST
from tests.support.airflow_home import HOME, IGNORED, REPOSITORY
from tests.support.listeners import Statsd

if TYPE_CHECKING:
    from collections.abc import Iterator

#: API keys that must not appear in any log or table. Airflow does not mask keys that are much shorter.
CANARY = "canary-key-that-must-never-leak"
WRONG_CANARY = "wrong-canary-key-that-must-not-leak-either"


@pytest.fixture(scope="session")
def accounts() -> Iterator[dict[str, Sandbox]]:
    """Start the LeadMagic accounts, by the ID of the connection that points to them."""
    with ExitStack() as stack:
        balances = {"rich": 1000, "poor": 1, "waiting": 1, "sixty": 1, "echo": 1, "metered": 50, "leadmagic_default": 2}
        balances |= dict.fromkeys(SCENARIOS + STARTED_BY_THEIR_TEST, 1000)
        balances |= dict.fromkeys(claim_scenarios.SCENARIOS, 600)
        balances |= dict.fromkeys((claim_scenarios.SHARED, claim_scenarios.MISSING), 1)
        sandboxes = {
            conn_id: stack.enter_context(Sandbox(credits=credits_, api_key=CANARY))
            for conn_id, credits_ in balances.items()
        }
        echo = {"errors": [{"title": f"Key {CANARY} is invalid", "detail": CANARY, "action": f"Do not send {CANARY}."}]}
        sandboxes["echo"].fail_next("*", status=403, body=json.dumps(echo), content_type="application/json", times=None)
        yield sandboxes


@pytest.fixture(scope="session")
def statsd() -> Iterator[Statsd]:
    """Receive LeadMagic's metrics of the running Airflow."""
    with Statsd() as listener:
        yield listener


class LabeledAirflow(LocalAirflow):
    """Airflow whose components, and the processes they start, prefix their metrics with the component's name."""

    def start_component(self, name: str, arguments: list[str] | None = None) -> None:
        self.environment["AIRFLOW__METRICS__STATSD_PREFIX"] = name
        super().start_component(name, arguments)


@pytest.fixture(scope="session")
def airflow(accounts: dict[str, Sandbox], statsd: Statsd) -> Iterator[LocalAirflow]:
    """Run Airflow: the scheduler, the triggerer and the other components of its version."""
    dags = HOME / "e2e-dags"
    dags.mkdir()
    (dags / ".airflowignore").write_text(IGNORED)
    (dags / "examples").symlink_to(REPOSITORY / "example_dags")
    (dags / "e2e").symlink_to(REPOSITORY / "tests" / "e2e" / "dags")
    (HOME / "bulk").mkdir()
    connections = {
        f"AIRFLOW_CONN_{conn_id.upper()}": _with_long_timeout(sandbox) for conn_id, sandbox in accounts.items()
    }
    wrong_key = accounts["poor"].connection_json.replace(CANARY, WRONG_CANARY)
    settings = {
        **connections,
        **statsd.settings,
        "AIRFLOW__METRICS__METRICS_ALLOW_LIST": "leadmagic",
        "AIRFLOW_CONN_WRONG_KEY": wrong_key,
        "AIRFLOW__CORE__FERNET_KEY": "",  # so that the search for keys can read all of the database
        # Airflow's masking would hide a key that the provider writes to a log.
        "AIRFLOW__CORE__HIDE_SENSITIVE_VAR_CONN_FIELDS": "False",
        "AIRFLOW__OPERATORS__DEFAULT_DEFERRABLE": "True",
        "AIRFLOW__SCHEDULER__TRIGGER_TIMEOUT_CHECK_INTERVAL": "2",
        "AIRFLOW__LOGGING__LOGGING_LEVEL": "DEBUG",
        "LEADMAGIC_EXAMPLE_FOLDER": str(HOME),
        "LEADMAGIC_EXAMPLE_POKE_INTERVAL": "2",
        # A task must not be started again only because it waits for a locked SQLite database (Airflow 3.1+).
        "AIRFLOW__WORKERS__EXECUTION_API_TIMEOUT": "60",
        # SQLite allows one writer. Before Airflow 3.3, tasks that start together wait for it; on 3.0.6 it once stayed
        # locked.
        "LEADMAGIC_TEST_SENSORS_AT_ONCE": "4" if AIRFLOW_SERIES < (3, 3) else "8",
        # The DAG files do not change, and parsing them again slows down the tasks. Airflow 2 has the first of the two
        # intervals below, Airflow 3 the second.
        "AIRFLOW__SCHEDULER__MIN_FILE_PROCESS_INTERVAL": "600",
        # Airflow 3.0 starts a watcher when it parses its file for the second time.
        "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "30" if AIRFLOW_SERIES == (3, 0) else "600",
        # Airflow 3.0 parses a file to run a callback, for example of a killed task, without storing its DAGs. It then
        # considers them stale until the file is parsed again.
        "AIRFLOW__DAG_PROCESSOR__STALE_DAG_THRESHOLD": "3600" if AIRFLOW_SERIES == (3, 0) else "50",
        "AIRFLOW__API__ENABLE_XCOM_DESERIALIZE_SUPPORT": "True",  # Airflow 3.0 does not deserialize XComs by default
        # How soon the scheduler detects that a worker was killed: two settings of Airflow 2, then two of Airflow 3.
        "AIRFLOW__SCHEDULER__SCHEDULER_ZOMBIE_TASK_THRESHOLD": "30",
        "AIRFLOW__SCHEDULER__ZOMBIE_DETECTION_INTERVAL": "5",
        "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "30",
        "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "5",
        # How soon a new triggerer continues the triggers of one that was killed.
        "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "12",
        "LEADMAGIC_TEST_BULK_FOLDER": str(HOME / "bulk"),
        "LEADMAGIC_TEST_BULK_ROWS": str(ROWS),
        "LEADMAGIC_TEST_BULK_ON_WORKER": " ".join(ON_WORKER + STARTED_BY_THEIR_TEST),
        "LEADMAGIC_TEST_BULK_IN_TRIGGERER": " ".join(IN_TRIGGERER),
        "LEADMAGIC_TEST_CLAIM_SCENARIOS": " ".join(claim_scenarios.SCENARIOS),
        "LEADMAGIC_TEST_CLAIM_NEVER_POOL": claim_scenarios.NEVER_POOL,
        "LEADMAGIC_TEST_CLAIMS": " ".join(map(str, claim_scenarios.CLAIMS)),
    }
    with LabeledAirflow(HOME / "e2e-airflow", dags, settings) as running:
        yield running


def _with_long_timeout(sandbox: Sandbox) -> str:
    """Return a connection to an account, with a timeout longer than any delay of a test."""
    return json.dumps({**json.loads(sandbox.connection_json), "extra": {"timeout": 600}})


def tables_with(airflow: LocalAirflow, text: str) -> list[str]:
    """Return the names of all tables that contain a text, once per row."""
    found = []
    for (table,) in airflow.query("SELECT name FROM sqlite_master WHERE type = 'table'"):
        for row in airflow.query(f'SELECT * FROM main."{table}"'):
            if any(text in (value.decode("latin-1") if isinstance(value, bytes) else str(value)) for value in row):
                found.append(table)
    return found


def wait_for_run_to_end(airflow: LocalAirflow, dag_id: str, run_id: str, timeout: float) -> str:
    """Wait for a run to end, and return its state."""
    ended = ("success", "failed")
    wait_until(lambda: airflow.run_state(dag_id, run_id) in ended, timeout, f"the end of {dag_id}")
    return airflow.run_state(dag_id, run_id)
