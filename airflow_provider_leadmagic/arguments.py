"""Checks of arguments for when the DAG is parsed: each refusal is one sentence with the name and the value."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import TYPE_CHECKING

from airflow_provider_leadmagic.wording import shown

if TYPE_CHECKING:
    from collections.abc import Sequence


def check_flag(argument: str, value: object) -> None:
    """
    Insist on a real boolean: the text "no" would count as true.

    :param argument: Its name.
    :param value: What was given.
    :raises ValueError: If it is neither True nor False.
    """
    if not isinstance(value, bool):
        raise ValueError(f"{argument} must be True or False; got {shown(value)}")


def check_choice(argument: str, value: object, choices: Sequence[str]) -> None:
    """
    Insist on one of a few words.

    :param argument: Its name.
    :param value: What was given.
    :param choices: The words.
    :raises ValueError: If it is none of them.
    """
    if value not in choices:
        raise ValueError(f"{argument} must be {', '.join(choices[:-1])} or {choices[-1]}; got {shown(value)}")


def check_seconds(argument: str, value: object, *, above_zero: bool = False) -> None:
    """
    Insist on a length of time.

    :param argument: Its name.
    :param value: What was given: a timedelta, or a number of seconds.
    :param above_zero: Whether 0 is refused too.
    :raises ValueError: If it is anything else, negative, or not finite.
    """
    seconds = value.total_seconds() if isinstance(value, timedelta) else value
    is_number = isinstance(seconds, int | float) and not isinstance(seconds, bool) and math.isfinite(seconds)
    if not is_number or seconds < 0 or (above_zero and seconds == 0):  # type: ignore[operator]
        limit = "above 0" if above_zero else "0 or more"
        raise ValueError(f"{argument} must be a timedelta or a number of seconds, {limit}; got {shown(value)}")
