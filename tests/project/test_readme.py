"""What the README and the pages it leads to show works as shown."""

from __future__ import annotations

import ast
import inspect
import re
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_leadmagic.api.products import PRODUCTS
from airflow_provider_leadmagic.operators.bulk import BulkEnrichmentOperator
from airflow_provider_leadmagic.sandbox.products import PRODUCTS as SOLD_BY_THE_SANDBOX
from dev.matrix import CELLS, MAY_FAIL, VERSIONS
from tests.support.airflow_home import REPOSITORY

if TYPE_CHECKING:
    from airflow_provider_leadmagic.sandbox.sandbox import Sandbox

README = (REPOSITORY / "README.md").read_text()
SPENDING = (REPOSITORY / "docs" / "spending-safely.md").read_text()
PYTHON = re.findall(r"```python\n(.*?)```", README + SPENDING, re.DOTALL)
PAGES = ["README.md", *(f"docs/{path.name}" for path in sorted((REPOSITORY / "docs").glob("*.md")))]
LINKS = [
    (page, target)
    for page in PAGES
    for target in sorted(set(re.findall(r"\]\(([^)\s]+)\)", (REPOSITORY / page).read_text())))
    if "://" not in target
]


def test_the_first_dag_is_a_dag_of_ten_lines() -> None:
    first = PYTHON[0]
    names: dict[str, Any] = {}

    exec(compile(first, "README.md", "exec"), names)

    assert len(first.splitlines()) <= 10
    assert names["gate"].upstream_task_ids == {"check"}
    assert names["check"].dag.dag_id == "nightly_enrichment"


def test_it_is_installed_under_the_constraints_of_the_newest_airflow_that_is_tested() -> None:
    *_, newest = [version for version in VERSIONS if version not in MAY_FAIL]
    [(airflow, python)] = re.findall(r"/apache/airflow/constraints-(.+)/constraints-(.+)\.txt$", README, re.MULTILINE)

    assert (airflow, python) in CELLS.values()
    assert airflow == newest


@pytest.mark.parametrize("block", PYTHON)
def test_every_block_is_python(block: str) -> None:
    compile(block, "README.md", "exec")


@pytest.mark.parametrize(
    "name", sorted(set(re.findall(r"`((?:LeadMagic|InsufficientCredits|CreditsLimit)\w*Error)`", README + SPENDING)))
)
def test_every_error_it_names_exists(name: str) -> None:
    from airflow_provider_leadmagic import exceptions

    assert hasattr(exceptions, name)


@pytest.mark.parametrize("target", sorted(set(re.findall(r"^make ([\w-]+)", README, re.MULTILINE))))
def test_every_make_target_it_names_exists(target: str) -> None:
    assert re.search(rf"^{target}:", (REPOSITORY / "Makefile").read_text(), re.MULTILINE)


def test_the_bulk_job_is_a_dag_of_ten_lines() -> None:
    [block] = [block for block in PYTHON if "enrich = BulkEnrichmentOperator(" in block]
    names: dict[str, Any] = {}

    exec(compile(block, "README.md", "exec"), names)

    assert len(block.splitlines()) <= 10
    assert names["enrich"].dag.dag_id == "nightly_emails"


def test_what_it_shows_of_the_client_works_and_spends_what_it_says(leadmagic_sandbox: Sandbox) -> None:
    leadmagic_sandbox.set_credits(100)
    [block] = [block for block in PYTHON if "client.bulk.submit(" in block]
    names: dict[str, Any] = {}

    exec(compile(block, "README.md", "exec"), names)

    assert leadmagic_sandbox.credits == 98
    assert names["job"].job_id == leadmagic_sandbox.bulk_jobs[0].job_id
    assert [row["row_index"] for row in names["results"]] == [0]


def test_the_table_of_the_bulk_operator_has_every_argument() -> None:
    section = README.partition("\n## BulkEnrichmentOperator\n")[2].partition("\n## ")[0]
    table = re.findall(r"^\| `(\w+)` \|(.*)\|$", section, re.MULTILINE)
    parameters = dict(inspect.signature(inspect.unwrap(BulkEnrichmentOperator.__init__)).parameters)

    assert [name for name, _ in table if name not in parameters] == []
    assert parameters.keys() - {name for name, _ in table} == {"self", "kwargs"}
    assert {name for name, rest in table if "(templated)" in rest} == set(BulkEnrichmentOperator.template_fields)


def test_what_the_bulk_operator_returns_is_shown() -> None:
    [shown] = [ast.literal_eval(block) for block in PYTHON if '"credits_estimated"' in block]

    promised = re.search(r"Returns ``\{(.*?)\}``", BulkEnrichmentOperator.__doc__ or "", re.DOTALL)

    assert promised
    assert list(shown) == re.findall(r'"(\w+)"', promised[1])


def test_every_product_has_its_price() -> None:
    bulk, single = SPENDING.partition("\n## What it costs\n")[2].partition("Single lookups only")[::2]

    assert set(_products_of(bulk)) == {name for name, product in PRODUCTS.items() if product.is_bulk}
    assert set(_products_of(single)) == {name for name, product in PRODUCTS.items() if not product.is_bulk}


@pytest.mark.parametrize("product", SOLD_BY_THE_SANDBOX, ids=lambda product: str(product.name))
def test_the_prices_are_those_of_the_sandbox(product: Any) -> None:
    assert re.search(rf"^\| `{product.name}`[^|]*\| {product.price} \|", SPENDING, re.MULTILINE)


@pytest.mark.parametrize(("page", "target"), LINKS)
def test_every_link_between_pages_leads_somewhere(page: str, target: str) -> None:
    path, _, anchor = target.partition("#")
    file = (REPOSITORY / page).parent / path if path else REPOSITORY / page

    assert file.exists()
    assert not anchor or anchor in _anchors_of(file.read_text())


def _products_of(tables: str) -> list[str]:
    first_cells = re.findall(r"^\| (`[^|]*)\|", tables.partition("\n## ")[0], re.MULTILINE)
    return [name for cell in first_cells for name in re.findall(r"`(\w+)`", cell)]


def _anchors_of(page: str) -> set[str]:
    """Make anchors of headings, as GitHub does."""
    headings = re.findall(r"^#+ (.*)$", page, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
