"""Results are joined with the submitted rows and written to two files, in row order."""

from __future__ import annotations

import csv
import json
import logging
from dataclasses import replace
from functools import partial

import pytest

from airflow_provider_leadmagic.api.products import find_product
from airflow_provider_leadmagic.bulk.output import ResultFiles
from airflow_provider_leadmagic.bulk.results import WrittenRows, write_results
from airflow_provider_leadmagic.bulk.row_checks import RowsDigest, check_rows
from airflow_provider_leadmagic.bulk.rows import row_source
from airflow_provider_leadmagic.bulk.submission import digest_in, job_name
from airflow_provider_leadmagic.exceptions import LeadMagicResponseError

NAMES = ["Jane Doe", "notfound", "invalid", "Joe Doe", "Jim Doe", "invalid too"]
ROWS = [{"crm_id": index, "full_name": name, "domain": "acme.example"} for index, name in enumerate(NAMES)]


@pytest.fixture
def write(client, tmp_path):
    """Return a function that writes the results of a job and returns the rows of both files and the counts."""

    def write(job, name="out.jsonl", **rows):
        files = ResultFiles(tmp_path / name)
        written = write_results(client, job, "email_finder", row_source(**rows), files)
        return _read(files.output_path), _read(files.errors_path), written

    return write


def _read(path):
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file)) if path.endswith(".csv") else [json.loads(line) for line in file]


@pytest.fixture(params=["download", "pages"])
def results_of(request, leadmagic_sandbox):
    """Return a function that scripts the results that the sandbox returns, as a download or as pages."""

    def script(*results):
        rows = [{"row_index": index, "status": "success", **result} for index, result in enumerate(results)]
        if request.param == "download":
            leadmagic_sandbox.fail_next("/bulk/jobs/*/download", body=as_csv(rows), content_type="text/csv")
        else:
            leadmagic_sandbox.fail_next("/bulk/jobs/*/download", status=404)
            page = {"rows": rows, "limit": 1000, "offset": 0}
            leadmagic_sandbox.fail_next("/bulk/jobs/*/results", body=json.dumps(page))

    return script


def as_csv(rows):
    columns = ["row_index", "status", "lm_input", "lm_output", "credits_consumed", "error_message", "http_status_code"]
    lines = [columns, *([_cell(row.get(column)) for column in columns] for row in rows)]
    return "".join(",".join(f'"{cell}"' for cell in line) + "\r\n" for line in lines)


def _cell(value):
    text = json.dumps(value) if isinstance(value, dict | list) else "" if value is None else str(value)
    return text.replace('"', '""')


@pytest.mark.parametrize("name", ["out.jsonl", "out.csv"])
def test_a_number_that_json_does_not_have_is_null_in_written_json(finished, results_of, write, tmp_path, name):
    job = finished(ROWS[:1])
    results_of({"lm_output": {"score": float("nan"), "more": [{"ratio": float("-inf"), "name": "Ö"}]}})
    write(job, name, rows=ROWS[:1])
    text = (tmp_path / name).read_text().replace('""', '"')
    assert '[{"ratio": null, "name": "Ö"}]' in text
    assert "NaN" not in text


def test_every_row_is_in_one_of_the_files_in_input_order(finished, write):
    output, errors, written = write(finished(ROWS), rows=ROWS)
    assert [row["crm_id"] for row in output] == [0, 1, 3, 4]
    assert [row["crm_id"] for row in errors] == [2, 5]
    assert written == WrittenRows(succeeded=4, failed=2, skipped=0)


def test_a_row_keeps_its_columns_and_gets_the_found_fields(finished, write):
    output, _, _ = write(finished(ROWS), rows=ROWS)
    jane, miss, *_ = output
    assert list(jane)[:4] == ["crm_id", "full_name", "domain", "lm_email"]
    assert list(jane)[-1] == "lm_credits_consumed"
    assert jane.items() >= {**ROWS[0], "lm_email": "jane-doe@acme.example", "lm_credits_consumed": 1}.items()
    assert (miss["lm_email"], miss["lm_credits_consumed"]) == (None, 0)
    assert all(row.keys() == jane.keys() for row in output)


