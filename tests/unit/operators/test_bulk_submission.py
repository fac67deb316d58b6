"""From the rows to the submission: what is checked before any credits are spent."""

from __future__ import annotations

import csv
import json
import re
from collections import Counter
from datetime import date
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_leadmagic.bulk import results
from airflow_provider_leadmagic.compat.imports import AirflowSkipException
from airflow_provider_leadmagic.exceptions import (
    CreditsLimitError,
    InsufficientCreditsError,
    LeadMagicAuthenticationError,
    LeadMagicError,
    LeadMagicResponseError,
    LeadMagicTimeoutError,
)
from airflow_provider_leadmagic.operators import _bulk_run
from tests.unit.operators.conftest import leads

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pytest_mock import MockerFixture

    from airflow_provider_leadmagic.sandbox.sandbox import Sandbox
    from tests.unit.operators.conftest import MakeTask, When

SUBMIT, CREDITS = "/bulk/submit", "/v1/credits"


def calls(sandbox: Sandbox) -> list[str]:
    [job] = sandbox.bulk_jobs
    return [f"{request.method} {request.path.replace(job.job_id, 'JOB')}" for request in sandbox.requests]


def test_it_returns_the_outcome_and_the_cost(
    task: MakeTask, leadmagic_sandbox: Sandbox, output: Path, deferrable: bool
) -> None:
    names = ["Ada Lovelace", "invalid", "notfound"]
    rows = [{"full_name": name, "domain": "example.com"} for name in names]

    xcom = task(rows=rows, deferrable=deferrable).run()

    assert xcom == {
        "job_id": leadmagic_sandbox.bulk_jobs[0].job_id,
        "status": "completed",
        "total_rows": 3,
        "succeeded": 2,
        "failed": 1,
        "skipped": 0,
        "credits_estimated": 3,
        "credits_consumed": 1,
        "output_path": str(output),
        "errors_path": str(output.with_name("enriched.errors.csv")),
    }


def test_the_output_file_has_the_input_rows_with_the_found_fields(
    task: MakeTask, written: Callable[[], list[dict[str, str]]]
) -> None:
    task(rows=leads(9)).run()

    assert [(row["crm_id"], row["full_name"], row["lm_status"]) for row in written()] == [
        (str(number), f"Lead {number}", "valid") for number in range(9)
    ]


def test_rows_may_come_from_a_file(task: MakeTask, tmp_path: Path, written: Callable[[], list[dict[str, str]]]) -> None:
    leads_file = tmp_path / "leads.csv"
    leads_file.write_text("crm_id,email\n17,ada@example.com\n")

    task(product="email_validation", input_path=str(leads_file)).run()

    assert [(row["crm_id"], row["lm_email_status"]) for row in written()] == [("17", "valid")]


def test_a_job_that_is_finished_at_the_first_poll_is_not_waited_for(task: MakeTask, leadmagic_sandbox: Sandbox) -> None:
    enrich = task(deferrable=True)

    enrich.run()

    assert enrich.deferrals == []
    assert calls(leadmagic_sandbox) == [
        "POST /bulk/validate",
        "POST /v1/batch/preview-cost",
        "GET /v1/credits",
        "POST /bulk/submit",
        "GET /bulk/jobs/JOB",
        "GET /bulk/jobs/JOB/download",
    ]


def test_it_waits_for_the_price_of_all_rows_plus_minimum_balance_after(
    task: MakeTask, leadmagic_sandbox: Sandbox, when: When, deferrable: bool, logged: Callable[[], str]
) -> None:
    leadmagic_sandbox.set_credits("14.75")
    polled_often = lambda: len(leadmagic_sandbox.requests_to(CREDITS)) >= 4  # noqa: E731
    when(polled_often, lambda: leadmagic_sandbox.set_credits(15))

    xcom = task(minimum_balance_after="10", deferrable=deferrable).run()

    assert xcom["credits_consumed"] == 5
    assert len(leadmagic_sandbox.requests_to(SUBMIT)) == 1
    log = logged()
    assert (
        "Bulk job not submitted yet. Not enough credits: 14.75 spendable, 15 required "
        "on connection 'leadmagic_default' (5 for the job, 10 to remain)."
    ) in log
    assert "Waiting for credits: 0.25 short (14.75 spendable, 15 required) on connection 'leadmagic_default'." in log


