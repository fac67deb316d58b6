"""From the results of a bulk job to the two files."""

from __future__ import annotations

import csv
import io
import json
import logging
import re
import tempfile
from collections import Counter
from dataclasses import dataclass
from operator import itemgetter
from typing import TYPE_CHECKING, Any, BinaryIO

from airflow_provider_leadmagic.api.text import redact
from airflow_provider_leadmagic.bulk.output import FoundFields, Layout
from airflow_provider_leadmagic.bulk.result_rows import FAILED, FIELDS, SKIPPED, SUCCESS, read_result
from airflow_provider_leadmagic.bulk.row_checks import RowsDigest
from airflow_provider_leadmagic.bulk.sorting import ResultSorter
from airflow_provider_leadmagic.bulk.submission import digest_in
from airflow_provider_leadmagic.exceptions import LeadMagicError, LeadMagicResponseError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from airflow_provider_leadmagic.api.jobs import BulkJob
    from airflow_provider_leadmagic.bulk.output import ResultFiles, RowWriter
    from airflow_provider_leadmagic.bulk.result_rows import RowResult
    from airflow_provider_leadmagic.bulk.rows import RowSource
    from airflow_provider_leadmagic.client import LeadMagicClient

    Watch = Callable[[Iterator[RowResult]], Iterator[RowResult]]
    from collections.abc import Mapping

log = logging.getLogger(__name__)

#: Rows between two lines in the log.
LOG_EVERY = 100_000


@dataclass(frozen=True)
class WrittenRows:
    """
    How many rows went into the files. Failed and skipped ones share one.

    :param succeeded: Rows with a result; a miss is one of these.
    :param failed: Rows that failed.
    :param skipped: Rows that the job has no result for.
    """

    succeeded: int
    failed: int
    skipped: int


def write_results(
    client: LeadMagicClient, job: BulkJob, product: str, source: RowSource, files: ResultFiles, *, insist: bool = True
) -> WrittenRows:
    """
    Read the results of a job and write them, together with the rows they belong to, in the order of the rows.

    Memory stays flat; the folder for temporary files needs room for about twice the results.

    :param client: Reads them.
    :param job: The job, which has ended.
    :param product: What it was submitted for.
    :param source: The rows that were submitted.
    :param files: Where they go. If anything fails, these stay as they are.
    :param insist: Whether results of all rows that are done have to be there; otherwise missing ones count as skipped.
    :raises LeadMagicError: If the results cannot be read, are not all there, or do not belong to these rows.
    :raises ValueError: If the rows cannot be read any more, or a file cannot be written.
    """
    with ResultSorter() as spool:
        found = FoundFields()
        read_results(client, job, spool, found.watch, insist=insist)
        layout = Layout.of(_columns(source), found.in_order())
        with files.replaced(layout.output_columns, layout.error_columns) as writers:
            pairs = _paired(job, source, layout.columns, spool, RowsDigest(product))
            written = _write_rows(pairs, layout, writers)
    log.info(
        "Wrote %s rows to %s, and %s failed and %s skipped rows to %s",
        *(f"{written.succeeded:,}", redact(files.output_path)),
        *(f"{written.failed:,}", f"{written.skipped:,}", redact(files.errors_path)),
    )
    return written


def _columns(source: RowSource) -> tuple[str, ...]:
    return tuple(next(iter(source), {}))


def _paired(
    job: BulkJob, source: RowSource, columns: tuple[str, ...], spool: ResultSorter, digest: RowsDigest
) -> Iterator[tuple[dict[str, Any], RowResult | None]]:
    """Give each row its result, and refuse rows that are not those of the job."""
    number, known = 0, set(columns)
    for number, (row, result) in enumerate(zip(source, spool.by_row(), strict=False), 1):
        given = {} if result is None else result.given or {}
        if row.keys() != known or not rows_match(row, given):
            submitted = f"row {number} of bulk job {job.job_id} was submitted with other values"
            raise _input_changed(f"{submitted} than row {number} of {source.name} holds now")
        digest.add(row)
        yield row, result
    last = spool.last_index() + 1
    if last > number:
        raise _input_changed(f"bulk job {job.job_id} has a result for row {last}, but {source.name} ends at {number}")
    if digest_in(job.file_name) not in (None, digest.text()):
        raise _input_changed(
            f"bulk job {job.job_id} was submitted with other rows than {source.name} holds now, or for another product"
        )


