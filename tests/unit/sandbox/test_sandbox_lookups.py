from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal

import pytest

FINDER = "/v1/people/email-finder"
VALIDATION = "/v1/people/email-validation"
MOBILE = "/v1/people/mobile-finder"
COMPANY = "/v1/companies/company-search"

JANE = {"first_name": "Jane", "last_name": "Doe"}


@pytest.mark.parametrize(
    ("path", "body", "expected", "price"),
    [
        (FINDER, {**JANE, "domain": "example.com"}, {"email": "jane.doe@example.com", "status": "valid"}, "1"),
        (
            FINDER,
            {"full_name": "Jane Doe", "company_name": "Acme, Inc."},
            {"email": "jane-doe@acme-inc.example.com"},
            "1",
        ),
        (FINDER, {"last_name": None, "company_name": "Acme"}, {"email": "info@acme.example.com"}, "1"),
        (VALIDATION, {"email": "jane@example.com"}, {"email": "jane@example.com", "email_status": "valid"}, "0.25"),
        (VALIDATION, {"email": "notfound@example.com"}, {"email_status": "invalid"}, "0.25"),
        (MOBILE, {"profile_url": "jane-doe"}, {"profile_url": "jane-doe"}, "5"),
        (MOBILE, {"work_email": "jane@example.com"}, {"email": "jane@example.com"}, "5"),
        (COMPANY, {"company_domain": "example.com"}, {"companyName": "Example"}, "1"),
        (COMPANY, {"company_name": "Acme"}, {"companyName": "Acme", "websiteUrl": "https://acme.example.com"}, "1"),
    ],
)
def test_a_hit_is_charged_at_its_price(leadmagic_sandbox, call, path, body, expected, price):
    response = call("POST", path, json=body)
    assert response.status_code == 200
    assert response.json().items() >= expected.items()
    assert response.json()["credits_consumed"] == float(price)
    assert leadmagic_sandbox.credits == 1000 - Decimal(price)


@pytest.mark.parametrize(
    ("path", "body", "expected"),
    [
        (FINDER, {**JANE, "domain": "NotFound.example.com"}, {"email": None, "status": None}),
        (FINDER, {"full_name": "", "domain": ""}, {"email": None}),
        (VALIDATION, {"email": "unknown@example.com"}, {"email_status": "unknown"}),
        (MOBILE, {"profile_url": "https://example.com/in/notfound"}, {"mobile_number": None}),
        (COMPANY, {"company_name": "notfound"}, {"message": "Company not found"}),
    ],
)
def test_a_miss_is_a_free_200(leadmagic_sandbox, call, path, body, expected):
    response = call("POST", path, json=body)
    assert response.status_code == 200
    assert response.json().items() >= expected.items()
    assert response.json()["credits_consumed"] == 0
    assert response.headers["X-Credits-Consumed"] == "0"
    assert leadmagic_sandbox.credits == 1000


@pytest.mark.parametrize("body", [{"profile_url": "jane-doe"}, {"work_email": "jané@example.com\ud800"}])
def test_equal_requests_get_equal_responses(call, body):
    first, second = (call("POST", MOBILE, json=body).json() for _ in range(2))
    assert first == second
    assert first["mobile_number"].startswith("+1-555-555-01")


