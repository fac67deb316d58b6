"""Tests of retries: which calls are retried, how often, and after which wait."""

from __future__ import annotations

import email.utils
import logging
import re
import socket
import time
from types import SimpleNamespace

import pytest

from airflow_provider_leadmagic.client import LeadMagicClient
from airflow_provider_leadmagic.exceptions import (
    LeadMagicAuthenticationError,
    LeadMagicConnectionError,
    LeadMagicError,
    LeadMagicNotFoundError,
    LeadMagicPermissionError,
    LeadMagicRateLimitError,
    LeadMagicRequestError,
    LeadMagicResponseError,
    LeadMagicServerError,
)
from airflow_provider_leadmagic.sandbox.sandbox import Sandbox

CREDITS, REFRESH, EMAIL_FINDER = "/v1/credits", "/v1/credits/refresh", "/v1/people/email-finder"
LEAD = {"full_name": "Ada Lovelace", "domain": "example.com"}

TRANSIENT = [
    pytest.param({"status": 429}, LeadMagicRateLimitError, id="429"),
    pytest.param({"status": 500}, LeadMagicServerError, id="500"),
    pytest.param({"status": 503}, LeadMagicServerError, id="503"),
    pytest.param({"status": 504}, LeadMagicServerError, id="504"),
    pytest.param({"drop": True}, LeadMagicConnectionError, id="dropped connection"),
    pytest.param({"truncate": True}, LeadMagicConnectionError, id="response cut short"),
    pytest.param({"status": 502, "body": "<html>Bad gateway</html>"}, LeadMagicServerError, id="page of a proxy"),
]
PERMANENT = [
    pytest.param({"status": 400}, LeadMagicRequestError, id="400"),
    pytest.param({"status": 401}, LeadMagicAuthenticationError, id="401"),
    pytest.param({"status": 402}, LeadMagicError, id="402"),
    pytest.param({"status": 403}, LeadMagicPermissionError, id="403"),
    pytest.param({"status": 404}, LeadMagicNotFoundError, id="404"),
    pytest.param({"status": 501}, LeadMagicServerError, id="501"),
    pytest.param({"redirect_to": "https://example.com/"}, LeadMagicResponseError, id="redirect"),
    pytest.param({"body": "<html>"}, LeadMagicResponseError, id="HTML"),
]


