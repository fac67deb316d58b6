"""Metrics that StatsD receives, from every way to read a balance."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from decimal import Decimal
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_leadmagic.exceptions import LeadMagicError
from airflow_provider_leadmagic.hooks.leadmagic import LeadMagicHook
from airflow_provider_leadmagic.hooks.metrics import count_spent_credits, report_claims
from airflow_provider_leadmagic.operators.credits import CheckCreditsOperator
from airflow_provider_leadmagic.sensors.credits import SufficientCreditsSensor
from airflow_provider_leadmagic.triggers.shared_poll import latest_reading
from tests.support.airflow_names import set_current_context
from tests.support.bulk_task_runner import TaskInstance as RunningTask
from tests.support.sensor_runner import TaskInstance

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_leadmagic.sandbox.sandbox import Sandbox
    from tests.support.listeners import Statsd


def by_hook() -> None:
    LeadMagicHook().get_credits()


def by_refreshing_hook() -> None:
    LeadMagicHook().get_credits(refresh=True)


def by_client() -> None:
    with LeadMagicHook().get_conn() as client:
        client.get_credits()


def by_test_button() -> None:
    LeadMagicHook().test_connection()


def by_operator() -> None:
    CheckCreditsOperator(task_id="check").execute({"ti": TaskInstance()})


def by_poke() -> None:
    SufficientCreditsSensor(task_id="wait_for_credits", minimum_credits=1).poke({"ti": TaskInstance()})


def by_trigger() -> None:
    asyncio.run(latest_reading("leadmagic_default", 60, refresh=False))


# Airflow 2 warns that Airflow 3 will behave differently.
pytestmark = pytest.mark.filterwarnings("ignore:The basic metric validator")

READERS = [by_hook, by_refreshing_hook, by_client, by_test_button, by_operator, by_poke, by_trigger]


def fail_poll(conn_id: str = "leadmagic_default") -> None:
    with pytest.raises(LeadMagicError):
        LeadMagicHook(conn_id, max_attempts=1).get_credits()


def gauges(credits: float, spendable: float, conn_id: str = "leadmagic_default") -> list[str]:
    return [
        f"airflow.leadmagic.credits,conn_id={conn_id}:{credits}|g",
        f"airflow.leadmagic.credits_spendable,conn_id={conn_id}:{spendable}|g",
    ]


def failures(*errors: str, conn_id: str = "leadmagic_default") -> list[str]:
    return [f"airflow.leadmagic.failed_polls,conn_id={conn_id},error={error}:1|c" for error in errors]


@pytest.mark.parametrize("read", READERS)
def test_every_reader_of_the_balance_sets_both_gauges_once(
    leadmagic_sandbox: Sandbox, statsd: Statsd, read: Callable[[], None]
) -> None:
    leadmagic_sandbox.set_credits("1979.15")

    read()

    assert statsd.lines == gauges(1979.15, 1979.15)


def test_a_frozen_balance_is_reported_but_not_as_spendable(leadmagic_sandbox: Sandbox, statsd: Statsd) -> None:
    leadmagic_sandbox.freeze(liquid=40)

    by_hook()

    assert statsd.lines == gauges(1000.0, 40.0)


def test_each_poll_is_reported(leadmagic_sandbox: Sandbox, statsd: Statsd) -> None:
    by_hook()
    leadmagic_sandbox.set_credits(7)
    by_hook()

    assert statsd.lines == gauges(1000.0, 1000.0) + gauges(7.0, 7.0)


def test_a_cached_balance_is_not_reported_again(leadmagic_sandbox: Sandbox, statsd: Statsd) -> None:
    with LeadMagicHook().get_conn() as client:
        client.get_credits()
        client.get_credits(max_age=60)

    assert statsd.lines == gauges(1000.0, 1000.0)


def test_each_connection_has_a_tag_of_its_own(
    leadmagic_sandbox: Sandbox, statsd: Statsd, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_SALES", leadmagic_sandbox.connection_json)

    LeadMagicHook("sales").get_credits()

    assert statsd.lines == gauges(1000.0, 1000.0, conn_id="sales")


@pytest.mark.parametrize(
    ("conn_id", "tag"),
    [("crm/lead-magic.eu", "crm/lead-magic.eu"), ("crm:eu", "crm_eu"), ("a,b c", "a_b_c"), ("grün", "gr_n")],
)
def test_characters_that_statsd_rejects_become_underscores_in_the_tag(
    leadmagic_sandbox: Sandbox, statsd: Statsd, monkeypatch: pytest.MonkeyPatch, conn_id: str, tag: str
) -> None:
    monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", leadmagic_sandbox.connection_json)

    LeadMagicHook(conn_id).get_credits()

    assert statsd.lines == gauges(1000.0, 1000.0, conn_id=tag)


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ({"status": 401}, "LeadMagicAuthenticationError"),
        ({"status": 403}, "LeadMagicPermissionError"),
        ({"retry_after": 5}, "LeadMagicRateLimitError"),
        ({"status": 503}, "LeadMagicServerError"),
        ({"drop": True}, "LeadMagicConnectionError"),
        ({"body": "<html>"}, "LeadMagicResponseError"),
    ],
    ids=str,
)
def test_a_failed_poll_is_counted_by_the_class_of_its_error(
    leadmagic_sandbox: Sandbox, statsd: Statsd, fault: dict[str, Any], error: str
) -> None:
    leadmagic_sandbox.fail_next(**fault)

    fail_poll()

    assert statsd.lines == failures(error)


def test_a_failed_poll_of_a_trigger_is_counted(leadmagic_sandbox: Sandbox, statsd: Statsd) -> None:
    leadmagic_sandbox.fail_next(status=503)

    by_trigger()

    assert statsd.lines == failures("LeadMagicServerError")


def test_a_failed_refresh_counts_as_one_failed_poll(leadmagic_sandbox: Sandbox, statsd: Statsd) -> None:
    leadmagic_sandbox.fail_next("/v1/credits/refresh", status=401)

    with pytest.raises(LeadMagicError):
        by_refreshing_hook()

    assert statsd.lines == failures("LeadMagicAuthenticationError")


def test_a_poll_that_succeeds_after_retries_does_not_count_as_failed(
    leadmagic_sandbox: Sandbox, statsd: Statsd, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tenacity.nap.time", SimpleNamespace(sleep=lambda _: None))
    leadmagic_sandbox.fail_next(status=503, times=2)

    by_hook()

    assert statsd.lines == gauges(1000.0, 1000.0)


def test_a_missing_connection_counts_as_a_failed_poll(statsd: Statsd) -> None:
    fail_poll("missing")

    assert statsd.lines == failures("LeadMagicConfigurationError", conn_id="missing")


def test_a_missing_connection_of_a_trigger_counts_as_a_failed_poll(statsd: Statsd) -> None:
    asyncio.run(latest_reading("missing", 60, refresh=False))

    assert statsd.lines == failures("LeadMagicConfigurationError", conn_id="missing")


def test_an_enrichment_does_not_report_a_balance(leadmagic_sandbox: Sandbox, statsd: Statsd) -> None:
    with LeadMagicHook().get_conn() as client:
        client.enrich("email_finder", full_name="Ada Lovelace", domain="example.com")

    assert statsd.lines == []


def spent(credits: float, product: str = "email_finder", **task: str) -> list[str]:
    tags = {"conn_id": "leadmagic_default", "product": product, **task}
    return [f"airflow.leadmagic.credits_spent,{','.join(f'{name}={tags[name]}' for name in tags)}:{credits}|c"]


@pytest.mark.parametrize(
    ("product", "fields", "credits"),
    [
        ("email_finder", {"full_name": "Ada Lovelace", "domain": "example.com"}, 1),
        ("email_validation", {"email": "ada@example.com"}, 0.25),
        ("email_finder", {"full_name": "Nobody", "domain": "notfound.example"}, 0),
    ],
    ids=["hit", "fraction", "miss"],
)
def test_the_hook_counts_the_credits_that_an_enrichment_spends(
    leadmagic_sandbox: Sandbox, statsd: Statsd, product: str, fields: dict[str, str], credits: float
) -> None:
    LeadMagicHook().enrich(product, **fields)

    assert statsd.lines == spent(credits, product)
    assert leadmagic_sandbox.credits == 1000 - Decimal(str(credits))


def test_an_enrichment_in_a_task_is_counted_for_the_task(leadmagic_sandbox: Sandbox, statsd: Statsd) -> None:
    with set_current_context({"ti": RunningTask(dag_id="crm night", task_id="group.look_up")}):
        LeadMagicHook().enrich("email_finder", full_name="Ada Lovelace", domain="example.com")

    assert statsd.lines == spent(1, dag_id="crm_night", task_id="group.look_up")


@pytest.mark.parametrize(
    "fault",
    [{"status": 402}, {"body": "{}"}, {"body": '{"credits_consumed": "many"}'}],
    ids=["402", "missing", "invalid"],
)
def test_an_enrichment_without_a_valid_number_of_credits_is_not_counted(
    leadmagic_sandbox: Sandbox, statsd: Statsd, fault: dict[str, Any]
) -> None:
    leadmagic_sandbox.fail_next("*", **fault)

    with suppress(LeadMagicError):
        LeadMagicHook().enrich("email_finder", full_name="Ada Lovelace", domain="example.com")

    assert statsd.lines == []


@pytest.mark.parametrize("credits", [4310, "0.05", Decimal("0.25"), 1e15], ids=repr)
def test_no_fraction_of_a_credit_is_lost(statsd: Statsd, credits: object) -> None:
    count_spent_credits(credits, "leadmagic_default", "email_finder", {})

    [(_, _, number)] = [line.rpartition(":") for line in statsd.lines]
    assert Decimal(number.removesuffix("|c")) == Decimal(str(credits))


@pytest.mark.parametrize(
    ("spendable", "available"), [("1000.5", "300.5"), ("40", "0.0")], ids=["enough", "less than claimed"]
)
def test_claims_are_reported_by_pool(statsd: Statsd, spendable: str, available: str) -> None:
    report_claims("sales & ops", Decimal(700), Decimal(spendable), 3)

    assert statsd.lines == [
        "airflow.leadmagic.credits_claimed,pool=sales___ops:700.0|g",
        f"airflow.leadmagic.credits_available,pool=sales___ops:{available}|g",
        "airflow.leadmagic.gates_waiting,pool=sales___ops:3|g",
    ]


@pytest.mark.parametrize("statsd", [{"AIRFLOW__METRICS__STATSD_INFLUXDB_ENABLED": "False"}], indirect=True, ids=["off"])
def test_tags_are_sent_only_if_airflow_is_configured_to_send_them(leadmagic_sandbox: Sandbox, statsd: Statsd) -> None:
    by_hook()
    leadmagic_sandbox.fail_next(status=401)
    fail_poll()

    assert statsd.lines == [
        "airflow.leadmagic.credits:1000.0|g",
        "airflow.leadmagic.credits_spendable:1000.0|g",
        "airflow.leadmagic.failed_polls:1|c",
    ]


@pytest.mark.parametrize("statsd", [{"AIRFLOW__METRICS__STATSD_ON": "False"}], indirect=True, ids=["off"])
def test_nothing_is_sent_when_metrics_are_off(leadmagic_sandbox: Sandbox, statsd: Statsd) -> None:
    by_hook()
    fail_poll("missing")

    assert statsd.lines == []
