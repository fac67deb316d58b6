"""Read the results of a bulk job and write them to the output file and the error file."""

from __future__ import annotations

import logging
import math
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

from airflow_provider_leadmagic.api.text import redact, temporary_file_errors
from airflow_provider_leadmagic.bulk.output import Layout
from airflow_provider_leadmagic.bulk.result_rows import (
    FAILED,
    SKIPPED,
    SUCCESS,
    FoundFields,
    UnreadableDownloadError,
    choose_result,
    csv_results,
    differing_names,
    read_result,
    row_key,
    rows_match,
    usable_fields,
)
from airflow_provider_leadmagic.bulk.row_checks import RowsDigest, ValidRows
from airflow_provider_leadmagic.bulk.rows import InvalidRow
from airflow_provider_leadmagic.bulk.sorting import ResultSorter
from airflow_provider_leadmagic.bulk.submission import digest_in
from airflow_provider_leadmagic.exceptions import LeadMagicError, LeadMagicResponseError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from airflow_provider_leadmagic.api.jobs import BulkJob
    from airflow_provider_leadmagic.bulk.output import ResultFiles, RowWriter
    from airflow_provider_leadmagic.bulk.result_rows import RowResult
    from airflow_provider_leadmagic.bulk.rows import RowSource
    from airflow_provider_leadmagic.client import LeadMagicClient

log = logging.getLogger(__name__)

#: Rows between two progress lines in the log.
LOG_EVERY = 100_000


@dataclass(frozen=True)
class WrittenRows:
    """
    Row counts of the two files. Failed and skipped rows are both in the error file.

    :param succeeded: Rows that LeadMagic processed without an error, also those for which it found nothing.
    :param failed: Rows that failed.
    :param skipped: Rows that were not submitted, that LeadMagic skipped, or that have no result.
    """

    succeeded: int
    failed: int
    skipped: int


def write_results(
    client: LeadMagicClient,
    job: BulkJob,
    product: str,
    source: RowSource,
    files: ResultFiles,
    *,
    user_names: Mapping[str, str] | None = None,
    seconds: float = 0.0,
    is_last_attempt: bool = False,
) -> WrittenRows:
    """
    Read the results of a job and write them with the rows they belong to, in row order.

    Memory use does not grow with the number of rows; the temporary directory needs about twice the size of the results.

    :param client: A client for the job's account.
    :param job: The finished job.
    :param product: The product it was submitted for.
    :param source: The rows that were submitted.
    :param files: The files to replace once their new content is complete.
    :param user_names: The submitted column names, each with the user's own name for the column.
    :param seconds: Longest time to wait for missing results, in seconds; at most :data:`LONGEST_WAIT`.
    :param is_last_attempt: Whether no retry follows. Incomplete results are then written before the error is raised.
    :raises LeadMagicError: If the results cannot be read, are incomplete, or do not belong to these rows.
    :raises ValueError: If the rows can no longer be read, or a file cannot be written.
    """
    with ResultSorter() as sorter:
        read_results(client, job, sorter, expected_results(job, source), seconds)
        review = _review(job, product, source, sorter)
        if review.missing and not is_last_attempt:
            raise _incomplete(job, review, "The next attempt reads them again")
        doubts = sorter.doubtful()
        layout = Layout.of(review.columns, review.found, user_names, has_doubts=doubts > 0)
        with files.replaced(layout.output_columns, layout.error_columns, job.job_id) as writers:
            written = _write_rows(_joined(job, product, source, sorter), sorter, layout, writers)
    paths = (redact(files.output_path), redact(files.errors_path))
    counts = (f"{count:,}" for count in (written.succeeded, written.failed, written.skipped))
    log.info("Wrote results: %s succeeded, %s failed, %s skipped. [%s, %s]", *counts, *paths)
    if doubts:
        log.warning(
            "Check the results of %s of %s rows: they may belong to other rows, and are marked in the column %s. "
            "[bulk job %s]",
            *(f"{count:,}" for count in (doubts, review.rows)),
            layout.match_column,
            job.job_id,
        )
    if review.missing:
        advice = "Read them with LeadMagicHook(...).bulk.results: clearing the task would pay for all rows again"
        raise _incomplete(job, review, f"{advice}. The other rows are written", *paths)
    return written


def _incomplete(job: BulkJob, review: _Review, advice: str, *paths: str | None) -> LeadMagicResponseError:
    where = ", ".join([f"bulk job {job.job_id}", *map(str, paths)])
    missing = f"{review.missing:,} of {review.rows:,} rows missing"
    return LeadMagicResponseError(f"Results incomplete: {missing}. {advice}. [{where}]", transient=True)