class TestFreeCalls:
    @pytest.mark.parametrize("fault", [{"status": 503}, {"drop": True}], ids=["error response", "no response"])
    def test_transient_failures_are_retried(self, client, leadmagic_sandbox, sleeps, fault):
        leadmagic_sandbox.fail_next(**fault, times=3)
        assert client.get_credits().credits == 1000
        assert len(leadmagic_sandbox.requests) == 4

    @pytest.mark.parametrize(("fault", "error"), TRANSIENT)
    def test_transient_failure_is_raised_after_four_attempts(self, client, leadmagic_sandbox, sleeps, fault, error):
        leadmagic_sandbox.fail_next(**fault, times=None)
        with pytest.raises(error) as caught:
            client.get_credits()
        assert caught.value.transient
        assert (len(leadmagic_sandbox.requests), len(sleeps)) == (4, 3)

    @pytest.mark.parametrize(("fault", "error"), PERMANENT)
    def test_permanent_failure_is_not_retried(self, client, leadmagic_sandbox, sleeps, fault, error):
        leadmagic_sandbox.fail_next(**fault, times=None)
        with pytest.raises(error):
            client.get_credits()
        assert (len(leadmagic_sandbox.requests), sleeps) == (1, [])

    def test_free_post_is_retried(self, client, leadmagic_sandbox, sleeps):
        leadmagic_sandbox.fail_next(REFRESH, status=500)
        client.refresh_credits()
        assert len(leadmagic_sandbox.requests_to(REFRESH)) == 2

    def test_timeout_is_retried(self, leadmagic_sandbox, sleeps):
        leadmagic_sandbox.fail_next(delay=0.5)
        with LeadMagicClient(leadmagic_sandbox.api_key, leadmagic_sandbox.url, timeout=0.1) as client:
            assert client.get_credits().credits == 1000
        assert len(leadmagic_sandbox.requests) == 2

    def test_each_call_has_its_own_attempts(self, client, leadmagic_sandbox, sleeps):
        for _ in range(2):
            leadmagic_sandbox.fail_next(status=503, times=3)
            client.get_credits()
        assert len(leadmagic_sandbox.requests) == 8

    @pytest.mark.parametrize("max_attempts", [1, 6])
    def test_max_attempts_limits_the_requests(self, leadmagic_sandbox, sleeps, max_attempts):
        leadmagic_sandbox.fail_next(status=500, times=None)
        with (
            LeadMagicClient(leadmagic_sandbox.api_key, leadmagic_sandbox.url, max_attempts=max_attempts) as client,
            pytest.raises(LeadMagicServerError),
        ):
            client.get_credits()
        assert len(leadmagic_sandbox.requests) == max_attempts

    @pytest.mark.parametrize(
        ("draw", "waits"), [pytest.param(min, [0, 0, 0], id="minimum"), pytest.param(max, [0.5, 1, 2], id="maximum")]
    )
    def test_waits_are_random_with_an_upper_limit_that_doubles(
        self, client, leadmagic_sandbox, sleeps, mocker, draw, waits
    ):
        mocker.patch("tenacity.wait.random.uniform", side_effect=draw)
        leadmagic_sandbox.fail_next(status=500, times=3)
        client.get_credits()
        assert sleeps == waits

    def test_refused_connection_is_retried(self, closed_port, sleeps):
        with (
            LeadMagicClient("lm_unknown_key", f"http://127.0.0.1:{closed_port}") as client,
            pytest.raises(LeadMagicConnectionError, match="Connection refused"),
        ):
            client.get_credits()
        assert len(sleeps) == 3

    def test_retry_of_a_refused_connection_is_logged(self, closed_port, sleeps, caplog):
        client = LeadMagicClient("lm_unknown_key", f"http://127.0.0.1:{closed_port}", max_attempts=2)
        with client, pytest.raises(LeadMagicConnectionError):
            client.get_credits()
        [line] = [r.getMessage() for r in caplog.records if r.name.startswith("airflow_provider_leadmagic")]
        assert re.match(
            r"Retrying in \d+\.\d s \(attempt 2\): Connection refused: check the client's base_url\. \[GET ", line
        )

    def test_each_retry_is_logged_with_its_reason(self, client, leadmagic_sandbox, sleeps, caplog):
        leadmagic_sandbox.fail_next(status=503, retry_after=7)
        with caplog.at_level(logging.WARNING, "airflow_provider_leadmagic"):
            client.get_credits()
        [line] = [r.getMessage() for r in caplog.records if r.name.startswith("airflow_provider_leadmagic")]
        assert line.startswith("Retrying in 7.0 s (attempt 2): Server error (503 service_unavailable): retry in 7 s. ")


