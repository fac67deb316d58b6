"""The README is short, and what it shows works as shown."""

from __future__ import annotations

import re
from typing import Any

import pytest

from dev.matrix import CELLS, MAY_FAIL, VERSIONS
from tests.support.airflow_home import REPOSITORY
from tests.support.pages import python_of, text_of

README = text_of("README.md")
#: Lines of a page that a browser shows without scrolling.
FIRST_SCREEN = 40


def test_it_has_fewer_than_100_lines() -> None:
    assert len(README.splitlines()) < 100


@pytest.mark.parametrize("part", ["holds a DAG until", "pip install", "with DAG(", "leadmagic-sandbox"])
def test_the_first_screen_shows(part: str) -> None:
    assert part in "\n".join(README.splitlines()[:FIRST_SCREEN])


def test_the_first_dag_is_a_dag_of_ten_lines() -> None:
    first = python_of("README.md")[0]
    names: dict[str, Any] = {}

    exec(compile(first, "README.md", "exec"), names)

    assert len(first.splitlines()) <= 10
    assert names["wait"].upstream_task_ids == {"check_credits"}
    assert names["check"].dag.dag_id == "nightly_enrichment"


def test_it_is_installed_under_the_constraints_of_the_newest_airflow_that_is_tested() -> None:
    *_, newest = [version for version in VERSIONS if version not in MAY_FAIL]
    [(airflow, python)] = re.findall(r"/apache/airflow/constraints-(.+)/constraints-(.+)\.txt$", README, re.MULTILINE)

    assert (airflow, python) in CELLS.values()
    assert airflow == newest


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md"])
def test_every_make_target_it_names_exists(page: str) -> None:
    targets = set(re.findall(r"^make ([\w-]+)|`make ([\w-]+)", text_of(page), re.MULTILINE))
    makefile = (REPOSITORY / "Makefile").read_text()

    assert targets
    assert [target for target in map("".join, targets) if not re.search(rf"^{target}:", makefile, re.MULTILINE)] == []
