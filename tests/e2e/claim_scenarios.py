"""The scenarios of the end-to-end tests of claims. Each has its own connection, LeadMagic account and claim pool."""

from __future__ import annotations

from dev.local_airflow import IS_AIRFLOW_3

#: Scenarios with two DAGs each: the first one claims credits, and the second one waits for them.
SCENARIOS = (
    "claims_dag_deleted",
    "claims_run_failed",
    "claims_work_cleared",
    "claims_paused",
    "claims_marked_success",
    "claims_released",
    "claims_replaced",
    "claims_mapped",
    "claims_rescheduled",
    "claims_two_slots",
    "claims_work_killed",
    "claims_sensor_killed",
    "claims_components_killed",
)
#: Credits that each of ten DAGs claims and then spends, one with each request. Ten other DAGs try to spend as many
#: credits of another account without claims. Airflow 2 starts tasks slowly, so there are fewer DAGs.
CLAIMS = tuple(range(90, 100) if IS_AIRFLOW_3 else range(90, 100, 2))
#: The balance once all sensors wait, and the credits of each top-up: enough for any one of these claims, not for two.
FOR_ONE_CLAIM = 120
SHARED, MISSING = "claims_shared", "claims_missing"
#: A pool without slots.
NEVER_POOL = "claims_never"
#: Slots by pool.
POOLS = dict.fromkeys((*SCENARIOS, SHARED), 1) | {"claims_two_slots": 2, NEVER_POOL: 0}