class TestPaidCalls:
    @pytest.mark.parametrize(("fault", "error"), [case for case in TRANSIENT if case.id != "429"] + PERMANENT)
    def test_possibly_executed_call_is_not_retried(self, client, leadmagic_sandbox, sleeps, fault, error):
        leadmagic_sandbox.fail_next(EMAIL_FINDER, **fault, times=None)
        with pytest.raises(error):
            client.enrich("email_finder", **LEAD)
        assert (len(leadmagic_sandbox.requests), sleeps) == (1, [])

    def test_timeout_is_not_retried(self, leadmagic_sandbox, sleeps):
        leadmagic_sandbox.fail_next(EMAIL_FINDER, delay=0.5)
        with (
            LeadMagicClient(leadmagic_sandbox.api_key, leadmagic_sandbox.url, timeout=0.1) as client,
            pytest.raises(LeadMagicConnectionError) as caught,
        ):
            client.enrich("email_finder", **LEAD)
        assert caught.value.request_sent
        assert len(leadmagic_sandbox.requests) == 1

    def test_failure_handled_by_the_caller_is_not_taken_as_the_cause(
        self, client, leadmagic_sandbox, sleeps, closed_port
    ):
        leadmagic_sandbox.fail_next(EMAIL_FINDER, drop=True, times=None)
        with LeadMagicClient("lm_unknown_key", f"http://127.0.0.1:{closed_port}", max_attempts=1) as unreachable:
            try:
                unreachable.get_credits()
            except LeadMagicConnectionError:
                with pytest.raises(LeadMagicConnectionError) as caught:
                    client.enrich("email_finder", **LEAD)
        assert caught.value.request_sent
        assert len(leadmagic_sandbox.requests) == 1

    def test_503_with_retry_after_is_not_retried(self, client, leadmagic_sandbox, sleeps):
        leadmagic_sandbox.fail_next(EMAIL_FINDER, status=503, retry_after=1)
        with pytest.raises(LeadMagicServerError):
            client.enrich("email_finder", **LEAD)
        assert len(leadmagic_sandbox.requests) == 1

    def test_429_is_retried_and_the_call_is_paid_once(self, client, leadmagic_sandbox, sleeps):
        leadmagic_sandbox.fail_next(EMAIL_FINDER, retry_after=3, times=2)
        client.enrich("email_finder", **LEAD)
        assert (len(leadmagic_sandbox.requests), leadmagic_sandbox.credits) == (3, 999)
        assert all(wait >= 3 for wait in sleeps)

    def test_unsent_request_is_retried(self, monkeypatch):
        sandbox = Sandbox().start()
        sandbox.stop()
        waits: list[float] = []

        def start_after(seconds: float) -> None:
            waits.append(seconds)
            sandbox.start()

        monkeypatch.setattr("tenacity.nap.time", SimpleNamespace(sleep=start_after))
        with LeadMagicClient(sandbox.api_key, sandbox.url) as client:
            assert client.enrich("email_finder", **LEAD)["credits_consumed"] == 1
        sandbox.stop()
        assert (len(waits), len(sandbox.requests)) == (1, 1)

    def test_unresolved_host_name_is_retried(self, sleeps, mocker):
        mocker.patch("socket.getaddrinfo", side_effect=socket.gaierror(-2, "Name or service not known"))
        with (
            LeadMagicClient("lm_unknown_key", "https://leadmagic.invalid") as client,
            pytest.raises(LeadMagicConnectionError, match="Name or service not known") as caught,
        ):
            client.enrich("email_finder", **LEAD)
        assert not caught.value.request_sent
        assert len(sleeps) == 3


