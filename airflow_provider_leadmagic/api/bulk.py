"""Bulk jobs: LeadMagic's endpoints under ``/bulk``."""

from __future__ import annotations

import json
import logging
import tempfile
from collections.abc import Mapping
from contextlib import contextmanager, suppress
from decimal import Decimal
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, BinaryIO
from urllib.parse import urlencode

from airflow_provider_leadmagic.api.jobs import BulkJob, CostPreview, check_job_id, job_id_from_api, readable_jobs
from airflow_provider_leadmagic.api.products import find_bulk_product
from airflow_provider_leadmagic.api.text import describe_value, temporary_file_errors
from airflow_provider_leadmagic.api.validation import check_choice, check_text, plain_number
from airflow_provider_leadmagic.exceptions import (
    LeadMagicRequestError,
    LeadMagicResponseError,
    ResponseTooLargeError,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from airflow_provider_leadmagic.api.response import Response
    from airflow_provider_leadmagic.api.retry import Calls

    Row = Mapping[str, Any]

log = logging.getLogger(__name__)

PREVIEW_ROWS = 10_000  # maximum number of rows per price request
#: Largest page of jobs, default page, and largest offset that LeadMagic accepts.
MAX_JOBS, DEFAULT_JOBS = 200, 50
MAX_JOBS_OFFSET = 10_000
#: Largest page and default page of results, in rows.
MAX_PAGE_SIZE, DEFAULT_PAGE_SIZE = 1000, 200
RESTART_MODES = ("failed_only", "full", "from_row")


class Bulk:
    """
    LeadMagic's bulk jobs, available as ``client.bulk``.

    Every method raises :class:`~airflow_provider_leadmagic.exceptions.LeadMagicError` if LeadMagic rejects the request
    or does not respond. It raises ValueError for an invalid argument before anything is sent. Only :meth:`preview` may
    already have sent some rows when it finds an invalid one.

    :param calls: Sends the requests.
    """

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    def preview(self, product: str, rows: Iterable[Row]) -> CostPreview:
        """
        Return the maximum price of some rows. Free of charge; reserves no credits.

        :param product: A product available in bulk jobs, for example ``email_finder``.
        :param rows: Rows with LeadMagic's field names. They are read once and priced in batches of 10,000.
        """
        prefix = f'{{"product": "{find_bulk_product(product).name}", "input": '
        items = (f"{prefix}{row}}}" for row in json_rows(rows))
        previews = []
        while chunk := list(islice(items, PREVIEW_ROWS)):
            previews.append(self._preview(chunk))
        return CostPreview(
            items=sum(preview.items for preview in previews),
            credits=sum((preview.credits for preview in previews), Decimal(0)),
            will_exceed_budget=any(preview.will_exceed_budget for preview in previews),
        )

    def validate(self, product: str, rows: Iterable[Row]) -> dict[str, Any]:
        """
        Let LeadMagic validate rows without submitting them. Free of charge.

        :param product: A product available in bulk jobs, for example ``email_finder``.
        :param rows: Rows with LeadMagic's field names. Any number; they are read once and not held in memory.
        :return: LeadMagic's response, whose fields are undocumented.
        """
        return self._send_rows("/bulk/validate", {"product": find_bulk_product(product).name}, rows).json_object()

    def submit(
        self, product: str, rows: Iterable[Row], *, idempotency_key: str, file_name: str | None = None
    ) -> BulkJob:
        """
        Submit a bulk job, or return the job submitted with the same key. **Costs credits**, for each hit.

        :param product: A product available in bulk jobs, for example ``email_finder``.
        :param rows: Rows with LeadMagic's field names. Any number; they are read once and not held in memory.
        :param idempotency_key: Identifies the submission: LeadMagic creates one job per key.
        :param file_name: Name of the job in LeadMagic's app.
        :raises InsufficientCreditsError: If the balance does not cover the job.
        """
        check_text("idempotency_key", idempotency_key)
        fields = {"product": find_bulk_product(product).name, "idempotencyKey": idempotency_key}
        if file_name is not None:
            check_text("file_name", file_name)
            fields["fileName"] = file_name
        # Retried like a free call although it costs credits: the idempotency key prevents a second job.
        return _job_in(self._send_rows("/bulk/submit", fields, rows, spends=True))

    def get(self, job_id: str) -> BulkJob:
        """
        Return the status of a job. Free of charge; LeadMagic asks clients to wait 45 seconds between polls.

        :param job_id: 1 to 100 letters, digits, `.`, `:`, `_` or `-`, not only dots.
        """
        response = self._calls.free("GET", _job_path(job_id))
        job = _job_in(response, job_id)
        with response.content_errors():
            if job.job_id.lower() != job_id.lower():
                raise LeadMagicResponseError(f"Response describes another bulk job, {job.job_id}")
        return job

    def list(self) -> Iterator[BulkJob]:
        """Yield the jobs of the account, newest first. Free of charge; LeadMagic lists at most about 10,000."""
        offset = 0
        while offset <= MAX_JOBS_OFFSET:
            response, jobs, is_last = self._page_of_jobs(offset)
            yield from readable_jobs(jobs, response.redact)
            if is_last:
                return
            offset += len(jobs)

    def latest(self) -> Sequence[BulkJob]:
        """Return the newest jobs of the account with one request: 200, or fewer if LeadMagic's page is shorter."""
        response, jobs, _ = self._page_of_jobs(0)
        return [*readable_jobs(jobs, response.redact)]

    def _page_of_jobs(self, offset: int) -> tuple[Response, Sequence[dict[str, Any]], bool]:
        response = self._calls.free("GET", f"/bulk/jobs?{urlencode({'limit': MAX_JOBS, 'offset': offset})}")
        page = response.json_object()
        jobs = _objects(response, page, "jobs")
        return response, jobs, len(jobs) < min(MAX_JOBS, _limit_of(page, DEFAULT_JOBS))

    def results(self, job_id: str, *, status: str | None = None, page_size: int = 200) -> Iterator[dict[str, Any]]:
        """
        Yield the finished rows, in the order in which they finished. Free of charge.

        The field ``row_index`` is the position of the row in the job, starting at 0.

        :param job_id: 1 to 100 letters, digits, `.`, `:`, `_` or `-`, not only dots.
        :param status: Return only rows with this status, ``success`` or ``failed``; by default all rows.
        :param page_size: Rows per request, 1 to 1000; 200 by default. It is halved while a page exceeds 10 MiB.
        """
        path = _job_path(job_id, "/results")
        if isinstance(page_size, bool) or not isinstance(page_size, int) or not 1 <= page_size <= MAX_PAGE_SIZE:
            raise ValueError(
                f"page_size must be a whole number from 1 to {MAX_PAGE_SIZE}; got {describe_value(page_size)}"
            )
        if status is not None:
            check_text("status", status)
        return self._pages(path, {} if status is None else {"status": status}, page_size)

    def download(self, job_id: str, file: BinaryIO) -> int:
        """
        Write the results of a job as CSV into a file. Free of charge.

        Results are streamed, so their size does not affect memory. The client's timeout applies to each 64 KiB and not
        to the whole download. An interrupted download is retried from the initial position in the file; after an error
        the file can contain a part of the results.

        :param job_id: 1 to 100 letters, digits, `.`, `:`, `_` or `-`, not only dots.
        :param file: A seekable file, open for writing in binary mode.
        :return: The number of bytes written.
        """
        return self._calls.download(_job_path(job_id, "/download"), file)

    def cancel(self, job_id: str) -> None:
        """
        Cancel a job. Finished rows are kept. Free of charge; no effect on a job that has already ended.

        :param job_id: 1 to 100 letters, digits, `.`, `:`, `_` or `-`, not only dots.
        """
        try:
            self._calls.free("POST", _job_path(job_id, "/review"), {"action": "reject"})
        except LeadMagicRequestError:
            job = self.get(job_id)
            if not job.is_finished:
                raise
            # This also happens on a retry after the response to the first request was lost.
            log.info("Bulk job %s has already ended (%s).", job_id, job.status)

    def resume(self, job_id: str) -> None:
        """
        Resume a paused job. **Costs credits** for the remaining rows; resuming twice costs nothing more.

        :param job_id: 1 to 100 letters, digits, `.`, `:`, `_` or `-`, not only dots.
        """
        try:
            self._calls.free("POST", _job_path(job_id, "/resume"), spends=True)
        except LeadMagicRequestError as error:
            job = self.get(job_id)
            if job.is_paused or (job.is_finished and not error.maybe_executed):
                raise

    def restart(self, job_id: str, mode: str = "failed_only", *, start_row: int | None = None) -> str:
        """
        Process rows of an ended job again. **Costs credits** for each hit, including rows already paid for.

        Retried only if LeadMagic certainly did not execute the request: it was not sent, or LeadMagic returned 429.

        :param job_id: 1 to 100 letters, digits, `.`, `:`, `_` or `-`, not only dots.
        :param mode: ``failed_only``, ``full`` or ``from_row``.
        :param start_row: First row to process, starting at 0. Required for ``from_row`` and invalid for other modes.
        :return: ID of the job that processes the rows, either the same or a new one.
        """
        path = _job_path(job_id, "/restart")
        body = _restart_body(mode, start_row)
        response = self._calls.paid("POST", path, body)
        fields = {"jobId": job_id, **_given(response.json_object())}
        with response.content_errors():
            return job_id_from_api(fields, "newJobId", "jobId")

    def _preview(self, items: Sequence[str]) -> CostPreview:
        with body_with_list({}, "items", items) as body:
            response = self._calls.free("POST", "/v1/batch/preview-cost", body_file=body)
        preview = response.json(exact_numbers=True)
        with response.content_errors():
            return CostPreview.from_api(preview)

    def _send_rows(
        self, path: str, fields: Mapping[str, str], rows: Iterable[Row], *, spends: bool = False
    ) -> Response:
        with body_with_list(fields, "rows", json_rows(rows)) as body:
            return self._calls.free("POST", path, body_file=body, spends=spends)

    def _pages(self, path: str, parameters: Mapping[str, str], page_size: int) -> Iterator[dict[str, Any]]:
        offset = 0
        is_last = False
        while not is_last:
            query = urlencode({"limit": page_size, "offset": offset, **parameters})
            try:
                response = self._calls.free("GET", f"{path}?{query}")
            except ResponseTooLargeError:
                if page_size == 1:
                    raise
                page_size //= 2
                continue
            page = response.json_object()
            rows = _objects(response, page, "rows")
            yield from rows
            offset += len(rows)
            is_last = len(rows) < min(page_size, _limit_of(page, DEFAULT_PAGE_SIZE))


def _job_path(job_id: object, rest: str = "") -> str:
    return f"/bulk/jobs/{check_job_id(job_id)}{rest}"


def _restart_body(mode: str, start_row: int | None) -> dict[str, object]:
    check_choice("mode", mode, RESTART_MODES)
    if mode != "from_row":
        if start_row is not None:
            raise ValueError(f"start_row requires mode from_row; got {describe_value(start_row)} with mode {mode}")
        return {"mode": mode}
    if isinstance(start_row, bool) or not isinstance(start_row, int) or start_row < 0:
        raise ValueError(
            f"start_row must be a whole number, 0 or more, with mode from_row; got {describe_value(start_row)}"
        )
    return {"mode": mode, "startRowIndex": start_row}


def _job_in(response: Response, requested_id: str | None = None) -> BulkJob:
    body = response.json(exact_numbers=True)
    with response.content_errors():
        return BulkJob.from_api(body, response.redact, requested_id=requested_id)


def _given(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


def _objects(response: Response, page: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    objects = page.get(name)
    with response.content_errors():
        if not isinstance(objects, list) or not all(isinstance(each, dict) for each in objects):
            raise LeadMagicResponseError(f"Invalid page: `{name}` is not a list of objects")
    return objects


def _limit_of(page: Mapping[str, Any], default: int) -> int:
    """Return the page size that LeadMagic applied, which may not be the requested one; its default if missing."""
    limit = page.get("limit")
    return limit if isinstance(limit, int) and limit >= 1 else default


def _plain_number(value: object) -> object:
    number = plain_number(value)
    if number is value:
        raise TypeError(f"{type(value).__name__} is not a JSON type")
    return number


_encode = json.JSONEncoder(allow_nan=False, default=_plain_number).encode


@contextmanager
def body_with_list(fields: Mapping[str, Any], name: str, items: Iterable[str]) -> Iterator[BinaryIO]:
    """
    Write a JSON object with a long list to a temporary file, which is deleted after the ``with`` block.

    :param fields: Fields before the list.
    :param name: Field of the list.
    :param items: JSON texts of the items; they are not held in memory.
    """
    head = "".join(f"{_encode(key)}: {_encode(value)}, " for key, value in fields.items())
    separated = (f", {item}" if number else item for number, item in enumerate(items))
    with temporary_file_errors():
        file = tempfile.TemporaryFile()  # noqa: SIM115 - closed below
    try:
        for text in chain([f"{{{head}{_encode(name)}: ["], separated, ["]}"]):
            with temporary_file_errors():
                file.write(text.encode())
        with temporary_file_errors():
            file.flush()
        yield file
    finally:
        with suppress(OSError):  # the disk is full
            file.close()


def json_rows(rows: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """
    Yield the JSON text of each row.

    :param rows: Rows, read once.
    :raises ValueError: If there are no rows, or a row is not plain JSON. The message has the row number, from 1.
    """
    number = 0
    for number, row in enumerate(rows, start=1):
        yield _json_row(number, row)
    if not number:
        raise ValueError("rows must hold at least one row; got none")


def _json_row(number: int, row: object) -> str:
    if not isinstance(row, Mapping):
        raise ValueError(f"row {number} must be a dict of column names and values; got {type(row).__name__}")
    if not all(isinstance(column, str) for column in row):
        raise ValueError(f"row {number} must have text as column names")  # json would convert other names to text
    try:
        return _encode(dict(row))
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"row {number} must be plain JSON: {error}") from None
