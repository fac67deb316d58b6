"""
Tests that log lines of waiting sensors and watchers start with the cause or the advice.

Airflow's UI cuts a log line at about 110 characters, so what comes first must fit into these.
"""

from __future__ import annotations

import asyncio
import math
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_leadmagic.api.models import CreditBalance
from airflow_provider_leadmagic.decisions import crossing, gate
from airflow_provider_leadmagic.decisions.claims import Standing
from airflow_provider_leadmagic.exceptions import (
    LeadMagicAuthenticationError,
    LeadMagicConnectionError,
    LeadMagicError,
)
from airflow_provider_leadmagic.sensors.credits import SufficientCreditsSensor
from airflow_provider_leadmagic.triggers.credits import CrossingState
from tests.support.log_view import LINE_LENGTH

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_mock import MockerFixture

CONN_ID = "leadmagic_default"
NO_RESPONSE = LeadMagicConnectionError("No response within 30 s. [GET https://api.leadmagic.io/v1/credits]")
INVALID_KEY = LeadMagicAuthenticationError(
    "API key rejected (401 invalid_api_key): check the password of connection 'leadmagic_default'. "
    "[GET https://api.leadmagic.io/v1/credits, request id r-1]"
)
RISE, FALL = crossing.Crossing.parse("rises_to", 500), crossing.Crossing.parse("falls_below", 500)


class Lines(list[str]):
    """A logger that keeps the text of its lines."""

    def info(self, message: str, /, *args: object) -> None:
        self.append(message % args)

    warning = error = exception = info


def balance(spendable: float, **fields: Any) -> CreditBalance:
    return CreditBalance(Decimal(str(spendable)), datetime(2026, 11, 26, 14, tzinfo=UTC), **fields)


def poll(
    reading: CreditBalance, next_poll_in: float | None = 300.0, standing: Standing | None = None
) -> Callable[[Lines], object]:
    return lambda log: gate.is_sufficient(log, reading, Decimal(500), CONN_ID, next_poll_in, standing)


def standing(is_granted: bool, available: int, claimed: int, runs: int, ahead: int) -> Standing:
    return Standing(is_granted, Decimal(available), Decimal(claimed), runs, ahead)


def failed_poll(next_poll_in: float | None, failures: int = 3) -> Callable[[Lines], object]:
    return lambda log: gate.tolerate_failed_poll(log, NO_RESPONSE, failures, next_poll_in)


def change(threshold: crossing.Crossing, was_armed: bool | None, spendable: float) -> Callable[[Lines], object]:
    reading = balance(spendable)
    verdict = threshold.judge(was_armed, reading)
    return lambda log: crossing.log_change(log, verdict, reading, threshold, CONN_ID)


def failed_watch(error: LeadMagicError) -> Callable[[Lines], object]:
    return lambda log: crossing.log_failed_poll(log, error, 3, CONN_ID, 300.0)


