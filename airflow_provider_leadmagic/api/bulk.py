"""The calls about bulk jobs."""

from __future__ import annotations

import json
import logging
import tempfile
from collections.abc import Mapping
from contextlib import contextmanager
from decimal import Decimal
from itertools import islice
from typing import TYPE_CHECKING, Any, BinaryIO
from urllib.parse import urlencode

from airflow_provider_leadmagic.api.jobs import BulkJob, CostPreview, check_job_id, job_id_from_api
from airflow_provider_leadmagic.api.products import find_bulk_product
from airflow_provider_leadmagic.api.text import describe_value
from airflow_provider_leadmagic.api.validation import check_choice, check_text
from airflow_provider_leadmagic.exceptions import LeadMagicRequestError, LeadMagicResponseError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from airflow_provider_leadmagic.api.response import Response
    from airflow_provider_leadmagic.api.retry import Calls

    Row = Mapping[str, Any]

log = logging.getLogger(__name__)

#: Most rows LeadMagic prices at once.
PREVIEW_ROWS = 10_000
#: Longest page of jobs, and how far back pages go.
MAX_JOBS = 200
MAX_JOBS_OFFSET = 10_000
#: Longest page of results.
MAX_PAGE_SIZE = 1000
RESTART_MODES = ("failed_only", "full", "from_row")


class Bulk:
    """
    LeadMagic's bulk jobs; a client has one of these as its ``bulk``.

    Every method raises :class:`~airflow_provider_leadmagic.exceptions.LeadMagicError` if LeadMagic refuses or does
    not response, and ValueError for an argument that cannot be meant, before anything is sent.

    :param calls: Makes the calls.
    """

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    def preview(self, product: str, rows: Iterable[Row]) -> CostPreview:
        """
        Ask for the most that some rows can cost. Free of charge, and nothing is reserved.

        :param product: One that bulk jobs know, ``email_finder`` for example.
        :param rows: The rows, under LeadMagic's field names. They are read once; 10,000 at a time are priced.
        """
        named = f'{{"product": "{find_bulk_product(product).name}", "input": '
        items = (f"{named}{row}}}" for row in json_rows(rows))
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
        Have LeadMagic check what would be submitted. Free of charge, and nothing is kept.

        :param product: One that bulk jobs know, ``email_finder`` for example.
        :param rows: The rows, under LeadMagic's field names; any number, read once and not held in memory.
        :return: LeadMagic's response, whose fields are documented nowhere.
        """
        return self._send_rows("/bulk/validate", {"product": find_bulk_product(product).name}, rows).json_object()

    def submit(
        self, product: str, rows: Iterable[Row], *, idempotency_key: str, file_name: str | None = None
    ) -> BulkJob:
        """
        Submit a bulk job, or join the one that was submitted with the same key. **Costs credits**, for each hit.

        :param product: One that bulk jobs know, ``email_finder`` for example.
        :param rows: The rows, under LeadMagic's field names; any number, read once and not held in memory.
        :param idempotency_key: Names this job: LeadMagic has one job for one key, however often it is submitted.
        :param file_name: What LeadMagic's app shows as the job's name.
        :raises InsufficientCreditsError: If the balance does not cover the job.
        """
        check_text("idempotency_key", idempotency_key)
        fields = {"product": find_bulk_product(product).name, "idempotencyKey": idempotency_key}
        if file_name is not None:
            check_text("file_name", file_name)
            fields["fileName"] = file_name
        # By the policy of free calls, although it spends: the key makes a repetition join the job that exists.
        return _job_in(self._send_rows("/bulk/submit", fields, rows, spends=True))

    def get(self, job_id: str) -> BulkJob:
        """
        Read how far a job is. Free of charge; LeadMagic asks to leave 45 seconds between two looks.

        :param job_id: The job.
        """
        response = self._calls.free("GET", _job_path(job_id))
        job = _job_in(response)
        with response.content_errors():
            if job.job_id.lower() != job_id.lower():
                raise LeadMagicResponseError(f"Response describes another bulk job, {job.job_id}")
        return job

    def list(self) -> Iterator[BulkJob]:
        """Read the jobs of the account, newest first, page by page. Free of charge; LeadMagic shows some 10,000."""
        offset = 0
        while offset <= MAX_JOBS_OFFSET:
            query = urlencode({"limit": MAX_JOBS, "offset": offset})
            response = self._calls.free("GET", f"/bulk/jobs?{query}")
            page = response.json_object()
            jobs = _objects(response, page, "jobs")
            yield from _readable_jobs(jobs, response)
            offset += len(jobs)
            if len(jobs) < min(MAX_JOBS, _limit_of(page, MAX_JOBS)):
                return

    def results(self, job_id: str, *, status: str | None = None, page_size: int = 200) -> Iterator[dict[str, Any]]:
        """
        Read the rows that are done, page by page, in the order in which they were. Free of charge.

        A row's place in the job is its ``row_index``, from 0.

        :param job_id: The job.
        :param status: Only the rows that ended so, ``success`` or ``failed``; by default all.
        :param page_size: Rows asked for at once, 1 to 1000; 200 by default.
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
        Write the results of a job into a file, as the CSV that LeadMagic sends. Free of charge.

        However large they are, they take no memory. There is no limit to the time they take, but to the pace: 64 KiB
        within the client's timeout. A download that breaks off begins again where the file stood;
        after an error the file may hold a part of it.

        :param job_id: The job.
        :param file: Is open for writing in binary mode, and can be repositioned.
        :return: How many bytes were written.
        """
        return self._calls.download(_job_path(job_id, "/download"), file)

    def cancel(self, job_id: str) -> None:
        """
        End a job, which keeps the rows that are done. Free of charge; a job that has ended is left alone.

        :param job_id: The job.
        """
        try:
            self._calls.free("POST", _job_path(job_id, "/review"), {"action": "reject"})
        except LeadMagicRequestError:
            job = self.get(job_id)
            if not job.is_finished:
                raise
            # Also what a repetition meets when the first response got lost.
            log.info("Bulk job %s had ended already: %s", job_id, job.status)

    def resume(self, job_id: str) -> None:
        """
        Let a paused job go on. **Costs credits**, as the rest of the rows does; to resume it twice costs no more.

        :param job_id: The job.
        """
        self._calls.free("POST", _job_path(job_id, "/resume"), spends=True)

    def restart(self, job_id: str, mode: str = "failed_only", *, start_row: int | None = None) -> str:
        """
        Do rows of a job that has ended again. **Costs credits**, for each hit, also where a row was paid before.

        Repeated only when the request certainly was not carried out: it never reached LeadMagic, or was told 429.

        :param job_id: The job.
        :param mode: ``failed_only``, ``full`` or ``from_row``.
        :param start_row: First row to do again, from 0; for ``from_row``, and only for it.
        :return: Id of the job that does the work: the same or a new one.
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
            response = self._calls.free("GET", f"{path}?{query}")
            page = response.json_object()
            rows = _objects(response, page, "rows")
            yield from rows
            offset += len(rows)
            is_last = len(rows) < min(page_size, _limit_of(page, page_size))


