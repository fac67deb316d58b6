"""The size of the package, and which subpackage may import which."""

from __future__ import annotations

import ast

import pytest

from dev import structure

FIGURES = structure.figures()


@pytest.mark.parametrize(
    ("figure", "limit"),
    [
        ("root modules", structure.MAX_ROOT_MODULES),
        ("files", structure.MAX_FILES),
        ("files of claims", structure.MAX_CLAIM_FILES),
        ("files of the page", structure.MAX_PAGE_FILES),
        ("files of the sandbox", structure.MAX_SANDBOX_FILES),
        ("lines of the longest module", structure.MAX_LINES),
        ("function length, p90", structure.MAX_FUNCTION_P90),
    ],
)
def test_the_package_stays_within_its_size_limits(figure: str, limit: int) -> None:
    assert FIGURES[figure] <= limit


def test_no_module_imports_itself_through_others() -> None:
    assert structure.import_cycles() == []


def test_no_two_subpackages_import_each_other() -> None:
    assert structure.mutual_imports() == []


def test_every_import_is_allowed() -> None:
    assert structure.forbidden_imports() == []


@pytest.mark.parametrize("subpackage", ["api", "decisions", "client", "exceptions", "sandbox"])
def test_a_subpackage_without_airflow_does_not_import_it(subpackage: str) -> None:
    assert structure.airflow_imports(subpackage) == []


def test_imports_in_functions_and_for_type_checkers_count() -> None:
    assert "hooks.leadmagic" in structure.imports_of("sensors.credits")  # inside a function
    assert "operators._bulk_run" in structure.imports_of("operators.bulk")  # for type checkers
    assert "__init__" in structure.imports_of("api.transport")  # the version


@pytest.mark.parametrize(
    "statement", ["import {0}.api.errors", "import {0}.api.errors as errors", "from {0}.api import errors"]
)
def test_every_form_of_import_counts(statement: str) -> None:
    tree = ast.parse(statement.format(structure.PACKAGE))

    assert structure.imported_modules(tree) == {"api.errors"}
