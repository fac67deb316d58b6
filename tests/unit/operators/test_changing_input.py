"""What is submitted is what was checked and priced, also if the input changes in between."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_leadmagic.api.products import find_bulk_product
from airflow_provider_leadmagic.bulk.progress import JobProgress
from airflow_provider_leadmagic.bulk.row_checks import CheckedRows, check_rows
from airflow_provider_leadmagic.bulk.rows import row_source
from tests.support.bulk_task_runner import Killed
from tests.unit.operators.conftest import leads

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pytest_mock import MockerFixture

    from airflow_provider_leadmagic.client import LeadMagicClient
    from airflow_provider_leadmagic.sandbox.sandbox import Sandbox
    from tests.unit.operators.conftest import MakeTask

VALIDATE, PREVIEW, CREDITS, SUBMIT = "/bulk/validate", "/v1/batch/preview-cost", "/v1/credits", "/bulk/submit"
HEADER = "full_name,domain\n"


class ChangingRows(Sequence[Any]):
    """Rows that change once they have been read some times, like those of a lazy sequence or a database view."""

    def __init__(self, readings: int, before: list[Any], after: list[Any]) -> None:
        self._readings = readings
        self._before = before
        self._after = after

    def __len__(self) -> int:
        return len(self._before)

    def __getitem__(self, index: Any) -> Any:
        return self._before[index]

    def __iter__(self) -> Iterator[Any]:
        self._readings -= 1
        return iter(self._before if self._readings >= 0 else self._after)


CHANGES: dict[str, tuple[list[Any], str]] = {
    "rows are added": (leads(50), "more than the 5 rows that were checked"),
    "rows are removed": (leads(4), "4 rows instead of 5"),
    "all rows are removed": ([], "0 rows instead of 5"),
    "a value changes": ([*leads(4), {**leads(5)[4], "domain": "x.example"}], "not the rows that were checked"),
    "rows change places": (leads(5)[::-1], "not the rows that were checked"),
}


# The rows are read in this order: check, validation, price, submission.
@pytest.mark.parametrize(("readings", "requests"), [(1, []), (2, [VALIDATE]), (3, [VALIDATE, PREVIEW, CREDITS])])
@pytest.mark.parametrize("change", CHANGES)
def test_rows_that_change_are_not_submitted(
    task: MakeTask, leadmagic_sandbox: Sandbox, change: str, readings: int, requests: list[str]
) -> None:
    after, problem = CHANGES[change]
    rows = ChangingRows(readings, leads(5), after)
    expected = f"Input changed while it was being submitted: {problem}. Nothing was submitted. [rows]"

    with pytest.raises(ValueError) as error:  # noqa: PT011 - the whole message is compared
        task(rows=rows, max_credits=5).run()

    assert str(error.value) == expected
    assert [request.path for request in leadmagic_sandbox.requests] == requests
    assert leadmagic_sandbox.bulk_jobs == []


def test_rows_that_change_while_the_price_of_a_paused_job_is_requested_do_not_hide_the_job(
    task: MakeTask, leadmagic_sandbox: Sandbox, mocker: MockerFixture
) -> None:
    leadmagic_sandbox.bulk_speed(paused_clock=True)
    enrich = task(store=False)
    killed = mocker.patch.object(JobProgress, "poll", side_effect=Killed)
    with pytest.raises(Killed):
        enrich.run()
    mocker.stop(killed)
    leadmagic_sandbox.set_credits(2)
    leadmagic_sandbox.advance_bulk(5)
    leadmagic_sandbox.set_credits(100)
    [job] = leadmagic_sandbox.bulk_jobs
    # The retry reads the rows three times: before it joins the job, before it resumes it, and to price them.
    enrich.operator.rows = ChangingRows(2, leads(5), leads(4))

    with pytest.raises(ValueError) as error:  # noqa: PT011 - the whole message is compared
        enrich.retry()

    problem = f"4 rows instead of 5. Bulk job {job.job_id} is unchanged."
    assert str(error.value) == f"Input changed while it was being priced: {problem} [rows]"
    assert [job.status for job in leadmagic_sandbox.bulk_jobs] == ["paused"]


@pytest.mark.parametrize("name", ["leads.csv", "leads.jsonl"])
def test_a_file_that_grows_after_it_was_checked_is_not_submitted(
    client: LeadMagicClient, leadmagic_sandbox: Sandbox, tmp_path: Path, name: str
) -> None:
    path, product = tmp_path / name, find_bulk_product("email_finder")
    write = {"leads.csv": "Lead,example.com\n", "leads.jsonl": '{"full_name": "Lead", "domain": "example.com"}\n'}[name]
    path.write_text((HEADER if name == "leads.csv" else "") + 5 * write)
    source = row_source(input_path=path)
    rows = CheckedRows(source, product.name, check_rows(source, product))
    client.bulk.validate(product.name, rows)
    with path.open("a") as file:
        file.write(45 * write)

    for send in (client.bulk.validate, client.bulk.preview, partial(client.bulk.submit, idempotency_key="night")):
        with pytest.raises(ValueError, match=r"^Input changed .* more than the 5 rows .* \[.*leads\.(csv|jsonl)\]$"):
            send(product.name, rows)
    assert [request.path for request in leadmagic_sandbox.requests] == [VALIDATE]


def test_the_next_attempt_submits_the_rows_that_the_file_has_by_then(
    task: MakeTask, leadmagic_sandbox: Sandbox
) -> None:
    enrich = task(rows=ChangingRows(1, leads(5), leads(7)), max_credits=10)

    with pytest.raises(ValueError, match="Nothing was submitted"):
        enrich.run()

    assert enrich.retry()["total_rows"] == 7


@pytest.mark.parametrize(("total_rows", "is_reported"), [(9000, True), (4, True), (5, False), (None, False)])
def test_a_job_with_another_number_of_rows_than_submitted_is_reported(
    task: MakeTask, leadmagic_sandbox: Sandbox, logged: Callable[[], str], total_rows: int | None, is_reported: bool
) -> None:
    job = {"jobId": "4a7c0000-0000-4000-8000-000000000000", "status": "uploaded", "totalRows": total_rows}
    leadmagic_sandbox.fail_next(SUBMIT, body=json.dumps(job))
    leadmagic_sandbox.fail_next("/bulk/jobs/*", status=401)

    with pytest.raises(Exception, match="API key rejected"):
        task().run()

    report = f"Check bulk job {job['jobId']} in LeadMagic's app: it has {total_rows or 0:,} rows, but 5 were"
    assert (report in logged()) is is_reported
