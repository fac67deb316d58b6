"""Validate arguments and numbers. Each error message names the argument and its value."""

from __future__ import annotations

import math
from datetime import timedelta
from decimal import Decimal, InvalidOperation
from numbers import Integral, Real
from typing import TYPE_CHECKING

from airflow_provider_leadmagic.api.text import describe_value

if TYPE_CHECKING:
    from collections.abc import Sequence

#: Longest duration accepted. Airflow adds timeouts to the current date, and Python's dates end with the year 9999.
LONGEST = timedelta(days=3650)


def check_flag(argument: str, value: object) -> None:
    """
    Check that an argument is a real boolean, because the text "no" would count as true.

    :raises ValueError: If the value is neither True nor False.
    """
    if not isinstance(value, bool):
        raise ValueError(f"{argument} must be True or False; got {describe_value(value)}")


def check_text(argument: str, value: object) -> None:
    """
    Check that an argument is text that is not blank.

    :raises ValueError: If the value is blank or not text.
    """
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"{argument} must be text that is not blank; got {describe_value(value)}")


def check_delimiter(argument: str, value: object) -> None:
    """
    Check that an argument is a character that can separate the cells of a CSV file, or None.

    :raises ValueError: If it is anything else.
    """
    if value is not None and (not isinstance(value, str) or len(value) != 1 or value in '"\r\n'):
        problem = f"{argument} must be one character, other than a double quote or a line break"
        raise ValueError(f"{problem}; got {describe_value(value)}")


def check_choice(argument: str, value: object, choices: Sequence[str]) -> None:
    """
    Check that an argument is one of the valid words.

    :param choices: Two or more words.
    :raises ValueError: If the value is not one of them.
    """
    if value not in choices:
        raise ValueError(f"{argument} must be {', '.join(choices[:-1])} or {choices[-1]}; got {describe_value(value)}")


def check_seconds(argument: str, value: object, *, above_zero: bool = False) -> None:
    """
    Check that an argument is a duration that Airflow can handle.

    :param value: A timedelta, or a number of seconds.
    :param above_zero: Whether to reject 0.
    :raises ValueError: If the value is of another type, negative, or longer than ten years.
    """
    length = _length(value)
    if length is None or not timedelta(0) <= length <= LONGEST or (above_zero and not length):
        limit = "above 0" if above_zero else "0 or more"
        problem = f"{argument} must be a timedelta or a number of seconds, {limit}; got {describe_value(value)}"
        raise ValueError(problem if length is None or length <= LONGEST else f"{problem}, which is over ten years")


def as_seconds(length: timedelta | float) -> float:
    """Convert a validated duration to seconds."""
    return length.total_seconds() if isinstance(length, timedelta) else float(length)


def parse_credits(argument: str, value: object) -> Decimal:
    """
    Convert an argument to an exact number of credits.

    :param argument: Name of the argument, for the error message.
    :param value: An int, float, Decimal or numpy number, or a numeric string.
    :raises ValueError: If the value is of another type, negative, or not finite.
    """
    return parse_amount(argument, value, "credits")


def parse_amount(argument: str, value: object, unit: str) -> Decimal:
    """
    Convert an argument to an exact number.

    :param argument: Name of the argument, for the error message.
    :param value: An int, float, Decimal or numpy number, or a numeric string.
    :param unit: Unit of the number in the plural, for the error message.
    :raises ValueError: If the value is of another type, negative, or not finite.
    """
    problem = ValueError(f"{argument} must be a number of {unit}, 0 or more; got {describe_value(value)}")
    if isinstance(value, bool) or not isinstance(value, Real | Decimal | str):
        raise problem
    try:
        number = Decimal(str(value))
    except (InvalidOperation, ValueError):
        raise problem from None
    if not is_finite(number) or number < 0:
        raise problem
    return number


def parse_guard(argument: str, value: object, *, is_given: bool, unit: str = "credits") -> Decimal | None:
    """
    Convert an optional limit to an exact number.

    :param argument: Name of the argument, for the error message.
    :param value: Its value at run time: a number, a numeric string, or None.
    :param is_given: Whether the DAG file sets it. If so, None from a template or another task is an error.
    :param unit: Unit of the number in the plural, for the error message.
    :return: The number; None if the argument is not given.
    :raises ValueError: If the value is invalid, or is None although the argument is given.
    """
    if value is None and is_given:
        advice = "the value comes from a template or another task; if you need no limit here, leave the argument out"
        raise ValueError(f"{argument} must be a number of {unit}, 0 or more; got None: {advice}")
    return None if value is None else parse_amount(argument, value, unit)


def plain_number(value: object) -> object:
    """
    Convert a number whose type JSON does not know, such as Decimal or a type of numpy, to an int or a float.

    :param value: Any value. Returned unchanged if it is not a number, or is a Decimal that is not finite.
    """
    if isinstance(value, bool):
        return value
    if isinstance(value, Decimal):
        if not is_finite(value):
            return value
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, Integral):
        return int(value)
    return float(value) if isinstance(value, Real) else value


#: Longest number accepted, in characters: the largest float has 309 digits, and databases limit the length of numbers.
_MAX_DIGITS = 400


def is_finite(number: Decimal) -> bool:
    """Return whether a number is finite, both as a Decimal and as a float, and has at most 400 characters."""
    # A Decimal such as 1e400 is finite, but JSON readers that use floats would turn it into infinity.
    return number.is_finite() and len(str(number)) <= _MAX_DIGITS and math.isfinite(float(number))


def number_or_none(value: object) -> Decimal | None:
    """
    Convert a number or a numeric string from a source that may contain anything.

    :param value: Any value. Only an int, a float or text can yield a number.
    :return: None if it is not a finite number.
    """
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        return None
    return number if is_finite(number) else None


def _length(value: object) -> timedelta | None:
    if isinstance(value, timedelta):
        return value
    if isinstance(value, bool) or not isinstance(value, Real):
        return None
    try:
        return timedelta(seconds=float(value))
    except OverflowError:
        return timedelta.min if value < 0 else timedelta.max
    except ValueError:
        return None  # NaN
