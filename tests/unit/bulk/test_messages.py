"""
Airflow's log box cuts a line after about 110 characters, so each message of a bulk job has its cause or advice in them.

The messages below have values as long as real ones. They are compared with the texts in the code, so that none is
missing and none is outdated.
"""

from __future__ import annotations

import ast
import re

import pytest

from airflow_provider_leadmagic.bulk.result_rows import FIELDS
from dev import structure
from tests.support.log_view import LINE_LENGTH

MODULES = [name for name in structure.sources() if re.fullmatch(r"bulk\.\w+|operators\._?bulk\w*|triggers\.bulk", name)]
#: Texts that never reach a user.
INTERNAL = {*FIELDS, "more than one value", "Airflow's defer() always raises"}

JOB = "6ad7e1f0-6a39-4a6e-9bb7-6b1e2b8f9a55"
CONN = "'leadmagic_marketing_production'"
FILE = "s3://leads@company-data-lake-eu/marketing/leads/dag_id=nightly/run_id=scheduled__2026-11-26T00:00:00+00:00.csv"
PROGRESS = "1,234,567 / 5,000,000 rows (24%), 1,230,000 credits used"
ERROR = "LeadMagic is unavailable (503). [GET https://api.leadmagic.io/bulk/jobs/6ad7, request id req_1]"

