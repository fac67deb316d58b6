"""The sensor and the check with templates, XCom references, mapping, callbacks and notifiers."""

from __future__ import annotations

import tempfile
from datetime import datetime
from typing import Any

try:
    from airflow.sdk import BaseNotifier, TaskGroup, dag, task
except ModuleNotFoundError:  # Airflow 2.11
    from airflow.decorators import dag, task
    from airflow.notifications.basenotifier import BaseNotifier
    from airflow.utils.task_group import TaskGroup

from airflow_provider_leadmagic.compat.imports import AirflowSkipException
from airflow_provider_leadmagic.operators.bulk import BulkEnrichmentOperator
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


@dag(dag_id="guards_without_a_value", schedule=None, start_date=datetime(2026, 1, 1))
def guards_without_a_value() -> None:
    @task
    def limit() -> None:
        return None

    @task
    def limits() -> list[int | None]:
        return [None, 1000]

    @task
    def arguments() -> list[dict[str, None]]:
        return [{"minimum_credits": None}]

    @task
    def skipped() -> None:
        raise AirflowSkipException

    enrichment = {
        "product": "email_finder",
        "rows": [{"full_name": "Lead", "domain": "example.com"}],
        "output_path": f"{tempfile.gettempdir()}/never-written.csv",
    }
    nothing, after_skip = limit(), skipped()
    BulkEnrichmentOperator(task_id="limit_is_none", max_credits=nothing, **enrichment)
    BulkEnrichmentOperator(task_id="limit_was_skipped", max_credits=after_skip, trigger_rule="all_done", **enrichment)
    CheckCreditsOperator(task_id="minimum_is_none", minimum_credits=nothing)
    SufficientCreditsSensor(task_id="sensor_minimum_is_none", minimum_credits=nothing, **WAIT)
    CheckCreditsOperator.partial(task_id="mapped").expand(warn_below=limits())
    CheckCreditsOperator.partial(task_id="mapped_by_kwargs").expand_kwargs(arguments())
    with TaskGroup("group"):
        CheckCreditsOperator.partial(task_id="mapped", warn_below=None).expand(minimum_credits=limits())


templates_and_mapping()
too_few_credits()
guards_without_a_value()
