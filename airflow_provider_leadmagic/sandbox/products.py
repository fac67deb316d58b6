"""
The products of the API: their prices, required fields, and the made-up data that lookups return.

Markers in the values of a request decide its outcome. ``notfound`` is a miss. In an email validation, ``notfound`` is
an invalid address, which is charged, and ``unknown`` is a miss. In a row of a bulk job, ``invalid`` makes the row fail,
and ``flaky`` makes it fail the first time.
"""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

from airflow_provider_leadmagic.sandbox.errors import ApiError, missing_required_field, validation_error

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

Given = dict[str, str | None]
Row = dict[str, object]
Result = dict[str, object]

MISS_MARKER = "notfound"
FAILURE_MARKER = "invalid"
FLAKY_MARKER = "flaky"


@dataclass(frozen=True)
class Lookup:
    """The outcome of one lookup. Only a hit is charged."""

    found: bool
    result: Result


@dataclass(frozen=True)
class Product:
    """
    A product of the API.

    :param name: Its name in bulk jobs, and in the usage report of the account.
    :param path: The path of its single lookups.
    :param price: Credits per hit.
    :param needs: Groups of fields; a request must contain at least one field of each group.
    :param look_up: Makes up the result of a lookup. Equal fields get equal results.
    :param nullable: The fields that may be ``null``.
    """

    name: str
    path: str
    price: Decimal
    needs: tuple[tuple[str, ...], ...]
    look_up: Callable[[Given], Lookup]
    nullable: frozenset[str] = frozenset()

    def check(self, body: object) -> Given:
        """
        Select the fields of this product from a request body.

        :raises ApiError: If the body is not a JSON object, or a field is missing or has the wrong type.
        """
        if not isinstance(body, dict):
            raise ApiError(validation_error("The request body must be a JSON object."))
        given = {name: body[name] for group in self.needs for name in group if name in body}
        for name, value in given.items():
            self._check_type(name, value)
        for group in self.needs:
            if given.keys().isdisjoint(group):
                raise ApiError(missing_required_field(group))
        return given

    def _check_type(self, name: str, value: object) -> None:
        if not isinstance(value, str) and not (value is None and name in self.nullable):
            raise ApiError(validation_error(f"Field {name} must be text.", name))


class RowFailedError(Exception):
    """A row of a bulk job failed. Failed rows are free."""

    def __init__(self, http_status: int, message: str) -> None:
        super().__init__(message)
        self.http_status = http_status


def look_up_row(product: Product, row: Mapping[str, object], previous_failures: int = 0) -> Lookup:
    """
    Look up one row of a bulk job, with the same result as a single lookup.

    :param product: The product to look up.
    :param row: The submitted fields.
    :param previous_failures: Number of times the row has failed before.
    :raises RowFailedError: If the row is invalid, or has a marker that makes it fail.
    """
    try:
        given = product.check(row)
        _fail_if_marked(given, previous_failures)
        return product.look_up(given)
    except ApiError as error:
        # Single lookups return 400 for such input, but LeadMagic's sample of a failed row has 422.
        raise RowFailedError(422, error.problem.detail or error.problem.title) from error


def _fail_if_marked(given: Given, previous_failures: int) -> None:
    for name, value in given.items():
        text = (value or "").lower()
        if FAILURE_MARKER in text:
            raise RowFailedError(422, f"Invalid {name} format: {value}")
        if FLAKY_MARKER in text and not previous_failures:
            raise RowFailedError(503, "Service temporarily unavailable. Please try again later.")


def _is_miss(given: Given) -> bool:
    values = [value.lower() for value in given.values() if value]
    return not values or any(MISS_MARKER in value for value in values)


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9.]+", "-", text.lower()).strip("-.") or "example"


def _mail_company(domain: str) -> Result:
    return {
        "mx_record": f"mx1.{domain}",
        "mx_provider": "Example Mail",
        "mx_gateway": None,
        "mx_security_gateway": False,
        "company_name": domain.split(".")[0].title(),
        "company_size": "11-50",
        "company_founded": 2022,
    }


