"""Tests of BulkJob and CostPreview: conversion from the API and to JSON."""

from __future__ import annotations

import json
from dataclasses import replace
from decimal import Decimal

import pytest

from airflow_provider_leadmagic.api.jobs import BulkJob, CostPreview, check_job_id
from airflow_provider_leadmagic.exceptions import LeadMagicResponseError

STATUS = {
    "job_id": "a1b2c3d4-e5f6-7890-abcd-ef1234567890",
    "status": "processing",
    "total_rows": 5000,
    "processed_items": 2125,
    "succeeded_items": 2080,
    "failed_items": 45,
    "skipped_items": 7,
    "total_credits_consumed": "2080.00",
    "file_name": "leads.csv",
}
COUNTS = ("total_rows", "processed_items", "succeeded_items", "failed_items", "skipped_items")
INVALID_COUNTS = ["many", "1,000", "", True, -1, 1.5, "NaN", float("inf"), [], "1e400", "9" * 400]


def make_job(status="processing", total_rows=10, **fields):
    return BulkJob("j1", status, total_rows, **fields)


class TestFromTheApi:
    def test_job_status_is_converted_from_snake_case(self):
        assert BulkJob.from_api(STATUS) == BulkJob(
            job_id="a1b2c3d4-e5f6-7890-abcd-ef1234567890",
            status="processing",
            total_rows=5000,
            processed=2125,
            succeeded=2080,
            failed=45,
            skipped=7,
            credits_consumed=Decimal("2080.00"),
            file_name="leads.csv",
        )

    def test_submission_response_is_converted_from_camel_case(self):
        body = {"jobId": "j-1", "status": "uploaded", "totalRows": 3, "queue": {"position": 1}}
        assert BulkJob.from_api(body) == BulkJob("j-1", "uploaded", 3)

    @pytest.mark.parametrize("absent", [{}, dict.fromkeys([*COUNTS, "total_credits_consumed"])], ids=["absent", "null"])
    def test_only_id_and_status_are_required(self, absent):
        assert BulkJob.from_api({"job_id": "j1", "status": "queued", **absent}) == BulkJob("j1", "queued", 0)

    @pytest.mark.parametrize("field", COUNTS)
    @pytest.mark.parametrize("value", [4, "4", Decimal(4), 4.0], ids=repr)
    def test_count_can_be_a_number_or_text(self, field, value):
        job = BulkJob.from_api({"job_id": "j1", "status": "queued", field: value}).to_json()
        assert job[field.removesuffix("_items")] == 4

    @pytest.mark.parametrize("field", COUNTS)
    @pytest.mark.parametrize("value", INVALID_COUNTS, ids=lambda value: repr(value)[:20])
    def test_invalid_count_is_unknown_and_the_rest_is_kept(self, field, value):
        job = BulkJob.from_api({**STATUS, field: value})
        assert job == replace(BulkJob.from_api(STATUS), **{field.removesuffix("_items"): None})

    @pytest.mark.parametrize(
        ("given", "expected"), [("0.30000000000000000001",) * 2, (Decimal("0.05"), "0.05"), (2, "2")]
    )
    def test_credits_are_exact(self, given, expected):
        assert BulkJob.from_api({**STATUS, "total_credits_consumed": given}).credits_consumed == Decimal(expected)

    @pytest.mark.parametrize("value", ["many", "1,000", -1, "-0.05", True, "NaN", {}], ids=repr)
    def test_invalid_credits_are_unknown_and_the_rest_is_kept(self, value):
        job = BulkJob.from_api({**STATUS, "total_credits_consumed": value})
        assert job == replace(BulkJob.from_api(STATUS), credits_consumed=None)

    @pytest.mark.parametrize("body", [None, [], "job", 5])
    def test_body_that_is_not_an_object_is_rejected(self, body):
        with pytest.raises(LeadMagicResponseError, match="not a JSON object"):
            BulkJob.from_api(body)

    @pytest.mark.parametrize("status", [None, "", 5, " "])
    def test_missing_status_is_rejected(self, status):
        with pytest.raises(LeadMagicResponseError, match="`status` is missing"):
            BulkJob.from_api({**STATUS, "status": status})

    def test_status_is_redacted(self):
        status = f"new\n\x1b[31m?token=hunter2 {'x' * 500}"
        job = BulkJob.from_api({**STATUS, "status": status})
        assert job.status.isprintable()
        assert "hunter2" not in job.status
        assert len(job.status) < 310

    @pytest.mark.parametrize(
        "job_id",
        [None, "", True, 1.5, {}, "..", "../credits", "a/b", "a?token=hunter2", "a%2fb", "a b", "a\n", "ä", "x" * 101],
        ids=repr,
    )
    @pytest.mark.parametrize("name", ["job_id", "jobId"])
    def test_unsafe_id_is_rejected_and_not_shown(self, name, job_id):
        with pytest.raises(LeadMagicResponseError, match=r"must be 1 to 100 letters, digits, `.`, ") as caught:
            BulkJob.from_api({"status": "queued", name: job_id})
        assert "hunter2" not in str(caught.value)

    @pytest.mark.parametrize("sent", [12345, Decimal(12345), "12345"], ids=repr)
    def test_an_id_may_be_a_number(self, sent):
        assert BulkJob.from_api({**STATUS, "job_id": sent}).job_id == "12345"

    @pytest.mark.parametrize("sent", ["job_1", "job-1", "job:2026.11", "x" * 100])
    def test_an_id_need_not_be_a_uuid(self, sent):
        assert BulkJob.from_api({**STATUS, "job_id": sent}).job_id == sent

    def test_links_and_tokens_are_dropped(self):
        link = "https://api.leadmagic.io/bulk/jobs/j1?token=hunter2"
        job = BulkJob.from_api({**STATUS, "links": {"statusUrl": link}, "statusUrl": link, "token": "hunter2"})
        assert "hunter2" not in f"{job!r} {job.to_json()} {job.progress()}"


