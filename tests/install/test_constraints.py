"""There are constraints for every supported Airflow, and they allow the dependencies of this package."""

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
DEPENDENCIES = [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["sandbox"]]
#: For each released version of the matrix: the requirements file, and the Airflow that it pins.
RELEASED = [requirements(version) for version in MATRIX if version not in MAY_FAIL]
COMMON_COMPAT = "apache-airflow-providers-common-compat"


def test_there_are_constraints_for_every_released_airflow_of_the_matrix() -> None:
    assert sorted(airflow for _, airflow in RELEASED) == VERSIONS


@pytest.mark.parametrize("airflow", VERSIONS)
@pytest.mark.parametrize("dependency", DEPENDENCIES)
def test_every_dependency_is_allowed(dependency: str, airflow: str) -> None:
    requirement = Requirement(dependency)
    allowed = constraints_of(airflow).get(requirement.name)

    # None: not constrained, such as FastAPI in Airflow 2.
    assert allowed is None or requirement.specifier.contains(allowed)


@pytest.mark.parametrize("dependency", PROJECT["dependencies"])
def test_the_oldest_airflow_constrains_every_dependency_outside_the_sandbox(dependency: str) -> None:
    assert Requirement(dependency).name in constraints_of("2.11.0")


@pytest.mark.parametrize(("file", "airflow"), RELEASED)
def test_the_test_environments_have_the_common_compat_of_the_constraints(file: str, airflow: str) -> None:
    pinned = re.findall(rf"^{COMMON_COMPAT}==(.*)$", (REPOSITORY / file).read_text(), re.MULTILINE)

    assert pinned == [constraints_of(airflow)[COMMON_COMPAT]]
