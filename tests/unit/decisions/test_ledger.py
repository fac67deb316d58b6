"""The ledger of claims, and its text in a Variable."""

from __future__ import annotations

import json
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from airflow_provider_leadmagic.compat.metadata import TaskKey
from airflow_provider_leadmagic.decisions.ledger import Claim, Ledger, SpendingTask
from airflow_provider_leadmagic.exceptions import ClaimsError

VARIABLE = "leadmagic_claims_leadmagic"
TASK = TaskKey("night", "run", "sensor")
CLAIM = Claim(TASK, Decimal(500), since=1000.0)
FULL = Claim(
    TaskKey("night", "run", "sensor", 3),
    Decimal("0.1"),
    since=1000.5,
    attempt=2,
    conn_id="lead",
    reserve=Decimal("1E+3"),
    priority=7,
    patience=120.0,
    settle=0.0,
    spent_by=(SpendingTask("work"), SpendingTask("mapped", 2)),
    replaces=(SpendingTask("first"), SpendingTask("second", 3)),
    is_spent_by_claimant=True,
    granted_at=1001.0,
    ended_at=1002.25,
    affordable_since=1000.75,
    earlier=Decimal("33.3"),
    earlier_ended_at=999.0,
)


DEFAULTS: dict[str, Any] = {
    "attempt": 0,
    "conn_id": "",
    "reserve": Decimal(0),
    "priority": 1,
    "patience": 660.0,
    "settle": 60.0,
    "spent_by": (),
    "replaces": (),
    "is_spent_by_claimant": False,
    "granted_at": None,
    "ended_at": None,
    "affordable_since": None,
    "earlier": Decimal(0),
    "earlier_ended_at": None,
}


def text_of(*claims: dict[str, Any], version: Any = 1) -> str:
    return json.dumps({"version": version, "pool": "leadmagic", "claims": claims})


@pytest.mark.parametrize("claims", [(), (CLAIM,), (FULL,), (CLAIM, FULL)], ids=["none", "short", "full", "two"])
def test_a_ledger_survives_writing_and_reading(claims: tuple[Claim, ...]) -> None:
    assert Ledger.from_text(Ledger(claims).to_text(), VARIABLE) == Ledger(claims)


def test_a_ledger_of_1000_claims_survives_writing_and_reading() -> None:
    ledger = Ledger(tuple(replace(FULL, task=FULL.task._replace(map_index=index)) for index in range(1000)))

    assert Ledger.from_text(ledger.to_text(), VARIABLE) == ledger


def test_without_a_variable_the_ledger_is_empty() -> None:
    assert Ledger.from_text(None, VARIABLE) == Ledger()


def test_defaults_are_not_written() -> None:
    [claim] = json.loads(Ledger((CLAIM,)).to_text())["claims"]

    assert claim == {"task": ["night", "run", "sensor", -1], "credits": "500", "since": 1000.0}


def test_the_defaults_must_stay_as_they_are_because_stored_ledgers_omit_them() -> None:
    text = text_of({"task": [*TASK], "credits": "500", "since": 1000})

    assert Ledger.from_text(text, VARIABLE).claims == (
        replace(FULL, task=TASK, credits=Decimal(500), since=1000.0, **DEFAULTS),
    )