def test_waiting_for_credits_uses_the_trigger_of_the_sensor(
    task: MakeTask, leadmagic_sandbox: Sandbox, when: When
) -> None:
    leadmagic_sandbox.set_credits(4)
    when(lambda: len(leadmagic_sandbox.requests_to(CREDITS)) >= 2, lambda: leadmagic_sandbox.set_credits(5))
    enrich = task(deferrable=True)

    enrich.run()

    assert enrich.deferrals == ["SufficientCreditsTrigger"]


def test_credits_that_are_spent_elsewhere_before_the_submission_are_waited_for_again(
    task: MakeTask, leadmagic_sandbox: Sandbox, when: When, deferrable: bool, logged: Callable[[], str]
) -> None:
    leadmagic_sandbox.fail_next(SUBMIT, status=402)
    when(lambda: len(leadmagic_sandbox.requests_to(SUBMIT)) == 2, lambda: None)

    xcom = task(deferrable=deferrable).run()

    assert xcom["credits_consumed"] == 5
    assert len(leadmagic_sandbox.bulk_jobs) == 1
    assert re.search(r"Bulk job not submitted yet\. .*/bulk/submit", logged())


@pytest.mark.parametrize(("required", "expected"), [(8, 8), (3, 5), (None, 5)])
def test_it_waits_for_the_higher_of_its_estimate_and_the_required_credits(
    task: MakeTask, leadmagic_sandbox: Sandbox, logged: Callable[[], str], required: int | None, expected: int
) -> None:
    leadmagic_sandbox.set_credits(20)
    body = json.dumps({"title": "too little", "context": {"credits_required": required}})
    leadmagic_sandbox.fail_next(SUBMIT, status=402, body=body)

    task(deferrable=False).run()

    assert f"Credits sufficient: 20 spendable, {expected} required on connection" in logged()


def test_price_and_balance_are_requested_again_after_waiting(
    task: MakeTask, leadmagic_sandbox: Sandbox, when: When, deferrable: bool
) -> None:
    leadmagic_sandbox.set_credits(4)
    when(lambda: len(leadmagic_sandbox.requests_to(CREDITS)) >= 2, lambda: leadmagic_sandbox.set_credits(5))

    task(deferrable=deferrable).run()

    before_submitting = calls(leadmagic_sandbox)[: calls(leadmagic_sandbox).index("POST /bulk/submit")]
    assert before_submitting[-2:] == ["POST /v1/batch/preview-cost", "GET /v1/credits"]
    assert before_submitting.count("POST /v1/batch/preview-cost") == 2


@pytest.mark.parametrize("refusal", ["own check", "402 from LeadMagic"])
def test_it_fails_with_on_insufficient_fail(task: MakeTask, leadmagic_sandbox: Sandbox, refusal: str) -> None:
    if refusal == "own check":
        leadmagic_sandbox.set_credits(4)
    else:
        leadmagic_sandbox.fail_next(SUBMIT, status=402)

    with pytest.raises(InsufficientCreditsError):
        task(on_insufficient="fail").run()

    assert leadmagic_sandbox.bulk_jobs == []
    assert len(leadmagic_sandbox.requests_to(CREDITS)) == 1


def test_it_submits_nothing_that_could_cost_more_than_max_credits(task: MakeTask, leadmagic_sandbox: Sandbox) -> None:
    with pytest.raises(CreditsLimitError, match=r"^Not submitted: the job can cost 5 credits, max_credits is 4\.75\.$"):
        task(max_credits="4.75").run()

    assert leadmagic_sandbox.requests_to(SUBMIT) == []


def test_it_submits_a_job_that_costs_exactly_max_credits(task: MakeTask) -> None:
    assert task(max_credits=5).run()["status"] == "completed"


