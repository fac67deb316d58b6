"""
The results as CSV.

The columns are documented nowhere; here they are the fields of the results, two of them as JSON: columns of a product's
own fields would have to be known before the first row is read.
"""

from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING

from airflow_provider_leadmagic.sandbox.bulk.made_up import DOMAIN, MadeUpJob
from airflow_provider_leadmagic.sandbox.bulk.order import nth_row
from airflow_provider_leadmagic.sandbox.bulk.reports import report_row
from airflow_provider_leadmagic.sandbox.errors import to_timestamp

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from airflow_provider_leadmagic.sandbox.bulk.jobs import DoneRow, Job

COLUMNS = (
    "id",
    "row_index",
    "status",
    "lm_input",
    "lm_output",
    "credits_consumed",
    "error_message",
    "http_status_code",
    "response_time_ms",
    "completed_at",
)
JSON_COLUMNS = ("lm_input", "lm_output")
ROWS_AT_ONCE = 2000


def download(job: Job) -> Iterator[bytes]:
    """
    Write the rows that are done by now, in the order of the results.

    :return: pieces of text of a bounded size.
    """
    # The list may grow while it is read.
    done, rows = job.done(), len(job.done())
    yield (",".join(COLUMNS) + "\r\n").encode()
    for start in range(0, rows, ROWS_AT_ONCE):
        stop = min(start + ROWS_AT_ONCE, rows)
        text = _made_up_lines(job, start, stop) if isinstance(job, MadeUpJob) else _lines(job, done[start:stop])
        # A client may have submitted, and gets back, text that UTF-8 cannot carry.
        yield text.encode("utf-8", "backslashreplace")


def _lines(job: Job, rows: Sequence[DoneRow]) -> str:
    text = io.StringIO(newline="")
    csv.writer(text).writerows(_cells(job, row) for row in rows)
    return text.getvalue()


def _cells(job: Job, row: DoneRow) -> list[object]:
    report = report_row(job, row)
    for name in JSON_COLUMNS:
        report[name] = None if report[name] is None else json.dumps(report[name])
    return [report[name] for name in COLUMNS]


def _made_up_lines(job: MadeUpJob, start: int, stop: int) -> str:
    # The same lines as above makes, a dozen times as fast: a million rows shall take seconds.
    total, head = len(job.submission.rows), job.job_id[:24]
    tail = f"{job.credits_consumed / total:.2f},,200,,{to_timestamp(job.created_at)}\r\n"
    return "".join(
        f'{head}{row:012d},{row},success,"{{""full_name"": ""Lead {row}"", ""domain"": ""{DOMAIN}""}}",'
        f'"{{""email"": ""lead.{row}@{DOMAIN}"", ""status"": ""valid""}}",{tail}'
        for row in (nth_row(position, total) for position in range(start, stop))
    )
