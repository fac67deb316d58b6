"""What is refused to a job."""

from __future__ import annotations

from dataclasses import replace

from airflow_provider_leadmagic.sandbox.errors import ApiError, problem_of


class UnknownJobError(ApiError):
    """There is no job of this id."""

    def __init__(self) -> None:
        super().__init__(replace(problem_of(404), detail="There is no bulk job of this id."))


class WrongStateError(ApiError):
    """The job is in no state for this: no source names the status, 409 is the one that LeadMagic keeps for clashes."""

    def __init__(self, action: str, status: str) -> None:
        super().__init__(replace(problem_of(409), detail=f"Cannot {action} a job that is {status}."))
