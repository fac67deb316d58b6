"""The sensor and the check with templates, XCom references, mapping, callbacks and notifiers."""

from __future__ import annotations

from datetime import datetime
from typing import Any

try:
    from airflow.sdk import BaseNotifier, dag, task
except ModuleNotFoundError:  # Airflow 2.11
    from airflow.decorators import dag, task
    from airflow.notifications.basenotifier import BaseNotifier

from airflow_provider_leadmagic.operators.credits import CheckCreditsOperator
from airflow_provider_leadmagic.sensors.credits import SufficientCreditsSensor

WAIT = {"poke_interval": 0.1, "timeout": 20}


class XComNotifier(BaseNotifier):
    """A notifier with a templated message, like those of Slack and SMTP. It pushes the message as an XCom."""

    template_fields = ("message",)

    def __init__(self, message: str) -> None:
        super().__init__()
        self.message = message

    def notify(self, context: Any) -> None:
        context["ti"].xcom_push(key="notified", value=self.message)


def push_xcom(context: Any) -> None:
    context["ti"].xcom_push(key="called", value=context["leadmagic_credits"]["spendable"])


def fail(_context: Any) -> None:
    raise RuntimeError("notification failed")


@dag(
    dag_id="templates_and_mapping",
    schedule=None,
    start_date=datetime(2026, 1, 1),
    params={"minimum": 7, "conn_id": "leadmagic_default"},
    default_args={"leadmagic_conn_id": "{{ params.conn_id }}"},
)
def templates_and_mapping() -> None:
    @task
    def estimate() -> int:
        return 42

    @task
    def estimates() -> list[int]:
        return [1, 2, 3]

    SufficientCreditsSensor(task_id="templated", minimum_credits="{{ params.minimum }}", **WAIT)
    SufficientCreditsSensor(task_id="from_xcom", minimum_credits=estimate(), deferrable=True, **WAIT)
    SufficientCreditsSensor.partial(task_id="mapped", **WAIT).expand(minimum_credits=estimates())
    CheckCreditsOperator.partial(task_id="mapped_check", on_low_credits=push_xcom).expand(warn_below=[1, 5000])
    CheckCreditsOperator(
        task_id="templated_check",
        minimum_credits="{{ params.minimum }}",
        warn_below="{{ params.minimum * 1000 }}",
        on_low_credits=[fail, push_xcom, XComNotifier(message="only {{ leadmagic_credits.spendable }} left")],
    )


@dag(dag_id="too_few_credits", schedule=None, start_date=datetime(2026, 1, 1))
def too_few_credits() -> None:
    for choice in ("fail", "skip", "continue"):
        CheckCreditsOperator(task_id=choice, minimum_credits=5000, on_insufficient=choice)


templates_and_mapping()
too_few_credits()
