"""Tests of the command ``credits``: table, JSON, and exit code for ``--minimum``."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from airflow_provider_leadmagic.api.models import CreditBalance


def rows(outcome):
    """Return the table as a dictionary from the left column to the right one."""
    return dict(line.split("  ", 1) for line in outcome.out.splitlines())


class TestTable:
    def test_table_shows_the_balance_and_its_connection(self, run, leadmagic_sandbox):
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
            pytest.param(None, "yes", id="without a reason"),
            pytest.param("[bold]:boom: \x1b[31mred", "yes: [bold]:boom: [31mred", id="reason that looks like markup"),
        ],
    )
    def test_table_shows_that_credits_are_frozen_and_the_reason(self, run, leadmagic_sandbox, message, shown):
        leadmagic_sandbox.freeze(message, liquid=40)
        table = rows(run("credits"))
        assert table["Frozen"].strip() == shown
        assert (table["Credits"].strip(), table["Spendable"].strip()) == ("1,000", "40")

    def test_long_reason_is_wrapped_at_eighty_columns(self, run, leadmagic_sandbox):
        leadmagic_sandbox.freeze("please pay " * 20)
        assert max(map(len, run("credits").out.splitlines())) <= 80

    def test_characters_that_the_encoding_lacks_are_replaced(self, run, leadmagic_sandbox):
        leadmagic_sandbox.freeze("überfällig ✗")
        assert "yes: ?berf?llig ?\n" in run("credits", encoding="ascii").out

    def test_conn_id_selects_the_connection(self, run, leadmagic_sandbox, connect):
        connect(**json.loads(leadmagic_sandbox.connection_json))
        assert rows(run("credits", "--conn-id", "lead"))["Connection"].strip() == "lead"


class TestJson:
    @pytest.mark.parametrize(("minimum", "number"), [(None, None), ("500", 500), ("0.5", 0.5), ("5000", 5000)])
    def test_json_equals_the_xcom_of_tasks(self, run, leadmagic_sandbox, minimum, number):
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
        ("spendable", "minimum", "code", "error"),
        [
            pytest.param("500", "500", 0, "", id="equal"),
            pytest.param("1000", "0", 0, "", id="minimum of 0"),
            pytest.param(
                "499.5", "500", 1, "leadmagic: Not enough credits: 499.5 spendable, --minimum is 500.\n", id="below"
            ),
            pytest.param(
                "0", "1e4", 1, "leadmagic: Not enough credits: 0 spendable, --minimum is 10,000.\n", id="no credits"
            ),
        ],
    )
    def test_exit_code_is_1_below_the_minimum(self, run, leadmagic_sandbox, output, spendable, minimum, code, error):
        leadmagic_sandbox.freeze(liquid=spendable)
        outcome = run("credits", "--minimum", minimum, "-o", output)
        assert (outcome.code, outcome.err) == (code, error)
        assert outcome.out.startswith("Credits " if output == "table" else "{")


class TestRequests:
    def test_command_makes_one_request(self, run, leadmagic_sandbox):
        run("credits", "--minimum", "5")
        assert [request.path for request in leadmagic_sandbox.requests] == ["/v1/credits"]

    def test_failed_request_is_not_retried(self, run, leadmagic_sandbox):
        leadmagic_sandbox.fail_next(status=503, times=None)
        run("credits")
        assert len(leadmagic_sandbox.requests) == 1

    def test_refresh_option_refreshes_first(self, run, leadmagic_sandbox):
        assert run("credits", "--refresh").code == 0
        assert [request.path for request in leadmagic_sandbox.requests] == ["/v1/credits/refresh", "/v1/credits"]
