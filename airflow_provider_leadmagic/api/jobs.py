"""Bulk jobs and cost previews, as LeadMagic reports them."""

from __future__ import annotations

import logging
import re
from dataclasses import asdict, dataclass
from dataclasses import fields as dataclass_fields
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any

from airflow_provider_leadmagic.api.text import describe_value, format_credits, redact
from airflow_provider_leadmagic.api.validation import is_finite
from airflow_provider_leadmagic.exceptions import LeadMagicResponseError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

log = logging.getLogger(__name__)

#: Text of dots only is not an ID: ``..`` would change the path of a URL.
_ID_RULE = "1 to 100 letters, digits, `.`, `:`, `_` or `-`, and not only dots"
_SAFE_ID = re.compile(r"(?!\.+$)[A-Za-z0-9_.:-]{1,100}")
#: Final states only. LeadMagic publishes no list of states, and a new state must not be mistaken for a final one.
_CANCELED = frozenset({"canceled", "cancelled"})
_FINISHED = frozenset({"completed", "failed"}) | _CANCELED
#: Names of each count in the API. If there are two, the first is used in the response to a submission, the last in the
#: job status.
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
    The maximum price of some rows. Misses and failed rows are free, so the actual price can be lower.

    :param items: Number of rows that were priced.
    :param credits: Price if each row is a hit.
    :param will_exceed_budget: Whether LeadMagic reports that the job would exceed a budget set in the account.
    """

    items: int
    credits: Decimal
    will_exceed_budget: bool = False

    @classmethod
    def from_api(cls, body: object) -> CostPreview:
        """
        Convert the response of ``/v1/batch/preview-cost``.

        :param body: Parsed JSON.
        :raises LeadMagicResponseError: If the number of rows or credits is missing or invalid.
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

    The links in LeadMagic's response are not kept, because each contains a token that gives access to the job. An
    invalid count is None and not an error: it must not block results that were paid for.

    :param job_id: LeadMagic's ID of the job.
    :param status: LeadMagic's name of the state, from an unpublished list.
    :param total_rows: Number of rows submitted. Like every count, 0 if it is missing, None if it is invalid.
    :param processed: Number of rows finished.
    :param succeeded: Number of finished rows without an error; misses are included.
    :param failed: Number of failed rows.
    :param skipped: Number of rows that will not be processed.
    :param credits_consumed: Credits consumed so far.
    :param file_name: Name given at submission; None in the response to the submission.
    """

    job_id: str
    status: str
    total_rows: int | None
    processed: int | None = 0
    succeeded: int | None = 0
    failed: int | None = 0
    skipped: int | None = 0
    credits_consumed: Decimal | None = Decimal(0)
    file_name: str | None = None

    @property
    def is_completed(self) -> bool:
        """Whether LeadMagic reports the job as completed. Some of its rows may have failed or been skipped."""
        return self.status.lower() == "completed"

    @property
    def is_finished(self) -> bool:
        """Whether the job has ended, successfully or not. An unknown state is not final."""
        return self.status.lower() in _FINISHED

    @property
    def is_canceled(self) -> bool:
        """Whether the job was canceled."""
        return self.status.lower() in _CANCELED

    @property
    def is_paused(self) -> bool:
        """Whether the job must be resumed to continue. LeadMagic pauses a job when the credits run out."""
        return self.status.lower() == "paused"

    def progress(self) -> str:
        """Return the progress for messages: ``2,125 / 5,000 rows (43%), 2,080 credits used``."""
        credits = "unknown" if self.credits_consumed is None else format_credits(self.credits_consumed)
        rows = f"{format_count(self.processed)} / {format_count(self.total_rows)} rows{self._percent()}"
        return f"{rows}, {credits} credits used"

    def expected_results(self) -> int | None:
        """Return the number of rows that must have a result; None if LeadMagic's counts do not determine it."""
        done = None if self.succeeded is None or self.failed is None else self.succeeded + self.failed
        if not self.is_completed:
            return done
        if not self.total_rows:
            return done or None
        # The counts of a job that has just completed may be out of date, so the highest possible number applies.
        expected = max(self.total_rows - (self.skipped or 0), done or 0)
        return expected or (self.total_rows if self.credits_consumed else 0)

    def price_of_remaining_rows(self, price: Decimal) -> Decimal:
        """
        Return the price of the rows that are not processed yet; the whole price if a count is unknown.

        :param price: Price of all rows, in credits.
        """
        if self.processed is None or not self.total_rows:
            return price
        return price * max(self.total_rows - self.processed, 0) / self.total_rows

    def _percent(self) -> str:
        if self.processed is None or self.total_rows is None:
            return ""
        if self.processed >= self.total_rows:
            return " (100%)" if self.total_rows else " (0%)"
        rounded = (200 * self.processed + self.total_rows) // (2 * self.total_rows)
        return f" ({min(rounded, 99)}%)"  # 100% only if all rows are processed

    def to_json(self) -> dict[str, Any]:
        """Return all fields as plain JSON, with credits as text to keep them exact."""
        credits = self.credits_consumed
        return {**asdict(self), "credits_consumed": None if credits is None else str(credits)}

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> BulkJob:
        """Convert the output of :meth:`to_json` back. Unknown fields of other versions are ignored."""
        known = {field.name: fields[field.name] for field in dataclass_fields(cls) if field.name in fields}
        credits = known.get("credits_consumed", 0)
        return cls(**{**known, "credits_consumed": None if credits is None else Decimal(credits)})

    @classmethod
    def from_api(
        cls, body: object, redact: Callable[[object], str | None] = redact, *, requested_id: str | None = None
    ) -> BulkJob:
        """
        Convert the response of a submission (camelCase) or of a job status (snake_case).

        :param body: Parsed JSON. Only the ID and the status are required.
        :param redact: Prepares text from the response for messages and hides the API key in it.
        :param requested_id: The ID that was requested; used if the response has no valid one.
        :raises LeadMagicResponseError: If the body is not an object, or has no status or no valid ID.
        """
        if not isinstance(body, dict):
            raise LeadMagicResponseError("Invalid bulk job: what LeadMagic returned is not a JSON object")
        status = redact(body.get("status"))
        if status is None:
            raise LeadMagicResponseError("Invalid bulk job: `status` is missing")
        names = ("jobId", "job_id")
        return cls(
            job_id=_id_text(_first(body, names)) or requested_id or job_id_from_api(body, *names),
            status=status,
            credits_consumed=_valid_or_none(_amount, body, "total_credits_consumed"),
            file_name=redact(body.get("file_name")),
            **{count: _valid_or_none(_count, body, names) for count, names in _COUNTS.items()},
        )