class TestState:
    @pytest.mark.parametrize(
        ("status", "completed", "finished", "paused"),
        [
            ("uploaded", False, False, False),
            ("queued", False, False, False),
            ("processing", False, False, False),
            ("running", False, False, False),
            ("paused", False, False, True),
            ("Paused", False, False, True),
            ("completed", True, True, False),
            ("COMPLETED", True, True, False),
            ("failed", False, True, False),
            ("canceled", False, True, False),
            ("Cancelled", False, True, False),
            ("completed_partially", False, False, False),
        ],
    )
    def test_only_known_final_states_are_final(self, status, completed, finished, paused):
        job = make_job(status)
        assert (job.is_completed, job.is_finished, job.is_paused) == (completed, finished, paused)
        assert job.is_canceled is status.lower().startswith("cancel")


class TestProgress:
    @pytest.mark.parametrize(
        ("total", "done", "credits", "text"),
        [
            (5000, 2125, "2080.00", "2,125 / 5,000 rows (43%), 2,080 credits used"),
            (3, 2, "0.5", "2 / 3 rows (67%), 0.5 credits used"),
            (1000, 999, "0", "999 / 1,000 rows (99%), 0 credits used"),
            (1000, 4, "0", "4 / 1,000 rows (0%), 0 credits used"),
            (4, 4, "4", "4 / 4 rows (100%), 4 credits used"),
            (0, 0, "0", "0 / 0 rows (0%), 0 credits used"),
            (4, None, "4", "unknown / 4 rows, 4 credits used"),
            (None, 1000, "4", "1,000 / unknown rows, 4 credits used"),
        ],
    )
    def test_progress_has_rows_percentage_and_credits(self, total, done, credits, text):
        assert make_job(total_rows=total, processed=done, credits_consumed=Decimal(credits)).progress() == text

    def test_unknown_credits_are_called_unknown(self):
        assert make_job(processed=10, credits_consumed=None).progress() == "10 / 10 rows (100%), unknown credits used"


class TestPriceOfRemainingRows:
    @pytest.mark.parametrize(
        ("total", "done", "price"),
        [(9, 0, 3), (9, 6, 1), (9, 9, 0), (9, 10, 0), (9, None, 3), (None, 6, 3), (0, 0, 3)],
    )
    def test_it_is_the_whole_price_if_a_count_is_unknown(self, total, done, price):
        assert make_job(total_rows=total, processed=done).price_of_remaining_rows(Decimal(3)) == price