class TestRetryAfter:
    @pytest.mark.parametrize(
        ("header", "minimum"),
        [
            pytest.param("7", 7, id="seconds"),
            pytest.param("2.5", 2.5, id="fraction"),
            pytest.param("60", 60, id="longest accepted"),
            pytest.param("0", 0, id="zero"),
            pytest.param("-30", 0, id="negative"),
            pytest.param("Wed, 21 Oct 2015 07:28:00 GMT", 0, id="date in the past"),
            pytest.param("soon", 0, id="invalid"),
            pytest.param("NaN", 0, id="NaN"),
            pytest.param("inf", 0, id="infinity"),
            pytest.param("Wed, 21 Oct 99999 07:28:00 GMT", 0, id="year above 9999"),
            pytest.param("Wed, 21 Oct 99999999999999999999 07:28:00 GMT", 0, id="year above the range of integers"),
        ],
    )
    def test_retry_after_is_the_minimum_wait(self, client, leadmagic_sandbox, sleeps, header, minimum):
        leadmagic_sandbox.fail_next(retry_after=header)
        assert client.get_credits().credits == 1000
        [wait] = sleeps
        assert minimum <= wait <= max(minimum, 0.5)

    def test_retry_after_can_be_a_date(self, client, leadmagic_sandbox, sleeps):
        leadmagic_sandbox.fail_next(retry_after=email.utils.formatdate(time.time() + 30, usegmt=True))
        client.get_credits()
        assert 28 < sleeps[0] <= 30

    def test_date_without_a_time_zone_is_utc(self, client, leadmagic_sandbox, sleeps, monkeypatch):
        monkeypatch.setenv("TZ", "Asia/Tokyo")
        time.tzset()
        try:
            leadmagic_sandbox.fail_next(retry_after=time.asctime(time.gmtime(time.time() + 30)))
            client.get_credits()
        finally:
            monkeypatch.undo()
            time.tzset()
        assert 28 < sleeps[0] <= 30

    def test_body_is_used_without_a_header(self, client, leadmagic_sandbox, sleeps):
        leadmagic_sandbox.fail_next(
            status=429, body='{"success": false, "errors": [{"title": "t", "context": {"retry_after_seconds": 9}}]}'
        )
        client.get_credits()
        assert sleeps == [9]

    def test_body_is_used_if_the_header_is_invalid(self, client, leadmagic_sandbox, sleeps):
        body = '{"success": false, "errors": [{"title": "t", "context": {"retry_after_seconds": 9}}]}'
        leadmagic_sandbox.fail_next(status=429, headers={"Retry-After": "soon"}, body=body)
        client.get_credits()
        assert sleeps == [9]

    @pytest.mark.parametrize(
        ("header", "seconds"),
        [
            pytest.param("60.1", 60.1, id="just above the limit"),
            pytest.param("31536000", 31_536_000, id="a year"),
            pytest.param("Fri, 31 Dec 9999 23:59:59 GMT", 2.5e11, id="year 9999"),
        ],
    )
    def test_retry_after_above_the_limit_is_raised(self, client, leadmagic_sandbox, sleeps, header, seconds):
        leadmagic_sandbox.fail_next(retry_after=header)
        with pytest.raises(LeadMagicRateLimitError) as caught:
            client.get_credits()
        assert caught.value.retry_after == pytest.approx(seconds, rel=0.05)
        assert (len(leadmagic_sandbox.requests), sleeps) == (1, [])

    def test_retry_after_above_the_limit_is_raised_for_a_paid_call(self, client, leadmagic_sandbox, sleeps):
        leadmagic_sandbox.fail_next(EMAIL_FINDER, retry_after=61)
        with pytest.raises(LeadMagicRateLimitError):
            client.enrich("email_finder", **LEAD)
        assert (len(leadmagic_sandbox.requests), sleeps) == (1, [])


@pytest.mark.usefixtures("sleeps")
@pytest.mark.parametrize(
    ("faults", "maybe_executed"),
    [
        pytest.param([{"status": 402}], False, id="refused"),
        pytest.param([{"status": 429}, {"status": 400}], False, id="refused twice"),
        pytest.param([{"lose_response": True}, {"status": 402}], True, id="response lost, then refused"),
        pytest.param([{"status": 502}, {"status": 409}], True, id="error of a proxy, then refused"),
        pytest.param([{"drop": True}] * 4, True, id="no response"),
        pytest.param([{"redirect_to": "https://example.com/"}], True, id="redirected"),
    ],
)
def test_an_error_tells_whether_leadmagic_may_have_executed_the_call(client, leadmagic_sandbox, faults, maybe_executed):
    for fault in faults:
        leadmagic_sandbox.fail_next("/bulk/submit", **fault)
    for expected in (maybe_executed, False):  # the next call does not know about the first one
        with pytest.raises(LeadMagicError) as raised:
            client.bulk.submit("email_finder", [LEAD], idempotency_key="key")
        assert raised.value.maybe_executed is expected
        leadmagic_sandbox.fail_next("/bulk/submit", status=400)
