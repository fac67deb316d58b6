"""The constraints are those of the Airflows that are promised, and no bound of ours is beyond them."""

from __future__ import annotations

import re
import tomllib

import pytest
from packaging.requirements import Requirement

from tests.install.clean_environment import VERSIONS, constraints_of
from tests.matrix.versions import MATRIX, Version
from tests.support.airflow_home import REPOSITORY

PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
NEEDS = [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["sandbox"]]
RELEASED = [version for version in MATRIX if not version.may_fail]
COMMON_COMPAT = "apache-airflow-providers-common-compat"


def test_there_are_constraints_for_every_released_airflow_of_the_matrix() -> None:
    assert sorted(version.airflow for version in RELEASED) == VERSIONS


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


@pytest.mark.parametrize("version", RELEASED, ids=lambda version: version.name)
def test_the_test_environments_have_common_compat_as_people_do(version: Version) -> None:
    pins = (REPOSITORY / version.requirements).read_text()

    assert re.findall(rf"^{COMMON_COMPAT}==(.*)$", pins, re.MULTILINE) == [
        constraints_of(version.airflow)[COMMON_COMPAT]
    ]
