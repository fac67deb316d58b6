"""The gates that the tests have written down, in as many DAGs as that takes."""

from __future__ import annotations

import json
import os
from datetime import datetime, timedelta
from itertools import groupby
from pathlib import Path

from airflow.sdk import DAG

from airflow_provider_leadmagic.sensors.credits import SufficientCreditsSensor

PLAN = json.loads(Path(os.environ["LEADMAGIC_TEST_PLAN"]).read_text())
# A gate that is killed with its worker needs a retry, and so does each that a fault strikes while it starts. The end of
# its time is not retried, so retries cost a gate that never opens nothing.
RETRIES = {"retries": 3, "retry_delay": timedelta(seconds=5)}

for dag_id, gates in groupby(PLAN, key=lambda gate: gate["dag_id"]):
    with DAG(dag_id, schedule=None, start_date=datetime(2026, 1, 1), default_args=RETRIES) as dag:
        for gate in gates:
            SufficientCreditsSensor(**gate["arguments"])
    globals()[dag_id] = dag
