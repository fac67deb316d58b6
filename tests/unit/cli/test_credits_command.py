"""``credits``: the balance, as a table or JSON, and whether it is enough."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from airflow_provider_leadmagic.api.models import CreditBalance


def rows(outcome):
    """Read the table: its left column, and what stands beside it."""
    return dict(line.split("  ", 1) for line in outcome.out.splitlines())


class TestTable:
    def test_it_shows_the_balance_and_where_it_comes_from(self, run, leadmagic_sandbox):
        leadmagic_sandbox.set_credits("15432.50")
        outcome = run("credits")
        shown = {name: value.strip() for name, value in rows(outcome).items()}
        read_at = datetime.strptime(shown.pop("Read at"), "%Y-%m-%d %H:%M:%S UTC").replace(tzinfo=UTC)
        assert shown == {
            "Credits": "15,432.5",
            "Spendable": "15,432.5",
            "Frozen": "no",
            "Connection": "leadmagic_default",
        }
        assert abs((datetime.now(UTC) - read_at).total_seconds()) < 60
        assert (outcome.code, outcome.err) == (0, "")

    @pytest.mark.parametrize(
        ("message", "shown"),
        [
            pytest.param("payment overdue", "yes: payment overdue", id="with a reason"),
            pytest.param(None, "yes", id="without"),
            pytest.param("[bold]:boom: \x1b[31mred", "yes: [bold]:boom: [31mred", id="a reason that looks like markup"),
        ],
    )
    def test_it_says_that_credits_are_frozen_and_why(self, run, leadmagic_sandbox, message, shown):
        leadmagic_sandbox.freeze(message, liquid=40)
        table = rows(run("credits"))
        assert table["Frozen"].strip() == shown
        assert (table["Credits"].strip(), table["Spendable"].strip()) == ("1,000", "40")

    def test_a_long_reason_stays_within_eighty_columns(self, run, leadmagic_sandbox):
        leadmagic_sandbox.freeze("please pay " * 20)
        assert max(map(len, run("credits").out.splitlines())) <= 80

    def test_characters_the_output_does_not_know_are_replaced(self, run, leadmagic_sandbox):
        leadmagic_sandbox.freeze("überfällig ✗")
        assert "yes: ?berf?llig ?\n" in run("credits", encoding="ascii").out

    def test_the_connection_can_be_another_one(self, run, leadmagic_sandbox, connect):
        connect(**json.loads(leadmagic_sandbox.connection_json))
        assert rows(run("credits", "--conn-id", "lead"))["Connection"].strip() == "lead"


class TestJson:
    @pytest.mark.parametrize(("minimum", "number"), [(None, None), ("500", 500), ("0.5", 0.5), ("5000", 5000)])
    def test_it_is_what_tasks_return(self, run, leadmagic_sandbox, minimum, number):
        leadmagic_sandbox.freeze("payment overdue", liquid="600.25")
        printed = json.loads(run("credits", "--output", "json", *(["--minimum", minimum] if minimum else [])).out)
        balance = CreditBalance(
            credits=Decimal(1000),
            observed_at=datetime.fromisoformat(printed["observed_at"]),
            is_frozen=True,
            credits_liquid=Decimal("600.25"),
            freeze_message="payment overdue",
        )
        assert printed == balance.report(None if number is None else Decimal(str(number)))


class TestMinimum:
    @pytest.mark.parametrize("output", ["table", "json"])
    @pytest.mark.parametrize(
        ("spendable", "minimum", "code", "complaint"),
        [
            pytest.param("500", "500", 0, "", id="just enough"),
            pytest.param("1000", "0", 0, "", id="none asked for"),
            pytest.param("499.5", "500", 1, "leadmagic: 499.5 credits can be spent, which is below 500\n", id="less"),
            pytest.param("0", "1e4", 1, "leadmagic: 0 credits can be spent, which is below 10,000\n", id="nothing"),
        ],
    )
    def test_the_exit_code_says_whether_it_is_reached(
        self, run, leadmagic_sandbox, output, spendable, minimum, code, complaint
    ):
        leadmagic_sandbox.freeze(liquid=spendable)
        outcome = run("credits", "--minimum", minimum, "-o", output)
        assert (outcome.code, outcome.err) == (code, complaint)
        assert outcome.out.startswith("Credits " if output == "table" else "{")


class TestRequests:
    def test_a_look_is_one_request(self, run, leadmagic_sandbox):
        run("credits", "--minimum", "5")
        assert [request.path for request in leadmagic_sandbox.requests] == ["/v1/credits"]

    def test_a_failed_look_is_one_request_as_well_because_somebody_waits(self, run, leadmagic_sandbox):
        leadmagic_sandbox.fail_next(status=503, times=None)
        run("credits")
        assert len(leadmagic_sandbox.requests) == 1

    def test_a_refresh_comes_first_where_it_is_asked_for(self, run, leadmagic_sandbox):
        assert run("credits", "--refresh").code == 0
        assert [request.path for request in leadmagic_sandbox.requests] == ["/v1/credits/refresh", "/v1/credits"]
