"""The requirement files pin exact versions, the Airflow of the matrix, and the oldest allowed dependencies."""

from __future__ import annotations

import re
import tomllib

import pytest

from dev.matrix import VERSIONS, requirements
from tests.support.airflow_home import REPOSITORY

PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
BOUNDS = [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["sandbox"]]
ALL = pytest.mark.parametrize("version", VERSIONS)


def pins(version: str) -> dict[str, str]:
    file, _ = requirements(version)
    return dict(re.split("==| ;", line)[:2] for line in (REPOSITORY / file).read_text().splitlines())


@pytest.mark.parametrize("file", sorted(path.name for path in (REPOSITORY / "requirements").iterdir()))
def test_every_line_pins_a_version(file: str) -> None:
    lines = (REPOSITORY / "requirements" / file).read_text().splitlines()

    assert [line for line in lines if not re.fullmatch(r"[\w.-]+==[\w.]+( ; .+)?", line)] == []


@ALL
def test_the_pinned_airflow_is_that_of_the_matrix(version: str) -> None:
    _, airflow = requirements(version)

    assert pins(version)["apache-airflow"] == airflow


@pytest.mark.parametrize("bound", BOUNDS)
def test_the_oldest_environment_pins_the_lower_bounds(bound: str) -> None:
    name, allowed = bound.split(">=")

    assert re.fullmatch(rf"{re.escape(allowed)}(\.0)*", pins("oldest")[name])


def test_every_file_belongs_to_a_version_or_is_an_addition() -> None:
    files = {f"requirements/{path.name}" for path in (REPOSITORY / "requirements").iterdir()}
    names = ("benchmarks", "distributed", "docs", "fab", "openlineage", "release", "storage")
    additions = {f"requirements/{name}.txt" for name in names}

    assert files == {requirements(version)[0] for version in VERSIONS} | additions