class _Review(NamedTuple):
    """Columns, found fields and counts of all rows of a job."""

    columns: tuple[str, ...]
    found: tuple[str, ...]
    rows: int
    missing: int


class _JoinedRow(NamedTuple):
    """
    A row with its result.

    :param position: Index among the submitted rows, from 0; -1 for an invalid row.
    :param is_ambiguous: Whether the row has several results, of which none is clearly the right one.
    """

    position: int
    row: dict[str, Any]
    result: RowResult | None
    is_ambiguous: bool


def _review(job: BulkJob, product: str, source: RowSource, sorter: ResultSorter) -> _Review:
    """
    Check that the rows are those that were submitted, and mark doubtful results.

    A result can contain its row as LeadMagic received it. The result is doubtful if this received row matches another
    row of the input instead, or if another result of its row could be right as well. Unless a digest in the job's name
    proves that the input is unchanged, a result is also doubtful if the received row does not match the input row.
    """
    found, groups = FoundFields(), set()
    rows = results = skipped = 0
    columns = tuple(next(iter(source), {}))
    known, is_proven = set(columns), digest_in(job.file_name) is not None
    for index, row, result, is_ambiguous in _joined(job, product, source, sorter):
        if isinstance(row, InvalidRow):
            continue
        rows += 1
        if row.keys() != known:
            raise _input_changed(f"row {rows} does not match bulk job {job.job_id}", source)
        if result is None:
            continue
        results += 1
        skipped += result.outcome == SKIPPED
        found.add(result)
        given = result.given or {}
        if is_ambiguous or not (is_proven or rows_match(row, given)):
            sorter.doubt(index)
        if names := differing_names(row, given):
            sorter.suspect(index, row_key(given, names))
            groups.add(names)
    _confirm_suspects(source, sorter, groups)
    _check_last_result(job, source, sorter, rows, is_proven=is_proven)
    expected = job.expected_results()
    missing = _missing(rows, min(rows, rows if expected is None else expected), results, skipped)
    return _Review(columns, found.in_order(), rows, max(missing, 0))


def _missing(rows: int, expected: int, results: int, skipped: int) -> int:
    # ``expected`` does not include the rows that LeadMagic skipped, but ``results`` may include results of them. These
    # are subtracted: otherwise they would hide that results of other rows are missing.
    return expected - (results - min(skipped, max(rows - expected, 0)))


def _confirm_suspects(source: RowSource, sorter: ResultSorter, groups: set[tuple[str, ...]]) -> None:
    if groups:
        for row in source:
            for names in groups:
                sorter.confirm_suspects(row_key(row, names))


def _check_last_result(job: BulkJob, source: RowSource, sorter: ResultSorter, rows: int, *, is_proven: bool) -> None:
    last = sorter.last_index() + 1
    if last <= rows:
        return
    if not is_proven:
        problem = f"{rows:,} rows now, but bulk job {job.job_id} has a result for row {last:,}"
        raise _input_changed(problem, source)
    log.warning(
        "Ignored results of rows that were not submitted: only %s rows were submitted, but results up to row %s exist. "
        "LeadMagicHook(...).bulk.results returns them. [bulk job %s]",
        *(f"{count:,}" for count in (rows, last)),
        job.job_id,
    )


def _joined(job: BulkJob, product: str, source: RowSource, sorter: ResultSorter) -> Iterator[_JoinedRow]:
    """
    Yield each row with its result, and check that the rows have the digest in the job's name, if it has one.

    Invalid rows, which were not submitted, have no position, and are yielded without a result.
    """
    digest, submitted = RowsDigest(product), digest_in(job.file_name)
    has_earlier, results = sorter.has_earlier(), enumerate(sorter.by_row())
    for row in source.with_invalid() if isinstance(source, ValidRows) else iter(source):
        if isinstance(row, InvalidRow):
            yield _JoinedRow(-1, row, None, is_ambiguous=False)
            continue
        position, result = next(results)
        if submitted is not None:
            digest.add(row)
        earlier = sorter.earlier(position) if has_earlier and result is not None else []
        if result is not None and earlier:
            yield _JoinedRow(position, row, *choose_result(row, [*earlier, result]))
        else:
            yield _JoinedRow(position, row, result, is_ambiguous=False)
    if submitted not in (None, digest.text()):
        raise _input_changed(f"rows or product do not match bulk job {job.job_id}", source)


def _input_changed(problem: str, source: RowSource) -> LeadMagicResponseError:
    return LeadMagicResponseError(
        f"Input changed since it was submitted: {problem}. Nothing was written. [{source.name}]"
    )


