"""What the README shows works as shown."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.airflow_home import REPOSITORY

README = (REPOSITORY / "README.md").read_text()
PYTHON = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def test_the_first_dag_is_a_dag_of_ten_lines() -> None:
    first = PYTHON[0]
    names: dict[str, Any] = {}

    exec(compile(first, "README.md", "exec"), names)

    assert len(first.splitlines()) <= 10
    assert names["gate"].upstream_task_ids == {"check"}
    assert names["check"].dag.dag_id == "nightly_enrichment"


@pytest.mark.parametrize("block", PYTHON)
def test_every_block_is_python(block: str) -> None:
    compile(block, "README.md", "exec")


@pytest.mark.parametrize("name", sorted(set(re.findall(r"`((?:LeadMagic|InsufficientCredits)\w*Error)`", README))))
def test_every_error_it_names_exists(name: str) -> None:
    from airflow_provider_leadmagic import exceptions

    assert hasattr(exceptions, name)


@pytest.mark.parametrize("target", sorted(set(re.findall(r"^make ([\w-]+)", README, re.MULTILINE))))
def test_every_make_target_it_names_exists(target: str) -> None:
    assert re.search(rf"^{target}:", (REPOSITORY / "Makefile").read_text(), re.MULTILINE)
