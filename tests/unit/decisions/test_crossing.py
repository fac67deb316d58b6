"""Crossings: edges, hysteresis and invalid arguments."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from airflow_provider_leadmagic.api.models import CreditBalance
from airflow_provider_leadmagic.decisions.crossing import Crossing


def balance_of(credits_: float | str, **fields: Any) -> CreditBalance:
    return CreditBalance(Decimal(str(credits_)), datetime.now(UTC), **fields)


def fired_at(crossing: Crossing, balances: list[float]) -> list[float]:
    """Feed readings to a crossing, starting with the first poll, and return those at which it fired."""
    armed, fired = None, []
    for number in balances:
        armed, fires = crossing.judge(armed, balance_of(number))
        fired += [number] if fires else []
    return fired


@pytest.mark.parametrize(
    ("direction", "balances", "fired"),
    [
        ("rises_to", [0, 499.95, 500], [500]),
        ("rises_to", [0, 600, 700, 600], [600]),
        ("rises_to", [600, 700], []),
        ("rises_to", [600, 100, 600], [600]),
        ("rises_to", [0, 500, 499, 500, 460, 505, 450.05, 510], [500]),
        ("rises_to", [0, 500, 450, 501], [500, 501]),
        ("rises_to", [460, 500], [500]),
        ("falls_below", [600, 500, 499.95], [499.95]),
        ("falls_below", [600, 400, 300, 400], [400]),
        ("falls_below", [400, 300], []),
        ("falls_below", [400, 600, 400], [400]),
        ("falls_below", [600, 499, 501, 499, 549.95, 480], [499]),
        ("falls_below", [600, 499, 550, 498], [499, 498]),
        ("falls_below", [510, 499], [499]),
        ("falls_below", [600, -5], [-5]),
    ],
)
def test_it_fires_on_a_crossing_and_again_only_after_the_balance_moved_back_by_the_hysteresis(
    direction: str, balances: list[float], fired: list[float]
) -> None:
    assert fired_at(Crossing.parse(direction, 500), balances) == fired


@pytest.mark.parametrize(
    ("direction", "hysteresis", "balances", "fired"),
    [
        ("rises_to", 0, [0, 500, 499.95, 500], [500, 500]),
        ("rises_to", 499, [0, 500, 1.05, 500, 1, 500], [500, 500]),
        ("rises_to", 500, [0, 500, 0.05, 500, 0, 500], [500, 500]),
        ("falls_below", 0, [600, 499, 500, 499], [499, 499]),
        ("falls_below", 1000, [600, 499, 1499, 499, 1500, 498], [499, 498]),
    ],
)
def test_the_hysteresis_sets_how_far_the_balance_must_move_back(
    direction: str, hysteresis: float, balances: list[float], fired: list[float]
) -> None:
    assert fired_at(Crossing.parse(direction, 500, hysteresis), balances) == fired


@pytest.mark.parametrize(("direction", "fires"), [("rises_to", False), ("falls_below", True)])
def test_a_frozen_balance_counts_as_zero(direction: str, fires: bool) -> None:
    crossing = Crossing.parse(direction, 500)

    assert crossing.judge(True, balance_of(9000, is_frozen=True))[1] is fires


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("drops", 5), "direction must be rises_to or falls_below; got 'drops'"),
        ((None, 5), "direction must be rises_to or falls_below; got None"),
        (("rises_to", "many"), "minimum_credits must be a number of credits, 0 or more; got 'many'"),
        (("rises_to", True), "minimum_credits must be a number of credits, 0 or more; got True"),
        (("rises_to", float("nan")), "minimum_credits must be a number of credits, 0 or more; got nan"),
        (("rises_to", 0), "minimum_credits must be above 0; got 0"),
        (("falls_below", "0.0"), "minimum_credits must be above 0; got '0.0'"),
        (("rises_to", 5, -1), "hysteresis must be a number of credits, 0 or more; got -1"),
        (("rises_to", 5, 6), "hysteresis must not be above minimum_credits for direction rises_to; got 6 and 5"),
        (("falls_below", 5, "wide"), "hysteresis must be a number of credits, 0 or more; got 'wide'"),
    ],
)
def test_an_invalid_argument_is_rejected_in_an_error_that_names_it(arguments: tuple[Any, ...], message: str) -> None:
    with pytest.raises(ValueError, match="^" + message.replace("(", r"\(")):
        Crossing.parse(*arguments)


def test_numbers_may_be_strings_as_in_a_variable() -> None:
    assert Crossing.parse("rises_to", "500", "25.5") == Crossing("rises_to", Decimal(500), Decimal("25.5"))
