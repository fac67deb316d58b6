"""Sensors in every mode and with every flag, two sensors that wait, and sixty mapped sensors."""

from __future__ import annotations

import logging
import os
from datetime import datetime, timedelta

try:
    from airflow.sdk import dag, task
except ModuleNotFoundError:  # Airflow 2.11
    from airflow.decorators import dag, task

from airflow_provider_leadmagic.operators.credits import CheckCreditsOperator
from airflow_provider_leadmagic.sensors.credits import SufficientCreditsSensor

# The interval is long enough for a busy scheduler, which notices seconds late that a poke has ended. If the next one
# is due by then, it fails the attempt.
RESCHEDULE = {"mode": "reschedule", "poke_interval": 12, "timeout": 24}
MODES = {"poke": {"mode": "poke"}, "reschedule": RESCHEDULE, "deferrable": {"deferrable": True}}
FLAGS = {"plain": {}, "soft_fail": {"soft_fail": True}, "never_fail": {"never_fail": True}}
ACCOUNTS = {"succeeds": "rich", "times_out": "poor", "wrong_key": "wrong_key", "key_echoed": "echo"}
START = datetime(2026, 1, 1)
AT_ONCE = int(os.environ.get("LEADMAGIC_TEST_SENSORS_AT_ONCE", "8"))
DEFAULTS = {"minimum_credits": 100, "poke_interval": 4, "timeout": 9, "deferrable": False}


@dag(
    dag_id="sensors_in_every_mode",
    schedule=None,
    start_date=START,
    default_args={"retries": 1, "retry_delay": timedelta(seconds=1)},
)
def sensors_in_every_mode() -> None:
    for case, conn_id in ACCOUNTS.items():
        for mode, mode_arguments in MODES.items():
            for flag, flag_arguments in FLAGS.items():
                arguments = {**DEFAULTS, **mode_arguments, **flag_arguments}
                SufficientCreditsSensor(task_id=f"{case}-{mode}-{flag}", leadmagic_conn_id=conn_id, **arguments)

    @task
    def logs_the_key() -> None:
        """Log the API key, to prove that the tests would find it."""
        from airflow_provider_leadmagic.hooks.leadmagic import LeadMagicHook

        logging.getLogger(__name__).info(
            "API key logged on purpose: %s.", LeadMagicHook.get_connection("rich").password
        )

    logs_the_key()
    CheckCreditsOperator(task_id="check", minimum_credits=100, leadmagic_conn_id="rich")
    CheckCreditsOperator(task_id="check_fails", minimum_credits=100, leadmagic_conn_id="poor", retries=0)


@dag(dag_id="metered_sensor", schedule=None, start_date=START)
def metered_sensor() -> None:
    names = {"task_id": "wait_for_credits", "leadmagic_conn_id": "metered"}
    SufficientCreditsSensor(**names, minimum_credits=100, poke_interval=1, timeout=600, deferrable=True)


@dag(dag_id="waiting_sensor", schedule=None, start_date=START, default_args={"retries": 1})
def waiting_sensor() -> None:
    SufficientCreditsSensor(
        task_id="wait_for_credits",
        minimum_credits="{{ 100 }}",
        leadmagic_conn_id="waiting",
        poke_interval=2,
        timeout=600,
        deferrable=True,
    )


@dag(dag_id="sixty_sensors", schedule=None, start_date=START, max_active_tasks=AT_ONCE)
def sixty_sensors() -> None:
    @task
    def thresholds() -> list[int]:
        return list(range(100, 160))

    SufficientCreditsSensor.partial(
        task_id="wait_for_credits", leadmagic_conn_id="sixty", poke_interval=10, timeout=600, deferrable=True
    ).expand(minimum_credits=thresholds())


sensors_in_every_mode()
metered_sensor()
waiting_sensor()
sixty_sensors()