UNKNOWN = BulkJob("j1", "completed", None, None, None, None, None, None)


class TestJson:
    @pytest.mark.parametrize(
        "original", [BulkJob.from_api(STATUS), make_job(), UNKNOWN], ids=["every field", "few fields", "unknown counts"]
    )
    def test_job_is_equal_after_json(self, original):
        assert BulkJob.from_json(json.loads(json.dumps(original.to_json()))) == original

    def test_fields_of_other_versions_are_ignored_or_default(self):
        assert BulkJob.from_json({**make_job().to_json(), "mood": "good"}) == make_job()
        assert BulkJob.from_json({"job_id": "j1", "status": "processing", "total_rows": 10}) == make_job()

    def test_json_has_exact_credits(self):
        assert make_job(credits_consumed=Decimal("1234567890123456789.05")).to_json()["credits_consumed"] == (
            "1234567890123456789.05"
        )


class TestJobIdArgument:
    @pytest.mark.parametrize("job_id", ["a", "A1_b-2", "a.b:c", "x" * 100])
    def test_safe_id_is_accepted(self, job_id):
        assert check_job_id(job_id) == job_id

    @pytest.mark.parametrize("job_id", ["", "x" * 101, "a/b", ".", "..", "a?b", "a\n", "ä", None, 5, b"a"], ids=repr)
    def test_error_for_an_unsafe_id_names_the_argument(self, job_id):
        with pytest.raises(ValueError, match=r"^job_id must be 1 to 100 letters, .* and not only dots; got "):
            check_job_id(job_id)


class TestPreviewFromTheApi:
    def test_preview_is_converted(self):
        body = {"totalItems": 3, "totalCredits": Decimal("0.75"), "willExceedBudget": True, "creditsPerItem": None}
        assert CostPreview.from_api(body) == CostPreview(3, Decimal("0.75"), will_exceed_budget=True)

    def test_budget_is_not_exceeded_by_default(self):
        assert CostPreview.from_api({"totalItems": 3, "totalCredits": 1}).will_exceed_budget is False

    @pytest.mark.parametrize(
        "body", [None, [], {}, {"totalItems": 3}, {"totalCredits": 1, "totalItems": None}], ids=str
    )
    def test_missing_price_is_rejected(self, body):
        with pytest.raises(LeadMagicResponseError, match="`totalItems` or `totalCredits` is missing"):
            CostPreview.from_api(body)

    @pytest.mark.parametrize("field", ["totalItems", "totalCredits"])
    @pytest.mark.parametrize("value", ["many", "1,000", -1, "-0.01", True, float("nan")], ids=repr)
    def test_invalid_price_is_rejected(self, field, value):
        with pytest.raises(LeadMagicResponseError, match=f"`{field}` must be a number, 0 or more"):
            CostPreview.from_api({"totalItems": 3, "totalCredits": 1, field: value})

    def test_half_an_item_is_rejected(self):
        with pytest.raises(LeadMagicResponseError, match="`totalItems` must be a whole number, 0 or more"):
            CostPreview.from_api({"totalItems": 2.5, "totalCredits": 1})


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        pytest.param({"succeeded": 4, "failed": 1}, 5, id="all rows"),
        pytest.param({"succeeded": 3, "failed": 0, "skipped": 2}, 3, id="without the skipped rows"),
        pytest.param({"succeeded": 3, "failed": 0}, 5, id="counts that are out of date"),
        pytest.param({"skipped": 5}, 0, id="only skipped rows"),
        pytest.param({"skipped": 5, "credits_consumed": Decimal(5)}, 5, id="skipped rows that were charged"),
        pytest.param({"succeeded": None}, 5, id="an unknown count"),
        pytest.param({"total_rows": 0, "succeeded": 0}, None, id="no number of rows"),
        pytest.param({"status": "failed", "succeeded": 3, "failed": 0}, 3, id="a job that failed"),
    ],
)
def test_results_are_expected_for_each_row_that_may_have_been_charged(counts, expected):
    job = BulkJob(**{"job_id": "1", "status": "completed", "total_rows": 5, **counts})
    assert job.expected_results() == expected
