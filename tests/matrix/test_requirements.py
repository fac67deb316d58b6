"""What the environments are made of: exact versions, those that the matrix promises, and the oldest we allow."""

from __future__ import annotations

import re
import tomllib

import pytest

from tests.matrix.versions import MATRIX, Version
from tests.support.airflow_home import REPOSITORY

PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
BOUNDS = [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["sandbox"]]
ALL = pytest.mark.parametrize("version", MATRIX, ids=lambda version: version.name)


def pins(version: Version) -> dict[str, str]:
    lines = (REPOSITORY / version.requirements).read_text().splitlines()
    return dict(re.split("==| ;", line)[:2] for line in lines)


@ALL
def test_every_line_is_a_name_and_a_version(version: Version) -> None:
    lines = (REPOSITORY / version.requirements).read_text().splitlines()

    assert [line for line in lines if not re.fullmatch(r"[\w.-]+==[\w.]+( ; .+)?", line)] == []


@ALL
def test_the_airflow_is_the_one_that_is_promised(version: Version) -> None:
    assert pins(version)["apache-airflow"] == version.airflow


@pytest.mark.parametrize("bound", BOUNDS)
def test_the_oldest_are_the_oldest_that_we_allow(bound: str) -> None:
    [oldest] = [version for version in MATRIX if version.name == "oldest"]
    name, allowed = bound.split(">=")

    assert re.fullmatch(rf"{re.escape(allowed)}(\.0)*", pins(oldest)[name])


def test_every_file_belongs_to_a_version_or_to_an_environment_that_holds_more() -> None:
    files = {f"requirements/{path.name}" for path in (REPOSITORY / "requirements").iterdir()}
    more = {"requirements/benchmarks.txt", "requirements/distributed.txt"}

    assert files == {version.requirements for version in MATRIX} | more
