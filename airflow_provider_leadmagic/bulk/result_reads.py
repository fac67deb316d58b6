"""The results of a job: from the download, which is one request, or page by page where that cannot be read."""

from __future__ import annotations

import csv
import io
import json
import logging
import tempfile
from operator import itemgetter
from typing import TYPE_CHECKING, Any, BinaryIO

from airflow_provider_leadmagic.bulk.row_results import FIELDS, read_result
from airflow_provider_leadmagic.exceptions import LeadMagicError, LeadMagicResponseError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from airflow_provider_leadmagic.api.bulk import BulkCalls
    from airflow_provider_leadmagic.api.jobs import BulkJob
    from airflow_provider_leadmagic.bulk.row_results import RowResult
    from airflow_provider_leadmagic.bulk.spool import Spool

    Watch = Callable[[Iterator[RowResult]], Iterator[RowResult]]

log = logging.getLogger(__name__)

PAGE_SIZE = 1000
_decode = json.JSONDecoder().raw_decode  # half the time of json.loads, which matters a million times


class UnreadableDownloadError(Exception):
    """The download is not the CSV we know, whose columns LeadMagic documents nowhere."""


def read_results(client: BulkCalls, job: BulkJob, spool: Spool, watch: Watch = iter, *, insist: bool = True) -> None:
    """
    Read all results of a job.

    :param client: Reads them.
    :param job: The job.
    :param spool: Where they go.
    :param watch: Sees each on its way there; more than once, where the download turns out to be unreadable.
    :param insist: Whether results of all rows that are done have to be there.
    :raises LeadMagicError: If LeadMagic refuses, does not answer, or sends what is no result.
    """
    problem = _read_download(client, job, spool, watch)
    if problem is None:
        return
    log.info("The download of bulk job %s %s; reading its results page by page", job.job_id, problem)
    spool.fill(watch(_paged_results(client, job.job_id)))
    if missing := _missing(job, spool):
        if insist:
            raise LeadMagicResponseError(
                f"LeadMagic's list of results of bulk job {job.job_id} {missing}", transient=True
            )
        log.warning("The list of results of bulk job %s %s; the others are written as skipped", job.job_id, missing)


def _read_download(client: BulkCalls, job: BulkJob, spool: Spool, watch: Watch) -> str | None:
    try:
        with tempfile.TemporaryFile(prefix="leadmagic-") as file:  # without a name: it ends with the process
            _download(client, job.job_id, file)
            spool.fill(watch(_csv_results(file)))
    except UnreadableDownloadError as problem:
        return str(problem)
    return _missing(job, spool)


def _download(client: BulkCalls, job_id: str, file: BinaryIO) -> None:
    try:
        client.download_bulk_results(job_id, file)
    except LeadMagicError as error:
        if error.status not in (404, 405):
            raise
        # If it is the job that does not exist, the pages will tell.
        raise UnreadableDownloadError("does not exist") from error


def _missing(job: BulkJob, spool: Spool) -> str | None:
    done = job.succeeded + job.failed
    return f"has {len(spool):,} of the {done:,} rows that are done" if len(spool) < done else None


def _csv_results(file: BinaryIO) -> Iterator[RowResult]:
    file.seek(0)
    table = csv.reader(io.TextIOWrapper(file, encoding="utf-8-sig", newline=""), strict=True)
    try:
        header = next(table, [])
        pick = _picker(header)
        for cells in table:
            if len(cells) != len(header):
                raise UnreadableDownloadError(f"has {len(cells)} cells in line {table.line_num}")
            index, status, given, found, *rest = pick(cells)
            yield read_result(index, status, _from_json(given), _from_json(found), *rest)
    except (csv.Error, ValueError, RecursionError) as error:
        raise UnreadableDownloadError(f"cannot be read in line {table.line_num} ({type(error).__name__})") from None


def _picker(header: list[str]) -> Callable[[list[str]], tuple[str, ...]]:
    lacking = [name for name in FIELDS if name not in header]
    if lacking:
        raise UnreadableDownloadError(f"has no column {', '.join(lacking)}")
    return itemgetter(*map(header.index, FIELDS))


def _from_json(cell: str) -> Any:
    text = cell.strip()
    if not text:
        return None
    value, end = _decode(text)
    if end != len(text):
        raise ValueError("more than one value")
    return value


def _paged_results(client: BulkCalls, job_id: str) -> Iterator[RowResult]:
    for row in client.iter_bulk_results(job_id, page_size=PAGE_SIZE):
        try:
            yield read_result(*map(row.get, FIELDS))
        except ValueError as error:
            raise LeadMagicResponseError(
                f"LeadMagic sent a result of bulk job {job_id} whose `{error}` cannot be used"
            ) from None
