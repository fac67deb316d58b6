"""The runner of `make mutants`: which changes it makes to a source, and what it reports about them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dev import mutants
from dev.mutations import Mutant, find_mutants
from tests.support.airflow_home import REPOSITORY

if TYPE_CHECKING:
    from pathlib import Path

SAMPLE = """def limit(credits, cap):
    if credits < 0:
        raise ValueError
    return min(credits, cap)
"""
TESTS_OF_THE_SAMPLE = """
import pytest

from sample import limit


def test_the_smaller_number_is_returned():
    assert limit(5, 3) == 3
    assert limit(1, 3) == 1
"""
#: A test that notices what those of the sample do not.
ONE_MORE = """

def test_a_negative_number_is_an_error_and_zero_is_not():
    assert limit(0, 3) == 0
    with pytest.raises(ValueError):
        limit(-1, 3)
"""


def changed(source: str) -> set[str]:
    """Return the mutants of a source of one or more lines."""
    return {mutant.apply(source.encode()).decode() for mutant in find_mutants(source.encode())}


@pytest.fixture
def sample(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make a repository of one module for `make mutants`, and return its folder."""
    (tmp_path / "package").mkdir()
    (tmp_path / "package/sample.py").write_text(SAMPLE)
    (tmp_path / "tests/unit").mkdir(parents=True)
    tests = tmp_path / "tests/unit/test_sample.py"
    tests.write_text(TESTS_OF_THE_SAMPLE.replace("from sample", "from package.sample"))
    monkeypatch.setattr(mutants, "REPOSITORY", tmp_path)
    monkeypatch.setattr(mutants, "PACKAGE", "package")
    monkeypatch.setattr(mutants, "TESTS", {"sample.py": ("test_sample.py",)})
    return tmp_path


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("a < b", {"(a <= b)", "(a >= b)"}),
        ("a == b", {"(a != b)"}),
        ("a is not None", {"(a is None)"}),
        ("a not in b", {"(a in b)"}),
        ("a and b", {"(a or b)"}),
        ("a or not b", {"(a and (not b))", "a or (b)"}),
        ("a + b", {"(a - b)"}),
        ("max(a, b)", {"(min(a, b))", "pass"}),
        ("a if b else c", {"a if (not (b)) else c"}),
        ("[a for a in b if a.c]", {"[a for a in b if (not (a.c))]"}),
        ("a = True", {"a = False"}),
        ("a = 2", {"a = (3)", "a = (1)"}),
        ("a = 86_400.0", {"a = (129600.0)", "a = (43200.0)"}),
        ("a.b = c", {"pass"}),
        ("a += b", {"pass"}),
        ("a()", {"pass"}),
        ("raise a", {"pass"}),
        ("def f():\n  return a", {"def f():\n  return None"}),
        ("def f():\n  return", {"def f():\n  pass"}),
        ("async def f():\n  await a", {"async def f():\n  pass"}),
        ("while a:\n  break", {"while (not (a)):\n  break", "while a:\n  pass"}),
        ("if a:\n  b", {"if (not (a)):\n  b"}),
        ("a = 'é', 2", {"a = 'é', (3)", "a = 'é', (1)"}),
    ],
)
def test_each_change_is_a_mutant_of_its_own(source: str, expected: set[str]) -> None:
    assert changed(source) == expected


@pytest.mark.parametrize(
    "source",
    [
        '"""Docstring."""',
        "log.info('%s left', 1 + 1)",
        "self._log.warning('%s left', not a)",
        "a = f'{1 + 1} left'",
        "def f(a: Literal[1]) -> Literal[2]: ...",
        "a: Literal[1] = b",
        "@dataclass(frozen=True)\nclass A: ...",
        "if TYPE_CHECKING:\n  import a",
        "class A(Protocol):\n  def f(self, a=1): ...",
        "import a",
        "a = None",
    ],
)
def test_docstrings_messages_annotations_protocols_and_imports_are_left_alone(source: str) -> None:
    assert changed(source) == set()


def test_a_mutant_states_its_line_and_its_diff() -> None:
    source = SAMPLE.encode()
    mutant = next(each for each in find_mutants(source) if each.text == "pass")

    assert mutant.line(source) == 3
    assert mutant.diff(source, "sample.py").splitlines()[-4:] == [
        "     if credits < 0:",
        "-        raise ValueError",
        "+        pass",
        "     return min(credits, cap)",
    ]


@pytest.mark.e2e
@pytest.mark.any_airflow
def test_a_survivor_is_reported_with_place_and_diff_and_fails_the_run(
    sample: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert mutants.main() == 1

    printed = capsys.readouterr().out
    assert "package/sample.py:3: survived\n--- package/sample.py\n" in printed
    assert "-        raise ValueError\n+        pass\n" in printed
    assert "package/sample.py:4: killed\n" in printed
    assert printed.endswith("\n4 of 7 mutants survived (57.1%).\n")
    assert (sample / "package/sample.py").read_text() == SAMPLE


@pytest.mark.e2e
@pytest.mark.any_airflow
def test_a_run_without_survivors_passes(sample: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with (sample / "tests/unit/test_sample.py").open("a") as tests:
        tests.write(ONE_MORE)

    assert mutants.main() == 0

    assert capsys.readouterr().out.endswith("\n0 of 7 mutants survived (0.0%).\n")


@pytest.mark.e2e
@pytest.mark.any_airflow
def test_a_sample_of_the_mutants_can_be_tried(sample: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mutants.main("2", "4", "sample.py")

    assert "of 2 mutants survived" in capsys.readouterr().out


@pytest.mark.e2e
@pytest.mark.any_airflow
def test_tests_that_take_too_long_are_killed_and_do_not_count_as_survived(sample: Path) -> None:
    mutant = Mutant(0, 0, "import time\ntime.sleep(60)\n")

    assert mutants.try_mutant(sample, "package/sample.py", mutant, ("tests/unit",), limit=0.1) == "timed out"
    assert mutants._running == set()


@pytest.mark.e2e
@pytest.mark.any_airflow
def test_tests_that_fail_without_a_change_end_the_run(sample: Path) -> None:
    (sample / "tests/unit/test_sample.py").write_text("def test_a():\n    assert False\n")

    with pytest.raises(SystemExit, match=r"^package/sample\.py: the tests fail without a change; run: pytest "):
        mutants.main()


def test_an_unknown_module_is_rejected() -> None:
    with pytest.raises(SystemExit, match=r"^bulk/none\.py: not a module with mutants; choose from decisions/"):
        mutants.main("1", "1", "bulk/none.py")


def test_the_modules_have_at_least_300_mutants_that_python_compiles() -> None:
    sources = [(REPOSITORY / mutants.PACKAGE / name).read_bytes() for name in mutants.TESTS]
    broken = [mutant.apply(source) for source in sources for mutant in find_mutants(source)]

    assert len(broken) >= 300
    for source in broken:
        compile(source, "mutant", "exec")


@pytest.mark.parametrize("module", mutants.TESTS)
def test_the_tests_of_a_module_exist(module: str) -> None:
    assert [test for test in mutants.TESTS[module] if not (REPOSITORY / "tests/unit" / test).exists()] == []