def test_a_failed_row_keeps_its_columns_and_gets_the_reason(finished, write):
    _, errors, _ = write(finished(ROWS), rows=ROWS)
    message = "Invalid full_name format: invalid"
    assert errors[0] == {**ROWS[2], "lm_error_message": message, "lm_http_status_code": 422}


def test_input_and_output_may_be_of_different_formats(finished, write, tmp_path):
    path = tmp_path / "leads.csv"
    lines = ["crm_id,full_name,domain", *(",".join(map(str, row.values())) for row in ROWS)]
    path.write_text("\n".join(lines))
    output, errors, _ = write(finished(row_source(input_path=path)), "out.ndjson", input_path=path)
    assert [row["crm_id"] for row in (*output, *errors)] == ["0", "1", "3", "4", "2", "5"]
    output, errors, _ = write(finished(ROWS), "out.csv", rows=ROWS)
    assert [row["lm_credits_consumed"] for row in output] == ["1", "0", "1", "1"]


def test_a_row_that_was_not_processed_is_skipped(client, finished, leadmagic_sandbox, write):
    leadmagic_sandbox.bulk_speed(paused_clock=True)
    job = finished(ROWS)
    leadmagic_sandbox.advance_bulk(2)  # the sandbox processes the third and fourth row before the first two
    client.bulk.cancel(job.job_id)
    output, errors, written = write(client.bulk.get(job.job_id), rows=ROWS)
    assert [row["crm_id"] for row in output] == [3]
    codes = {row["crm_id"]: row["lm_http_status_code"] for row in errors}
    assert codes == {0: None, 1: None, 2: 422, 4: None, 5: None}
    assert errors[0]["lm_error_message"] == "skipped: the job has no result for this row"
    assert written == WrittenRows(succeeded=1, failed=1, skipped=4)


def test_all_rows_of_a_job_without_results_are_skipped(finished, leadmagic_sandbox, write):
    leadmagic_sandbox.bulk_speed(paused_clock=True)
    output, errors, written = write(finished(ROWS), "out.csv", rows=ROWS)
    assert (output, len(errors), written) == ([], 6, WrittenRows(0, 0, 6))


def test_found_fields_are_columns_of_every_row(finished, write, results_of):
    job = finished(ROWS[:3])
    results_of({"lm_output": {"b": 1}}, {"lm_output": None}, {"lm_output": {"a": 2, "b": {"c": [3]}}})
    output, _, _ = write(job, rows=ROWS[:3])
    found = [{name: value for name, value in row.items() if name not in ROWS[0]} for row in output]
    assert found == [
        {"lm_b": 1, "lm_a": None, "lm_credits_consumed": None},
        {"lm_b": None, "lm_a": None, "lm_credits_consumed": None},
        {"lm_b": {"c": [3]}, "lm_a": 2, "lm_credits_consumed": None},
    ]
    assert [list(row) for row in found] == [["lm_b", "lm_a", "lm_credits_consumed"]] * 3


@pytest.mark.parametrize("arrival", [(0, 1, 2), (2, 1, 0), (1, 0, 2), (1, 2, 0)], ids=str)
def test_column_order_follows_the_rows_not_the_results(finished, write, results_of, arrival):
    job = finished(ROWS[:3])
    found = [{"first": 1}, {"second": 2}, {"first": 3}]
    results_of(*({"row_index": index, "lm_output": found[index]} for index in arrival))
    output, _, _ = write(job, rows=ROWS[:3])
    assert list(output[0])[3:5] == ["lm_first", "lm_second"]


def test_a_failed_row_adds_no_column(finished, write, results_of):
    job = finished(ROWS[:2])
    results_of({"status": "failed", "lm_output": {"trace": 1}}, {"lm_output": {"email": "a@b.example"}})
    output, _, _ = write(job, rows=ROWS[:2])
    assert output == [{**ROWS[1], "lm_email": "a@b.example", "lm_credits_consumed": None}]