#: Each message, and the part of it that must be visible.
MESSAGES = [
    # Arguments
    ("Exactly one of rows and input_path must be given; got neither", "must be given; got neither"),
    ("rows must be a list of dicts, or JSON text of such a list; got int", "got int"),
    (
        (
            "rows must be a list of dicts; got text (str) that is not JSON. Render it with the filter `tojson`, "
            "or set render_template_as_native_obj=True on the DAG."
        ),
        "got text (str) that is not JSON. Render it with the filter `tojson`",
    ),
    ("input_path must be a path or a URL; got ''", "must be a path or a URL; got ''"),
    (
        f"input_path must end in .csv, .jsonl, .ndjson, also with .gz; got {FILE}",
        ".csv, .jsonl, .ndjson, also with .gz",
    ),
    (f"output_path must not overwrite the input file; got {FILE}", "must not overwrite the input file"),
    ("poll_interval is 0.5 s; LeadMagic asks for at least 45 s between polls of a job.", "at least 45 s"),
    (
        (
            "The attempt's timeout of 3600 s comes from default_args: set timeout on this task if that value is meant "
            "for sensors."
        ),
        "The attempt's timeout of 3600 s comes from default_args: set timeout on this task",
    ),
    # Files
    (f"Cannot use input_path: Unsupported filesystem: 's3'. [{FILE}]", "Unsupported filesystem: 's3'"),
    (f"Cannot read input_path: no such file or directory. [{FILE}]", "no such file or directory"),
    (f"Cannot write output_path: Permission denied. [{FILE}]", "Permission denied"),
    (f"Line 1000000 is not UTF-8: save the file in UTF-8. [{FILE}]", "save the file in UTF-8"),
    (f"Line 1000000 contains a NUL character: the file is not plain text. [{FILE}]", "NUL character"),
    (f"The file is empty: it must have a line of column names, and rows. [{FILE}]", "The file is empty"),
    (
        f"Cannot read input_path: the file is not a complete gzip file. [{FILE}]",
        "the file is not a complete gzip file",
    ),
    (
        f"The first line has one column: is the file separated by semicolons? [{FILE}]",
        "The first line has one column: is the file separated by semicolons?",
    ),
    (f"Column 12 has no name in the header. [{FILE}]", "has no name in the header"),
    (f"Column 'email' appears twice in the header. [{FILE}]", "appears twice in the header"),
    (f"Row 1000000 must have 12 cells, like the header; got 11. [{FILE}]", "12 cells, like the header; got 11"),
    (f"Row 1000000 is not valid CSV: unexpected end of data (line 1000002). [{FILE}]", "unexpected end of data"),
    (f"Row 1000000 (line 1000002) is not valid JSON. [{FILE}]", "is not valid JSON"),
    (f"Row 1000000 (line 1000002) is not a JSON object. [{FILE}]", "is not a JSON object"),
    # Rows
    ("Row 1000000 must be a dict; got str. [rows]", "must be a dict; got str"),
    (
        f"column_mapping has columns that row 1000000 does not have: 'Email'. [{FILE}]",
        "column_mapping has columns that row 1000000 does not have: 'Email'",
    ),
    (
        (
            f"Columns 'Email' and 'EMAIL' would both be sent as 'email' in row 1000000: rename one, or use "
            f"column_mapping. [{FILE}]"
        ),
        "Columns 'Email' and 'EMAIL' would both be sent as 'email' in row 1000000: rename one",
    ),
    (
        "column_mapping must be a dict that maps column names to LeadMagic's fields",
        "must be a dict that maps column names to LeadMagic's fields",
    ),
    (f"No rows to enrich. [{FILE}]", "No rows to enrich"),
    (f"Skipped: No rows to enrich. [{FILE}]", "Skipped: No rows to enrich"),
    (
        (
            f"No valid rows to enrich, 5,000,000 invalid. The first: Row 1 is missing email, required by "
            f"email_validation. [{FILE}]"
        ),
        "No valid rows to enrich, 5,000,000 invalid. The first: Row 1 is missing email",
    ),
    (
        f"Skipping 12 of 5,000,000 rows. The first: Row 10 is missing email, required by email_validation. [{FILE}]",
        "Skipping 12 of 5,000,000 rows. The first: Row 10 is missing email",
    ),
    (f"Row 1 has no columns. [{FILE}]", "has no columns"),
    (f"Row 1 has an invalid column name: must be non-blank text; got ''. [{FILE}]", "must be non-blank text; got ''"),
    (f"Row 1000000 must have the same columns as row 1: missing 'domain'. [{FILE}]", "missing 'domain'"),
    (f"Row 1000000 is larger than 3 MiB: shorten column 'note'. [{FILE}]", "larger than 3 MiB: shorten column 'note'"),
    (
        f"Row 1000000 has a value that is not JSON-serializable in column 'domain'. [{FILE}]",
        "not JSON-serializable in column 'domain'",
    ),
    (
        f"Row 1000000 is missing domain or company_name, required by email_finder. [{FILE}]",
        "is missing domain or company_name, required by email_finder",
    ),
    # Submission
    (f"LeadMagic rejected the rows as invalid. [{FILE}]", "rejected the rows as invalid"),
    (
        "Unexpected cost preview from LeadMagic: it covers 4,999,999 rows instead of 5,000,000.",
        "covers 4,999,999 rows instead of 5,000,000",
    ),
    ("Cost preview: up to 5,000,000 credits for 5,000,000 rows of email_finder.", "up to 5,000,000 credits"),
    ("Cost preview: the job exceeds a budget set at LeadMagic, which may reject it.", "exceeds a budget"),
    ("Not submitted: the job can cost 5,000,000 credits, max_credits is 1,000,000.", "max_credits is 1,000,000"),
    (
        (
            f"Bulk job not submitted yet. Not enough credits: 1,234,567.89 spendable, 5,001,000 required on connection "
            f"{CONN} (5,000,000 for the job, 1,000 to remain)."
        ),
        "Not enough credits: 1,234,567.89 spendable, 5,001,000 required",
    ),
    (f"Submitted bulk job {JOB} (5,000,000 rows).", "(5,000,000 rows)"),
    (
        (
            "Input changed while it was being submitted: more than the 5,000,000 rows that were checked. Nothing was "
            f"submitted. [{FILE}]"
        ),
        "Input changed while it was being submitted: more than the 5,000,000 rows that were checked",
    ),
    (
        (
            "Input changed while it was being priced: more than the 5,000,000 rows that were checked. Bulk job "
            f"{JOB} is unchanged. [{FILE}]"
        ),
        "Input changed while it was being priced: more than the 5,000,000 rows that were checked",
    ),
    (
        (f"Check bulk job {JOB} in LeadMagic's app: it has 9,000,000 rows, but 5,000,000 were submitted and priced."),
        f"Check bulk job {JOB} in LeadMagic's app: it has 9,000,000 rows",
    ),
    (
        (
            "Set [leadmagic] instance_name: this Airflow needs a name, because its URL is not configured or is local. "
            "Until it has one, a cleared task may fail to cancel its old job, which then keeps running."
        ),
        "Set [leadmagic] instance_name: this Airflow needs a name, because its URL is not configured or is local.",
    ),
    # Previous attempts
    (f"Joined bulk job {JOB}, which was already submitted for this task.", "already submitted for this task"),
    (
        f"Could not store the ID of bulk job {JOB}: a retry will search LeadMagic's list of jobs. Reason: RuntimeError",
        "a retry will search LeadMagic's list",
    ),
    (
        (
            f"URL or API key of connection {CONN} changed after bulk job {JOB} was submitted. If the connection "
            "now uses another account, this task cannot cancel the job: if it still runs, cancel it in the old account."
        ),
        f"URL or API key of connection {CONN} changed after bulk job",
    ),
    (
        (
            f"Connection {CONN} was changed to another LeadMagic account: change it back to continue bulk job {JOB}. "
            "Nothing was submitted in the new account. To submit the rows there, clear the task."
        ),
        "was changed to another LeadMagic account: change it back",
    ),
    (
        (
            f"Connection {CONN} was changed to another LeadMagic account: download the results of bulk job {JOB} in "
            "LeadMagic's app, or clear the task to submit the rows again."
        ),
        "was changed to another LeadMagic account: download the results",
    ),
    (
        (
            "Input changed since it was submitted: restore it, or clear the task to submit the new rows. "
            f"Bulk job {JOB} is unchanged. [{FILE}]"
        ),
        "Input changed since it was submitted: restore it, or clear the task",
    ),
    (
        f"Bulk job {JOB} was accepted although the submission failed: {ERROR}",
        "was accepted although the submission failed",
    ),
    (
        f"Could not check whether LeadMagic has accepted the bulk job: {ERROR}",
        "Could not check whether LeadMagic has accepted the bulk job",
    ),
    (
        f"Not submitted: the task was cleared, and its next attempt has submitted bulk job {JOB}.",
        "Not submitted: the task was cleared, and its next attempt has submitted bulk job",
    ),
    (
        (
            "This test run spends credits like a DAG run. A second test of the same rows for the same logical "
            "date joins the job of the first; without a date, each test pays. For free tests, point the connection to "
            "the sandbox."
        ),
        "This test run spends credits like a DAG run",
    ),
    (
        f"Canceled bulk job {JOB} because the task was cleared. Progress of the job: {PROGRESS}.",
        "because the task was cleared",
    ),
    (
        f"Canceled bulk job {JOB} because another job has the same idempotency key. Progress of the job: {PROGRESS}.",
        "because another job has the same idempotency key",
    ),
    # Progress
    (f"Bulk job {JOB}: {PROGRESS}.", PROGRESS),
    (f"Bulk job {JOB} is completed: {PROGRESS}.", "is completed: 1,234,567 / 5,000,000 rows (24%)"),
    (f"Bulk job {JOB} is paused: resume it at LeadMagic ({PROGRESS}).", "is paused: resume it at LeadMagic"),
    (
        f"Bulk job {JOB} has status 'uploaded' although all rows are processed: {PROGRESS}.",
        "has status 'uploaded' although all rows are processed",
    ),
    (
        f"Bulk job {JOB}: poll failed (12 in a row), retrying in 300 s: {ERROR}",
        "poll failed (12 in a row), retrying in 300 s",
    ),
    (
        (
            "Timeout reached: increase timeout or set retries. A submitted bulk job keeps running, and the next "
            "attempt joins it."
        ),
        "increase timeout or set retries. A submitted bulk job keeps running",
    ),
    # Resuming
    (
        f"Bulk job {JOB}: resume failed, retrying after the next poll: {ERROR}",
        "resume failed, retrying after the next poll",
    ),
    (f"Resumed bulk job {JOB}.", "Resumed"),
    # Canceling
    ("Bulk job not submitted, because the task was stopped.", "because the task was stopped"),
    (
        "Worker is stopping; leaving any bulk job running. The next attempt joins or cancels it.",
        "The next attempt joins or cancels it",
    ),
    (
        (
            f'Bulk job possibly not canceled: run LeadMagicHook("{CONN[1:-1]}").bulk.cancel("{JOB}") to stop it. '
            f"Reason: {ERROR}"
        ),
        f'Bulk job possibly not canceled: run LeadMagicHook("{CONN[1:-1]}").bulk.cancel(',
    ),
    (
        (
            f'Bulk job possibly not canceled: run LeadMagicHook("{CONN[1:-1]}").bulk.cancel(job.job_id) for the job in '
            f'LeadMagicHook("{CONN[1:-1]}").bulk.list() whose file_name starts with airflow-0123456789abcdef01234567. '
            "Reason: LeadMagic does not list it yet"
        ),
        f'Bulk job possibly not canceled: run LeadMagicHook("{CONN[1:-1]}").bulk.cancel(job.job_id)',
    ),
    (f"Canceled bulk job {JOB} because its task was ended. Its hits so far are charged.", "because its task was ended"),
    # Results
    (
        (
            f'Bulk job {JOB} failed at LeadMagic: {PROGRESS}. LeadMagicHook("{CONN[1:-1]}").bulk.results returns the '
            "finished rows. "
            "Clearing the task submits a new job, which charges for them again."
        ),
        "failed at LeadMagic: 1,234,567 / 5,000,000 rows (24%)",
    ),
    (
        f"Bulk job {JOB}: the download has no column lm_output; reading the results page by page.",
        "the download has no column lm_output",
    ),
    (f"Bulk job {JOB}: the download does not exist; reading the results page by page.", "the download does not exist"),
    (
        f"Bulk job {JOB}: the download has 2 cells instead of 7 in line 5000000; reading the results page by page.",
        "the download has 2 cells instead of 7 in line 5000000",
    ),
    (
        f"Bulk job {JOB}: the download is invalid in line 5000000 (JSONDecodeError); reading the results page by page.",
        "the download is invalid in line 5000000 (JSONDecodeError)",
    ),
    (
        f"Bulk job {JOB}: the download failed: {ERROR}; reading the results page by page.",
        "the download failed: LeadMagic",
    ),
    (
        f"Results missing: 4,999,999 of 5,000,000; reading them again in 15 s. [bulk job {JOB}]",
        "4,999,999 of 5,000,000; reading them again in 15 s",
    ),
    (f"Bulk job {JOB}: results not read: {ERROR}", "results not read: LeadMagic"),
    (f"Bulk job {JOB}: ignored 4,999,999 results without a valid row_index.", "without a valid row_index"),
    (
        (
            "Results incomplete: 4,999,999 of 5,000,000 rows missing. The next attempt reads them again. "
            f"[bulk job {JOB}]"
        ),
        "4,999,999 of 5,000,000 rows missing. The next attempt reads them again",
    ),
    (
        (
            "Results incomplete: 4,999,999 of 5,000,000 rows missing. Read them with LeadMagicHook(...).bulk.results: "
            f"clearing the task would pay for all rows again. The other rows are written. "
            f"[bulk job {JOB}, {FILE}, {FILE}]"
        ),
        "4,999,999 of 5,000,000 rows missing. Read them with LeadMagicHook(...).bulk.results",
    ),
    (
        (
            "Check the results of 4,999,999 of 5,000,000 rows: they may belong to other rows, and are marked in the "
            f"column lm_match. [bulk job {JOB}]"
        ),
        "Check the results of 4,999,999 of 5,000,000 rows: they may belong to other rows",
    ),
    (
        (
            "Ignored results of rows that were not submitted: only 5,000,000 rows were submitted, but results up to "
            f"row 5,000,001 exist. LeadMagicHook(...).bulk.results returns them. [bulk job {JOB}]"
        ),
        "Ignored results of rows that were not submitted: only 5,000,000 rows were submitted",
    ),
    (
        (
            f"Input changed since it was submitted: row 5000000 does not match bulk job {JOB}. Nothing was written. "
            f"[{FILE}]"
        ),
        f"Input changed since it was submitted: row 5000000 does not match bulk job {JOB}",
    ),
    (
        (
            f"Input changed since it was submitted: rows or product do not match bulk job {JOB}. Nothing was written. "
            f"[{FILE}]"
        ),
        "Input changed since it was submitted: rows or product do not match",
    ),
    (
        f"Output may be written under another name: Cannot write output_path: Permission denied. [{FILE}]",
        "Output may be written under another name: Cannot write output_path: Permission denied",
    ),
    (
        f"Cannot replace the error file: Permission denied. Writing rows of bulk job {JOB} to a new file. [{FILE}]",
        "Cannot replace the error file: Permission denied",
    ),
    (
        (
            f"Cannot write output_path: No space left on device. The rows of bulk job {JOB} have been paid for, and "
            f"reading them again is free. [{FILE}]"
        ),
        "Cannot write output_path: No space left on device",
    ),
    ("Wrote 4,900,000 rows so far.", "4,900,000 rows"),
    (
        "Cannot add the spending record to the asset event: AirflowRuntimeError. [AssetNameRef(name='leads')]",
        "spending record",
    ),
    (
        f"Wrote results: 4,900,000 succeeded, 90,000 failed, 10,000 skipped. [{FILE}, {FILE}]",
        "4,900,000 succeeded, 90,000 failed, 10,000 skipped",
    ),
    (
        "deferrable must be True with claim_pool: on a worker the task would hold the pool's only slot while it waits",
        "deferrable must be True with claim_pool",
    ),
    (
        "Claimed 5,000 credits for the job, based on: 12,345 spendable, 6,000 claimed by 2 runs, 5,000 required.",
        "Claimed 5,000 credits",
    ),
    # Waiting for credits in the triggerer
    (f"Credits sufficient: 1,234,567.89 spendable, 5,000 required on connection {CONN}.", "Credits sufficient"),
]