def _write_rows(
    rows: Iterator[_JoinedRow], sorter: ResultSorter, layout: Layout, writers: tuple[RowWriter, RowWriter]
) -> WrittenRows:
    output, errors = writers
    counts: Counter[str] = Counter()
    for number, (index, row, result, _) in enumerate(rows, 1):
        outcome = SKIPPED if result is None else result.outcome
        counts[outcome] += 1
        is_doubtful = layout.has_doubts and sorter.is_doubtful(index)
        if result is not None and outcome == SUCCESS:
            output.write(layout.output_row(row, result, is_doubtful))
        else:
            errors.write(layout.error_row(row, result, is_doubtful))
        if number % LOG_EVERY == 0:
            log.info("Wrote %s rows so far.", f"{number:,}")
    return WrittenRows(counts[SUCCESS], counts[FAILED], counts[SKIPPED])


PAGE_SIZE = 1000
#: Pauses before incomplete results are read again, in seconds.
PAUSES = (1, 2, 4, 8, 10, 10, 10, 15, 15, 15)
#: Longest time to wait for missing results, in seconds; it occupies a worker slot.
LONGEST_WAIT = 90.0


def expected_results(job: BulkJob, source: RowSource) -> int:
    """
    Return the number of rows that must have a result.

    :param job: The finished job.
    :param source: The rows that were submitted; read only if the job has no valid counts.
    """
    expected = job.expected_results()
    return sum(1 for _ in source) if expected is None else expected


def read_results(
    client: LeadMagicClient, job: BulkJob, sorter: ResultSorter, expected: int, seconds: float = 0.0
) -> None:
    """
    Read the results of a job: from its download, or page by page if the download is unusable or incomplete.

    LeadMagic can report a job as completed a moment before it returns all its results. The pages are then read again,
    with growing pauses, until they are complete or the time is over.

    :param client: A client for the job's account.
    :param job: The finished job.
    :param sorter: Receives the results.
    :param expected: The number of rows that must have a result.
    :param seconds: Longest time to wait for missing results, in seconds; at most :data:`LONGEST_WAIT`.
    :raises LeadMagicError: If there is no result, because LeadMagic rejects the request or does not respond.
    """
    problem = _read_download(client, job, sorter, expected)
    if problem is None:
        return
    log.info("Bulk job %s: the download %s; reading the results page by page.", job.job_id, problem)
    end = time.monotonic() + min(seconds, LONGEST_WAIT)
    for pause in (*PAUSES, math.inf):
        error = _read_pages(client, job, sorter)
        missing = _missing(job.total_rows or 0, expected, len(sorter), sorter.skipped())
        is_last = time.monotonic() + pause > end or (error is not None and not error.transient)
        if error is not None and is_last and not len(sorter):
            raise error
        if missing <= 0 or is_last:
            return
        count = f"{missing:,} of {expected:,}"
        log.info("Results missing: %s; reading them again in %g s. [bulk job %s]", count, pause, job.job_id)
        time.sleep(pause)


def _read_pages(client: LeadMagicClient, job: BulkJob, sorter: ResultSorter) -> LeadMagicError | None:
    try:
        sorter.fill(_paged_results(client, job.job_id), keep=True)
    except LeadMagicError as error:
        log.warning("Bulk job %s: results not read: %s", job.job_id, error)
        return error
    return None


def _read_download(client: LeadMagicClient, job: BulkJob, sorter: ResultSorter, expected: int) -> str | None:
    try:
        # This file has no name, so it is removed even if the process is killed.
        with temporary_file_errors(), tempfile.TemporaryFile(prefix="leadmagic-") as file:
            _download(client, job.job_id, file)
            sorter.fill(csv_results(file))
    except UnreadableDownloadError as problem:
        sorter.fill(())
        return str(problem)
    missing = _missing(job.total_rows or 0, expected, len(sorter), sorter.skipped())
    return f"has {expected - missing:,} of {expected:,} results" if missing > 0 else None


def _download(client: LeadMagicClient, job_id: str, file: BinaryIO) -> None:
    try:
        client.bulk.download(job_id, file)
    except LeadMagicError as error:
        # After any error, even an invalid key, the pages are read: if the cause persists, reading them fails too.
        problem = "does not exist" if error.status in (404, 405) else f"failed: {error}"
        raise UnreadableDownloadError(problem) from error


def _paged_results(client: LeadMagicClient, job_id: str) -> Iterator[RowResult]:
    without_index = 0
    for row in client.bulk.results(job_id, page_size=PAGE_SIZE):
        try:
            yield read_result(*usable_fields(row))
        except ValueError:
            without_index += 1
    if without_index:
        log.warning("Bulk job %s: ignored %s results without a valid row_index.", job_id, f"{without_index:,}")
