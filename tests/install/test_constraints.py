"""The constraints are those of the Airflows that are promised, and no bound of ours is beyond them."""

from __future__ import annotations

import re
import tomllib

import pytest
from packaging.requirements import Requirement

from dev.matrix import MAY_FAIL, requirements
from dev.matrix import VERSIONS as MATRIX
from tests.install.clean_environment import VERSIONS, constraints_of
from tests.support.airflow_home import REPOSITORY

PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
NEEDS = [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["sandbox"]]
#: Of the matrix: the file of a test environment, and the Airflow in it.
RELEASED = [requirements(version) for version in MATRIX if version not in MAY_FAIL]
COMMON_COMPAT = "apache-airflow-providers-common-compat"


def test_there_are_constraints_for_every_released_airflow_of_the_matrix() -> None:
    assert sorted(airflow for _, airflow in RELEASED) == VERSIONS


@pytest.mark.parametrize("airflow", VERSIONS)
@pytest.mark.parametrize("need", NEEDS)
def test_what_it_needs_is_allowed(need: str, airflow: str) -> None:
    requirement = Requirement(need)
    allowed = constraints_of(airflow).get(requirement.name)

    # What an Airflow has no opinion on is free: FastAPI, of Airflow 2.
    assert allowed is None or requirement.specifier.contains(allowed)


@pytest.mark.parametrize("need", PROJECT["dependencies"])
def test_the_oldest_airflow_has_an_opinion_on_all_but_the_sandbox(need: str) -> None:
    assert Requirement(need).name in constraints_of("2.11.0")


@pytest.mark.parametrize(("file", "airflow"), RELEASED)
def test_the_test_environments_have_common_compat_as_people_do(file: str, airflow: str) -> None:
    pinned = re.findall(rf"^{COMMON_COMPAT}==(.*)$", (REPOSITORY / file).read_text(), re.MULTILINE)

    assert pinned == [constraints_of(airflow)[COMMON_COMPAT]]