def _job_path(job_id: object, rest: str = "") -> str:
    return f"/bulk/jobs/{check_job_id(job_id)}{rest}"


def _restart_body(mode: str, start_row: int | None) -> dict[str, object]:
    check_choice("mode", mode, RESTART_MODES)
    if mode != "from_row":
        if start_row is not None:
            raise ValueError(f"start_row goes with mode from_row only; got {describe_value(start_row)} and {mode}")
        return {"mode": mode}
    if isinstance(start_row, bool) or not isinstance(start_row, int) or start_row < 0:
        raise ValueError(
            f"start_row must be a whole number, 0 or more, with mode from_row; got {describe_value(start_row)}"
        )
    return {"mode": mode, "startRowIndex": start_row}


def _job_in(response: Response) -> BulkJob:
    body = response.json(exact_numbers=True)
    with response.content_errors():
        return BulkJob.from_api(body, response.redact)


def _readable_jobs(jobs: list[dict[str, Any]], response: Response) -> Iterator[BulkJob]:
    """Leave out what cannot be read: one odd job must not hide all the others."""
    for job in jobs:
        try:
            yield BulkJob.from_api(job, response.redact)
        except LeadMagicResponseError as error:
            log.warning("A job in LeadMagic's list is passed over. %s", error)


def _given(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


def _objects(response: Response, page: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    objects = page.get(name)
    with response.content_errors():
        if not isinstance(objects, list) or not all(isinstance(each, dict) for each in objects):
            raise LeadMagicResponseError(f"Invalid page: `{name}` is not a list of objects")
    return objects


def _limit_of(page: Mapping[str, Any], page_size: int) -> int:
    """Find out how long a page may be: LeadMagic could hold it to less than was asked for."""
    limit = page.get("limit")
    return limit if isinstance(limit, int) and limit >= 1 else page_size


_encode = json.JSONEncoder(allow_nan=False).encode


@contextmanager
def body_with_list(fields: Mapping[str, Any], name: str, items: Iterable[str]) -> Iterator[BinaryIO]:
    """
    Write a JSON object that ends with a long list.

    :param fields: What comes before the list.
    :param name: Name of the list.
    :param items: Its items, as JSON; they are not held as a whole.
    :return: A temporary file, which is gone after the ``with`` block.
    """
    with tempfile.TemporaryFile() as file:
        head = "".join(f"{_encode(key)}: {_encode(value)}, " for key, value in fields.items())
        file.write(f"{{{head}{_encode(name)}: [".encode())
        separator = ""
        for item in items:
            file.write(f"{separator}{item}".encode())
            separator = ", "
        file.write(b"]}")
        yield file


def json_rows(rows: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """
    Write rows as JSON, one at a time.

    :param rows: The rows, which are read once.
    :raises ValueError: If there is none, or one is not plain JSON; the message has its number, counted from 1.
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
        raise ValueError(f"row {number} has a column whose name is no text")  # json would make text of it
    try:
        return _encode(dict(row))
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"row {number} must be plain JSON: {error}") from None