@pytest.mark.parametrize(
    ("price", "found", "credits_consumed"),
    [("0.25", {}, 0.25), ("2.00", {"credits_consumed": 7}, 2), (None, {"credits_consumed": 0.05}, 0.05), (1, {}, 1)],
)
def test_the_price_is_written_once(finished, write, results_of, price, found, credits_consumed):
    job = finished(ROWS[:1])
    results_of({"lm_output": found, "credits_consumed": price})
    output, _, _ = write(job, rows=ROWS[:1])
    assert output == [{**ROWS[0], "lm_credits_consumed": credits_consumed}]


@pytest.mark.parametrize("name", ["out.csv", "out.jsonl"])
@pytest.mark.parametrize("taken", ["lm_email", "lm_credits_consumed", "lm_error_message"])
def test_a_column_of_the_input_is_never_replaced(finished, write, name, taken):
    rows = [{**row, taken: "from the input", "lm_lm": "from the input, too"} for row in ROWS]
    output, errors, _ = write(finished(rows), name, rows=rows)
    assert {row[taken] for row in (*output, *errors)} == {"from the input"}
    assert {"lm_lm_email", "lm_lm_credits_consumed"} <= output[0].keys()
    assert {"lm_lm_error_message", "lm_lm_http_status_code"} <= errors[0].keys()


def test_the_later_of_two_results_for_a_row_is_written(finished, write, results_of):
    job = finished(ROWS[:1])
    results_of({"status": "failed", "error_message": "no"}, {"row_index": 0, "lm_output": {"email": "a@b.example"}})
    output, errors, _ = write(job, rows=ROWS[:1])
    assert ([row["lm_email"] for row in output], errors) == (["a@b.example"], [])


@pytest.mark.parametrize(
    ("result", "is_success"),
    [
        ({"status": "enriched", "lm_output": {"email": "a@b.example"}}, True),
        ({"status": "enriched", "http_status_code": 404}, False),
        ({"status": "enriched", "error_message": "no match"}, False),
        ({"status": "enriched", "lm_output": {}, "http_status_code": 200}, True),
        ({"status": "Success"}, True),
        ({"status": "failed", "lm_output": {"email": "a@b.example"}}, False),
        ({"status": "failed", "lm_output": {"email": "a@b.example"}, "credits_consumed": "0.00"}, False),
        ({"status": "failed", "lm_output": {"email": "a@b.example"}, "credits_consumed": "1.00"}, True),
        ({"status": "skipped", "lm_output": {"email": "a@b.example", "credits_consumed": 1}}, True),
        ({"status": "skipped", "lm_output": {}, "credits_consumed": "1.00"}, False),
        ({"status": "processing", "lm_output": {"email": "a@b.example"}}, True),
        ({"status": "skipped"}, False),
        ({"status": "success", "lm_output": ["a", "b"]}, True),
    ],
)
def test_the_outcome_depends_on_the_status_and_the_found_fields(finished, write, results_of, result, is_success):
    job = finished(ROWS[:1])
    results_of(result)
    output, errors, _ = write(job, rows=ROWS[:1])
    assert (len(output), len(errors)) == (is_success, not is_success)


def test_a_found_list_is_written_to_one_column(finished, write, results_of):
    job = finished(ROWS[:1])
    results_of({"lm_output": ["a", "b"]})
    assert write(job, rows=ROWS[:1])[0][0]["lm_output"] == ["a", "b"]


@pytest.mark.parametrize("status", ["failed", "skipped"])
def test_a_failed_row_has_a_reason_even_if_leadmagic_returns_none(finished, write, results_of, status):
    job = finished(ROWS[:1])
    results_of({"status": status})
    assert write(job, rows=ROWS[:1])[1][0]["lm_error_message"] == f"{status}: LeadMagic gave no reason"


