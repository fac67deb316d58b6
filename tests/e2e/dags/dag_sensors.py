"""Gates in every mode and with every flag, as a scheduler runs them."""

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

# A busy scheduler is some seconds behind, and takes a rescheduled task that is due again for one that was lost.
RESCHEDULE = {"mode": "reschedule", "poke_interval": 12, "timeout": 24}
MODES = {"poke": {"mode": "poke"}, "reschedule": RESCHEDULE, "deferrable": {"deferrable": True}}
FLAGS = {"plain": {}, "soft_fail": {"soft_fail": True}, "never_fail": {"never_fail": True}}
ACCOUNTS = {"opens": "rich", "times_out": "poor", "wrong_key": "wrong_key", "key_echoed": "echo"}
START = datetime(2026, 1, 1)
AT_ONCE = int(os.environ.get("LEADMAGIC_TEST_GATES_AT_ONCE", "8"))
GATE = {"minimum_credits": 100, "poke_interval": 4, "timeout": 9, "deferrable": False}


@dag(
    dag_id="gates_for_real",
    schedule=None,
    start_date=START,
    default_args={"retries": 1, "retry_delay": timedelta(seconds=1)},
)
def gates_for_real() -> None:
    for case, conn_id in ACCOUNTS.items():
        for mode, mode_arguments in MODES.items():
            for flag, flag_arguments in FLAGS.items():
                arguments = {**GATE, **mode_arguments, **flag_arguments}
                SufficientCreditsSensor(task_id=f"{case}-{mode}-{flag}", leadmagic_conn_id=conn_id, **arguments)

    @task
    def says_the_key() -> None:
        """Prove that a key in a log would be found."""
        from airflow_provider_leadmagic.hooks.leadmagic import LeadMagicHook

        logging.getLogger(__name__).info("The key, on purpose: %s.", LeadMagicHook.get_connection("rich").password)

    says_the_key()
    CheckCreditsOperator(task_id="check", minimum_credits=100, leadmagic_conn_id="rich")
    CheckCreditsOperator(task_id="check_fails", minimum_credits=100, leadmagic_conn_id="poor", retries=0)


@dag(dag_id="waiting_gate", schedule=None, start_date=START, default_args={"retries": 1})
def waiting_gate() -> None:
    SufficientCreditsSensor(
        task_id="gate",
        minimum_credits="{{ 100 }}",
        leadmagic_conn_id="waiting",
        poke_interval=2,
        timeout=600,
        deferrable=True,
    )


@dag(dag_id="sixty_gates", schedule=None, start_date=START, max_active_tasks=AT_ONCE)
def sixty_gates() -> None:
    @task
    def thresholds() -> list[int]:
        return list(range(100, 160))

    SufficientCreditsSensor.partial(
        task_id="gate", leadmagic_conn_id="sixty", poke_interval=10, timeout=600, deferrable=True
    ).expand(minimum_credits=thresholds())


gates_for_real()
waiting_gate()
sixty_gates()
