"""LeadMagic's products: names, lookup paths and required fields."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from airflow_provider_leadmagic.api.text import describe_value

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Needs = tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Product:
    """
    One product.

    :param name: LeadMagic's name in bulk jobs. If it has none, the last part of the path, with underscores.
    :param path: Path of the lookup of a single record.
    :param needs: Groups of fields. LeadMagic requires at least one field of each group in a record.
    :param is_bulk: Whether the product is available in bulk jobs.
    """

    name: str
    path: str
    needs: Needs = ()
    is_bulk: bool = False

    @property
    def fields(self) -> frozenset[str]:
        """All fields that LeadMagic requires, including alternatives."""
        return frozenset(name for group in self.needs for name in group)

    def missing_fields(self, fields: Mapping[str, object]) -> tuple[str, ...] | None:
        """
        Return the first group of required fields that a record does not satisfy.

        :param fields: The record. None and blank text count as missing.
        :return: The names of the group; None if the record is complete.
        """
        return next((group for group in self.needs if not any(_is_given(fields.get(name)) for name in group)), None)


def find_product(name: object) -> Product:
    """
    Return the product with this name.

    :raises ValueError: If there is no such product.
    """
    return _find(name, PRODUCTS.values(), "")


def find_bulk_product(name: object) -> Product:
    """
    Return the product with this name, if it is available in bulk jobs.

    :raises ValueError: If there is no such product, or it is not available in bulk jobs.
    """
    return _find(name, (product for product in PRODUCTS.values() if product.is_bulk), " for a bulk job")


def _find(name: object, products: Iterable[Product], purpose: str) -> Product:
    known = {product.name: product for product in products}
    if not isinstance(name, str) or name not in known:
        raise ValueError(f"product must be one of {', '.join(known)}{purpose}; got {describe_value(name)}")
    return known[name]


def _is_given(value: object) -> bool:
    return bool(value.strip()) if isinstance(value, str) else value is not None


_PERSON = ("first_name", "last_name", "full_name", "profile_url")
_COMPANY = ("company_domain", "company_name")
_PROFILE: Needs = (("profile_url",),)
_SOME_COMPANY: Needs = (_COMPANY,)
_COMPANY_OR_PROFILE: Needs = ((*_COMPANY, "profile_url"),)

_BULK = (
    Product("email_finder", "/v1/people/email-finder", (_PERSON, ("domain", "company_name")), is_bulk=True),
    Product("email_validation", "/v1/people/email-validation", (("email",),), is_bulk=True),
    Product("personal_email_finder", "/v1/people/personal-email-finder", _PROFILE, is_bulk=True),
    Product(
        "mobile_finder", "/v1/people/mobile-finder", (("profile_url", "work_email", "personal_email"),), is_bulk=True
    ),
    Product("b2b_profile_to_email", "/v1/people/b2b-profile-email", _PROFILE, is_bulk=True),
    Product("email_to_b2b_profile", "/v1/people/b2b-profile", (("work_email", "personal_email"),), is_bulk=True),
    Product("profile_search", "/v1/people/profile-search", _PROFILE, is_bulk=True),
    Product("role_finder", "/v1/people/role-finder", (("job_title",), _COMPANY), is_bulk=True),
    # LeadMagic's two documents about bulk jobs use different names for this product.
    Product("company_search", "/v1/companies/company-search", _COMPANY_OR_PROFILE, is_bulk=True),
    Product("company_finder", "/v1/companies/company-search", _COMPANY_OR_PROFILE, is_bulk=True),
    Product("company_funding", "/v1/companies/company-funding", _SOME_COMPANY, is_bulk=True),
    # This product also requires a company. Only LeadMagic can check that, because it does not document the field.
    Product("job_change_detector", "/v1/people/job-change-detector", _PROFILE, is_bulk=True),
)
_SINGLE = (
    Product("employee_finder", "/v1/people/employee-finder", _SOME_COMPANY),
    Product("competitors_search", "/v1/companies/competitors-search", ((*_COMPANY, "company_url"),)),
    Product("technographics", "/v1/companies/technographics", (("company_domain",),)),
    Product("jobs_finder", "/v1/jobs/jobs-finder"),
    Product("google_ads_search", "/v1/ads/google-ads-search", _SOME_COMPANY),
    Product("meta_ads_search", "/v1/ads/meta-ads-search", _SOME_COMPANY),
    Product("b2b_ads_search", "/v1/ads/b2b-ads-search", _SOME_COMPANY),
    Product("b2b_ads_details", "/v1/ads/b2b-ads-details", (("ad_url",),)),
)
#: Every lookup under ``/v1``, by name. The searches under ``/v3`` are not included: they return pages of records.
PRODUCTS: dict[str, Product] = {product.name: product for product in (*_BULK, *_SINGLE)}