def test_an_invalid_download_adds_no_columns(finished, write, leadmagic_sandbox):
    job = finished(ROWS[:2])
    body = as_csv([{"row_index": 0, "status": "success", "lm_output": {"strange": 1}}, {"row_index": "?"}])
    leadmagic_sandbox.fail_next("/bulk/jobs/*/download", body=body, content_type="text/csv")
    output, _, _ = write(job, rows=ROWS[:2])
    assert "lm_email" in output[0]
    assert "lm_strange" not in output[0]


def test_the_reason_of_a_failure_contains_no_token(finished, write, results_of):
    job = finished(ROWS[:1])
    results_of({"status": "failed", "error_message": "see https://app.example/?token=s3cret"})
    assert write(job, rows=ROWS[:1])[1][0]["lm_error_message"] == "see https://app.example/?token=***"


@pytest.mark.parametrize(
    ("now", "submitted"),
    [
        ("7", 7),
        (7, "7"),
        ("7", 7.0),
        ("0.5", 0.5),
        ("true", True),
        ("", None),
        ("Jane ", "jane"),
        ("STRASSE", "Straße"),
        ("https://www.example.com/", "example.com"),
        ("Ada  Lovelace", "Ada Lovelace"),
        ({"a": 1, "b": [2]}, {"b": [2], "a": 1}),
    ],
)
def test_a_normalized_value_matches_the_input(finished, write, results_of, now, submitted):
    rows = [{**ROWS[0], "extra": now}]
    job = finished(rows)
    results_of({"lm_input": {"extra": submitted, "only LeadMagic has this": 1}})
    assert write(job, rows=rows)[2] == WrittenRows(1, 0, 0)


@pytest.mark.parametrize(
    ("now", "problem"),
    [
        (ROWS[:5], "5 rows now, but bulk job {} has a result for row 6"),
        ([], "0 rows now, but bulk job {} has a result for row 6"),
        ([ROWS[0], {**ROWS[1], "new": 1}], "row 2 does not match bulk job {}"),
    ],
)
def test_results_are_never_written_to_changed_rows(finished, write, tmp_path, now, problem):
    (tmp_path / "out.jsonl").write_text("of last night")
    job = finished(ROWS)
    with pytest.raises(LeadMagicResponseError) as caught:
        write(job, rows=now)
    assert str(caught.value).startswith(f"Input changed since it was submitted: {problem.format(job.job_id)}. ")
    assert str(caught.value).endswith(". Nothing was written. [rows]")
    assert [path.name for path in tmp_path.iterdir()] == ["out.jsonl"]
    assert (tmp_path / "out.jsonl").read_text() == "of last night"


@pytest.fixture
def named():
    """Return a function that names a job by the digest of the rows that were submitted, as the operator does."""

    def name(job, rows, product="email_finder"):
        digest = check_rows(row_source(rows=rows), find_product(product)).digest
        return replace(job, file_name=job_name(KEY, digest))

    return name


def leads(*names):
    return [{"full_name": name, "domain": f"{number}.example"} for number, name in enumerate(names)]


#: What LeadMagic may make of a field.
TIDIED = [
    ("Jose\u0301", "Jos\u00e9"),
    ("Jos\u00e9 \u0141ukasz", "Jose Lukasz"),
    ("Ada King Lovelace", "Ada Lovelace"),
    ("Ada Lovelace", "Lovelace, Ada"),
    ("b\u00fccher.example", "xn--bcher-kva.example"),
    ("\uff21\uff44\uff41", "Ada"),
    ("https://acme.example/a%20b", "https://acme.example/a b"),
    ("acme.example", "https://www.acme.example/"),
    ("1,000", 1000),
    ("1000.50", 1000.5),
    ("1e3", "1000"),
    ("+1 (555) 123-4567", "15551234567"),
    ("Acme Inc.", "AcmeInc"),
]
#: Other values, however similar they look.
OTHER = [("Lead 1", "Lead 10"), ("Lead 10", "Lead 1"), ("7", "70"), ("1.5", "15"), ("acme.com", "acme.de"), ("Ada", "")]


