"""The bodies of requests to the API."""

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


def _as_whole(number: object) -> object:
    return int(number) if isinstance(number, float) and number.is_integer() else number


# To JSON, 5.0 is one too.
WholeNumber = Annotated[int, BeforeValidator(_as_whole)]


class Body(BaseModel):
    """A body whose fields are in camelCase; an optional field has an empty default, because none may be ``null``."""

    model_config = ConfigDict(strict=True, alias_generator=to_camel)


async def read_json(request: Request) -> object:
    """
    Read a body.

    :raises ApiError: if it is no JSON.
    """
    try:
        body: object = json.loads(await request.body())
    except (ValueError, RecursionError) as error:
        raise ApiError(INVALID_JSON) from error
    return body


def check_body(model: type[AnyBody], body: object) -> AnyBody:
    """
    Read the fields of a body.

    :raises ApiError: if one is missing or of the wrong kind.
    """
    try:
        return model.model_validate(body)
    except ValidationError as error:
        raise ApiError(_problem(error)) from None


def spell_out(errors: Sequence[Mapping[str, Any]]) -> str:
    """Make one line of pydantic's complaints."""
    return "; ".join(f"{'.'.join(str(part) for part in error['loc'])}: {error['msg']}" for error in errors)


def _problem(error: ValidationError) -> Problem:
    errors: list[Mapping[str, Any]] = [*error.errors(include_input=False)]
    missing = [str(item["loc"][0]) for item in errors if item["type"] == "missing"]
    if missing:
        return missing_required_field(tuple(missing))
    params = dict.fromkeys(str(item["loc"][0]) for item in errors if item["loc"])
    # Of a long list of rows every one may be wrong.
    return validation_error(spell_out(errors[:10]), *params)
