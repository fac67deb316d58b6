"""Which calls are made again, how often and after how long: decided by what a repetition can cost."""

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

PASSING = [
    pytest.param({"status": 429}, LeadMagicRateLimitError, id="429"),
    pytest.param({"status": 500}, LeadMagicServerError, id="500"),
    pytest.param({"status": 503}, LeadMagicServerError, id="503"),
    pytest.param({"status": 504}, LeadMagicServerError, id="504"),
    pytest.param({"drop": True}, LeadMagicConnectionError, id="dropped connection"),
    pytest.param({"truncate": True}, LeadMagicConnectionError, id="answer cut short"),
    pytest.param({"status": 502, "body": "<html>Bad gateway</html>"}, LeadMagicServerError, id="proxy page"),
]
LASTING = [
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
    @pytest.mark.parametrize("fault", [{"status": 503}, {"drop": True}], ids=["error answer", "no answer"])
    def test_what_passes_does_no_harm(self, client, leadmagic_sandbox, sleeps, fault):
        leadmagic_sandbox.fail_next(**fault, times=3)
        assert client.get_credits().credits == 1000
        assert len(leadmagic_sandbox.requests) == 4

    @pytest.mark.parametrize(("fault", "error"), PASSING)
    def test_what_may_pass_is_tried_four_times(self, client, leadmagic_sandbox, sleeps, fault, error):
        leadmagic_sandbox.fail_next(**fault, times=None)
        with pytest.raises(error) as caught:
            client.get_credits()
        assert caught.value.transient
        assert (len(leadmagic_sandbox.requests), len(sleeps)) == (4, 3)

    @pytest.mark.parametrize(("fault", "error"), LASTING)
    def test_what_will_not_pass_is_raised_at_once(self, client, leadmagic_sandbox, sleeps, fault, error):
        leadmagic_sandbox.fail_next(**fault, times=None)
        with pytest.raises(error):
            client.get_credits()
        assert (len(leadmagic_sandbox.requests), sleeps) == (1, [])

    def test_a_free_post_is_tried_again_too(self, client, leadmagic_sandbox, sleeps):
        leadmagic_sandbox.fail_next(REFRESH, status=500)
        client.refresh_credits()
        assert len(leadmagic_sandbox.requests_to(REFRESH)) == 2

    def test_a_timeout_is_tried_again(self, leadmagic_sandbox, sleeps):
        leadmagic_sandbox.fail_next(delay=0.5)
        with LeadMagicClient(leadmagic_sandbox.api_key, leadmagic_sandbox.url, timeout=0.1) as client:
            assert client.get_credits().credits == 1000
        assert len(leadmagic_sandbox.requests) == 2

    def test_each_call_has_its_own_tries(self, client, leadmagic_sandbox, sleeps):
        for _ in range(2):
            leadmagic_sandbox.fail_next(status=503, times=3)
            client.get_credits()
        assert len(leadmagic_sandbox.requests) == 8

    @pytest.mark.parametrize("max_attempts", [1, 6])
    def test_the_number_of_tries_is_the_callers_to_choose(self, leadmagic_sandbox, sleeps, max_attempts):
        leadmagic_sandbox.fail_next(status=500, times=None)
        with (
            LeadMagicClient(leadmagic_sandbox.api_key, leadmagic_sandbox.url, max_attempts=max_attempts) as client,
            pytest.raises(LeadMagicServerError),
        ):
            client.get_credits()
        assert len(leadmagic_sandbox.requests) == max_attempts

    @pytest.mark.parametrize(
        ("draw", "waits"), [pytest.param(min, [0, 0, 0], id="least"), pytest.param(max, [0.5, 1, 2], id="most")]
    )
    def test_waits_are_drawn_from_a_span_that_doubles(self, client, leadmagic_sandbox, sleeps, mocker, draw, waits):
        mocker.patch("tenacity.wait.random.uniform", side_effect=draw)
        leadmagic_sandbox.fail_next(status=500, times=3)
        client.get_credits()
        assert sleeps == waits

    def test_a_refused_connection_is_tried_again(self, closed_port, sleeps):
        with (
            LeadMagicClient("lm_a_key_nobody_issued", f"http://127.0.0.1:{closed_port}") as client,
            pytest.raises(LeadMagicConnectionError, match="Connection refused"),
        ):
            client.get_credits()
        assert len(sleeps) == 3

    def test_the_reason_and_the_announcement_are_two_sentences(self, closed_port, sleeps, caplog):
        client = LeadMagicClient("lm_a_key_nobody_issued", f"http://127.0.0.1:{closed_port}", max_attempts=2)
        with client, pytest.raises(LeadMagicConnectionError):
            client.get_credits()
        [line] = [r.getMessage() for r in caplog.records if r.name.startswith("airflow_provider_leadmagic")]
        assert re.match(r"Attempt 2 in \d+\.\d s: Connection refused: check the client's base_url\. \[GET ", line)

    def test_each_new_try_is_announced_with_its_reason(self, client, leadmagic_sandbox, sleeps, caplog):
        leadmagic_sandbox.fail_next(status=503, retry_after=7)
        with caplog.at_level(logging.WARNING, "airflow_provider_leadmagic"):
            client.get_credits()
        [line] = [r.getMessage() for r in caplog.records if r.name.startswith("airflow_provider_leadmagic")]
        assert line.startswith("Attempt 2 in 7.0 s: Server error (503 service_unavailable): retry in 7 s. ")


class TestPaidCalls:
    @pytest.mark.parametrize(("fault", "error"), [case for case in PASSING if case.id != "429"] + LASTING)
    def test_what_may_have_been_carried_out_is_never_repeated(self, client, leadmagic_sandbox, sleeps, fault, error):
        leadmagic_sandbox.fail_next(EMAIL_FINDER, **fault, times=None)
        with pytest.raises(error):
            client.enrich("email_finder", **LEAD)
        assert (len(leadmagic_sandbox.requests), sleeps) == (1, [])

    def test_a_timeout_is_never_repeated(self, leadmagic_sandbox, sleeps):
        leadmagic_sandbox.fail_next(EMAIL_FINDER, delay=0.5)
        with (
            LeadMagicClient(leadmagic_sandbox.api_key, leadmagic_sandbox.url, timeout=0.1) as client,
            pytest.raises(LeadMagicConnectionError) as caught,
        ):
            client.enrich("email_finder", **LEAD)
        assert caught.value.request_sent
        assert len(leadmagic_sandbox.requests) == 1

    def test_an_earlier_failure_that_the_caller_is_handling_does_not_count(
        self, client, leadmagic_sandbox, sleeps, closed_port
    ):
        leadmagic_sandbox.fail_next(EMAIL_FINDER, drop=True, times=None)
        with LeadMagicClient(
            "lm_a_key_nobody_issued", f"http://127.0.0.1:{closed_port}", max_attempts=1
        ) as unreachable:
            try:
                unreachable.get_credits()
            except LeadMagicConnectionError:
                with pytest.raises(LeadMagicConnectionError) as caught:
                    client.enrich("email_finder", **LEAD)
        assert caught.value.request_sent
        assert len(leadmagic_sandbox.requests) == 1

    def test_a_503_with_retry_after_is_no_invitation(self, client, leadmagic_sandbox, sleeps):
        leadmagic_sandbox.fail_next(EMAIL_FINDER, status=503, retry_after=1)
        with pytest.raises(LeadMagicServerError):
            client.enrich("email_finder", **LEAD)
        assert len(leadmagic_sandbox.requests) == 1

    def test_a_429_is_repeated_and_paid_once(self, client, leadmagic_sandbox, sleeps):
        leadmagic_sandbox.fail_next(EMAIL_FINDER, retry_after=3, times=2)
        client.enrich("email_finder", **LEAD)
        assert (len(leadmagic_sandbox.requests), leadmagic_sandbox.credits) == (3, 999)
        assert all(wait >= 3 for wait in sleeps)

    def test_a_request_that_was_never_sent_is_repeated(self, monkeypatch):
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

    def test_a_host_that_does_not_exist_was_never_reached(self, sleeps, mocker):
        mocker.patch("socket.getaddrinfo", side_effect=socket.gaierror(-2, "Name or service not known"))
        with (
            LeadMagicClient("lm_a_key_nobody_issued", "https://leadmagic.invalid") as client,
            pytest.raises(LeadMagicConnectionError, match="Name or service not known") as caught,
        ):
            client.enrich("email_finder", **LEAD)
        assert not caught.value.request_sent
        assert len(sleeps) == 3


class TestRetryAfter:
    @pytest.mark.parametrize(
        ("header", "least"),
        [
            pytest.param("7", 7, id="seconds"),
            pytest.param("2.5", 2.5, id="fraction"),
            pytest.param("60", 60, id="the longest that is waited for"),
            pytest.param("0", 0, id="zero"),
            pytest.param("-30", 0, id="negative"),
            pytest.param("Wed, 21 Oct 2015 07:28:00 GMT", 0, id="date long gone"),
            pytest.param("soon", 0, id="nonsense"),
            pytest.param("NaN", 0, id="NaN"),
            pytest.param("inf", 0, id="infinity"),
            pytest.param("Wed, 21 Oct 99999 07:28:00 GMT", 0, id="year no calendar has"),
            pytest.param("Wed, 21 Oct 99999999999999999999 07:28:00 GMT", 0, id="year no integer holds"),
        ],
    )
    def test_it_is_the_least_wait(self, client, leadmagic_sandbox, sleeps, header, least):
        leadmagic_sandbox.fail_next(retry_after=header)
        assert client.get_credits().credits == 1000
        [wait] = sleeps
        assert least <= wait <= max(least, 0.5)

    def test_a_date_is_waited_for(self, client, leadmagic_sandbox, sleeps):
        leadmagic_sandbox.fail_next(retry_after=email.utils.formatdate(time.time() + 30, usegmt=True))
        client.get_credits()
        assert 28 < sleeps[0] <= 30

    def test_a_date_in_the_oldest_form_of_http_is_greenwich_time(self, client, leadmagic_sandbox, sleeps, monkeypatch):
        monkeypatch.setenv("TZ", "Asia/Tokyo")
        time.tzset()
        try:
            leadmagic_sandbox.fail_next(retry_after=time.asctime(time.gmtime(time.time() + 30)))
            client.get_credits()
        finally:
            monkeypatch.undo()
            time.tzset()
        assert 28 < sleeps[0] <= 30

    def test_the_body_tells_where_no_header_does(self, client, leadmagic_sandbox, sleeps):
        leadmagic_sandbox.fail_next(
            status=429, body='{"success": false, "errors": [{"title": "t", "context": {"retry_after_seconds": 9}}]}'
        )
        client.get_credits()
        assert sleeps == [9]

    def test_the_body_tells_where_the_header_makes_no_sense(self, client, leadmagic_sandbox, sleeps):
        body = '{"success": false, "errors": [{"title": "t", "context": {"retry_after_seconds": 9}}]}'
        leadmagic_sandbox.fail_next(status=429, headers={"Retry-After": "soon"}, body=body)
        client.get_credits()
        assert sleeps == [9]

    @pytest.mark.parametrize(
        ("header", "seconds"),
        [
            pytest.param("60.1", 60.1, id="just above the cap"),
            pytest.param("31536000", 31_536_000, id="a year"),
            pytest.param("Fri, 31 Dec 9999 23:59:59 GMT", 2.5e11, id="the last year there is"),
        ],
    )
    def test_past_the_cap_it_is_raised_rather_than_slept_through(
        self, client, leadmagic_sandbox, sleeps, header, seconds
    ):
        leadmagic_sandbox.fail_next(retry_after=header)
        with pytest.raises(LeadMagicRateLimitError) as caught:
            client.get_credits()
        assert caught.value.retry_after == pytest.approx(seconds, rel=0.05)
        assert (len(leadmagic_sandbox.requests), sleeps) == (1, [])

    def test_past_the_cap_a_paid_call_is_raised_too(self, client, leadmagic_sandbox, sleeps):
        leadmagic_sandbox.fail_next(EMAIL_FINDER, retry_after=61)
        with pytest.raises(LeadMagicRateLimitError):
            client.enrich("email_finder", **LEAD)
        assert (len(leadmagic_sandbox.requests), sleeps) == (1, [])