@pytest.mark.parametrize(("submitted", "tidied"), TIDIED)
@pytest.mark.parametrize("has_digest", [True, False], ids=["digest", "no digest"])
def test_result_with_a_tidied_field_is_delivered_unmarked(
    finished, write, results_of, named, submitted, tidied, has_digest
):
    rows = [{**row, "extra": submitted} for row in ROWS[:2]]
    job = named(finished(rows), rows) if has_digest else finished(rows)
    results_of({"lm_input": {"extra": tidied}}, {"lm_input": {"extra": submitted}})
    output, _, written = write(job, rows=rows)
    assert (written.succeeded, "lm_match" in output[0]) == (2, False)


@pytest.mark.parametrize(("submitted", "other"), OTHER)
def test_with_a_digest_a_result_with_other_values_is_delivered_unmarked(
    finished, write, results_of, named, submitted, other
):
    rows = [{**ROWS[0], "extra": submitted}]
    job = named(finished(rows), rows)
    results_of({"lm_input": {"extra": other, "full_name": None}})
    output, _, written = write(job, rows=rows)
    assert (written.succeeded, "lm_match" in output[0]) == (1, False)


@pytest.mark.parametrize(("submitted", "other"), OTHER)
def test_without_a_digest_a_result_with_other_values_is_delivered_as_doubtful(
    finished, write, results_of, caplog, submitted, other
):
    rows = [{**row, "extra": submitted} for row in ROWS[:2]]
    job = finished(rows)
    results_of({"lm_input": {"extra": submitted}}, {"lm_input": {"extra": other}})
    output, _, written = write(job, rows=rows)
    assert ([row["lm_match"] for row in output], written.succeeded) == ([None, "doubtful"], 2)
    assert caplog.text.count("Check the results of 1 of 2 rows: they may belong to other rows, ") == 1
    assert "Lead" not in caplog.text


@pytest.mark.parametrize("has_digest", [True, False], ids=["digest", "no digest"])
@pytest.mark.parametrize(
    ("given", "doubtful"),
    [
        ([0, 1, 2, 3], []),
        ([1, 0, 2, 3], [0, 1]),
        ([0, 1, 2, 1], [3]),
        ([3, 0, 1, 2], [0, 1, 2, 3]),
    ],
    ids=["in place", "swapped", "twice", "shifted"],
)
def test_results_that_describe_other_rows_are_delivered_as_doubtful(
    finished, write, results_of, named, caplog, given, doubtful, has_digest
):
    rows = leads("Lead 1", "Lead 10", "Ann Lee", "Ann Marie Lee")
    job = named(finished(rows), rows) if has_digest else finished(rows)
    results_of(*({"lm_input": rows[other], "lm_output": {"email": f"{other}@b.example"}} for other in given))
    output, _, written = write(job, "out.csv", rows=rows)
    assert written == WrittenRows(4, 0, 0)
    assert [index for index, row in enumerate(output) if row.get("lm_match") == "doubtful"] == doubtful
    assert [row["lm_email"] for row in output] == [f"{other}@b.example" for other in given]
    assert (f"Check the results of {len(doubtful)} of 4 rows" in caplog.text) is bool(doubtful)


def test_swap_is_noticed_although_a_field_was_tidied(finished, write, results_of, named):
    rows = leads("Jos\u00e9 D\u00edaz", "Ada Lovelace")
    job = named(finished(rows), rows)
    results_of({"lm_input": rows[1]}, {"lm_input": {"full_name": "Diaz, Jose", "domain": "https://www.0.example"}})
    assert [row["lm_match"] for row in write(job, rows=rows)[0]] == ["doubtful", "doubtful"]


def test_doubtful_failed_row_is_marked_in_the_error_file(finished, write, results_of):
    job = finished(ROWS[:2])
    results_of({"status": "failed", "lm_input": ROWS[1]}, {"lm_input": ROWS[1]})
    output, errors, _ = write(job, rows=ROWS[:2])
    assert ([row["lm_match"] for row in errors], [row["lm_match"] for row in output]) == (["doubtful"], [None])


