from __future__ import annotations

from decimal import Decimal

import pytest
import requests

from airflow_provider_leadmagic.sandbox.sandbox import Sandbox


def test_the_balance_has_the_six_fields_of_the_live_api(balance):
    assert balance() == {
        "credits": 1000,
        "is_frozen": False,
        "credits_frozen": 0,
        "credits_liquid": 1000,
        "credit_freeze_message": None,
        "credit_freeze_plan_hint": None,
    }


def test_a_bare_body_has_only_the_documented_field(leadmagic_sandbox, balance):
    leadmagic_sandbox.bare_body = True
    assert balance() == {"credits": 1000}


@pytest.mark.parametrize(
    ("amount", "in_json", "in_header"),
    [
        (0, "0", "0.00"),
        (15432.5, "15432.5", "15432.50"),
        ("1979.15", "1979.15", "1979.15"),
        (Decimal("0.05"), "0.05", "0.05"),
        (1e6, "1000000", "1000000.00"),
    ],
)
def test_credits_are_json_numbers_and_have_two_decimals_in_the_header(
    leadmagic_sandbox, call, amount, in_json, in_header
):
    leadmagic_sandbox.set_credits(amount)
    response = call("GET", "/v1/credits")
    assert f'"credits": {in_json},' in response.text
    assert response.headers["X-Credits-Remaining"] == in_header


def test_credits_can_be_added(leadmagic_sandbox, balance):
    leadmagic_sandbox.add_credits("0.25")
    assert leadmagic_sandbox.credits == Decimal("1000.25")
    assert balance()["credits"] == 1000.25


@pytest.mark.parametrize("invalid", [-1, "many", None, True, float("nan"), float("inf"), ""])
def test_an_invalid_amount_is_rejected(leadmagic_sandbox, invalid):
    with pytest.raises(ValueError, match=r"^credits must be a finite number, 0 or more; got "):
        leadmagic_sandbox.set_credits(invalid)


@pytest.mark.parametrize(("liquid", "frozen_part"), [(0, 1000), (400, 600), (5000, 0)])
def test_a_frozen_balance_is_the_sum_of_its_frozen_and_liquid_credits(leadmagic_sandbox, balance, liquid, frozen_part):
    leadmagic_sandbox.freeze("Payment failed.", liquid=liquid)
    body = balance()
    assert body["is_frozen"] is True
    assert (body["credits"], body["credits_frozen"], body["credits_liquid"]) == (1000, frozen_part, 1000 - frozen_part)
    assert body["credit_freeze_message"] == "Payment failed."


def test_credits_added_to_a_frozen_account_are_frozen(leadmagic_sandbox, balance):
    leadmagic_sandbox.freeze()
    leadmagic_sandbox.add_credits(500)
    assert (balance()["credits"], balance()["credits_liquid"]) == (1500, 0)


def test_spending_on_a_frozen_account_reduces_its_liquid_credits(leadmagic_sandbox, balance, find_email):
    leadmagic_sandbox.freeze(liquid=2)
    assert [find_email().status_code for _ in range(3)] == [200, 200, 402]
    assert (balance()["credits"], balance()["credits_frozen"], balance()["credits_liquid"]) == (998, 998, 0)


def test_unfreezing_makes_the_whole_balance_spendable(leadmagic_sandbox, balance):
    before = balance()
    leadmagic_sandbox.freeze()
    leadmagic_sandbox.unfreeze()
    assert balance() == before


@pytest.mark.parametrize(("method", "path"), [("POST", "/v1/credits/refresh"), ("GET", "/v1/credits/health")])
def test_refresh_and_health_return_200_unless_a_fault_applies(leadmagic_sandbox, call, method, path):
    assert call(method, path).status_code == 200
    leadmagic_sandbox.fail_next(path, status=404)
    assert call(method, path).status_code == 404


def test_stopping_closes_the_port_and_a_restart_keeps_port_and_balance(session):
    sandbox = Sandbox(credits=7)
    with sandbox:
        url = sandbox.url
    with pytest.raises(requests.ConnectionError):
        session.get(f"{url}/v1/credits", timeout=2)
    with sandbox:
        assert sandbox.url == url
        response = session.get(f"{url}/v1/credits", headers={"X-API-Key": sandbox.api_key}, timeout=2)
    assert response.json()["credits"] == 7


def test_starting_or_stopping_twice_has_no_effect():
    sandbox = Sandbox()
    assert sandbox.start() is sandbox.start()
    sandbox.stop()
    sandbox.stop()