def test_no_row_is_charged_twice(task: MakeTask, leadmagic_sandbox: Sandbox) -> None:
    xcom = task().run()

    assert leadmagic_sandbox.charges_per_row(xcom["job_id"]) == Counter(range(5))


@pytest.mark.parametrize("waiting_for", ["credits", "the job"])
def test_it_fails_at_its_timeout_and_the_next_attempt_continues(
    task: MakeTask, leadmagic_sandbox: Sandbox, waiting_for: str, deferrable: bool
) -> None:
    if waiting_for == "credits":
        leadmagic_sandbox.set_credits(4)
    leadmagic_sandbox.bulk_speed(paused_clock=True)
    enrich = task(deferrable=deferrable, timeout=0.3)

    with pytest.raises(LeadMagicTimeoutError, match=r"^Timeout reached: .* the next attempt joins it\.$"):
        enrich.run()

    leadmagic_sandbox.set_credits(5)
    leadmagic_sandbox.bulk_speed()
    assert enrich.retry()["succeeded"] == 5
    assert len(leadmagic_sandbox.bulk_jobs) == 1


def test_transient_errors_while_waiting_are_retried(
    task: MakeTask, leadmagic_sandbox: Sandbox, when: When, deferrable: bool, logged: Callable[[], str]
) -> None:
    leadmagic_sandbox.set_credits(4)
    when(lambda: len(leadmagic_sandbox.requests_to(CREDITS)) >= 2, lambda: fail_some_requests(leadmagic_sandbox))
    # Not before: a poll that is already under way would find enough credits, and be the last one.
    when(lambda: failed_requests(leadmagic_sandbox) >= 2, lambda: leadmagic_sandbox.set_credits(5))

    assert task(deferrable=deferrable).run()["succeeded"] == 5

    log = logged()
    assert "Waiting for credits: poll failed (2 in a row), retrying in " in log
    assert re.search(r"Bulk job \S+: poll failed \(2 in a row\), retrying in [\d.]+ s: ", log)


def fail_some_requests(sandbox: Sandbox) -> None:
    for path in (CREDITS, "/bulk/jobs/*"):
        sandbox.fail_next(path, status=503, times=2)
        sandbox.fail_next(path, drop=True)


def failed_requests(sandbox: Sandbox) -> int:
    return sum(request.status == 503 for request in sandbox.requests_to(CREDITS))


@pytest.mark.parametrize("path", [CREDITS, "/bulk/jobs/*"])
def test_permanent_errors_while_waiting_fail_the_task(
    task: MakeTask, leadmagic_sandbox: Sandbox, when: When, path: str, deferrable: bool
) -> None:
    if path == CREDITS:
        leadmagic_sandbox.set_credits(4)
    leadmagic_sandbox.bulk_speed(paused_clock=True)
    before = len(leadmagic_sandbox.requests_to(path))
    polled = lambda: len(leadmagic_sandbox.requests_to(path)) > before  # noqa: E731
    when(polled, lambda: leadmagic_sandbox.fail_next(path, status=401, times=None))

    with pytest.raises(LeadMagicAuthenticationError):
        task(deferrable=deferrable).run()


INVALID_INPUT: dict[str, tuple[dict[str, Any], str]] = {
    "no rows": ({"rows": []}, r"^No rows to enrich\. \[rows\]$"),
    "mixed columns": (
        {"rows": [*leads(1), {"domain": "example.com"}]},
        r"^Row 2 must have the same columns as row 1: missing 'crm_id', 'full_name'\. \[rows\]$",
    ),
    "a missing field": (
        {"rows": [{"domain": "example.com"}]},
        r"^Row 1 is missing .* required by email_finder\. \[rows\]$",
    ),
    "an unknown product": ({"product": "email_fnder"}, r"product must be one of email_finder.*'email_fnder'"),
    "no such file": (
        {"input_path": "/nowhere/leads.csv"},
        r"^Cannot read input_path: no such file or directory\. \[/nowhere/leads\.csv\]$",
    ),
    "no such directory": (
        {"output_path": "/nowhere/enriched.csv"},
        r"^Cannot write output_path: no such file or directory\. \[/nowhere/enriched\.csv\]$",
    ),
    "a negative reserve": ({"minimum_balance_after": "-1"}, r"minimum_balance_after must be a number of credits"),
    "an invalid limit": ({"max_credits": "plenty"}, r"max_credits must be a number of credits"),
}