@pytest.mark.parametrize(
    ("taken", "column"), [({}, "lm_match"), ({"lm_match": "mine"}, "lm_lm_match")], ids=["free", "taken"]
)
def test_mark_never_replaces_a_column_of_the_input(finished, write, results_of, taken, column):
    rows = [{**row, **taken} for row in ROWS[:2]]
    job = finished(rows)
    results_of({"lm_input": rows[1]}, {"lm_input": rows[0]})
    output, _, _ = write(job, rows=rows)
    assert [row[column] for row in output] == ["doubtful", "doubtful"]
    assert {**output[0], **taken} == output[0]


def test_mark_never_replaces_a_found_field(finished, write, results_of):
    job = finished(ROWS[:1])
    results_of({"lm_input": {"full_name": "Joe"}, "lm_output": {"match": "exact"}})
    [row] = write(job, rows=ROWS[:1])[0]
    assert (row["lm_match"], row["lm_lm_match"]) == ("exact", "doubtful")


SUCCESS_A, SUCCESS_B = {"lm_output": {"email": "a@b.example"}}, {"lm_output": {"email": "b@b.example"}}
FAILURE = {"status": "failed", "error_message": "no"}


@pytest.mark.parametrize(
    ("results", "email", "is_doubtful"),
    [
        ([SUCCESS_A, SUCCESS_A], "a@b.example", False),
        ([FAILURE, SUCCESS_A], "a@b.example", False),
        ([SUCCESS_A, FAILURE], "a@b.example", False),
        ([SUCCESS_A, SUCCESS_B], "b@b.example", True),
        ([SUCCESS_A, SUCCESS_B, SUCCESS_A], "a@b.example", True),
        ([{**SUCCESS_A, "lm_input": ROWS[0]}, {**SUCCESS_B, "lm_input": ROWS[1]}], "a@b.example", False),
        ([{**SUCCESS_B, "lm_input": ROWS[1]}, {**SUCCESS_A, "lm_input": ROWS[0]}], "a@b.example", False),
    ],
)
def test_one_of_several_results_for_a_row_is_written_and_marked_if_others_could_be_right(
    finished, write, results_of, named, results, email, is_doubtful
):
    job = named(finished(ROWS[:1]), ROWS[:1])
    results_of(*({"row_index": 0, **result} for result in results))
    [row] = write(job, rows=ROWS[:1])[0]
    assert (row["lm_email"], row.get("lm_match")) == (email, "doubtful" if is_doubtful else None)


def test_with_a_digest_a_result_of_a_row_that_does_not_exist_is_ignored(finished, write, results_of, named, caplog):
    job = named(finished(ROWS[:2]), ROWS[:2])
    results_of(SUCCESS_A, SUCCESS_B, {"row_index": 7, **SUCCESS_A})
    assert write(job, rows=ROWS[:2])[2] == WrittenRows(2, 0, 0)
    assert (
        "Ignored results of rows that were not submitted: only 2 rows were submitted, but results up to row 8 exist. "
        in caplog.text
    )


@pytest.mark.parametrize("now", [[ROWS[1], ROWS[0]], [ROWS[0]], [], leads("Lead 1", "Lead 2")], ids=len)
def test_nothing_is_written_if_the_digest_proves_that_the_rows_are_others(finished, write, named, tmp_path, now):
    with pytest.raises(LeadMagicResponseError, match=r"^Input changed since it was submitted: .* Nothing was written"):
        write(named(finished(ROWS[:2]), ROWS[:2]), rows=now)
    assert list(tmp_path.iterdir()) == []


COUNTS = {"succeeded": 4, "failed": 2, "skipped": 0, "total_rows": 6}