def _reported(tree: ast.Module) -> list[ast.expr]:
    """Return the first argument of each call that logs a message or creates an error."""
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and node.args]
    reporting = re.compile(r"log\.(info|warning|error|exception)$|(Error|Exception|_input_changed)$")
    return [call.args[0] for call in calls if reporting.search(ast.unparse(call.func))]


def _pattern(text: ast.AST) -> str:
    if isinstance(text, ast.JoinedStr):
        return "".join(re.escape(str(part.value)) if isinstance(part, ast.Constant) else ".*" for part in text.values)
    if isinstance(text, ast.Constant) and isinstance(text.value, str) and text.value not in INTERNAL:
        return re.sub("%[sdrg]", ".*", re.escape(text.value))
    return ""


def _is_specific(pattern: str) -> bool:
    return len(pattern.replace(".*", "").replace("\\", "")) >= 10


TREES = [structure.sources()[name] for name in MODULES]
REPORTED = {pattern for tree in TREES for text in _reported(tree) if (pattern := _pattern(text))}
ALL_TEXTS = {pattern for tree in TREES for node in ast.walk(tree) if _is_specific(pattern := _pattern(node))}


@pytest.mark.parametrize(("message", "cause"), MESSAGES)
def test_the_cause_is_visible_in_airflows_log_box(message: str, cause: str) -> None:
    assert cause in message[:LINE_LENGTH]


@pytest.mark.parametrize("pattern", sorted(REPORTED))
def test_every_message_of_the_code_is_in_the_table(pattern: str) -> None:
    assert [message for message, _ in MESSAGES if re.search(pattern, message)] != []


@pytest.mark.parametrize("message", [message for message, _ in MESSAGES])
def test_every_message_in_the_table_is_in_the_code(message: str) -> None:
    assert [pattern for pattern in ALL_TEXTS if re.search(pattern, message)] != []
