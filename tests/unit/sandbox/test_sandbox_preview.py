from __future__ import annotations

import pytest

PATH = "/v1/batch/preview-cost"


def items(*products):
    return {"items": [{"product": product, "input": {}} if product else {"input": {}} for product in products]}


def test_the_preview_of_one_product_has_one_price(leadmagic_sandbox, call):
    assert call("POST", PATH, json=items("email_validation", "email_validation")).json() == {
        "totalItems": 2,
        "creditsPerItem": 0.25,
        "totalCredits": 0.5,
        "estimatedCostUsd": 0.005,
        "perProduct": [{"product": "email_validation", "items": 2, "creditsPerItem": 0.25, "credits": 0.5}],
        "clientCreditRemaining": None,
        "willExceedBudget": False,
    }
    assert leadmagic_sandbox.credits == 1000


def test_mixed_products_are_priced_separately(call):
    body = call("POST", PATH, json=items("email_finder", "mobile_finder", "email_finder", "company_finder")).json()
    assert (body["totalItems"], body["creditsPerItem"], body["totalCredits"]) == (4, None, 8)
    assert [(part["product"], part["items"], part["credits"]) for part in body["perProduct"]] == [
        ("email_finder", 2, 2),
        ("mobile_finder", 1, 5),
        ("company_finder", 1, 1),
    ]


def test_items_without_a_product_get_the_single_named_product(call):
    assert call("POST", PATH, json=items(None, "mobile_finder", None)).json()["totalCredits"] == 15


@pytest.mark.parametrize(("count", "status"), [(0, 400), (1, 200), (10_000, 200), (10_001, 400)])
def test_it_accepts_1_to_10000_items(call, count, status):
    assert call("POST", PATH, json=items(*["email_finder"] * count)).status_code == status


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, ["items"]),
        ({"items": "all"}, ["items"]),
        (items(None), ["product"]),
        (items("email_finder", "mobile_finder", None), ["product"]),
        (items("email_sender"), ["product"]),
        ({"items": [{"product": "email_finder", "input": []}]}, ["items"]),
    ],
)
def test_an_invalid_batch_is_rejected(call, body, param):
    response = call("POST", PATH, json=body)
    assert (response.status_code, response.json()["errors"][0]["param"]) == (400, param)
