"""Questions that a command asks Airflow's database."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from airflow.models.pool import Pool
from airflow.models.variable import Variable
from airflow.utils.session import create_session
from sqlalchemy import delete

from airflow_provider_leadmagic.compat.metadata import PoolSettings, ReadPool, ReadVariables, ask_database

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def session(airflow_database: object) -> Iterator[Any]:
    """Return a session, and delete what the test has created."""
    with create_session() as session:
        yield session
        session.execute(delete(Variable))
        session.execute(delete(Pool).where(Pool.pool == "claims"))


def test_variables_are_found_by_the_first_characters_of_their_keys(session: Any) -> None:
    for key in ("some_key_b", "some_key_a", "some-key-c", "another_some_key_"):
        session.add(Variable(key=key, val=f"text of {key}"))
    session.commit()

    assert ask_database(ReadVariables("some_key_")) == {
        "some_key_a": "text of some_key_a",
        "some_key_b": "text of some_key_b",
    }


def test_the_settings_of_a_pool_are_read(session: Any) -> None:
    session.add(Pool(pool="claims", slots=3, description="for claims", include_deferred=True))
    session.commit()

    assert ask_database(ReadPool("claims")) == PoolSettings(3, True, "for claims")


def test_a_pool_that_does_not_exist_is_none(airflow_database: object) -> None:
    assert ask_database(ReadPool("missing")) is None