@pytest.mark.parametrize("case", INVALID_INPUT)
def test_invalid_input_fails_before_anything_is_sent(task: MakeTask, leadmagic_sandbox: Sandbox, case: str) -> None:
    arguments, message = INVALID_INPUT[case]

    with pytest.raises(ValueError, match=message):
        task(**arguments).run()

    assert leadmagic_sandbox.requests == []


UNEXPECTED_RESPONSES = {
    "/bulk/validate": ('{"valid": false}', r"^LeadMagic rejected the rows as invalid\. \[rows\]$"),
    "/v1/batch/preview-cost": (
        '{"totalItems": 1, "totalCredits": 1}',
        r"^Unexpected cost preview from LeadMagic: it covers 1 rows instead of 5\.$",
    ),
}


@pytest.mark.parametrize("path", UNEXPECTED_RESPONSES)
def test_nothing_is_submitted_if_a_response_does_not_accept_all_rows(
    task: MakeTask, leadmagic_sandbox: Sandbox, path: str
) -> None:
    body, message = UNEXPECTED_RESPONSES[path]
    leadmagic_sandbox.fail_next(path, body=body)

    with pytest.raises(LeadMagicError, match=message):
        task(max_credits=1).run()

    assert leadmagic_sandbox.requests_to(SUBMIT) == []


@pytest.mark.parametrize("invalid", [-1, "1,000", 4.5, True, [], "NaN"], ids=repr)
@pytest.mark.parametrize("field", ["total_rows", "processed_items", "succeeded_items", "failed_items", "skipped_items"])
def test_paid_results_are_delivered_although_a_count_is_invalid(
    task: MakeTask, leadmagic_sandbox: Sandbox, field: str, invalid: object, deferrable: bool
) -> None:
    counts = {"total_rows": 5, "processed_items": 5, "succeeded_items": 5, "failed_items": 0, "skipped_items": 0}
    status = {"status": "completed", **counts, "total_credits_consumed": "5.00", field: invalid}
    leadmagic_sandbox.fail_next("/bulk/jobs/*", body=json.dumps(status))

    xcom = task(deferrable=deferrable).run()

    assert (xcom["succeeded"], xcom["failed"], xcom["skipped"], xcom["credits_consumed"]) == (5, 0, 0, 5)
    assert xcom["total_rows"] == (None if field == "total_rows" else 5)


@pytest.mark.parametrize("invalid", [-5, "5,00", "NaN", "many", {}], ids=repr)
def test_invalid_credits_of_a_job_are_reported_as_unknown(
    task: MakeTask, leadmagic_sandbox: Sandbox, invalid: object, deferrable: bool, logged: Callable[[], str]
) -> None:
    status = {"status": "completed", "total_rows": 5, "processed_items": 5, "total_credits_consumed": invalid}
    leadmagic_sandbox.fail_next("/bulk/jobs/*", body=json.dumps(status))

    xcom = task(deferrable=deferrable).run()

    assert (xcom["succeeded"], xcom["credits_consumed"]) == (5, None)
    assert "5 / 5 rows (100%), unknown credits used" in logged()


@pytest.mark.parametrize("price", ["-1", "-0.01", "1,0", "null"])
def test_nothing_is_submitted_at_an_invalid_price(task: MakeTask, leadmagic_sandbox: Sandbox, price: str) -> None:
    body = json.dumps({"totalItems": 5, "totalCredits": None if price == "null" else price})
    leadmagic_sandbox.fail_next("/v1/batch/preview-cost", body=body)

    with pytest.raises(LeadMagicError, match=r"^Invalid .* Check the host of connection 'leadmagic_default'"):
        task().run()

    assert leadmagic_sandbox.requests_to(SUBMIT) == []


