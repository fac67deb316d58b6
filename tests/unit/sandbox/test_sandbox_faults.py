from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

CREDITS = "/v1/credits"


def statuses(call, times, path=CREDITS):
    return [call("GET", path).status_code for _ in range(times)]


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (400, "validation_error"),
        (401, "invalid_api_key"),
        (402, "insufficient_credits"),
        (403, "insufficient_permissions"),
        (404, "resource_not_found"),
        (409, "conflict"),
        (418, "i'm_a_teapot"),
        (429, "rate_limit_exceeded"),
        (500, "INTERNAL_ERROR"),
        (502, "external_service_error"),
        (503, "service_unavailable"),
        (599, "unexpected_status"),
    ],
)
@pytest.mark.parametrize("flat", [False, True], ids=["envelope", "flat"])
def test_a_status_has_the_error_body_of_the_api(leadmagic_sandbox, call, status, code, flat):
    leadmagic_sandbox.fail_next(status=status, flat=flat)
    response = call("GET", CREDITS)
    error = response.json() if flat else response.json()["errors"][0]
    assert (response.status_code, error["status"], error["code"]) == (status, status, code)
    assert response.headers["Content-Type"] == "application/problem+json"


def test_the_flat_body_has_the_request_id_in_its_trace(leadmagic_sandbox, call):
    leadmagic_sandbox.fail_next(status=500, flat=True)
    response = call("GET", CREDITS)
    assert response.json()["trace"] == {"request_id": response.headers["X-Request-Id"]}


@pytest.mark.parametrize(("times", "expected"), [(1, [503, 200, 200]), (2, [503, 503, 200]), (None, [503, 503, 503])])
def test_a_fault_applies_to_the_given_number_of_requests(leadmagic_sandbox, call, times, expected):
    leadmagic_sandbox.fail_next(status=503, times=times)
    assert statuses(call, 3) == expected


def test_faults_apply_in_the_order_in_which_they_were_queued(leadmagic_sandbox, call):
    leadmagic_sandbox.fail_next(status=500)
    leadmagic_sandbox.fail_next("*", status=502)
    leadmagic_sandbox.fail_next(status=503)
    assert statuses(call, 4) == [500, 502, 503, 200]


def test_a_fault_applies_only_to_its_path(leadmagic_sandbox, call):
    leadmagic_sandbox.fail_next("/v1/credits/health", status=503)
    assert statuses(call, 1) == [200]
    assert statuses(call, 1, "/v1/credits/health") == [503]


def test_a_star_alone_matches_every_path_except_the_controls(leadmagic_sandbox, call, control):
    leadmagic_sandbox.fail_next("*", status=503, times=None)
    assert control("GET", "state").status_code == 200
    assert statuses(call, 1) + statuses(call, 1, "/nowhere") == [503, 503]


def test_cleared_faults_no_longer_apply(leadmagic_sandbox, call):
    leadmagic_sandbox.fail_next(status=503, times=None)
    leadmagic_sandbox.clear_faults()
    assert statuses(call, 1) == [200]


def test_a_fault_applies_before_the_api_key_is_checked_and_before_anything_is_charged(
    leadmagic_sandbox, call, find_email
):
    leadmagic_sandbox.fail_next("*", status=503, times=2)
    assert call("GET", CREDITS, headers={}).status_code == 503
    assert find_email().status_code == 503
    assert leadmagic_sandbox.credits == 1000


@pytest.mark.parametrize(
    ("retry_after", "header", "seconds"),
    [
        (42, "42", 42),
        (0, "0", 0),
        (1.5, "1.5", 2),
        ("7", "7", 7),
        ("Wed, 21 Oct 2026 07:28:00 GMT", "Wed, 21 Oct 2026 07:28:00 GMT", None),
        ("soon", "soon", None),
        ("nan", "nan", None),
    ],
)
def test_retry_after_is_unchanged_in_the_header_and_in_whole_seconds_in_the_error_body(
    leadmagic_sandbox, call, retry_after, header, seconds
):
    leadmagic_sandbox.fail_next(retry_after=retry_after)
    response = call("GET", CREDITS)
    assert (response.status_code, response.headers["Retry-After"]) == (429, header)
    context = response.json()["errors"][0]["context"]
    assert context.get("retry_after_seconds") == seconds
    assert (context["limit"], context["window"], context["remaining"]) == (600, "1 minute", 0)


def test_retry_after_can_be_combined_with_any_status(leadmagic_sandbox, call):
    leadmagic_sandbox.fail_next(status=503, retry_after=3)
    response = call("GET", CREDITS)
    assert (response.status_code, response.headers["Retry-After"]) == (503, "3")


@pytest.mark.parametrize("others", [{}, {"status": 500}], ids=["normal response", "response of the fault"])
def test_a_delay_applies_before_the_other_options(leadmagic_sandbox, call, others):
    leadmagic_sandbox.fail_next(delay=0.1, **others)
    started = time.monotonic()
    response = call("GET", CREDITS)
    assert time.monotonic() - started >= 0.1
    assert response.status_code == others.get("status", 200)


def test_a_client_with_a_shorter_timeout_than_the_delay_times_out(leadmagic_sandbox, call):
    leadmagic_sandbox.fail_next(delay=0.3)
    with pytest.raises(requests.ReadTimeout):
        call("GET", CREDITS, timeout=0.1)


