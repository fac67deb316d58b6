"""The text of a ledger contains the name of the pool, because the key of its Variable does not always contain it."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest

from airflow_provider_leadmagic.compat.metadata import TaskKey
from airflow_provider_leadmagic.decisions.ledger import Claim, Ledger
from airflow_provider_leadmagic.exceptions import ClaimsError

CLAIM = Claim(TaskKey("reports", "run", "wait"), Decimal(500), since=0)


def test_the_text_names_the_pool_and_reading_it_returns_the_same_ledger() -> None:
    ledger = Ledger(pool="sales & ops").with_claim(CLAIM)

    assert json.loads(ledger.to_text())["pool"] == "sales & ops"
    assert Ledger.from_text(ledger.to_text(), "key") == ledger


def test_a_ledger_with_other_claims_keeps_its_pool() -> None:
    assert Ledger((CLAIM,), "leadmagic").with_claims([]) == Ledger((), "leadmagic")


def test_a_text_without_a_pool_is_unreadable() -> None:
    with pytest.raises(ClaimsError, match="Unreadable claims: restore the Variable 'key'"):
        Ledger.from_text('{"version": 1, "claims": []}', "key")
