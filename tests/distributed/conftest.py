"""One distributed Airflow and one story for all tests of this folder."""

from __future__ import annotations

import signal
from contextlib import ExitStack
from importlib.util import find_spec
from typing import TYPE_CHECKING

import pytest

from dev.local_airflow import LocalAirflowError, wait_until
from tests.distributed.gates import DAGS, POKING_POOL, POKING_SLOTS, all_gates, write_plan
from tests.support.airflow_home import HOME, REPOSITORY

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.distributed.accounts import Accounts
    from tests.distributed.cluster import Cluster
    from tests.distributed.story import Story

#: These need what requirements/distributed.txt brings.
collect_ignore = [] if find_spec("celery") else ["test_distributed_run.py", "test_no_secret_anywhere.py"]

PLAN = HOME / "plan.json"
FILES_OF_DAGS = REPOSITORY / "tests" / "distributed" / "dags"
SETTINGS = {
    "AIRFLOW__CORE__FERNET_KEY": "",  # so that nothing in the database is hidden from the search for keys
    # Airflow's own masking would hide a key that we wrote to a log, or left under a name like "password".
    "AIRFLOW__LOGGING__MIN_LENGTH_MASKED_SECRET": "1000",
    "AIRFLOW__CORE__HIDE_SENSITIVE_VAR_CONN_FIELDS": "False",
    "AIRFLOW__LOGGING__LOGGING_LEVEL": "DEBUG",
    # Parsing again what does not change takes time from the tasks.
    "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "300",
    "LEADMAGIC_TEST_PLAN": str(PLAN),
    "LEADMAGIC_TEST_BULK_FOLDER": str(HOME),
}


@pytest.fixture(scope="session")
def story() -> Iterator[Story]:
    """The run, when all has happened; the cluster is still up."""
    for number in (signal.SIGTERM, signal.SIGHUP):  # whoever ends us that way leaves nothing behind either
        signal.signal(number, signal.default_int_handler)
    try:
        with ExitStack() as stack:
            story = begin(stack)
            story.tell()
            yield story
    except LocalAirflowError as error:  # once, rather than once for each test
        pytest.exit(f"The run came to nothing: {error}", returncode=1)


def begin(stack: ExitStack) -> Story:
    """Start everything, to be ended with a stack."""
    from tests.distributed.accounts import Accounts
    from tests.distributed.cluster import Cluster
    from tests.distributed.progress import say
    from tests.distributed.story import Story

    gates = all_gates()
    write_plan(PLAN, gates)
    accounts = stack.enter_context(Accounts())
    settings = {**SETTINGS, **accounts.connections()}
    cluster = Cluster(HOME / "distributed", FILES_OF_DAGS, settings, accounts.connections_of())
    say("The cluster starts ...")
    prepare(stack.enter_context(cluster), accounts)
    say(f"The cluster is up: {len(gates)} gates in {DAGS} DAGs.")
    return Story(cluster, accounts, gates)


def prepare(cluster: Cluster, accounts: Accounts) -> None:
    """Bring in what Airflow keeps in its database, and wait for the DAGs."""
    pool = {"name": POKING_POOL, "slots": POKING_SLOTS, "include_deferred": False}
    cluster.call("POST", "/api/v2/pools", pool)
    # By the command and not by the API: Airflow logs what the API was sent, and its masking is off.
    stored = accounts["stored"]
    where = ["--conn-type", "leadmagic", "--conn-host", stored.url]
    cluster.run("connections", "add", "stored", *where, "--conn-password", stored.api_key)
    known = "SELECT COUNT(*) FROM serialized_dag"
    wait_until(lambda: cluster.query(known) == [(DAGS + 2,)], 120, "all DAGs", cluster.supervise)
    wait_until(lambda: bool(cluster.query("SELECT 1 FROM import_error")), 120, "the import error", cluster.supervise)
