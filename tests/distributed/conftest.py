"""One distributed Airflow and one run for all tests in this folder."""

from __future__ import annotations

import json
import signal
from contextlib import ExitStack
from importlib.util import find_spec
from typing import TYPE_CHECKING

import pytest

from dev.local_airflow import LocalAirflowError, wait_until
from tests.distributed.claims import CLAIMED, CLAIMS
from tests.distributed.sensors import DAGS, POKING_POOL, POKING_SLOTS, all_sensors, write_plan
from tests.support.airflow_home import HOME, REPOSITORY

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.distributed.accounts import Accounts
    from tests.distributed.cluster import Cluster
    from tests.distributed.run import DistributedRun

#: These require the packages in requirements/distributed.txt.
collect_ignore = [] if find_spec("celery") else ["test_distributed_run.py", "test_no_secret_anywhere.py"]

PLAN = HOME / "plan.json"
DAGS_FOLDER = REPOSITORY / "tests" / "distributed" / "dags"
SETTINGS = {
    "AIRFLOW__CORE__FERNET_KEY": "",  # no encryption in the database, so that the search for keys sees everything
    # Airflow's own masking would hide a key that the provider logged, or stored under a name like "password".
    "AIRFLOW__LOGGING__MIN_LENGTH_MASKED_SECRET": "1000",
    "AIRFLOW__CORE__HIDE_SENSITIVE_VAR_CONN_FIELDS": "False",
    "AIRFLOW__LOGGING__LOGGING_LEVEL": "DEBUG",
    # The DAG files do not change; parsing them again would take CPU from the tasks.
    "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "300",
    "LEADMAGIC_TEST_PLAN": str(PLAN),
    "LEADMAGIC_TEST_BULK_FOLDER": str(HOME),
    "LEADMAGIC_TEST_CLAIMED": json.dumps(CLAIMED),
}


@pytest.fixture(scope="session")
def run() -> Iterator[DistributedRun]:
    """Execute the run, and keep the cluster up for the tests."""
    for number in (signal.SIGTERM, signal.SIGHUP):  # clean up after these as well
        signal.signal(number, signal.default_int_handler)
    try:
        with ExitStack() as stack:
            run = start_cluster(stack)
            run.execute()
            yield run
    except LocalAirflowError as error:  # fail once, not once for each test
        pytest.exit(f"The distributed run failed: {error}", returncode=1)


def start_cluster(stack: ExitStack) -> DistributedRun:
    """Start the accounts and the cluster; the exit stack stops them."""
    from tests.distributed.accounts import Accounts
    from tests.distributed.cluster import Cluster
    from tests.distributed.progress import log_progress
    from tests.distributed.run import DistributedRun

    sensors = all_sensors()
    write_plan(PLAN, sensors)
    accounts = stack.enter_context(Accounts())
    settings = {**SETTINGS, **accounts.connections()}
    cluster = Cluster(HOME / "distributed", DAGS_FOLDER, settings, accounts.connections_by_component())
    log_progress("Starting the cluster ...")
    prepare(stack.enter_context(cluster), accounts)
    log_progress(f"The cluster is up, with {len(sensors)} sensors in {DAGS} DAGs.")
    return DistributedRun(cluster, accounts, sensors)


def prepare(cluster: Cluster, accounts: Accounts) -> None:
    """Create the pools and the connection in Airflow's database, and wait for the DAGs."""
    for name, slots in {POKING_POOL: POKING_SLOTS, CLAIMS: 1}.items():
        cluster.call("POST", "/api/v2/pools", {"name": name, "slots": slots, "include_deferred": False})
    # With the CLI, not the API: Airflow logs API requests, and its masking is off.
    stored = accounts["stored"]
    options = ["--conn-type", "leadmagic", "--conn-host", stored.url]
    cluster.run("connections", "add", "stored", *options, "--conn-password", stored.api_key)
    parsed = "SELECT COUNT(*) FROM serialized_dag"
    wait_until(lambda: cluster.query(parsed) == [(DAGS + 2 + len(CLAIMED),)], 120, "all DAGs", cluster.supervise)
    wait_until(lambda: bool(cluster.query("SELECT 1 FROM import_error")), 120, "the import error", cluster.supervise)