@pytest.mark.parametrize(
    ("write", "first_words", "rest"),
    [
        pytest.param(
            poll(balance(30)),
            "Waiting for credits: 470 short (30 spendable, 500 required) on connection 'leadmagic_default'.",
            " Next poll in 300 s.",
            id="waiting",
        ),
        pytest.param(
            poll(balance(30), 9.96),
            "Waiting for credits: 470 short (30 spendable, 500 required) on connection 'leadmagic_default'.",
            " Next poll in 10 s.",
            id="waiting for nearly ten seconds",
        ),
        pytest.param(
            poll(balance(30), 2.54),
            "Waiting for credits: 470 short (30 spendable, 500 required) on connection 'leadmagic_default'.",
            " Next poll in 2.5 s.",
            id="waiting for seconds",
        ),
        pytest.param(
            poll(balance(30), math.inf),
            "Waiting for credits: 470 short (30 spendable, 500 required) on connection 'leadmagic_default'.",
            " No further poll before the timeout.",
            id="waiting for the timeout",
        ),
        pytest.param(
            poll(balance(30), None),
            "Waiting for credits: 470 short (30 spendable, 500 required) on connection 'leadmagic_default'.",
            "",
            id="waiting for an unknown time",
        ),
        pytest.param(
            poll(balance(800, is_frozen=True, freeze_message="payment overdue")),
            'Waiting for credits: account frozen by LeadMagic ("payment overdue"), 0 of 500 required credits spendable',
            " on connection 'leadmagic_default'. Next poll in 300 s.",
            id="frozen",
        ),
        pytest.param(
            poll(balance(800, is_frozen=True)),
            "Waiting for credits: account frozen by LeadMagic, 0 of 500 required credits spendable on connection ",
            "'leadmagic_default'. Next poll in 300 s.",
            id="frozen without a reason",
        ),
        pytest.param(
            poll(balance(800, is_frozen=True, credits_liquid=Decimal(600)), standing=standing(False, 200, 400, 1, 0)),
            "Waiting for credits: 300 short (600 spendable, 400 claimed by 1 run, 500 required) on connection ",
            "'leadmagic_default'. Next poll in 300 s.",
            id="frozen, and the rest is claimed by others",
        ),
        pytest.param(
            poll(balance(800, is_frozen=True, credits_liquid=Decimal(300)), standing=standing(False, 0, 400, 1, 0)),
            "Waiting for credits: account frozen by LeadMagic, 300 of 500 required credits spendable on connection ",
            "'leadmagic_default'. Next poll in 300 s.",
            id="frozen, and the rest would not suffice even if nothing were claimed",
        ),
        pytest.param(
            poll(balance(800)),
            "Credits sufficient: 800 spendable, 500 required on connection 'leadmagic_default'.",
            "",
            id="sufficient",
        ),
        pytest.param(
            poll(balance(1050), standing=standing(False, 350, 700, 2, 0)),
            "Waiting for credits: 150 short (1,050 spendable, 700 claimed by 2 runs, 500 required) on connection ",
            "'leadmagic_default'. Next poll in 300 s.",
            id="claimed by others",
        ),
        pytest.param(
            poll(balance(1050), standing=standing(False, 350, 0, 0, 1)),
            "Waiting for credits: 150 short (1,050 spendable, 700 kept for tasks ahead, 500 required) on connection ",
            "'leadmagic_default'. Next poll in 300 s.",
            id="behind another task",
        ),
        pytest.param(
            poll(balance(1050), standing=standing(False, 350, 700, 1, 2)),
            "Waiting for credits: 150 short (1,050 spendable, 700 claimed by 1 run, 2 tasks ahead, 500 required) on",
            " connection 'leadmagic_default'. Next poll in 300 s.",
            id="behind tasks that cannot be granted their credits either",
        ),
        pytest.param(
            poll(balance(1050), standing=standing(False, 150, 600, 2, 3)),
            "Waiting for credits: 350 short (1,050 spendable, 600 claimed by 2 runs, 300 kept for tasks ahead, 500 ",
            "required) on connection 'leadmagic_default'. Next poll in 300 s.",
            id="behind others that hold credits or are about to",
        ),
        pytest.param(
            poll(balance(1050), standing=standing(True, 700, 350, 1, 2)),
            "Credits sufficient: 1,050 spendable, 350 claimed by 1 run, 500 required on connection ",
            "'leadmagic_default'.",
            id="granted together with the tasks ahead",
        ),
        pytest.param(
            failed_poll(300.0),
            "Waiting for credits: poll failed (3 in a row), retrying in 300 s: No response within 30 s.",
            " [GET https://api.leadmagic.io/v1/credits]",
            id="failed poll",
        ),
        pytest.param(
            failed_poll(math.inf, failures=1),
            "Waiting for credits: poll failed (1 in a row), no further poll before the timeout: No response within ",
            "30 s. [GET https://api.leadmagic.io/v1/credits]",
            id="last failed poll",
        ),
        pytest.param(
            failed_poll(None),
            "Waiting for credits: poll failed (3 in a row): No response within 30 s.",
            " [GET https://api.leadmagic.io/v1/credits]",
            id="failed poll, retried at an unknown time",
        ),
        pytest.param(
            lambda log: gate.warn_about_short_interval(log, 0.05),
            "poke_interval of 0.05 s is short: LeadMagic asks clients to cache a balance for 1 to 5 minutes.",
            "",
            id="short interval",
        ),
        pytest.param(
            change(RISE, True, 600),
            "Watcher fired: 600 spendable credits reached the threshold of 500 (rises_to) on connection ",
            "'leadmagic_default'.",
            id="rose",
        ),
        pytest.param(
            change(FALL, True, 499.95),
            "Watcher fired: 499.95 spendable credits fell below the threshold of 500 (falls_below) on connection ",
            "'leadmagic_default'.",
            id="fell",
        ),
        pytest.param(
            change(RISE, None, 1),
            "Watcher armed: 1 spendable credits are below the threshold of 500 (rises_to) on connection ",
            "'leadmagic_default'.",
            id="armed for a rise",
        ),
        pytest.param(
            change(FALL, False, 600),
            "Watcher armed: 600 spendable credits are not below the threshold of 500 (falls_below) on connection ",
            "'leadmagic_default'.",
            id="armed for a fall",
        ),
        pytest.param(
            change(RISE, None, 600),
            "Watcher not armed: 600 spendable credits already reach the threshold of 500 (rises_to) on connection ",
            "'leadmagic_default'.",
            id="starts above",
        ),
        pytest.param(
            change(FALL, None, 400),
            "Watcher not armed: 400 spendable credits are already below the threshold of 500 (falls_below) on ",
            "connection 'leadmagic_default'.",
            id="starts below",
        ),
        pytest.param(
            failed_watch(NO_RESPONSE),
            "Watcher poll failed (3 in a row), retrying in 300 s: No response within 30 s.",
            " [GET https://api.leadmagic.io/v1/credits]. Watchers on connection 'leadmagic_default' resume "
            "automatically.",
            id="watcher without a response",
        ),
        pytest.param(
            failed_watch(INVALID_KEY),
            "Watcher poll failed (3 in a row), retrying in 300 s: API key rejected (401 invalid_api_key): check the ",
            "password of connection 'leadmagic_default'. [GET https://api.leadmagic.io/v1/credits, request id r-1]. "
            "Watchers on connection 'leadmagic_default' resume automatically once this is fixed.",
            id="watcher with an invalid key",
        ),
        pytest.param(
            lambda log: crossing.log_lost_state(log, RuntimeError("the API server is unavailable"), CONN_ID),
            "Watcher cannot read or write Airflow's asset state store, retrying at the next poll: RuntimeError: ",
            "the API server is unavailable (connection 'leadmagic_default')",
            id="lost state",
        ),
    ],
)
def test_a_line_starts_with_cause_or_advice(write: Callable[[Lines], object], first_words: str, rest: str) -> None:
    lines = Lines()

    write(lines)

    assert len(first_words) <= LINE_LENGTH
    assert lines == [first_words + rest]


