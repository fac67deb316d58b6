"""Sensors that claim credits: ten DAGs that share one account, and two DAGs for each single scenario."""

from __future__ import annotations

import os
from datetime import datetime, timedelta
from typing import Any

try:
    from airflow.sdk import DAG, task
except ModuleNotFoundError:  # Airflow 2.11
    from airflow import DAG
    from airflow.decorators import task

from airflow_provider_leadmagic.hooks.leadmagic import LeadMagicHook
from airflow_provider_leadmagic.sensors.credits import SufficientCreditsSensor

# From tests/e2e/claim_scenarios.py, which a DAG file cannot import.
SCENARIOS = os.environ.get("LEADMAGIC_TEST_CLAIM_SCENARIOS", "").split()
NEVER = os.environ.get("LEADMAGIC_TEST_CLAIM_NEVER_POOL", "")
CLAIMS = [int(credits_) for credits_ in os.environ.get("LEADMAGIC_TEST_CLAIMS", "").split()]
RETRIES: dict[str, Any] = {"retries": 3, "retry_delay": timedelta(seconds=1)}
# With retries, because a busy scheduler treats a task that resumes soon after it deferred as lost.
DEFAULTS: dict[str, Any] = {"poke_interval": 2, "timeout": 1200, "deferrable": True, "claim_settle": 1, **RETRIES}
TWO_SLOTS: dict[str, Any] = {"minimum_credits": 700, "retries": 0}
# The same scheduler treats a rescheduled task that is due again as lost if the interval is short.
RESCHEDULE: dict[str, Any] = {"deferrable": False, "mode": "reschedule", "poke_interval": 12}
#: Further arguments of the sensor, by DAG.
ARGUMENTS: dict[str, dict[str, Any]] = {
    "claims_released_first": {"release_after": ["work"]},
    "claims_marked_success_first": {"minimum_credits": 700},
    "claims_two_slots_first": TWO_SLOTS,
    "claims_two_slots_second": TWO_SLOTS,
    "claims_rescheduled_first": RESCHEDULE,
    "claims_rescheduled_second": RESCHEDULE,
    # After the sensor has written its claim, and before Airflow makes it a success.
    "claims_sensor_killed_first": {"post_execute": lambda context, result: look_up("claims_sensor_killed")},
}


def claim(account: str, **arguments: Any) -> SufficientCreditsSensor:
    """Claim credits of an account in the pool with the same name."""
    names = {"task_id": "claim", "leadmagic_conn_id": account, "claim_pool": account}
    return SufficientCreditsSensor(**{"minimum_credits": 500, **names, **DEFAULTS, **arguments})


def look_up(account: str, times: int = 1) -> None:
    """Spend one credit at a time."""
    with LeadMagicHook(account, max_attempts=1).get_conn() as client:
        for number in range(times):
            client.enrich("email_finder", full_name=f"Lead {number}", domain="example.com")


def new_dag(dag_id: str) -> DAG:
    dag = DAG(dag_id, schedule=None, start_date=datetime(2026, 1, 1), max_active_tasks=4)
    globals()[dag_id] = dag
    return dag


for number, credits_ in enumerate(CLAIMS):
    for account, pool in (("claims_shared", "claims_shared"), ("claims_missing", None)):
        with new_dag(f"{account}_{number}"):
            sensor = claim(account, minimum_credits=credits_, claim_pool=pool)
            sensor >> task(task_id="work")(look_up)(account, credits_)

for scenario in SCENARIOS:
    for place in ("first", "second"):
        dag_id = f"{scenario}_{place}"
        with new_dag(dag_id):
            if scenario == "claims_mapped":
                names = {"task_id": "claim", "leadmagic_conn_id": scenario, "pool": scenario, "claim_pool": scenario}
                claims = SufficientCreditsSensor.partial(**names, **DEFAULTS).expand(minimum_credits=[450, 500])
            else:
                claims = claim(scenario, **ARGUMENTS.get(dag_id, {}))
            if scenario == "claims_replaced":
                claims >> claim(scenario, task_id="claim_again")
                continue
            work = task(task_id="work", **RETRIES)(look_up)(scenario)
            claims >> work
            if place == "first":
                # It never starts, so the run stays active without occupying a worker.
                work >> task(task_id="never", pool=NEVER)(look_up)(scenario)
