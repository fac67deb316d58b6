"""Read the results of a bulk job and write them to the output file and the error file."""

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
from airflow_provider_leadmagic.bulk.row_checks import RowsDigest, ValidRows
from airflow_provider_leadmagic.bulk.rows import InvalidRow
from airflow_provider_leadmagic.bulk.sorting import ResultSorter
from airflow_provider_leadmagic.bulk.submission import digest_in
from airflow_provider_leadmagic.exceptions import LeadMagicError, LeadMagicResponseError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from airflow_provider_leadmagic.api.jobs import BulkJob
    from airflow_provider_leadmagic.bulk.output import ResultFiles, RowWriter
    from airflow_provider_leadmagic.bulk.result_rows import RowResult
    from airflow_provider_leadmagic.bulk.rows import RowSource
    from airflow_provider_leadmagic.client import LeadMagicClient

    Collect = Callable[[Iterator[RowResult]], Iterator[RowResult]]

log = logging.getLogger(__name__)

#: Rows between two progress lines in the log.
LOG_EVERY = 100_000


@dataclass(frozen=True)
class WrittenRows:
    """
    Row counts of the two files. Failed and skipped rows are both in the error file.

    :param succeeded: Rows that succeeded; this includes misses.
    :param failed: Rows that failed.
    :param skipped: Rows without a result.
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
    require_all_results: bool = True,
) -> WrittenRows:
    """
    Read the results of a job and write them with the rows they belong to, in row order.

    Memory use does not grow with the number of rows; the temporary directory needs about twice the size of the results.

    :param client: A client for the job's account.
    :param job: The finished job.
    :param product: The product it was submitted for.
    :param source: The rows that were submitted.
    :param files: The files to replace. If anything fails, they stay unchanged.
    :param user_names: The names in the files of columns that were submitted with another name.
    :param require_all_results: Whether to fail if LeadMagic does not return the results of all processed rows yet;
        otherwise rows without a result count as skipped.
    :raises LeadMagicError: If the results cannot be read, are incomplete, or do not belong to these rows.
    :raises ValueError: If the rows can no longer be read, or a file cannot be written.
    """
    with ResultSorter() as sorter:
        found = FoundFields()
        read_results(client, job, sorter, found.collect, require_all_results=require_all_results)
        layout = Layout.of(_columns(source), found.in_order(), user_names)
        with files.replaced(layout.output_columns, layout.error_columns) as writers:
            pairs = _paired(job, source, layout.columns, sorter, RowsDigest(product))
            written = _write_rows(pairs, layout, writers)
    log.info(
        "Wrote results: %s succeeded, %s failed, %s skipped. [%s, %s]",
        *(f"{count:,}" for count in (written.succeeded, written.failed, written.skipped)),
        *(redact(path) for path in (files.output_path, files.errors_path)),
    )
    return written


def _columns(source: RowSource) -> tuple[str, ...]:
    return tuple(next(iter(source), {}))


def _paired(
    job: BulkJob, source: RowSource, columns: tuple[str, ...], sorter: ResultSorter, digest: RowsDigest
) -> Iterator[tuple[dict[str, Any], RowResult | None]]:
    """Yield each row with its result, and check that the rows are those that were submitted."""
    number, known, results = 0, set(columns), sorter.by_row()
    for row in source.with_invalid() if isinstance(source, ValidRows) else iter(source):
        if isinstance(row, InvalidRow):
            yield row, None
            continue
        number, result = number + 1, next(results)
        given = {} if result is None else result.given or {}
        if row.keys() != known or not rows_match(row, given):
            raise _input_changed(f"row {number} does not match bulk job {job.job_id}", source)
        digest.add(row)
        yield row, result
    last = sorter.last_index() + 1
    if last > number:
        problem = f"{number:,} rows now, but bulk job {job.job_id} has a result for row {last:,}"
        raise _input_changed(problem, source)
    if digest_in(job.file_name) not in (None, digest.text()):
        raise _input_changed(f"rows or product do not match bulk job {job.job_id}", source)


def _input_changed(problem: str, source: RowSource) -> LeadMagicResponseError:
    return LeadMagicResponseError(
        f"Input changed since it was submitted: {problem}. Nothing was written. [{source.name}]"
    )


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
            log.info("Wrote %s rows so far.", f"{number:,}")
    return WrittenRows(counts[SUCCESS], counts[FAILED], counts[SKIPPED])


PAGE_SIZE = 1000
_decode = json.JSONDecoder().raw_decode  # takes half the time of json.loads, which matters for a million rows


class UnreadableDownloadError(Exception):
    """The download is not in the expected CSV format, which LeadMagic does not document."""


def read_results(
    client: LeadMagicClient,
    job: BulkJob,
    sorter: ResultSorter,
    collect: Collect = iter,
    *,
    require_all_results: bool = True,
) -> None:
    """
    Read all results of a job: from its download, or page by page if the download is not usable.

    :param client: A client for the job's account.
    :param job: The finished job.
    :param sorter: Receives the results.
    :param collect: Iterates over the results on their way to the sorter; called again if the download is not usable.
    :param require_all_results: Whether to fail if the results of some processed rows are missing.
    :raises LeadMagicError: If LeadMagic rejects the request, does not respond, or returns invalid results.
    """
    problem = _read_download(client, job, sorter, collect)
    if problem is None:
        return
    log.info("Bulk job %s: the download %s; reading the results page by page.", job.job_id, problem)
    sorter.fill(collect(_paged_results(client, job.job_id)))
    if missing := _missing(job, sorter):
        incomplete = f"Results incomplete: LeadMagic's list {missing} of bulk job {job.job_id}"
        if require_all_results:
            raise LeadMagicResponseError(f"{incomplete}; a later attempt may find the others.", transient=True)
        log.warning("%s; writing the others as skipped.", incomplete)


def _read_download(client: LeadMagicClient, job: BulkJob, sorter: ResultSorter, collect: Collect) -> str | None:
    try:
        # This file has no name, so it is removed even if the process is killed.
        with tempfile.TemporaryFile(prefix="leadmagic-") as file:
            _download(client, job.job_id, file)
            sorter.fill(collect(_csv_results(file)))
    except UnreadableDownloadError as problem:
        return str(problem)
    return _missing(job, sorter)


def _download(client: LeadMagicClient, job_id: str, file: BinaryIO) -> None:
    try:
        client.bulk.download(job_id, file)
    except LeadMagicError as error:
        if error.status not in (404, 405):
            raise
        # If the job itself does not exist, reading the pages fails with the same status.
        raise UnreadableDownloadError("does not exist") from error


def _missing(job: BulkJob, sorter: ResultSorter) -> str | None:
    processed = (job.succeeded or 0) + (job.failed or 0)
    return f"has {len(sorter):,} of {processed:,} processed rows" if len(sorter) < processed else None


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
        raise UnreadableDownloadError(f"is invalid in line {table.line_num} ({type(error).__name__})") from None


def _picker(header: list[str]) -> Callable[[list[str]], tuple[str, ...]]:
    missing = [name for name in FIELDS if name not in header]
    if missing:
        raise UnreadableDownloadError(f"has no column {', '.join(missing)}")
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
                f"LeadMagic returned a result with an invalid `{error}` for bulk job {job_id}."
            ) from None


def rows_match(row: Mapping[str, Any], given: Mapping[str, Any]) -> bool:
    """
    Return whether two rows have the same values in the fields they share.

    The comparison is lenient: only letters and digits count, and one value may be part of the other. CSV has no types,
    and LeadMagic may normalize its input, for example a URL to its domain. Results that were paid for must not be
    rejected because of that.

    :param row: A row of the input.
    :param given: The row as LeadMagic received it.
    """
    return all(name not in row or row[name] == value or _is_similar(row[name], value) for name, value in given.items())


def _is_similar(input_value: object, given_value: object) -> bool:
    one, other = (re.sub(r"\W", "", _as_text(value)) for value in (input_value, given_value))
    return one == other or bool(one and other and (one in other or other in one))


def _as_text(value: object) -> str:
    if isinstance(value, str):
        return value.strip().casefold()
    if value is None:
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return json.dumps(value).casefold()
