"""Reads request bodies and query parameters; what is not valid becomes an error response."""

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
# The upper bound of a query parameter for which LeadMagic documents none.
UNBOUNDED = 10**100


def _as_whole(number: object) -> object:
    return int(number) if isinstance(number, float) and number.is_integer() else number


# In JSON 5.0 is a whole number too.
WholeNumber = Annotated[int, BeforeValidator(_as_whole)]


class Body(BaseModel):
    """A body whose fields are in camelCase. An optional field has an empty default, because none may be ``null``."""

    model_config = ConfigDict(strict=True, alias_generator=to_camel)


async def read_json(request: Request) -> object:
    """
    Read the body of a request.

    :raises ApiError: if it is not JSON.
    """
    try:
        body: object = json.loads(await request.body())
    except (ValueError, RecursionError) as error:
        raise ApiError(INVALID_JSON) from error
    return body


def check_body(model: type[AnyBody], body: object) -> AnyBody:
    """
    Read the fields of a body.

    :raises ApiError: if one is missing or not valid.
    """
    try:
        return model.model_validate(body)
    except ValidationError as error:
        raise ApiError(_problem(error)) from None


def read_whole_number(request: Request, name: str, default: int, allowed: range) -> int:
    """
    Read a query parameter.

    :raises ApiError: if it is not one of the numbers allowed.
    """
    text = request.query_params.get(name, str(default))
    # The length first: converting a very long number takes very long.
    is_number = text.isascii() and text.isdigit() and len(text) <= len(str(UNBOUNDED))
    if not is_number or int(text) not in allowed:
        ends = f"from {allowed[0]} to {allowed[-1]}" if allowed.stop < UNBOUNDED else f"of {allowed[0]} or more"
        raise ApiError(validation_error(f"{name} must be a whole number {ends}.", name))
    return int(text)


def summarize_errors(errors: Sequence[Mapping[str, Any]]) -> str:
    """Join the errors that pydantic found into one line."""
    return "; ".join(f"{'.'.join(str(part) for part in error['loc'])}: {error['msg']}" for error in errors)


def _problem(error: ValidationError) -> Problem:
    errors: list[Mapping[str, Any]] = [*error.errors(include_input=False)]
    missing = [str(item["loc"][0]) for item in errors if item["type"] == "missing"]
    if missing:
        return missing_required_field(tuple(missing))
    params = dict.fromkeys(str(item["loc"][0]) for item in errors if item["loc"])
    # In a long list of rows every row may be wrong.
    return validation_error(summarize_errors(errors[:10]), *params)
