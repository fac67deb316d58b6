"""What LeadMagic says about a bulk job, and about what one would cost."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from dataclasses import fields as dataclass_fields
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any

from airflow_provider_leadmagic.api.text import describe_value, format_credits, redact
from airflow_provider_leadmagic.api.validation import is_finite
from airflow_provider_leadmagic.exceptions import LeadMagicResponseError

if TYPE_CHECKING:
    from collections.abc import Callable

_HARMLESS_ID = re.compile(r"[A-Za-z0-9_-]{1,100}")
#: Only ends are listed: LeadMagic publishes no list of states, and one that is new must not look like an end.
_CANCELED = frozenset({"canceled", "cancelled"})
_FINISHED = frozenset({"completed", "failed"}) | _CANCELED
#: Each count with its name in the reply to a submit, where that has it, and in the status.
_COUNTS = {
    "total_rows": ("totalRows", "total_rows"),
    "processed": ("processed_items",),
    "succeeded": ("succeeded_items",),
    "failed": ("failed_items",),
    "skipped": ("skipped_items",),
}


@dataclass(frozen=True)
class CostPreview:
    """
    The most that some rows can cost. Misses and failed rows are free, so the real price may be lower.

    :param items: How many rows were priced.
    :param credits: What they cost if each of them is a hit.
    :param will_exceed_budget: Whether LeadMagic says that a budget set there does not allow it.
    """

    items: int
    credits: Decimal
    will_exceed_budget: bool = False

    @classmethod
    def from_api(cls, body: object) -> CostPreview:
        """
        Read the response to a preview.

        :param body: The parsed JSON.
        :raises LeadMagicResponseError: If it does not say how many credits how many rows cost.
        """
        if not isinstance(body, dict) or body.get("totalItems") is None or body.get("totalCredits") is None:
            raise LeadMagicResponseError("Invalid cost preview: `totalItems` or `totalCredits` is missing")
        return cls(
            items=_count(body, ("totalItems",)),
            credits=_amount(body, "totalCredits"),
            will_exceed_budget=body.get("willExceedBudget") is True,
        )


@dataclass(frozen=True)
class BulkJob:
    """
    A bulk job at one moment.

    The links LeadMagic sends along are left out: each carries a token that opens the job to whoever reads it.

    :param job_id: Its id.
    :param status: Its state in LeadMagic's word, of which no list is published.
    :param total_rows: How many rows were submitted.
    :param processed: How many of them are done.
    :param succeeded: How many ended well; a miss is one of these.
    :param failed: How many failed.
    :param skipped: How many will never be done.
    :param credits_consumed: What it has cost by now.
    :param file_name: The name it was submitted with; in the reply to a submit it is left out.
    """

    job_id: str
    status: str
    total_rows: int
    processed: int = 0
    succeeded: int = 0
    failed: int = 0
    skipped: int = 0
    credits_consumed: Decimal = Decimal(0)
    file_name: str | None = None

    @property
    def is_completed(self) -> bool:
        """Whether it did all it could."""
        return self.status.lower() == "completed"

    @property
    def is_finished(self) -> bool:
        """Whether it has ended, well or not. A state nobody has heard of is no end."""
        return self.status.lower() in _FINISHED

    @property
    def is_canceled(self) -> bool:
        """Whether somebody ended it."""
        return self.status.lower() in _CANCELED

    @property
    def is_paused(self) -> bool:
        """Whether it waits to be resumed, as it does when the credits run out."""
        return self.status.lower() == "paused"

    def progress(self) -> str:
        """Return the progress for messages: ``2,125 / 5,000 rows (43%), 2,080 credits used``."""
        rows = f"{self.processed:,} / {self.total_rows:,} rows"
        return f"{rows} ({self._percent()}%), {format_credits(self.credits_consumed)} credits used"

    def _percent(self) -> int:
        if self.processed >= self.total_rows:
            return 100 if self.total_rows else 0
        rounded = (200 * self.processed + self.total_rows) // (2 * self.total_rows)
        return min(rounded, 99)  # 100 % is a promise

    def to_json(self) -> dict[str, Any]:
        """Describe every field in plain JSON, credits as text so that none is lost on the way."""
        return {**asdict(self), "credits_consumed": str(self.credits_consumed)}

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> BulkJob:
        """Rebuild the job that :meth:`to_json` described; a field this version does not know is passed over."""
        known = {field.name: fields[field.name] for field in dataclass_fields(cls) if field.name in fields}
        return cls(**{**known, "credits_consumed": Decimal(known.get("credits_consumed", 0))})

    @classmethod
    def from_api(cls, body: object, redact: Callable[[object], str | None] = redact) -> BulkJob:
        """
        Read the reply to a submit, which is in camelCase, or a status, which is in snake_case.

        :param body: The parsed JSON. Only the id and the status are indispensable.
        :param redact: Makes the server's text fit for a message, and hides what must not be in one.
        :raises LeadMagicResponseError: If one of the two is missing, or a number cannot be used.
        """
        if not isinstance(body, dict):
            raise LeadMagicResponseError("Invalid bulk job: not a JSON object")
        status = redact(body.get("status"))
        if status is None:
            raise LeadMagicResponseError("Invalid bulk job: `status` is missing")
        return cls(
            job_id=job_id_from_api(body, "jobId", "job_id"),
            status=status,
            credits_consumed=_amount(body, "total_credits_consumed"),
            file_name=redact(body.get("file_name")),
            **{count: _count(body, names) for count, names in _COUNTS.items()},
        )


def check_job_id(value: object) -> str:
    """
    Insist on a job id that is safe in an address and in a log.

    :param value: What was given as ``job_id``.
    :raises ValueError: If it is anything else.
    """
    if not is_job_id(value):
        raise ValueError(f"job_id must be 1 to 100 letters, digits, - and _; got {describe_value(value)}")
    return str(value)


def job_id_from_api(body: dict[str, Any], *names: str) -> str:
    """
    Read a job id that LeadMagic sent; it will be put into addresses and logs.

    :param body: The parsed JSON.
    :param names: Names it may stand under; the first that has a value counts.
    :raises LeadMagicResponseError: If it is missing or not harmless. It is not shown: it could be anything.
    """
    value = _first(body, names)
    if not is_job_id(value):
        raise LeadMagicResponseError(f"Invalid bulk job: `{names[0]}` is not 1 to 100 letters, digits, - and _")
    return str(value)


def is_job_id(value: object) -> bool:
    """Tell whether a value can be a job id."""
    return isinstance(value, str) and _HARMLESS_ID.fullmatch(value) is not None


def _first(body: dict[str, Any], names: tuple[str, ...]) -> object:
    return next((body[name] for name in names if body.get(name) is not None), None)


def _count(body: dict[str, Any], names: tuple[str, ...]) -> int:
    number = _number(_first(body, names), names[-1])
    if number != number.to_integral_value():
        raise _unusable(names[-1])
    return int(number)


def _amount(body: dict[str, Any], name: str) -> Decimal:
    return _number(body.get(name), name)


def _number(value: object, name: str) -> Decimal:
    if value is None:
        return Decimal(0)
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal | str):
        raise _unusable(name)
    try:
        number = Decimal(str(value))
    except (InvalidOperation, ValueError):
        raise _unusable(name) from None
    if not is_finite(number) or number < 0:
        raise _unusable(name)
    return number


def _unusable(name: str) -> LeadMagicResponseError:
    return LeadMagicResponseError(f"Invalid response: `{name}` is not a number, 0 or more")