def _input_changed(problem: str) -> LeadMagicResponseError:
    return LeadMagicResponseError(f"{problem}: the input changed since it was submitted; nothing was written")


def _write_rows(
    pairs: Iterator[tuple[dict[str, Any], RowResult | None]], layout: Layout, writers: tuple[RowWriter, RowWriter]
) -> WrittenRows:
    output, errors = writers
    counts: Counter[str] = Counter()
    for number, (row, result) in enumerate(pairs, 1):
        outcome = SKIPPED if result is None else result.outcome
        counts[outcome] += 1
        if result is not None and outcome == SUCCESS:
            output.write(layout.output_row(row, result))
        else:
            errors.write(layout.error_row(row, result))
        if number % LOG_EVERY == 0:
            log.info("%s rows are written", f"{number:,}")
    return WrittenRows(counts[SUCCESS], counts[FAILED], counts[SKIPPED])


PAGE_SIZE = 1000
_decode = json.JSONDecoder().raw_decode  # half the time of json.loads, which matters a million times


class UnreadableDownloadError(Exception):
    """The download is not the CSV we know, whose columns LeadMagic documents nowhere."""


def read_results(
    client: LeadMagicClient, job: BulkJob, spool: ResultSorter, watch: Watch = iter, *, insist: bool = True
) -> None:
    """
    Read all results of a job.

    :param client: Reads them.
    :param job: The job.
    :param spool: Where they go.
    :param watch: Sees each on its way there; more than once, where the download turns out to be unreadable.
    :param insist: Whether results of all rows that are done have to be there.
    :raises LeadMagicError: If LeadMagic refuses, does not response, or sends what is no result.
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


def _read_download(client: LeadMagicClient, job: BulkJob, spool: ResultSorter, watch: Watch) -> str | None:
    try:
        with tempfile.TemporaryFile(prefix="leadmagic-") as file:  # without a name: it ends with the process
            _download(client, job.job_id, file)
            spool.fill(watch(_csv_results(file)))
    except UnreadableDownloadError as problem:
        return str(problem)
    return _missing(job, spool)


def _download(client: LeadMagicClient, job_id: str, file: BinaryIO) -> None:
    try:
        client.bulk.download(job_id, file)
    except LeadMagicError as error:
        if error.status not in (404, 405):
            raise
        # If it is the job that does not exist, the pages will tell.
        raise UnreadableDownloadError("does not exist") from error


def _missing(job: BulkJob, spool: ResultSorter) -> str | None:
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


def _paged_results(client: LeadMagicClient, job_id: str) -> Iterator[RowResult]:
    for row in client.bulk.results(job_id, page_size=PAGE_SIZE):
        try:
            yield read_result(*map(row.get, FIELDS))
        except ValueError as error:
            raise LeadMagicResponseError(
                f"LeadMagic sent a result of bulk job {job_id} whose `{error}` cannot be used"
            ) from None


def rows_match(row: Mapping[str, Any], given: Mapping[str, Any]) -> bool:
    """
    Tell whether two rows have the same values in the fields that both have.

    They are compared by letters and digits, and a part will do: CSV knows nothing but text, and LeadMagic may have
    tidied what it got, an address to its domain for example. Results that were paid for must not be refused for that.

    :param row: A row of the input.
    :param given: The row that LeadMagic says it got.
    """
    return all(name not in row or row[name] == value or _is_like(row[name], value) for name, value in given.items())


def _is_like(ours: object, theirs: object) -> bool:
    one, other = (re.sub(r"\W", "", _as_text(value)) for value in (ours, theirs))
    return one == other or bool(one and other and (one in other or other in one))


def _as_text(value: object) -> str:
    if isinstance(value, str):
        return value.strip().casefold()
    if value is None:
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return json.dumps(value).casefold()