def test_a_paid_lookup_reports_its_cost_and_the_rate_limits(leadmagic_sandbox, call):
    leadmagic_sandbox.set_credits("15433.50")
    headers = call("POST", VALIDATION, json={"email": "jane@example.com"}).headers
    assert headers["X-Credits-Cost"] == headers["X-Credits-Max-Cost"] == headers["X-Credits-Consumed"] == "0.25"
    assert headers["X-Credits-Total"] == "15433.50"
    assert headers["X-Credits-Remaining"] == "15433.25"
    assert headers["X-RateLimit-Soft-Mode"] == "true"
    assert headers["RateLimit-Limit"] == headers["X-RateLimit-Limit"] == "600"
    # 600 if a new minute begins during the request.
    assert headers["RateLimit-Remaining"] == headers["X-RateLimit-Remaining"] in ("599", "600")
    assert 1 <= int(headers["RateLimit-Reset"]) <= 60
    assert int(headers["X-RateLimit-Reset"]) <= int(headers["X-RateLimit-Reset-Daily"])
    assert headers["X-RateLimit-Limit-Daily"] == "500000"
    assert headers["X-RateLimit-Remaining-Daily"] in ("499999", "500000")
    assert (headers["X-RateLimit-RPM-Usage-Percent"], headers["X-RateLimit-Daily-Usage-Percent"]) == ("0", "0")


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        (FINDER, {"domain": "example.com"}, ["first_name", "last_name", "full_name", "profile_url"]),
        (FINDER, JANE, ["domain", "company_name"]),
        (VALIDATION, {}, ["email"]),
        (MOBILE, {"unheard_of": "x"}, ["profile_url", "work_email", "personal_email"]),
        (COMPANY, {}, ["company_domain", "company_name", "profile_url"]),
    ],
)
def test_a_missing_field_is_named(call, path, body, param):
    response = call("POST", path, json=body)
    error = response.json()["errors"][0]
    assert (response.status_code, error["code"], error["param"]) == (400, "missing_required_field", param)


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        (FINDER, {"first_name": None, "domain": "example.com"}, ["first_name"]),
        (VALIDATION, {"email": 7}, ["email"]),
        (VALIDATION, {"email": "no address"}, ["email"]),
        (VALIDATION, {"email": "@example.com"}, ["email"]),
        (MOBILE, {"profile_url": ["jane"]}, ["profile_url"]),
        (COMPANY, [], None),
        (COMPANY, "example.com", None),
    ],
)
def test_a_field_of_the_wrong_type_is_named(call, path, body, param):
    response = call("POST", path, json=body)
    error = response.json()["errors"][0]
    assert (response.status_code, error["code"], error.get("param")) == (400, "validation_error", param)


@pytest.mark.parametrize(
    "body", [b"", b"{", b"\xff", b"[" * 100_000], ids=["empty", "truncated", "not UTF-8", "deeply nested"]
)
def test_a_body_that_is_not_json_is_rejected(call, body):
    response = call("POST", FINDER, data=body)
    assert (response.status_code, response.json()["errors"][0]["code"]) == (400, "invalid_json")


def test_a_lookup_that_the_credits_do_not_cover_returns_402(leadmagic_sandbox, call):
    leadmagic_sandbox.set_credits("2.50")
    response = call("POST", MOBILE, json={"profile_url": "notfound"})
    error = response.json()["errors"][0]
    assert (response.status_code, error["code"]) == (402, "insufficient_credits")
    assert error["title"] == "Insufficient credits: need 5, have 2.50. Add credits to continue."
    assert error["context"] == {"credits_required": 5, "credits_available": 2.5, "credits_needed": 2.5}
    assert response.headers["X-Credits-Remaining"] == "2.50"


def test_a_balance_equal_to_the_price_is_enough(leadmagic_sandbox, find_email):
    leadmagic_sandbox.set_credits(1)
    assert [find_email().status_code, find_email().status_code] == [200, 402]
    assert leadmagic_sandbox.credits == 0


def test_concurrent_requests_never_spend_a_credit_twice(leadmagic_sandbox, find_email):
    leadmagic_sandbox.set_credits(10)
    with ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(lambda _: find_email().status_code, range(24)))
    assert sorted(statuses) == [200] * 10 + [402] * 14
    assert leadmagic_sandbox.credits == 0


def test_spending_is_recorded_per_product(call, find_email, control):
    find_email()
    find_email()
    find_email("notfound.example.com")
    call("POST", MOBILE, json={"profile_url": "notfound"})
    call("POST", VALIDATION, json={"email": "jane@example.com"})
    assert control("GET", "state").json()["spent"] == {"email_finder": 2, "email_validation": 0.25}
