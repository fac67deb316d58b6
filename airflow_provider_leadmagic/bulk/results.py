"""From the results of a bulk job to the two files."""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_provider_leadmagic.api.text import clean
from airflow_provider_leadmagic.bulk.agreement import agree
from airflow_provider_leadmagic.bulk.digest import RowsDigest
from airflow_provider_leadmagic.bulk.job_name import digest_in
from airflow_provider_leadmagic.bulk.layout import FoundFields, Layout
from airflow_provider_leadmagic.bulk.result_reads import read_results
from airflow_provider_leadmagic.bulk.row_results import FAILED, SKIPPED, SUCCESS
from airflow_provider_leadmagic.bulk.spool import Spool
from airflow_provider_leadmagic.exceptions import LeadMagicResponseError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_provider_leadmagic.api.bulk import BulkCalls
    from airflow_provider_leadmagic.api.jobs import BulkJob
    from airflow_provider_leadmagic.bulk.files import ResultFiles
    from airflow_provider_leadmagic.bulk.row_results import RowResult
    from airflow_provider_leadmagic.bulk.row_writers import RowWriter
    from airflow_provider_leadmagic.bulk.rows import RowSource

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
    client: BulkCalls, job: BulkJob, product: str, source: RowSource, files: ResultFiles, *, insist: bool = True
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
    with Spool() as spool:
        found = FoundFields()
        read_results(client, job, spool, found.watch, insist=insist)
        layout = Layout.of(_columns(source), found.in_order())
        with files.replaced(layout.output_columns, layout.error_columns) as writers:
            pairs = _paired(job, source, layout.columns, spool, RowsDigest(product))
            written = _write_rows(pairs, layout, writers)
    log.info(
        "Wrote %s rows to %s, and %s failed and %s skipped rows to %s",
        *(f"{written.succeeded:,}", clean(files.output_path)),
        *(f"{written.failed:,}", f"{written.skipped:,}", clean(files.errors_path)),
    )
    return written


def _columns(source: RowSource) -> tuple[str, ...]:
    return tuple(next(iter(source), {}))


def _paired(
    job: BulkJob, source: RowSource, columns: tuple[str, ...], spool: Spool, digest: RowsDigest
) -> Iterator[tuple[dict[str, Any], RowResult | None]]:
    """Give each row its result, and refuse rows that are not those of the job."""
    number, known = 0, set(columns)
    for number, (row, result) in enumerate(zip(source, spool.by_row(), strict=False), 1):
        given = {} if result is None else result.given or {}
        if row.keys() != known or not agree(row, given):
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