def check_job_id(value: object) -> str:
    """
    Check that a job ID is safe in a URL and in a log.

    :param value: The argument ``job_id``.
    :raises ValueError: If it is only dots, or not 1 to 100 letters, digits, `.`, `:`, `_` or `-`.
    """
    if not is_job_id(value):
        raise ValueError(f"job_id must be {_ID_RULE}; got {describe_value(value)}")
    return str(value)


def job_id_from_api(body: dict[str, Any], *names: str) -> str:
    """
    Return the job ID from a response, if it is safe in URLs and logs.

    :param body: Parsed JSON.
    :param names: Possible field names; the first one with a value is used.
    :raises LeadMagicResponseError: If the ID is missing or unsafe. The message does not contain it.
    """
    job_id = _id_text(_first(body, names))
    if job_id is None:
        raise LeadMagicResponseError(f"Invalid bulk job: `{names[0]}` must be {_ID_RULE}")
    return job_id


def is_job_id(value: object) -> bool:
    """Return whether a value is a valid job ID."""
    return isinstance(value, str) and _SAFE_ID.fullmatch(value) is not None


def format_count(count: int | None) -> str:
    """Format a count for a message, for example ``5,000``, or ``unknown``."""
    return "unknown" if count is None else f"{count:,}"


def _id_text(value: object) -> str | None:
    # LeadMagic documents UUIDs. A number is accepted, because the job it identifies is paid for.
    text = str(value) if isinstance(value, int | Decimal) and not isinstance(value, bool) else value
    return text if isinstance(text, str) and is_job_id(text) else None


def _first(body: dict[str, Any], names: tuple[str, ...]) -> object:
    return next((body[name] for name in names if body.get(name) is not None), None)


def _valid_or_none(read: Callable[..., Any], *arguments: object) -> Any:
    try:
        return read(*arguments)
    except LeadMagicResponseError:
        return None


def _count(body: dict[str, Any], names: tuple[str, ...]) -> int:
    number = _number(_first(body, names), names[-1])
    if number != number.to_integral_value():
        raise _invalid_number(names[-1], "a whole number")
    return int(number)


def _amount(body: dict[str, Any], name: str) -> Decimal:
    return _number(body.get(name), name)


def _number(value: object, name: str) -> Decimal:
    if value is None:
        return Decimal(0)
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal | str):
        raise _invalid_number(name)
    try:
        number = Decimal(str(value))
    except (InvalidOperation, ValueError):
        raise _invalid_number(name) from None
    if not is_finite(number) or number < 0:
        raise _invalid_number(name)
    return number


def _invalid_number(name: str, required: str = "a number") -> LeadMagicResponseError:
    return LeadMagicResponseError(f"Invalid response: `{name}` must be {required}, 0 or more")


def readable_jobs(jobs: Iterable[dict[str, Any]], redact: Callable[..., str | None]) -> Iterator[BulkJob]:
    """
    Convert the jobs of a list, and skip invalid ones: one of them must not hide all others.

    :param jobs: Jobs as LeadMagic lists them.
    :param redact: Prepares text from the response for messages and hides the API key in it.
    """
    for job in jobs:
        try:
            yield BulkJob.from_api(job, redact)
        except LeadMagicResponseError as error:
            log.warning("Skipped a job in LeadMagic's list. %s", error)