def test_a_delayed_request_does_not_block_others(leadmagic_sandbox, call):
    leadmagic_sandbox.fail_next(delay=2)
    waiting = threading.Thread(target=call, args=("GET", CREDITS))
    waiting.start()
    while not leadmagic_sandbox.requests:
        time.sleep(0.001)
    assert call("GET", "/v1/credits/health").status_code == 200
    assert [entry.status for entry in leadmagic_sandbox.requests] == [None, 200]
    waiting.join()


def test_a_request_that_waits_during_a_reset_is_dropped_and_spends_nothing(leadmagic_sandbox, find_email):
    leadmagic_sandbox.fail_next("/v1/people/email-finder", delay=2)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(find_email)
        while not leadmagic_sandbox.requests:
            time.sleep(0.001)
        leadmagic_sandbox.reset()
        with pytest.raises(requests.ConnectionError):
            waiting.result()
    assert leadmagic_sandbox.credits == 1000


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_dropped_connection_has_no_response(leadmagic_sandbox, call, method):
    leadmagic_sandbox.fail_next(drop=True)
    with pytest.raises(requests.ConnectionError):
        call(method, CREDITS, data=b"x" * 100_000)
    assert statuses(call, 1) == [200]


def test_a_request_is_processed_even_if_its_response_is_lost(leadmagic_sandbox, find_email):
    leadmagic_sandbox.fail_next("/v1/people/email-finder", lose_response=True)
    with pytest.raises(requests.ConnectionError):
        find_email()
    assert leadmagic_sandbox.credits == 999
    assert [entry.status for entry in leadmagic_sandbox.requests] == [None]
    assert find_email().status_code == 200


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/v1/*/health", [200, 503]),
        ("/*/credits", [503, 200]),
        ("/v1/credits/*", [200, 503]),
        ("/*", [200, 200]),
        ("/v1/*/*/*", [200, 200]),
    ],
)
def test_a_star_in_a_path_matches_one_segment(leadmagic_sandbox, call, path, expected):
    leadmagic_sandbox.fail_next(path, status=503, times=None)
    assert statuses(call, 1) + statuses(call, 1, "/v1/credits/health") == expected


def ends_early(make_call):
    try:
        response = make_call()
    except (requests.ConnectionError, requests.exceptions.ChunkedEncodingError):
        return True
    return len(response.content) < int(response.headers["Content-Length"])  # urllib3 before 2.0 does not raise


@pytest.mark.parametrize("others", [{}, {"status": 500}, {"body": '{"credits": 1'}])
def test_a_truncated_response_ends_before_its_announced_length(leadmagic_sandbox, call, others):
    leadmagic_sandbox.fail_next(truncate=True, **others)
    assert ends_early(lambda: call("GET", CREDITS))
    assert statuses(call, 1) == [200]


def test_a_truncated_normal_response_is_charged(leadmagic_sandbox, find_email):
    leadmagic_sandbox.fail_next("/v1/people/email-finder", truncate=True)
    assert ends_early(find_email)
    assert leadmagic_sandbox.credits == 999


@pytest.mark.parametrize("body", ['{"credits": NaN}', '{"credits": "12"}', "{", "", "<html>Bad gateway</html>"])
def test_a_body_is_sent_unchanged(leadmagic_sandbox, call, body):
    leadmagic_sandbox.fail_next(body=body)
    response = call("GET", CREDITS)
    assert (response.status_code, response.headers["Content-Type"], response.text) == (200, "application/json", body)


def test_the_error_page_of_a_proxy_has_no_headers_of_the_api(leadmagic_sandbox, call):
    leadmagic_sandbox.fail_next(body="<h1>Bad gateway</h1>", content_type="text/html", status=502)
    response = call("GET", CREDITS)
    assert (response.status_code, response.headers["Content-Type"]) == (502, "text/html; charset=utf-8")
    assert not [name for name in response.headers if name.lower().startswith("x-")]


@pytest.mark.parametrize(("others", "status"), [({}, 302), ({"status": 308}, 308)])
def test_a_redirect_has_its_location_and_no_headers_of_the_api(leadmagic_sandbox, call, others, status):
    leadmagic_sandbox.fail_next(redirect_to="http://127.0.0.2/v1/credits", **others)
    response = call("GET", CREDITS)
    assert (response.status_code, response.headers["Location"]) == (status, "http://127.0.0.2/v1/credits")
    assert not [name for name in response.headers if name.lower().startswith("x-")]


@pytest.mark.parametrize("others", [{}, {"status": 500}, {"body": "{}"}])
def test_headers_can_be_added_to_and_replaced_in_any_response(leadmagic_sandbox, call, others):
    leadmagic_sandbox.fail_next(headers={"X-Credits-Remaining": "lots", "X-Extra": "1"}, **others)
    response = call("GET", CREDITS)
    assert (response.headers["X-Credits-Remaining"], response.headers["X-Extra"]) == ("lots", "1")


def test_a_204_has_no_body(leadmagic_sandbox, call):
    leadmagic_sandbox.fail_next(status=204)
    assert (response := call("GET", CREDITS)).status_code == 204
    assert response.content == b""


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ({}, "fault has no effect: set at least one of status"),
        ({"staus": 503}, "staus"),
        ({"status": 99}, "status"),
        ({"status": 503, "times": 0}, "times"),
        ({"delay": -1}, "delay"),
        ({"delay": float("inf")}, "delay"),
        ({"path": "v1/credits", "status": 503}, "path"),
        ({"headers": {"X-A": "two\nlines"}}, "headers"),
        ({"redirect_to": "/\r\n"}, "redirect_to"),
    ],
)
def test_an_invalid_fault_is_rejected(leadmagic_sandbox, fault, message):
    with pytest.raises(ValueError, match=message):
        leadmagic_sandbox.fail_next(**fault)