def _find_email(given: Given) -> Lookup:
    found = not _is_miss(given)
    domain = given.get("domain") or f"{_slug(given.get('company_name') or '')}.example.com"
    names = (given.get("first_name"), given.get("last_name"), given.get("full_name") or given.get("profile_url"))
    person = ".".join(_slug(name) for name in names if name) or "info"
    result: Result = {
        "email": f"{person}@{domain}" if found else None,
        "status": "valid" if found else None,
        "message": "Valid email found." if found else "We couldn't find a verified email for this person.",
        "first_name": given.get("first_name"),
        "last_name": given.get("last_name"),
        "domain": domain,
        "has_mx": True,
        "employment_verified": found or None,
    }
    return Lookup(found, result | _mail_company(domain) if found else result)


def _validate_email(given: Given) -> Lookup:
    address = given["email"] or ""
    local, at, domain = address.rpartition("@")
    if not (local and at and domain) or re.search(r"\s", address):
        detail = "Email format is invalid. Expected format: user@domain.com"
        raise ApiError(validation_error(detail, "email"))
    status = _verdict(address.lower())
    result: Result = {
        "email": address,
        "email_status": status,
        "message": f"Email is {status}.",
        "is_domain_catch_all": None if status == "unknown" else False,
    }
    return Lookup(status != "unknown", result | _mail_company(domain) if status == "valid" else result)


def _verdict(address: str) -> str:
    if "unknown" in address:
        return "unknown"
    return "invalid" if MISS_MARKER in address else "valid"


def _find_mobile(given: Given) -> Lookup:
    found = not _is_miss(given)
    identifier = repr(sorted(given.items())).encode("ascii", "backslashreplace")
    result: Result = {
        "profile_url": given.get("profile_url"),
        "email": given.get("work_email") or given.get("personal_email"),
        # The numbers 555-0100 to 555-0199 are reserved for fiction.
        "mobile_number": f"+1-555-555-01{zlib.crc32(identifier) % 100:02}" if found else None,
        "message": "Mobile number found." if found else "No mobile number found",
    }
    return Lookup(found, result)


def _search_company(given: Given) -> Lookup:
    if _is_miss(given):
        return Lookup(False, {"message": "Company not found"})
    named = given.get("company_domain") or given.get("company_name") or given.get("profile_url") or ""
    slug = _slug(named).removesuffix(".com")
    place = {"country": "US", "city": "Springfield", "geographicArea": "Illinois", "postalCode": None}
    result: Result = {
        "message": "Company found",
        "companyName": given.get("company_name") or slug.replace("-", " ").title(),
        "companyId": None,
        "employeeCount": 9,
        "employeeCountRange": {"start": 1, "end": 10},
        "specialities": ["sales", "marketing"],
        "tagline": "Sample tagline.",
        "industry": "Software",
        "websiteUrl": f"https://{_slug(given.get('company_domain') or slug + '.example.com')}",
        "headquarter": place,
        "locations": [{**place, "headquarter": True}],
        "foundedOn": {"month": None, "year": 2020, "day": None},
        "founded_year": "2020",
        "ownership_status": "Privately Held",
        "b2b_url": f"https://example.com/company/{slug}",
    }
    return Lookup(True, result)


EMAIL_FINDER = Product(
    name="email_finder",
    path="/v1/people/email-finder",
    price=Decimal(1),
    needs=(("first_name", "last_name", "full_name", "profile_url"), ("domain", "company_name")),
    nullable=frozenset({"last_name", "full_name"}),
    look_up=_find_email,
)
EMAIL_VALIDATION = Product(
    name="email_validation",
    path="/v1/people/email-validation",
    price=Decimal("0.25"),
    needs=(("email",),),
    look_up=_validate_email,
)
MOBILE_FINDER = Product(
    name="mobile_finder",
    path="/v1/people/mobile-finder",
    price=Decimal(5),
    needs=(("profile_url", "work_email", "personal_email"),),
    look_up=_find_mobile,
)
COMPANY_SEARCH = Product(
    name="company_search",
    path="/v1/companies/company-search",
    price=Decimal(1),
    needs=(("company_domain", "company_name", "profile_url"),),
    look_up=_search_company,
)
PRODUCTS = (EMAIL_FINDER, EMAIL_VALIDATION, MOBILE_FINDER, COMPANY_SEARCH)