@pytest.mark.parametrize(
    "counts",
    [
        {},
        {"succeeded": None},
        {"failed": None, "total_rows": None},
        {"succeeded": 400},
        {"succeeded": 0, "failed": 0},
        {"skipped": 6},
    ],
    ids=str,
)
def test_all_rows_are_delivered_whatever_the_counts_say(finished, write, counts):
    job = replace(finished(ROWS), **{**COUNTS, **counts})
    assert write(job, rows=ROWS)[2] == WrittenRows(4, 2, 0)


@pytest.mark.parametrize(
    ("counts", "missing"),
    [
        ({}, 4),
        ({"succeeded": None}, 4),
        ({"succeeded": 0, "failed": 0}, 4),
        ({"succeeded": None, "total_rows": None}, 4),
        ({"succeeded": 0, "failed": 0, "total_rows": 0}, 4),
        ({"succeeded": 1, "failed": 2, "skipped": 3}, 1),
        ({"succeeded": None, "skipped": 3}, 1),
        ({"succeeded": 1, "failed": 1, "skipped": 4}, 0),
    ],
    ids=str,
)
@pytest.mark.parametrize("is_last_attempt", [True, False])
def test_rows_without_a_result_that_are_not_skipped_are_missing(
    client, finished, results_of, leadmagic_sandbox, tmp_path, counts, missing, is_last_attempt
):
    job, files = replace(finished(ROWS), **{**COUNTS, **counts}), ResultFiles(tmp_path / "out.csv")
    results_of(SUCCESS_A, SUCCESS_B)
    leadmagic_sandbox.fail_next("/bulk/jobs/*/results", body='{"rows": []}')
    write = partial(write_results, client, job, "email_finder", row_source(rows=ROWS), files)
    if missing:
        with pytest.raises(
            LeadMagicResponseError, match=rf"^Results incomplete: {missing} of 6 rows missing. "
        ) as error:
            write(is_last_attempt=is_last_attempt)
        assert error.value.transient
        assert ("The other rows are written" in str(error.value)) is is_last_attempt
        assert (files.output_path in str(error.value)) is is_last_attempt
    else:
        write(is_last_attempt=is_last_attempt)
    exists = is_last_attempt or not missing
    assert sorted(path.name for path in tmp_path.iterdir()) == (["out.csv", "out.errors.csv"] if exists else [])
    if exists:
        assert (len(_read(files.output_path)), len(_read(files.errors_path))) == (2, 4)


UNFINISHED = [
    {"status": "processing"},
    {"status": "Queued", "lm_output": {}},
    {"status": "pending", "lm_output": {"credits_consumed": 0}},
    {"status": "retrying", "http_status_code": 429, "error_message": "Rate limited"},
    {"status": "a new word", "lm_output": []},
]


@pytest.mark.parametrize("is_last_attempt", [True, False])
@pytest.mark.parametrize("unfinished", UNFINISHED, ids=lambda result: result["status"])
def test_a_row_that_is_not_finished_is_missing(
    client, finished, results_of, leadmagic_sandbox, tmp_path, unfinished, is_last_attempt
):
    job, files = finished(ROWS[:2]), ResultFiles(tmp_path / "out.csv")
    results_of(SUCCESS_A, unfinished)
    leadmagic_sandbox.fail_next("/bulk/jobs/*/results", body=json.dumps({"rows": [{"row_index": 1, **unfinished}]}))
    with pytest.raises(LeadMagicResponseError, match=r"^Results incomplete: 1 of 2 rows missing. "):
        write_results(client, job, "email_finder", row_source(rows=ROWS[:2]), files, is_last_attempt=is_last_attempt)


