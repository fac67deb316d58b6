"""Tests of the product table: names, lookup paths and required fields."""

from __future__ import annotations

import pytest

from airflow_provider_leadmagic.api.products import PRODUCTS, Product, find_bulk_product, find_product

BULK = {
    "email_finder": "/v1/people/email-finder",
    "email_validation": "/v1/people/email-validation",
    "personal_email_finder": "/v1/people/personal-email-finder",
    "mobile_finder": "/v1/people/mobile-finder",
    "b2b_profile_to_email": "/v1/people/b2b-profile-email",
    "email_to_b2b_profile": "/v1/people/b2b-profile",
    "profile_search": "/v1/people/profile-search",
    "role_finder": "/v1/people/role-finder",
    "company_search": "/v1/companies/company-search",
    "company_finder": "/v1/companies/company-search",
    "company_funding": "/v1/companies/company-funding",
    "job_change_detector": "/v1/people/job-change-detector",
}
SINGLE = {
    "employee_finder": "/v1/people/employee-finder",
    "competitors_search": "/v1/companies/competitors-search",
    "technographics": "/v1/companies/technographics",
    "jobs_finder": "/v1/jobs/jobs-finder",
    "google_ads_search": "/v1/ads/google-ads-search",
    "meta_ads_search": "/v1/ads/meta-ads-search",
    "b2b_ads_search": "/v1/ads/b2b-ads-search",
    "b2b_ads_details": "/v1/ads/b2b-ads-details",
}


class TestNames:
    def test_all_products_are_listed(self):
        assert {name: product.path for name, product in PRODUCTS.items()} == BULK | SINGLE

    def test_all_bulk_products_are_listed(self):
        assert {name for name, product in PRODUCTS.items() if product.is_bulk} == set(BULK)

    @pytest.mark.parametrize(("name", "path"), (BULK | SINGLE).items())
    def test_enrich_sends_a_post_to_the_path_of_the_product(self, client, leadmagic_sandbox, name, path):
        leadmagic_sandbox.fail_next(path, body='{"credits_consumed": 0}')
        assert client.enrich(name, some_field="x") == {"credits_consumed": 0}
        [request] = leadmagic_sandbox.requests
        assert (request.method, request.path) == ("POST", path)

    @pytest.mark.parametrize("name", BULK)
    def test_bulk_product_is_found_by_name(self, name):
        assert find_product(name) is find_bulk_product(name) is PRODUCTS[name]

    @pytest.mark.parametrize("find", [find_product, find_bulk_product])
    @pytest.mark.parametrize("name", ["astrology", "Email_Finder", "", None, 5, ["email_finder"]], ids=repr)
    def test_unknown_product_is_rejected_with_the_valid_names(self, find, name):
        with pytest.raises(ValueError, match=r"^product must be one of email_finder, .*role_finder.*; got ") as caught:
            find(name)
        assert str(caught.value).endswith(repr(name))

    @pytest.mark.parametrize("name", SINGLE)
    def test_product_without_bulk_jobs_is_rejected_for_bulk_jobs_only(self, name):
        assert find_product(name).name == name
        with pytest.raises(ValueError, match=f"for a bulk job; got '{name}'$") as caught:
            find_bulk_product(name)
        assert name not in str(caught.value).split(";")[0]


class TestMissingFields:
    @pytest.mark.parametrize(
        ("product", "record", "missing"),
        [
            ("email_finder", {"full_name": "Ada", "domain": "x.org"}, None),
            ("email_finder", {"last_name": "Ada", "company_name": "X"}, None),
            ("email_finder", {"profile_url": "ada", "domain": "x.org"}, None),
            ("email_finder", {"domain": "x.org"}, ("first_name", "last_name", "full_name", "profile_url")),
            ("email_finder", {"full_name": "Ada", "company_domain": "x.org"}, ("domain", "company_name")),
            ("email_finder", {}, ("first_name", "last_name", "full_name", "profile_url")),
            ("email_validation", {"mail": "a@x.org"}, ("email",)),
            ("personal_email_finder", {}, ("profile_url",)),
            ("mobile_finder", {"personal_email": "a@x.org"}, None),
            ("mobile_finder", {"email": "a@x.org"}, ("profile_url", "work_email", "personal_email")),
            ("b2b_profile_to_email", {}, ("profile_url",)),
            ("email_to_b2b_profile", {"profile_url": "ada"}, ("work_email", "personal_email")),
            ("profile_search", {}, ("profile_url",)),
            ("role_finder", {"job_title": "CTO", "company_name": "X"}, None),
            ("role_finder", {"job_title": "CTO"}, ("company_domain", "company_name")),
            ("role_finder", {"company_name": "X"}, ("job_title",)),
            ("company_search", {"profile_url": "x"}, None),
            ("company_finder", {"domain": "x.org"}, ("company_domain", "company_name", "profile_url")),
            ("company_funding", {"profile_url": "x"}, ("company_domain", "company_name")),
            ("job_change_detector", {"company_name": "X"}, ("profile_url",)),
            ("jobs_finder", {}, None),
        ],
    )
    def test_first_group_without_a_value_is_returned(self, product, record, missing):
        assert PRODUCTS[product].missing_fields(record) == missing

    @pytest.mark.parametrize(
        ("value", "is_given"), [(None, False), ("", False), (" \t\n", False), ("x", True), (0, True), (False, True)]
    )
    def test_none_and_blank_text_count_as_missing(self, value, is_given):
        missing = Product("p", "/p", (("a", "b"),)).missing_fields({"a": None, "b": value})
        assert missing == (None if is_given else ("a", "b"))
