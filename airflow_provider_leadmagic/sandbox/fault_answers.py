"""The answers that faults give instead of the API."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from starlette.responses import Response

from airflow_provider_leadmagic.sandbox.errors import ProblemAnswer, problem_of, rate_limit_exceeded

if TYPE_CHECKING:
    from airflow_provider_leadmagic.sandbox.faults import Fault

NO_BODY_ALLOWED = (204, 304)


def fault_answer(fault: Fault, request_id: str) -> Response | None:
    """
    Build a fault's answer.

    :return: ``None`` if the fault leaves the answer to the API.
    """
    if fault.redirect_to is not None:
        return Response(status_code=fault.status or 302, headers={"Location": fault.redirect_to})
    if fault.body is not None:
        return Response(fault.body, fault.status or 200, media_type=fault.content_type)
    status = fault.status or (429 if fault.retry_after is not None else None)
    return None if status is None else _problem_answer(status, fault, request_id)


def _problem_answer(status: int, fault: Fault, request_id: str) -> Response:
    if status in NO_BODY_ALLOWED:
        return Response(status_code=status)
    problem = rate_limit_exceeded(_seconds(fault.retry_after)) if status == 429 else problem_of(status)
    return ProblemAnswer(problem, request_id, flat=fault.flat)


def _seconds(retry_after: str | float | None) -> float | None:
    try:
        seconds = float(retry_after or 0)
    except ValueError:
        return None
    return seconds if retry_after is not None and math.isfinite(seconds) else None