@pytest.mark.parametrize(
    ("skipped", "others", "missing"),
    [(2, 2, 0), (2, 1, 1), (2, 0, 2), (1, 2, 0), (1, 1, 1), (0, 2, 0), (0, 1, 1), (None, 2, 0)],
)
def test_the_result_of_a_skipped_row_does_not_hide_that_another_row_has_none(
    client, finished, results_of, leadmagic_sandbox, tmp_path, skipped, others, missing
):
    job = replace(finished(ROWS[:4]), succeeded=4 - (skipped or 0), failed=0, skipped=skipped)
    results_of(
        *[SUCCESS_A, SUCCESS_B][:others], *[{"row_index": 2 + number, "status": "skipped"} for number in range(2)]
    )
    leadmagic_sandbox.fail_next("/bulk/jobs/*/results", body='{"rows": []}')
    write = partial(write_results, client, job, "email_finder", row_source(rows=ROWS[:4]))
    if missing:
        with pytest.raises(LeadMagicResponseError, match=rf"^Results incomplete: {missing} of 4 rows missing. "):
            write(ResultFiles(tmp_path / "out.csv"))
    else:
        assert write(ResultFiles(tmp_path / "out.csv")) == WrittenRows(2, 0, 2)


KEY = f"airflow-{'0' * 24}-{'1' * 15}"


@pytest.mark.parametrize(
    ("change", "is_known"),
    [
        pytest.param(str, True, id="unchanged"),
        pytest.param("{}.csv".format, True, id="with a suffix"),
        pytest.param(lambda name: name[:64], False, id="cut to 64 characters"),
        pytest.param(lambda name: name[:50], False, id="cut to 50 characters"),
        pytest.param(lambda name: name + "0", False, id="with another digit"),
        pytest.param(lambda name: name.replace(".", "_"), False, id="without a dot"),
    ],
)
def test_a_changed_job_name_is_no_proof_of_other_rows(change, is_known):
    digest = check_rows(row_source(rows=ROWS), find_product("email_finder")).digest
    assert digest_in(change(job_name(KEY, digest))) == (digest if is_known else None)


@pytest.mark.parametrize("now", [[*ROWS, ROWS[0]], [{**row, "crm_id": "new"} for row in ROWS]])
def test_changed_rows_are_detected_by_the_digest_in_the_job_name(finished, write, now):
    digest = check_rows(row_source(rows=ROWS), find_product("email_finder")).digest
    job = finished([{"full_name": row["full_name"], "domain": row["domain"]} for row in ROWS])
    named = replace(job, file_name=job_name(KEY, digest))
    with pytest.raises(
        LeadMagicResponseError, match=r"^Input changed since it was submitted: rows or product do not match bulk job "
    ):
        write(named, rows=now)


def test_another_product_is_detected_by_the_digest_in_the_job_name(finished, write):
    digest = RowsDigest("company_search")
    for row in ROWS:
        digest.add(row)
    with pytest.raises(
        LeadMagicResponseError, match=r"^Input changed since it was submitted: rows or product do not match bulk job "
    ):
        write(replace(finished(ROWS), file_name=job_name(KEY, digest.text())), rows=ROWS)


def test_without_a_digest_in_the_job_name_only_the_rows_are_compared(finished, write):
    job = finished(ROWS)
    for name in (None, "q3-contacts.csv", "airflow-0123"):
        assert write(replace(job, file_name=name), rows=ROWS)[2].succeeded > 0


def test_a_missing_input_file_leaves_no_output(finished, write, tmp_path):
    with pytest.raises(ValueError, match=r"^Cannot read input_path: no such file or directory"):
        write(finished(ROWS), input_path=tmp_path / "leads.csv")
    assert list(tmp_path.iterdir()) == []


def test_progress_and_outcome_are_logged(finished, write, monkeypatch, caplog):
    monkeypatch.setattr("airflow_provider_leadmagic.bulk.results.LOG_EVERY", 4)
    job = finished(ROWS)
    with caplog.at_level(logging.INFO, "airflow_provider_leadmagic.bulk"):
        write(job, rows=ROWS)
    progress, end = [record.getMessage() for record in caplog.records]
    assert progress == "Wrote 4 rows so far."
    assert end.startswith("Wrote results: 4 succeeded, 2 failed, 0 skipped. [/")
    assert "out.jsonl, /" in end
    assert end.endswith("out.errors.jsonl]")
