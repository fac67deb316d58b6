"""From the rows to the order: what is checked, what is asked, what has to be there before a credit is spent."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_leadmagic.exceptions import (
    CreditsLimitError,
    InsufficientCreditsError,
    LeadMagicAuthenticationError,
    LeadMagicError,
    LeadMagicResponseError,
    LeadMagicTimeoutError,
)
from tests.unit.operators.conftest import leads

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from airflow_provider_leadmagic.sandbox.sandbox import Sandbox
    from tests.unit.operators.conftest import MakeTask, When

SUBMIT, CREDITS = "/bulk/submit", "/v1/credits"


def calls(sandbox: Sandbox) -> list[str]:
    [job] = sandbox.bulk_jobs
    return [f"{request.method} {request.path.replace(job.job_id, 'JOB')}" for request in sandbox.requests]


def test_it_returns_what_was_done_and_what_it_cost(
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


def test_the_file_has_the_rows_as_they_came_with_what_was_found(
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


def test_a_job_that_is_done_at_the_first_look_takes_no_waiting(task: MakeTask, leadmagic_sandbox: Sandbox) -> None:
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


def test_it_waits_for_credits_that_cover_every_row_and_what_has_to_be_left(
    task: MakeTask, leadmagic_sandbox: Sandbox, when: When, deferrable: bool, said: Callable[[], str]
) -> None:
    leadmagic_sandbox.set_credits("14.75")
    looked_often = lambda: len(leadmagic_sandbox.requests_to(CREDITS)) >= 4  # noqa: E731
    when(looked_often, lambda: leadmagic_sandbox.set_credits(15))

    xcom = task(minimum_balance_after="10", deferrable=deferrable).run()

    assert xcom["credits_consumed"] == 5
    assert len(leadmagic_sandbox.requests_to(SUBMIT)) == 1
    told = said()
    assert (
        "Nothing is ordered yet. Connection 'leadmagic_default' can spend 14.75 credits, 15 are needed: "
        "up to 5 for the job, and 10 to be left after it."
    ) in told
    assert "Waiting for credits: 0.25 short (14.75 spendable, 15 required) on connection 'leadmagic_default'." in told


def test_waiting_for_credits_is_the_business_of_the_gates_own_trigger(
    task: MakeTask, leadmagic_sandbox: Sandbox, when: When
) -> None:
    leadmagic_sandbox.set_credits(4)
    when(lambda: len(leadmagic_sandbox.requests_to(CREDITS)) >= 2, lambda: leadmagic_sandbox.set_credits(5))
    enrich = task(deferrable=True)

    enrich.run()

    assert enrich.deferrals == ["SufficientCreditsTrigger"]


def test_credits_that_somebody_else_spends_in_between_are_waited_for_again(
    task: MakeTask, leadmagic_sandbox: Sandbox, when: When, deferrable: bool, said: Callable[[], str]
) -> None:
    leadmagic_sandbox.fail_next(SUBMIT, status=402)
    when(lambda: len(leadmagic_sandbox.requests_to(SUBMIT)) == 2, lambda: None)

    xcom = task(deferrable=deferrable).run()

    assert xcom["credits_consumed"] == 5
    assert len(leadmagic_sandbox.bulk_jobs) == 1
    assert "Nothing is ordered yet. POST " in said()


@pytest.mark.parametrize(("refused_for", "needed"), [(8, 8), (3, 5), (None, 5)])
def test_it_waits_for_the_more_of_what_it_counted_and_what_leadmagic_asks_for(
    task: MakeTask, leadmagic_sandbox: Sandbox, said: Callable[[], str], refused_for: int | None, needed: int
) -> None:
    leadmagic_sandbox.set_credits(20)
    body = json.dumps({"title": "too little", "context": {"credits_required": refused_for}})
    leadmagic_sandbox.fail_next(SUBMIT, status=402, body=body)

    task(deferrable=False).run()

    assert f"Credits sufficient: 20 spendable, {needed} required on connection" in said()


def test_after_waiting_price_and_balance_are_asked_again(
    task: MakeTask, leadmagic_sandbox: Sandbox, when: When, deferrable: bool
) -> None:
    leadmagic_sandbox.set_credits(4)
    when(lambda: len(leadmagic_sandbox.requests_to(CREDITS)) >= 2, lambda: leadmagic_sandbox.set_credits(5))

    task(deferrable=deferrable).run()

    before_the_order = calls(leadmagic_sandbox)[: calls(leadmagic_sandbox).index("POST /bulk/submit")]
    assert before_the_order[-2:] == ["POST /v1/batch/preview-cost", "GET /v1/credits"]
    assert before_the_order.count("POST /v1/batch/preview-cost") == 2


@pytest.mark.parametrize("refusal", ["our own look", "LeadMagic's answer"])
def test_it_fails_instead_of_waiting_when_told_to(task: MakeTask, leadmagic_sandbox: Sandbox, refusal: str) -> None:
    if refusal == "our own look":
        leadmagic_sandbox.set_credits(4)
    else:
        leadmagic_sandbox.fail_next(SUBMIT, status=402)

    with pytest.raises(InsufficientCreditsError):
        task(on_insufficient="fail").run()

    assert leadmagic_sandbox.bulk_jobs == []
    assert len(leadmagic_sandbox.requests_to(CREDITS)) == 1


def test_it_orders_nothing_that_could_cost_more_than_it_may(task: MakeTask, leadmagic_sandbox: Sandbox) -> None:
    with pytest.raises(CreditsLimitError, match=r"^It can cost 5 credits; max_credits is 4\.75\.$"):
        task(max_credits="4.75").run()

    assert leadmagic_sandbox.requests_to(SUBMIT) == []


def test_it_orders_what_costs_just_what_it_may(task: MakeTask) -> None:
    assert task(max_credits=5).run()["status"] == "completed"


def test_no_row_is_charged_twice(task: MakeTask, leadmagic_sandbox: Sandbox) -> None:
    xcom = task().run()

    assert leadmagic_sandbox.charges_per_row(xcom["job_id"]) == Counter(range(5))


@pytest.mark.parametrize("waiting_for", ["credits", "the job"])
def test_it_gives_up_at_its_timeout_and_the_next_try_goes_on(
    task: MakeTask, leadmagic_sandbox: Sandbox, waiting_for: str, deferrable: bool
) -> None:
    if waiting_for == "credits":
        leadmagic_sandbox.set_credits(4)
    leadmagic_sandbox.bulk_speed(paused_clock=True)
    enrich = task(deferrable=deferrable, timeout=0.3)

    with pytest.raises(LeadMagicTimeoutError, match="the next try joins it"):
        enrich.run()

    leadmagic_sandbox.set_credits(5)
    leadmagic_sandbox.bulk_speed()
    assert enrich.retry()["succeeded"] == 5
    assert len(leadmagic_sandbox.bulk_jobs) == 1


def test_what_does_not_answer_while_it_waits_is_waited_out(
    task: MakeTask, leadmagic_sandbox: Sandbox, when: When, deferrable: bool, said: Callable[[], str]
) -> None:
    leadmagic_sandbox.set_credits(4)
    when(lambda: len(leadmagic_sandbox.requests_to(CREDITS)) >= 2, lambda: trouble(leadmagic_sandbox))

    assert task(deferrable=deferrable).run()["succeeded"] == 5

    told = said()
    assert "Waiting for credits: poll failed (2 in a row), retrying in " in told
    assert "could not be looked at, failed look 2 in a row" in told


def trouble(sandbox: Sandbox) -> None:
    for path in (CREDITS, "/bulk/jobs/*"):
        sandbox.fail_next(path, status=503, times=2)
        sandbox.fail_next(path, drop=True)
    sandbox.set_credits(5)


@pytest.mark.parametrize("path", [CREDITS, "/bulk/jobs/*"])
def test_what_waiting_cannot_mend_fails_with_the_very_error(
    task: MakeTask, leadmagic_sandbox: Sandbox, when: When, path: str, deferrable: bool
) -> None:
    if path == CREDITS:
        leadmagic_sandbox.set_credits(4)
    leadmagic_sandbox.bulk_speed(paused_clock=True)
    seen = len(leadmagic_sandbox.requests_to(path))
    looked = lambda: len(leadmagic_sandbox.requests_to(path)) > seen  # noqa: E731
    when(looked, lambda: leadmagic_sandbox.fail_next(path, status=401, times=None))

    with pytest.raises(LeadMagicAuthenticationError):
        task(deferrable=deferrable).run()


BAD_INPUT: dict[str, tuple[dict[str, Any], str]] = {
    "no rows": ({"rows": []}, r"rows has no rows"),
    "mixed columns": ({"rows": [*leads(1), {"domain": "example.com"}]}, r"row 2 of rows has other columns than row 1"),
    "a missing field": ({"rows": [{"domain": "example.com"}]}, r"row 1 of rows lacks what email_finder needs"),
    "a product nobody knows": ({"product": "email_fnder"}, r"product must be one of email_finder.*'email_fnder'"),
    "no such file": ({"input_path": "/nowhere/leads.csv"}, r"/nowhere/leads\.csv"),
    "nowhere to write": ({"output_path": "/nowhere/enriched.csv"}, r"/nowhere"),
    "a negative reserve": ({"minimum_balance_after": "-1"}, r"minimum_balance_after must be a number of credits"),
    "a limit that is none": ({"max_credits": "plenty"}, r"max_credits must be a number of credits"),
}


@pytest.mark.parametrize("case", BAD_INPUT)
def test_bad_input_fails_before_anything_is_sent(task: MakeTask, leadmagic_sandbox: Sandbox, case: str) -> None:
    arguments, message = BAD_INPUT[case]

    with pytest.raises(ValueError, match=message):
        task(**arguments).run()

    assert leadmagic_sandbox.requests == []


ODD_ANSWERS = {
    "/bulk/validate": ('{"valid": false}', "LeadMagic says that the rows of rows are not valid"),
    "/v1/batch/preview-cost": ('{"totalItems": 1, "totalCredits": 1}', "LeadMagic priced 1 rows instead of 5"),
}


@pytest.mark.parametrize("path", ODD_ANSWERS)
def test_nothing_is_ordered_on_an_answer_that_is_not_about_all_rows(
    task: MakeTask, leadmagic_sandbox: Sandbox, path: str
) -> None:
    body, message = ODD_ANSWERS[path]
    leadmagic_sandbox.fail_next(path, body=body)

    with pytest.raises(LeadMagicError, match=message):
        task(max_credits=1).run()

    assert leadmagic_sandbox.requests_to(SUBMIT) == []


def test_results_that_are_late_are_waited_for_by_a_retry_and_the_last_try_takes_what_is_there(
    task: MakeTask, leadmagic_sandbox: Sandbox
) -> None:
    late = {"body": "row_index,status,lm_input,lm_output,credits_consumed,error_message,http_status_code\n"}
    leadmagic_sandbox.fail_next("/bulk/jobs/*/download", content_type="text/csv", times=None, **late)
    leadmagic_sandbox.fail_next("/bulk/jobs/*/results", body='{"rows": []}', times=None)
    enrich = task()

    for attempt in (enrich.run, enrich.retry):
        with pytest.raises(LeadMagicResponseError, match="has 0 of the 5 rows that are done"):
            attempt()
    assert enrich.retry()["skipped"] == 5


def test_rows_that_leadmagic_refuses_are_not_ordered(task: MakeTask, leadmagic_sandbox: Sandbox) -> None:
    leadmagic_sandbox.fail_next("/bulk/validate", status=400)

    with pytest.raises(Exception, match="/bulk/validate was answered 400"):
        task().run()

    assert leadmagic_sandbox.requests_to(SUBMIT) == []
