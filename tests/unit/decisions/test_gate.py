"""How durations are written in log lines, and how long a response makes a sensor wait."""

from __future__ import annotations

import pytest

from airflow_provider_leadmagic.decisions.gate import MAX_REQUESTED_WAIT, format_seconds, requested_wait
from airflow_provider_leadmagic.exceptions import LeadMagicRateLimitError


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.25, "0.2"), (1.0, "1"), (9.4, "9.4"), (9.6, "9.6"), (10.0, "10"), (10.4, "10"), (300.0, "300")],
)
def test_a_duration_is_written_in_whole_seconds_and_below_10_with_one_decimal(seconds: float, text: str) -> None:
    assert format_seconds(seconds) == text


@pytest.mark.parametrize(
    ("retry_after", "wait"), [(None, 0.0), (0.0, 0.0), (7.0, 7.0), (86_400.0, 86_400.0), (86_401.0, MAX_REQUESTED_WAIT)]
)
def test_the_requested_wait_is_retry_after_up_to_a_day(retry_after: float | None, wait: float) -> None:
    assert requested_wait(LeadMagicRateLimitError("Too many requests.", retry_after=retry_after)) == wait


def test_no_wait_is_requested_without_an_error() -> None:
    assert requested_wait(None) == 0.0
