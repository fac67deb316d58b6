"""Parsing of request bodies and query parameters. Invalid input raises the API's error response."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError
from pydantic.alias_generators import to_camel

from airflow_provider_leadmagic.sandbox.errors import (
    INVALID_JSON,
    ApiError,
    Problem,
    missing_required_field,
    validation_error,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fastapi import Request

AnyBody = TypeVar("AnyBody", bound="Body")
# Upper bound of query parameters for which LeadMagic documents no limit.
UNBOUNDED = 10**100


def _as_whole(number: object) -> object:
    return int(number) if isinstance(number, float) and number.is_integer() else number


# In JSON, 5.0 is a whole number too.
WholeNumber = Annotated[int, BeforeValidator(_as_whole)]


class Body(BaseModel):
    """
    A request body with camelCase fields. An optional field can be missing, but not ``null``, so its default has the
    type of the field and is not None.
    """

    model_config = ConfigDict(strict=True, alias_generator=to_camel)


async def read_json(request: Request) -> object:
    """
    Parse the body of a request as JSON.

    :raises ApiError: If the body is not valid JSON.
    """
    try:
        body: object = json.loads(await request.body())
    except (ValueError, RecursionError) as error:
        raise ApiError(INVALID_JSON) from error
    return body


def check_body(model: type[AnyBody], body: object) -> AnyBody:
    """
    Validate a parsed body and return it as a model.

    :param model: The model to validate against.
    :param body: The parsed JSON.
    :raises ApiError: If a field is missing or invalid.
    """
    try:
        return model.model_validate(body)
    except ValidationError as error:
        raise ApiError(_problem(error)) from None


def read_whole_number(request: Request, name: str, default: int, allowed: range) -> int:
    """
    Return a query parameter as a whole number.

    :param name: The name of the parameter.
    :param default: The value if the parameter is missing.
    :param allowed: The valid values.
    :raises ApiError: If the value is not a whole number in ``allowed``.
    """
    text = request.query_params.get(name, str(default))
    # Check the length first, because converting a very long number is slow.
    is_number = text.isascii() and text.isdigit() and len(text) <= len(str(UNBOUNDED))
    if not is_number or int(text) not in allowed:
        bounds = f" from {allowed[0]} to {allowed[-1]}" if allowed.stop < UNBOUNDED else f", {allowed[0]} or more"
        raise ApiError(validation_error(f"{name} must be a whole number{bounds}.", name))
    return int(text)


def summarize_errors(errors: Sequence[Mapping[str, Any]]) -> str:
    """Join validation errors of pydantic into one line."""
    return "; ".join(f"{'.'.join(str(part) for part in error['loc'])}: {error['msg']}" for error in errors)


def _problem(error: ValidationError) -> Problem:
    errors: list[Mapping[str, Any]] = [*error.errors(include_input=False)]
    missing = [str(item["loc"][0]) for item in errors if item["type"] == "missing"]
    if missing:
        return missing_required_field(tuple(missing))
    params = dict.fromkeys(str(item["loc"][0]) for item in errors if item["loc"])
    # Report only the first ten, because every row of a long list may be invalid.
    return validation_error(summarize_errors(errors[:10]), *params)
