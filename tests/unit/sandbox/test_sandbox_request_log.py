from __future__ import annotations

import time

import pytest
import requests
import urllib3

from airflow_provider_leadmagic.sandbox.request_log import LONGEST_LOG, RequestLog


def test_a_request_is_logged_with_its_details(leadmagic_sandbox, call):
    before = time.time()
    call("GET", "/v1/credits?fresh=1", headers={"X-API-Key": leadmagic_sandbox.api_key, "User-Agent": "me/1"})
    (entry,) = leadmagic_sandbox.requests
    assert (entry.method, entry.path, entry.status, entry.user_agent) == ("GET", "/v1/credits", 200, "me/1")
    assert entry.api_key_sent is True
    assert before <= entry.at <= time.time()


def test_rejected_and_unknown_requests_are_logged_too(leadmagic_sandbox, call):
    call("GET", "/v1/credits", headers={"User-Agent": urllib3.util.SKIP_HEADER})
    call("DELETE", "/nowhere")
    assert [(entry.path, entry.status) for entry in leadmagic_sandbox.requests] == [
        ("/v1/credits", 401),
        ("/nowhere", 404),
    ]
    assert [entry.api_key_sent for entry in leadmagic_sandbox.requests] == [False, True]
    assert leadmagic_sandbox.requests[0].user_agent is None


def test_a_dropped_request_is_logged_without_a_status(leadmagic_sandbox, call):
    leadmagic_sandbox.fail_next(drop=True)
    with pytest.raises(requests.ConnectionError):
        call("GET", "/v1/credits")
    assert [entry.status for entry in leadmagic_sandbox.requests] == [None]


def test_the_log_can_be_filtered_by_path(leadmagic_sandbox, call):
    for path in ("/v1/credits", "/v1/credits/health", "/v1/credits"):
        call("GET", path)
    assert len(leadmagic_sandbox.requests_to("/v1/credits")) == 2
    assert len(leadmagic_sandbox.requests_to("/v1/credits/*")) == 1
    assert leadmagic_sandbox.requests_to("/v1") == []


def test_controls_are_not_logged(leadmagic_sandbox, control):
    control("GET", "state")
    assert leadmagic_sandbox.requests == []


def test_the_returned_log_is_a_copy(leadmagic_sandbox, call):
    call("GET", "/v1/credits")
    leadmagic_sandbox.requests[0].status = 0
    leadmagic_sandbox.requests.clear()
    assert [entry.status for entry in leadmagic_sandbox.requests] == [200]


@pytest.mark.parametrize("key", ["sandbox-key-for-tests", "a-canary-key-that-is-wrong"])
def test_an_api_key_is_never_stored_or_logged(leadmagic_sandbox, call, control, caplog, key):
    caplog.set_level(0)
    call("GET", "/v1/credits", headers={"X-API-Key": key})
    own_messages = [record.getMessage() for record in caplog.records if "sandbox" in record.name]
    seen = [control("GET", "requests").text, control("GET", "state").text, repr(leadmagic_sandbox.requests)]
    assert not [text for text in seen + own_messages if key in text]


def test_the_log_keeps_only_the_newest_requests():
    log = RequestLog()
    for number in range(LONGEST_LOG + 1):
        log.arrived("GET", f"/{number}", api_key_sent=False, user_agent=None)
    assert len(log.entries()) == LONGEST_LOG
    assert log.entries()[0].path == "/1"