def test_unknown_fields_are_ignored() -> None:
    text = text_of({"task": [*TASK], "credits": "500", "since": 1000, "color": "red"})

    assert Ledger.from_text(text, VARIABLE).claims == (CLAIM,)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "claims",
        "null",
        "[]",
        "{}",
        '{"version": 1}',
        '{"version": 1, "pool": "p", "claims": 7}',
        '{"version": 1, "pool": "p", "claims": null}',
        text_of({}),
        text_of({"task": ["night", "run", "sensor"], "credits": "5", "since": 0}),
        text_of({"task": None, "credits": "5", "since": 0}),
        text_of({"task": ["night", "run", "sensor", "x"], "credits": "5", "since": 0}),
        text_of({"task": [*TASK], "since": 0}),
        text_of({"task": [*TASK], "credits": "many", "since": 0}),
        text_of({"task": [*TASK], "credits": "NaN", "since": 0}),
        text_of({"task": [*TASK], "credits": "Infinity", "since": 0}),
        text_of({"task": [*TASK], "credits": "-5", "since": 0}),
        text_of({"task": [*TASK], "credits": None, "since": 0}),
        text_of({"task": [*TASK], "credits": "5"}),
        text_of({"task": [*TASK], "credits": "5", "since": "noon"}),
        text_of({"task": [*TASK], "credits": "5", "since": 0, "reserve": "x"}),
        text_of({"task": [*TASK], "credits": "5", "since": 0, "earlier": "x"}),
        text_of({"task": [*TASK], "credits": "5", "since": 0, "spent_by": [["work", 1, 2]]}),
        text_of({"task": [*TASK], "credits": "5", "since": 0, "granted_at": "noon"}),
        text_of({"task": [*TASK], "credits": "5", "since": 0, "settle": None}),
        text_of({"task": [*TASK], "credits": "5", "since": 0, "priority": "high"}),
        text_of({"task": [*TASK], "credits": "5", "since": float("nan")}),
        text_of({"task": [*TASK], "credits": "5", "since": 1e12}),
        text_of("claim"),  # type: ignore[arg-type]
    ],
)
def test_a_damaged_ledger_is_an_error_that_names_the_variable(text: str) -> None:
    with pytest.raises(ClaimsError, match=r"^Unreadable claims: restore the Variable 'leadmagic_claims_") as caught:
        Ledger.from_text(text, VARIABLE)

    assert not caught.value.transient


@pytest.mark.parametrize("version", [2, 0, "1", None])
def test_a_ledger_of_another_version_is_an_error_that_names_the_variable(version: object) -> None:
    with pytest.raises(
        ClaimsError, match=r"^Claims in Variable 'leadmagic_claims_leadmagic' have version .* not 1: run"
    ):
        Ledger.from_text(text_of({"anything": 1}, version=version), VARIABLE)


def test_a_claim_is_found_by_its_task() -> None:
    ledger = Ledger((CLAIM, FULL))

    assert ledger.find(FULL.task) == FULL
    assert ledger.find(TaskKey("night", "run", "other")) is None


def test_a_changed_claim_takes_the_place_of_the_old_one() -> None:
    changed = replace(CLAIM, credits=Decimal(7))

    assert set(Ledger((CLAIM, FULL)).with_claim(changed).claims) == {changed, FULL}


def test_a_claim_settles_after_its_end() -> None:
    assert CLAIM.settles_in(1000.0) == 0.0
    assert replace(CLAIM, ended_at=990.0).settles_in(1000.0) == 50.0
    assert replace(CLAIM, ended_at=900.0).settles_in(1000.0) < 0


def test_a_task_that_waits_keeps_its_place_when_it_polls_again() -> None:
    earlier = replace(CLAIM, affordable_since=1100.0)
    polled = replace(CLAIM, since=2000.0, credits=Decimal(7)).attempted_again(earlier, 2000.0)

    assert polled == replace(earlier, credits=Decimal(7), affordable_since=None)  # both from the new poll


@pytest.mark.parametrize(
    ("earlier", "expected", "ended_at"),
    [
        ({"granted_at": 1500.0}, 500, 2000.0),
        ({"granted_at": 1500.0, "ended_at": 1960.0}, 500, 1960.0),
        ({"granted_at": 1500.0, "earlier": Decimal(30), "earlier_ended_at": 1990.0}, 530, 2000.0),
        ({"granted_at": 1500.0, "earlier": Decimal(30), "earlier_ended_at": 1940.0}, 500, 2000.0),
        ({"earlier": Decimal(30), "earlier_ended_at": 1990.0}, 30, 1990.0),
    ],
)
def test_the_earlier_claims_of_a_cleared_task_count_until_they_have_settled(
    earlier: dict[str, Any], expected: int, ended_at: float
) -> None:
    polled = replace(CLAIM, since=2000.0).attempted_again(replace(CLAIM, **earlier), 2000.0)

    assert polled.granted_at is None
    assert (polled.earlier, polled.earlier_ended_at) == (expected, ended_at)
    assert polled.unsettled(ended_at + 59.0) == expected
    assert polled.unsettled(ended_at + 60.0) == 0