@pytest.mark.parametrize(
    ("arguments", "first_words"),
    [
        (
            {"silent_fail": True},
            "silent_fail is ignored: transient errors are retried anyway, and permanent errors fail the task.",
        ),
        (
            {"deferrable": True, "exponential_backoff": True, "max_wait": 60},
            "exponential_backoff, max_wait ignored: deferrable mode polls at a fixed interval.",
        ),
    ],
    ids=["silent_fail", "deferrable"],
)
def test_a_warning_about_ignored_settings_fits_the_line(
    arguments: dict[str, Any], first_words: str, mocker: MockerFixture
) -> None:
    lines = Lines()
    mocker.patch.object(SufficientCreditsSensor, "log", lines)

    SufficientCreditsSensor(task_id="wait_for_credits", minimum_credits=500, **arguments)._warn_about_ignored_settings()

    assert lines == [first_words]
    assert len(first_words) <= LINE_LENGTH


def test_a_timeout_starts_with_its_cause() -> None:
    sensor = SufficientCreditsSensor(task_id="wait_for_credits", minimum_credits=500, timeout=3600)
    message = "Timed out after 3600 s: no poll found 500 spendable credits on connection 'leadmagic_default'."

    assert str(sensor._timed_out()) == message
    assert len(message) <= LINE_LENGTH


def test_the_warning_about_assets_with_equal_watchers_says_what_is_missed(caplog: pytest.LogCaptureFixture) -> None:
    class SharedStore:
        async def aget(self, key: str) -> Any:
            raise ValueError(key)

        async def aset(self, key: str, value: Any) -> None: ...

    asyncio.run(CrossingState(SharedStore(), "key").read())

    [line] = caplog.messages
    assert line == (
        "Two assets have equal LeadMagic watchers: set different thresholds, or crossings during a restart are missed."
    )
    assert len(line) <= LINE_LENGTH
