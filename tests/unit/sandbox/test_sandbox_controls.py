from __future__ import annotations

import pytest


def test_the_state_contains_everything_except_the_api_key(leadmagic_sandbox, control):
    leadmagic_sandbox.fail_next(status=503, retry_after=1.5)
    state = control("GET", "state").json()
    assert state.keys() == {"balance", "bare_body", "wrap_analytics", "bulk", "spent", "faults", "requests"}
    assert state["balance"]["credits"] == 1000
    assert state["faults"][0].items() >= {"path": "/v1/credits", "status": 503, "retry_after": 1.5}.items()


@pytest.mark.parametrize(
    ("change", "after"),
    [({"set": 20}, 20), ({"add": "0.25"}, 1000.25), ({"set": 5, "add": 1.5}, 6.5), ({}, 1000)],
)
def test_credits_can_be_set_and_added(control, balance, change, after):
    assert control("POST", "credits", change).json()["balance"]["credits"] == after
    assert balance()["credits"] == after


def test_the_bare_body_can_be_switched_on_and_off(control, balance):
    control("POST", "credits", {"bare_body": True})
    assert balance() == {"credits": 1000}
    control("POST", "credits", {"bare_body": False})
    assert len(balance()) == 6


def test_wrapping_of_the_analytics_can_be_switched_on_and_off(control, call):
    assert control("POST", "analytics", {"wrap_analytics": True}).json()["wrap_analytics"] is True
    assert call("GET", "/v1/analytics/dashboard").json().keys() == {"data"}
    control("POST", "analytics", {"wrap_analytics": False})
    assert "data" not in call("GET", "/v1/analytics/dashboard").json()


def test_recording_spending_does_not_change_the_balance(control):
    state = control("POST", "spending", {"product": "email_finder", "credits": 12.5, "days_ago": 3}).json()
    assert (state["spent"], state["balance"]["credits"]) == ({"email_finder": 12.5}, 1000)


def test_the_account_can_be_frozen_and_unfrozen(control, balance):
    control("POST", "freeze", {"message": "Payment failed.", "liquid": 10})
    assert (balance()["credits_liquid"], balance()["credit_freeze_message"]) == (10, "Payment failed.")
    control("POST", "unfreeze")
    assert balance()["is_frozen"] is False


def test_a_freeze_without_details_leaves_nothing_spendable(control, balance):
    control("POST", "freeze", {})
    assert balance()["credits_liquid"] == 0


def test_faults_can_be_queued_and_cleared(control, call):
    control("POST", "faults", {"path": "/v1/credits", "status": 429, "retry_after": "7", "times": None})
    response = call("GET", "/v1/credits")
    assert (response.status_code, response.headers["Retry-After"]) == (429, "7")
    assert control("DELETE", "faults").json()["faults"] == []
    assert call("GET", "/v1/credits").status_code == 200


def test_the_request_log_can_be_read_filtered_and_cleared(control, call):
    call("GET", "/v1/credits")
    call("GET", "/v1/credits/health")
    (entry,) = control("GET", "requests?path=/v1/credits").json()
    assert entry.keys() == {"at", "method", "path", "status", "api_key_sent", "user_agent"}
    assert len(control("GET", "requests").json()) == 2
    assert control("DELETE", "requests").json()["requests"] == 0


def test_a_reset_restores_the_initial_state(leadmagic_sandbox, control, call, find_email, balance):
    before = control("GET", "state").json()
    find_email()
    leadmagic_sandbox.freeze()
    leadmagic_sandbox.bare_body = True
    leadmagic_sandbox.wrap_analytics = True
    leadmagic_sandbox.bulk_speed(50, paused_clock=True)
    leadmagic_sandbox.record_spending("mobile_finder", 5, days_ago=7)
    leadmagic_sandbox.fail_next(status=503, times=None)
    assert control("POST", "reset").json() == before


@pytest.mark.parametrize(
    ("name", "body", "detail"),
    [
        ("credits", {"set": -1}, "set: Value error, credits must be a finite number, 0 or more; got -1"),
        ("credits", {"add": True}, "credits must be a finite number, 0 or more; got True"),
        ("credits", {"sett": 5}, "sett: Extra inputs are not permitted"),
        ("credits", [], "body: "),
        ("freeze", {"liquid": "all"}, "got 'all'"),
        ("analytics", {}, "wrap_analytics: "),
        ("analytics", {"wrap": True}, "wrap: "),
        ("spending", {"product": "email_finder"}, "credits: "),
        ("spending", {"product": "email_finder", "credits": 1, "day": 3}, "day: "),
        ("spending", {"product": "emails", "credits": 1}, "product must be one of email_finder, email_validation, "),
        ("bulk", {"rows_per_second": 0}, "rows_per_second: "),
        ("bulk", {"speed": 5}, "speed: "),
        ("bulk", {"submit_needs": "some_rows"}, "submit_needs: "),
        ("bulk/advance", {"rows": -1}, "rows: "),
        ("bulk/jobs", {"rows": 0}, "rows: "),
        ("faults", {"status": 503}, "path: "),
        ("faults", {"path": "/v1/credits", "status": "many"}, "status: "),
    ],
)
def test_invalid_input_returns_422_with_an_explanation(control, name, body, detail):
    response = control("POST", name, body)
    assert response.status_code == 422
    assert detail in response.json()["errors"][0]["detail"]


def test_an_unknown_control_returns_404(control):
    assert control("POST", "credit").status_code == 404
