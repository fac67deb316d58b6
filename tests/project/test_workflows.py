"""The GitHub workflows and pre-commit only call what also runs without them. `make workflows` checks their syntax."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from dev.matrix import CELLS, MAY_FAIL, requirements
from tests.support.airflow_home import REPOSITORY

MAKEFILE = (REPOSITORY / "Makefile").read_text()
WORKFLOWS = {path.name: yaml.safe_load(path.read_text()) for path in (REPOSITORY / ".github/workflows").glob("*.yml")}
JOBS = {f"{name}: {job}": content for name, flow in WORKFLOWS.items() for job, content in flow["jobs"].items()}
STEPS = [step for job in JOBS.values() for step in job["steps"]]
RELEASED = [cell for cell, (version, _) in CELLS.items() if version not in MAY_FAIL]


@pytest.mark.parametrize("command", sorted({step["run"] for step in STEPS if "run" in step}))
def test_every_step_calls_one_make_target(command: str) -> None:
    found = re.fullmatch(r"make ([\w-]+)( [A-Z_]+=\S+)*", command)

    assert found
    assert re.search(rf"^{found[1]}:", MAKEFILE, re.MULTILINE)


@pytest.mark.parametrize("action", sorted({step["uses"] for step in STEPS if "uses" in step}))
def test_every_action_is_pinned_to_a_commit(action: str) -> None:
    assert re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}", action)


@pytest.mark.parametrize("job", JOBS.values(), ids=JOBS)
def test_a_job_may_only_read_the_repository_or_prove_its_identity(job: dict[str, Any]) -> None:
    assert job["permissions"] in ({"contents": "read"}, {"id-token": "write"})


def test_each_push_runs_both_ends_of_the_matrix() -> None:
    ends = WORKFLOWS["test.yml"]["jobs"]["test"]["strategy"]["matrix"]["include"]

    assert [end["cell"] for end in ends] == [RELEASED[0], RELEASED[-1]]
    for end in ends:
        version, python = CELLS[end["cell"]]
        assert (end["python"], end["install"]) == (python, requirements(version)[1])


@pytest.mark.parametrize("tool", ["ruff check", "ruff format", "mypy"])
def test_pre_commit_runs_the_tools_of_make_lint(tool: str) -> None:
    [repository] = yaml.safe_load((REPOSITORY / ".pre-commit-config.yaml").read_text())["repos"]

    assert repository["repo"] == "local"
    assert any(f"/bin/{tool}" in hook["entry"] for hook in repository["hooks"])
    assert f"$(VENV)/bin/{tool}" in MAKEFILE
