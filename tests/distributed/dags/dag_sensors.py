"""The DAGs with the sensors of the plan that the tests have written to a file."""

from __future__ import annotations

import json
import os
from datetime import datetime, timedelta
from itertools import groupby
from pathlib import Path

from airflow.sdk import DAG

from airflow_provider_leadmagic.sensors.credits import SufficientCreditsSensor

PLAN = json.loads(Path(os.environ["LEADMAGIC_TEST_PLAN"]).read_text())
# A sensor that is killed with its worker needs a retry, and so does one that a fault hits while it starts. Airflow does
# not retry a sensor that reached its timeout, so retries do not delay a sensor that never succeeds.
RETRIES = {"retries": 3, "retry_delay": timedelta(seconds=5)}

for dag_id, sensors in groupby(PLAN, key=lambda sensor: sensor["dag_id"]):
    with DAG(dag_id, schedule=None, start_date=datetime(2026, 1, 1), default_args=RETRIES) as dag:
        for sensor in sensors:
            SufficientCreditsSensor(**sensor["arguments"])
    globals()[dag_id] = dag