RESULT_COLUMNS = "row_index,status,lm_input,lm_output,credits_consumed,error_message,http_status_code"


@pytest.fixture
def two_results(leadmagic_sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let LeadMagic return two of five results, and skip the pauses between two readings."""
    body = "\n".join([RESULT_COLUMNS, *(f"{index},success,,{{}},1,,200" for index in range(2))])
    leadmagic_sandbox.fail_next("/bulk/jobs/*/download", body=body, content_type="text/csv", times=None)
    leadmagic_sandbox.fail_next("/bulk/jobs/*/results", body='{"rows": []}', times=2)
    monkeypatch.setattr(results, "PAUSES", (0, 0))


def test_the_stated_delimiter_is_used(
    task: MakeTask, leadmagic_sandbox: Sandbox, tmp_path: Path, written: Callable[[], list[dict[str, str]]]
) -> None:
    leads = tmp_path / "leads.csv"
    leads.write_text("full_name;domain;a,b\nAda Lovelace;example.com;one\n")

    task(rows=None, input_path=leads, delimiter=";").run()

    assert written()[0]["a,b"] == "one"


@pytest.mark.parametrize(("arguments", "text"), [({}, "'=1+1"), ({"escape_formulas": False}, "=1+1")], ids=str)
def test_formulas_are_escaped_unless_the_task_turns_that_off(
    task: MakeTask,
    leadmagic_sandbox: Sandbox,
    written: Callable[[], list[dict[str, str]]],
    arguments: dict[str, bool],
    text: str,
) -> None:
    body = f'{RESULT_COLUMNS}\n0,success,,"{{""title"":""=1+1""}}",1,,200'
    leadmagic_sandbox.fail_next("/bulk/jobs/*/download", body=body, content_type="text/csv")

    task(rows=leads(1), **arguments).run()

    assert written()[0]["lm_title"] == text


@pytest.mark.usefixtures("two_results")
@pytest.mark.parametrize("retries", [0, 2])
def test_task_with_missing_results_is_never_green(
    task: MakeTask,
    leadmagic_sandbox: Sandbox,
    output: Path,
    written: Callable[[], list[dict[str, str]]],
    retries: int,
    deferrable: bool,
) -> None:
    leadmagic_sandbox.fail_next("/bulk/jobs/*/results", body='{"rows": []}', times=None)
    enrich = task(deferrable=deferrable)
    enrich.ti.max_tries = retries
    message = "^Results incomplete: 3 of 5 rows missing. "

    for attempt in [enrich.run, enrich.retry][:retries]:
        with pytest.raises(LeadMagicResponseError, match=f"{message}The next attempt reads them again"):
            attempt()
        assert not output.exists()
    with pytest.raises(LeadMagicResponseError, match=f"{message}Read them with LeadMagicHook") as error:
        enrich.retry() if retries else enrich.run()

    [job] = leadmagic_sandbox.bulk_jobs
    errors = output.with_name("enriched.errors.csv")
    assert str(error.value).endswith(f"The other rows are written. [bulk job {job.job_id}, {output}, {errors}]")
    assert [row["crm_id"] for row in written()] == ["0", "1"]
    assert errors.read_text().count("skipped: the job has no result for this row") == 3


@pytest.mark.usefixtures("two_results")
def test_results_that_are_a_moment_late_are_delivered_by_the_same_attempt(
    task: MakeTask, deferrable: bool, logged: Callable[[], str]
) -> None:
    enrich = task(deferrable=deferrable)
    enrich.ti.max_tries = 0

    assert enrich.run()["succeeded"] == 5

    assert logged().count("Results missing: 3 of 5; reading them again in 0 s.") >= 2


@pytest.mark.parametrize("timeout", [30, 60])
def test_waiting_for_late_results_ends_at_the_timeout_of_the_attempt(
    task: MakeTask, mocker: MockerFixture, timeout: float, deferrable: bool
) -> None:
    write = mocker.spy(_bulk_run, "write_results")

    task(timeout=timeout, deferrable=deferrable).run()

    assert timeout - 25 < write.call_args.kwargs["seconds"] <= timeout


def test_rows_that_leadmagic_rejects_are_not_submitted(task: MakeTask, leadmagic_sandbox: Sandbox) -> None:
    leadmagic_sandbox.fail_next("/bulk/validate", status=400)

    with pytest.raises(Exception, match=r"^Request rejected \(400 validation_error\): .* \[POST \S+/bulk/validate, "):
        task().run()

    assert leadmagic_sandbox.requests_to(SUBMIT) == []


EMPTY_FILES = {"leads.csv": ["", "full_name,domain\n", "full_name,domain\n,\n"], "leads.jsonl": ["", "\n"]}


@pytest.mark.parametrize(("name", "content"), [(name, text) for name in EMPTY_FILES for text in EMPTY_FILES[name]])
def test_an_empty_file_is_an_error_or_skips_the_task(
    task: MakeTask, leadmagic_sandbox: Sandbox, tmp_path: Path, name: str, content: str
) -> None:
    (tmp_path / name).write_text(content)
    path = tmp_path / name

    with pytest.raises(ValueError, match=r"^(No rows to enrich|The file is empty).*\. \[.*leads"):
        task(input_path=path).run()
    with pytest.raises(AirflowSkipException, match=r"^Skipped: (No rows to enrich|The file is empty).*\. \[.*leads"):
        task(input_path=path, on_empty="skip").run()
    assert leadmagic_sandbox.requests == []


def test_a_file_that_does_not_exist_is_an_error_with_on_empty_skip(task: MakeTask, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"^Cannot read input_path: no such file or directory"):
        task(input_path=tmp_path / "leads.csv", on_empty="skip").run()


@pytest.mark.parametrize("was_submitted", [True, False])
def test_a_retry_is_skipped_only_if_no_attempt_submitted_rows(
    task: MakeTask, leadmagic_sandbox: Sandbox, tmp_path: Path, was_submitted: bool
) -> None:
    path = tmp_path / "leads.csv"
    path.write_text("full_name,domain\nAda Lovelace,example.com\n")
    path_that_fails = "/bulk/jobs/*" if was_submitted else "/bulk/validate"
    leadmagic_sandbox.fail_next(path_that_fails, status=401)
    enrich = task(input_path=path, on_empty="skip")
    with pytest.raises(LeadMagicAuthenticationError):
        enrich.run()
    path.write_text("full_name,domain\n")

    with pytest.raises(ValueError if was_submitted else AirflowSkipException, match="No rows to enrich"):
        enrich.retry()


@pytest.mark.parametrize("name", ["leads.csv", "leads.jsonl"])
def test_columns_are_sent_with_the_names_of_leadmagic_and_written_with_those_of_the_user(
    task: MakeTask, leadmagic_sandbox: Sandbox, tmp_path: Path, written: Callable[[], list[dict[str, str]]], name: str
) -> None:
    path = tmp_path / name
    row = {"CRM": "7", "Contact": "Ada Lovelace", "Domain": "example.com"}
    path.write_text("CRM,Contact,Domain\n7,Ada Lovelace,example.com\n" if name == "leads.csv" else json.dumps(row))

    xcom = task(input_path=path, column_mapping={"Contact": "full_name"}).run()

    assert xcom["succeeded"] == 1
    assert list(written()[0])[:4] == ["CRM", "Contact", "Domain", "lm_email"]
    assert {**written()[0], **row} == written()[0]


def test_what_the_email_finder_found_can_be_validated(
    task: MakeTask, output: Path, tmp_path: Path, written: Callable[[], list[dict[str, str]]]
) -> None:
    found = tmp_path / "found.csv"
    task(output_path=found).run()

    validate = task(product="email_validation", input_path=found, column_mapping={"lm_email": "email"})
    validate.ti.task_id = "validate"

    validate.run()

    assert [(row["crm_id"], "@" in row["lm_email"], row["lm_lm_email_status"]) for row in written()] == [
        (str(number), True, "valid") for number in range(5)
    ]


INVALID_MAPPINGS: dict[str, tuple[Any, str]] = {
    "a missing column": (
        {"Email": "email"},
        r"^column_mapping has columns that row 1 does not have: 'Email'\. \[rows\]$",
    ),
    "two columns with one name": (
        {"crm_id": "domain"},
        r"^Columns 'crm_id' and 'domain' would both be sent as 'domain' in row 1: rename one, or use .*\. \[rows\]$",
    ),
    "a list": (["email"], r"^column_mapping must be a dict that maps column names to LeadMagic's fields$"),
    "another type": (
        {"full_name": 7},
        r"^column_mapping must be a dict that maps column names to LeadMagic's fields$",
    ),
}


@pytest.mark.parametrize("case", INVALID_MAPPINGS)
def test_an_invalid_column_mapping_is_rejected_before_anything_is_sent(
    task: MakeTask, leadmagic_sandbox: Sandbox, case: str
) -> None:
    mapping, message = INVALID_MAPPINGS[case]

    with pytest.raises(ValueError, match=message):
        task(column_mapping=mapping).run()

    assert leadmagic_sandbox.requests == []


MIXED_FILES = {
    "leads.csv": (
        "id,Full_Name,domain\n1,,example.com\n2,Ada Lovelace,example.com\n3,Bob\n4,Cy Young,example.com\n5,Dee,\n",
        "Row 3 must have 3 cells, like the header; got 2",
    ),
    "leads.jsonl": (
        """{"id": "1", "Full_Name": "", "domain": "example.com"}
{"id": "2", "Full_Name": "Ada Lovelace", "domain": "example.com"}
{"id": "3", "Full_Name":
{"id": "4", "Full_Name": "Cy Young", "domain": "example.com"}
{"id": "5", "Full_Name": "Dee", "domain": null}
""",
        "Row 3 (line 3) is not valid JSON",
    ),
}


@pytest.mark.parametrize("name", MIXED_FILES)
def test_invalid_rows_are_skipped_and_listed_with_their_reason(
    task: MakeTask,
    leadmagic_sandbox: Sandbox,
    tmp_path: Path,
    output: Path,
    written: Callable[[], list[dict[str, str]]],
    logged: Callable[[], str],
    name: str,
) -> None:
    content, third = MIXED_FILES[name]
    (tmp_path / name).write_text(content)

    xcom = task(input_path=tmp_path / name, on_invalid_rows="skip", max_credits=2).run()

    assert {key: xcom[key] for key in ("total_rows", "succeeded", "failed", "skipped", "credits_consumed")} == {
        "total_rows": 2,
        "succeeded": 2,
        "failed": 0,
        "skipped": 3,
        "credits_consumed": 2,
    }
    assert [(row["id"], row["Full_Name"], row["lm_status"]) for row in written()] == [
        ("2", "Ada Lovelace", "valid"),
        ("4", "Cy Young", "valid"),
    ]
    with output.with_name("enriched.errors.csv").open(newline="") as file:
        reasons = [row["lm_error_message"] for row in csv.DictReader(file)]
    assert reasons == [
        "skipped: Row 1 is missing first_name or last_name or full_name or profile_url, required by email_finder",
        f"skipped: {third}",
        "skipped: Row 5 is missing domain or company_name, required by email_finder",
    ]
    assert "Skipping 3 of 5 rows. The first: Row 1 is missing" in logged()


@pytest.mark.parametrize("on_empty", ["fail", "skip"])
def test_a_list_without_a_valid_row_is_an_error(task: MakeTask, leadmagic_sandbox: Sandbox, on_empty: str) -> None:
    rows = [{"full_name": "", "domain": "example.com"}, "text"]

    with pytest.raises(
        ValueError, match=r"^No valid rows to enrich, 2 invalid\. The first: Row 1 is missing .* \[rows\]$"
    ):
        task(rows=rows, on_invalid_rows="skip", on_empty=on_empty).run()
    assert leadmagic_sandbox.requests == []


def test_an_invalid_row_whose_values_are_not_json_is_listed(task: MakeTask, output: Path) -> None:
    rows = [*leads(2), {**leads(1)[0], "crm_id": float("nan")}, {**leads(1)[0], "crm_id": {1, 2}}]

    xcom = task(rows=rows, on_invalid_rows="skip", output_path=output.with_suffix(".jsonl")).run()

    with output.with_name("enriched.errors.jsonl").open() as file:
        assert [json.loads(line)["crm_id"] for line in file] == ["nan", "{1, 2}"]
    assert (xcom["succeeded"], xcom["skipped"]) == (2, 2)


@pytest.mark.parametrize("suffix", [".jsonl", ".csv"])
@pytest.mark.parametrize(
    ("value", "text"),
    [
        (date(2026, 1, 1), "datetime.date(2026, 1, 1)"),
        ({"at": [date(2026, 1, 1)]}, "{'at': [datetime.date(2026, 1, 1)]}"),
        (float("nan"), "nan"),
        (10**5000, "int"),
    ],
    ids=["a date", "a date inside", "NaN", "an integer without a text"],
)
def test_a_paid_job_is_written_whatever_a_row_without_the_mapped_column_contains(
    task: MakeTask, output: Path, suffix: str, value: object, text: str
) -> None:
    rows = [{"Note": value}, {"Mail": "ada@example.com", "Note": "1"}]
    arguments = {"product": "email_validation", "column_mapping": {"Mail": "email"}, "on_invalid_rows": "skip"}

    xcom = task(rows=rows, output_path=output.with_suffix(suffix), **arguments).run()

    assert (xcom["succeeded"], xcom["skipped"]) == (1, 1)
    with open(xcom["errors_path"], newline="") as file:
        [error] = csv.DictReader(file) if suffix == ".csv" else map(json.loads, file)
    assert error["Note"] == text


def test_a_row_without_a_mapped_column_is_invalid(task: MakeTask) -> None:
    rows = [{"Name": "Ada Lovelace", "domain": "example.com"}, {"domain": "example.com"}]
    arguments = {"rows": rows, "column_mapping": {"Name": "full_name"}}

    with pytest.raises(
        ValueError, match=r"^Row 2 must have the same columns as row 1: missing 'full_name'\. \[rows\]$"
    ):
        task(**arguments).run()
    assert task(**arguments, on_invalid_rows="skip").run()["skipped"] == 1


FIRST_ROWS: dict[str, tuple[dict[str, Any], str]] = {
    "without a mapped column": (
        {"domain": "example.com"},
        "column_mapping has columns that row 1 does not have: 'Name'",
    ),
    "with two columns of one name": (
        {"Name": "Ada", "full_name": "Ada", "domain": "example.com"},
        "Columns 'Name' and 'full_name' would both be sent as 'full_name' in row 1: rename one, or use column_mapping",
    ),
    "with other spellings": (
        {"Name": "Ada", "DOMAIN": "", "ID": "1"},
        "Row 1 is missing domain or company_name, required by email_finder",
    ),
}


@pytest.mark.parametrize("first", FIRST_ROWS)
def test_the_first_valid_row_decides_columns_and_mapping(
    task: MakeTask, output: Path, written: Callable[[], list[dict[str, str]]], first: str
) -> None:
    row, problem = FIRST_ROWS[first]
    rows = [row, {"Name": "Ada", "Domain": "example.com"}, {"Name": "Bob", "city": "Rome"}]

    xcom = task(rows=rows, on_invalid_rows="skip", column_mapping={"Name": "full_name"}).run()

    assert (xcom["succeeded"], xcom["skipped"]) == (1, 2)
    assert list(written()[0])[:2] == ["Name", "Domain"]
    with output.with_name("enriched.errors.csv").open(newline="") as file:
        reasons = [row["lm_error_message"] for row in csv.DictReader(file)]
    columns = "Row 3 must have the same columns as row 2: missing 'domain'; unexpected 'city'"
    assert reasons == [f"skipped: {problem}", f"skipped: {columns}"]
