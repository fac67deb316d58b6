"""What the pages show works as shown, their links resolve, and their language is plain."""

from __future__ import annotations

import ast
import inspect
import re
import tomllib
from datetime import UTC, datetime
from decimal import Decimal
from functools import cache
from typing import TYPE_CHECKING, Any

import pytest
from airflow import DAG

from airflow_provider_leadmagic import exceptions
from airflow_provider_leadmagic.api.models import CreditBalance
from airflow_provider_leadmagic.api.products import PRODUCTS
from airflow_provider_leadmagic.cli.commands import COMMANDS
from airflow_provider_leadmagic.client import LeadMagicClient
from airflow_provider_leadmagic.hooks.leadmagic import LeadMagicHook
from airflow_provider_leadmagic.operators._bulk_reports import spending_record
from airflow_provider_leadmagic.operators.bulk import BulkEnrichmentOperator
from airflow_provider_leadmagic.operators.credits import CheckCreditsOperator
from airflow_provider_leadmagic.sandbox.products import PRODUCTS as SOLD_BY_THE_SANDBOX
from airflow_provider_leadmagic.sensors.credits import SufficientCreditsSensor
from airflow_provider_leadmagic.triggers.credits import CreditsCrossingTrigger
from dev import structure
from tests.support.airflow_home import REPOSITORY
from tests.support.pages import (
    DOCS,
    PAGES,
    anchors_of,
    block_with,
    links_of,
    prose_of,
    python_of,
    section_of,
    text_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from airflow_provider_leadmagic.sandbox.sandbox import Sandbox

try:
    import airflow.sdk  # noqa: F401

    HAS_WATCHERS = True
except ModuleNotFoundError:  # Airflow 2.11
    HAS_WATCHERS = False

SPENDING = text_of("docs/spending-safely.md")
TESTING = "docs/testing-your-dags.md"
ERROR_NAMES = sorted(name for name in vars(exceptions) if re.fullmatch(r"[A-Z]\w*Error", name))


class AnyNotifier:
    """Stands in for the notifiers of other providers."""

    def __init__(self, **_: object) -> None:
        pass

    def __call__(self, context: object) -> None:
        pass


# --- Code ---


@pytest.mark.parametrize(("page", "block"), [(page, block) for page in PAGES for block in python_of(page)])
def test_every_block_is_python(page: str, block: str) -> None:
    compile(block, page, "exec")


@pytest.mark.parametrize("page", [page for page in DOCS if python_of(page)])
def test_the_code_of_every_page_runs(page: str, leadmagic_sandbox: Sandbox) -> None:
    if page == "docs/watchers.md" and not HAS_WATCHERS:
        pytest.skip("asset watchers need Airflow 3.0")
    job_id = leadmagic_sandbox.make_up_job(20)
    names: dict[str, Any] = {"SlackNotifier": AnyNotifier}
    for imported in (CheckCreditsOperator, SufficientCreditsSensor, BulkEnrichmentOperator):
        names[imported.__name__] = imported
    exec("import asyncio; from datetime import timedelta", names)

    for number, block in enumerate(python_of(page)):
        with DAG(f"block_{number}", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC)):
            names["estimate"] = CheckCreditsOperator(task_id="estimate")
            exec(compile(block.replace("JOB-ID", job_id), page, "exec"), names)


def test_the_bulk_job_is_a_dag_of_ten_lines() -> None:
    block = block_with("docs/bulk-enrichment.md", "enrich = BulkEnrichmentOperator(")
    names: dict[str, Any] = {}

    exec(compile(block, "docs/bulk-enrichment.md", "exec"), names)

    assert len(block.splitlines()) <= 10
    assert names["enrich"].dag.dag_id == "nightly_emails"


def test_the_client_works_as_shown_and_spends_what_the_page_says(leadmagic_sandbox: Sandbox) -> None:
    leadmagic_sandbox.set_credits(100)
    block = block_with("docs/hook-and-client.md", "client.bulk.submit(")
    names: dict[str, Any] = {}

    exec(compile(block, "docs/hook-and-client.md", "exec"), names)

    job_id = names["job"].job_id
    assert leadmagic_sandbox.credits == 98
    assert job_id == leadmagic_sandbox.bulk_jobs[0].job_id
    assert [row["row_index"] for row in names["results"]] == [0]
    assert f'progress()  # "{names["client"].bulk.get(job_id).progress()}"' in block


class SmallDag:
    """Stands in for the DAG of a user: it enriches five leads if the credits cover all of them."""

    state = "success"

    def test(self) -> SmallDag:
        client = LeadMagicHook().get_conn()
        if client.get_credits().spendable >= 5:
            for lead in range(5):
                client.enrich("email_finder", full_name=f"Lead {lead}", domain="example.com")
        return self


def _tests_shown() -> dict[str, Callable[[Sandbox], None]]:
    names: dict[str, Any] = {"dag": SmallDag()}
    exec(compile(python_of(TESTING)[0], TESTING, "exec"), names)
    return {name: test for name, test in names.items() if name.startswith("test_")}


@pytest.mark.parametrize("name", _tests_shown())
def test_the_tests_that_are_shown_pass(name: str, leadmagic_sandbox: Sandbox) -> None:
    _tests_shown()[name](leadmagic_sandbox)


# --- Facts ---


@pytest.mark.parametrize(
    ("page", "heading", "described", "from_kwargs"),
    [
        ("docs/check-credits.md", "Arguments", CheckCreditsOperator, set()),
        ("docs/gate.md", "Arguments", SufficientCreditsSensor, {"timeout"}),
        ("docs/bulk-enrichment.md", "Arguments", BulkEnrichmentOperator, set()),
        ("docs/watchers.md", "Arguments", CreditsCrossingTrigger, set()),
        ("docs/hook-and-client.md", "Use it without Airflow", LeadMagicClient, set()),
    ],
)
def test_the_table_has_every_argument(page: str, heading: str, described: Any, from_kwargs: set[str]) -> None:
    table = re.findall(r"^\| `(\w+)` \|(.*)\|$", section_of(page, heading), re.MULTILINE)
    parameters = dict(inspect.signature(inspect.unwrap(described.__init__)).parameters)

    assert [name for name, _ in table if name not in parameters.keys() | from_kwargs] == []
    assert parameters.keys() - {name for name, _ in table} == {"self", "kwargs"} & parameters.keys()
    assert {name for name, rest in table if "(templated)" in rest} == set(getattr(described, "template_fields", ()))


def test_what_the_bulk_operator_returns_is_shown() -> None:
    shown = ast.literal_eval(block_with("docs/bulk-enrichment.md", '"credits_estimated"'))

    promised = re.search(r"Returns ``\{(.*?)\}``", BulkEnrichmentOperator.__doc__ or "", re.DOTALL)

    assert promised
    assert list(shown) == re.findall(r'"(\w+)"', promised[1])


def test_the_spending_record_is_shown_with_its_keys() -> None:
    shown = ast.literal_eval(block_with("docs/bulk-enrichment.md", '"conn_id"'))
    result = ast.literal_eval(block_with("docs/bulk-enrichment.md", '"credits_estimated"'))

    assert list(shown.items()) == list(spending_record(result, "leadmagic_default", "email_finder").items())


def test_what_the_check_returns_is_shown() -> None:
    shown = ast.literal_eval(block_with("docs/check-credits.md", '"sufficient"'))

    balance = CreditBalance(credits=Decimal("1979.15"), observed_at=datetime.fromisoformat(shown["observed_at"]))

    assert list(shown.items()) == list(balance.report(Decimal(500)).items())


def test_every_command_line_option_is_listed() -> None:
    flags = {flag for command in COMMANDS for arg in command.args for flag in arg.flags}

    assert set(re.findall(r"`(--?[a-z][a-z-]*)`", section_of("docs/cli.md", "Options"))) == flags


def test_every_product_has_its_price() -> None:
    bulk, single = SPENDING.partition("\n## What it costs\n")[2].partition("Single lookups only")[::2]

    assert set(_products_of(bulk)) == {name for name, product in PRODUCTS.items() if product.is_bulk}
    assert set(_products_of(single)) == {name for name, product in PRODUCTS.items() if not product.is_bulk}


def test_every_bulk_product_has_the_columns_it_needs() -> None:
    section = section_of("docs/bulk-enrichment.md", "Columns that the input needs")
    rows = [row.split(" | ") for row in section.splitlines() if row.startswith("| `")]

    listed = {
        product: {frozenset(re.findall(r"`(\w+)`", group)) for group in columns.split("; and ")}
        for products, columns in rows
        for product in re.findall(r"`(\w+)`", products)
    }

    assert listed == {name: set(map(frozenset, product.needs)) for name, product in PRODUCTS.items() if product.is_bulk}


@pytest.mark.parametrize("product", SOLD_BY_THE_SANDBOX, ids=lambda product: str(product.name))
def test_the_prices_are_those_of_the_sandbox(product: Any) -> None:
    assert re.search(rf"^\| `{product.name}`[^|]*\| {product.price} \|", SPENDING, re.MULTILINE)


def test_the_import_table_is_the_one_that_is_enforced() -> None:
    rows = re.findall(
        r"^\| `(\w+)` \| (.*) \|$", section_of("docs/architecture.md", "Who may import whom"), re.MULTILINE
    )

    assert {name: set(re.findall(r"`(\w+)`", imports)) for name, imports in rows} == structure.MAY_IMPORT


@pytest.mark.parametrize("module", [name for name in structure.sources() if "." in name])
def test_every_module_is_in_the_list(module: str) -> None:
    folder, name = module.split(".", 1)
    listed = section_of("docs/architecture.md", "The modules")

    assert f"{folder}/" in listed or f" {folder}/" in listed
    if folder in ("api", "bulk", "compat", "decisions", "hooks", "triggers"):
        assert f"{name}.py" in listed


@pytest.mark.parametrize("page", PAGES)
def test_every_error_that_is_named_exists(page: str) -> None:
    names = set(re.findall(r"`((?:LeadMagic|InsufficientCredits|CreditsLimit)\w*Error)`", text_of(page)))

    assert names <= set(ERROR_NAMES)


@pytest.mark.parametrize("name", ERROR_NAMES)
def test_troubleshooting_explains_every_error(name: str) -> None:
    assert f"| `{name}` |" in section_of("docs/troubleshooting.md", "Exceptions")


@cache
def _messages_of_the_code() -> str:
    """Return every text of the package, with ``…`` for each value that is inserted."""
    texts = []
    for tree in structure.sources().values():
        for node in ast.walk(tree):
            if isinstance(node, ast.JoinedStr):
                parts = [part.value if isinstance(part, ast.Constant) else "…" for part in node.values]
                texts.append("".join(map(str, parts)))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                texts.append(re.sub(r"%[sdr]|%\.?\d*g|\{\w+\}", "…", node.value))
    return "\n".join(texts)


@pytest.mark.parametrize(
    "message", re.findall(r"^\| `([^`]+)` \|", section_of("docs/troubleshooting.md", "Messages"), re.MULTILINE)
)
def test_every_message_that_is_explained_is_in_the_code(message: str) -> None:
    code = _messages_of_the_code()

    assert [part for part in message.split("…") if part.strip() not in code] == []


@pytest.mark.parametrize("page", [page for page in PAGES if python_of(page)])
def test_every_name_that_a_page_imports_is_in_the_api_reference(page: str) -> None:
    reference = text_of("docs/api.rst")
    imports = re.findall(r"^from (airflow_provider_leadmagic\.\S+) import (.+)$", text_of(page), re.MULTILINE)
    names = {f"{module}.{name}" for module, names in imports for name in names.split(", ")}

    assert {name for name in names if name not in reference and ".exceptions." not in name} == set()


# --- Links ---


@pytest.mark.parametrize(("page", "target"), [(page, target) for page in PAGES for target in links_of(page)])
def test_every_link_resolves(page: str, target: str) -> None:
    path, _, anchor = target.partition("#")
    file = ((REPOSITORY / page).parent / path).resolve() if path else REPOSITORY / page

    assert file.exists()
    assert not anchor or anchor in anchors_of(str(file.relative_to(REPOSITORY)))


@pytest.mark.parametrize("file", sorted((REPOSITORY / "example_dags").glob("*.py")), ids=lambda file: str(file.name))
def test_the_texts_of_the_example_dags_have_no_relative_links(file: Path) -> None:
    # Airflow shows them, where a relative link leads to a page of Airflow.
    assert re.findall(r"\]\((?!https://)[^)]*\)", file.read_text()) == []


@pytest.mark.parametrize("page", PAGES)
def test_links_to_this_repository_are_relative_or_those_of_the_project(page: str) -> None:
    urls = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["urls"].values()
    source = re.findall(r"https://github\.com/[\w-]*leadmagic[^\s)]*", text_of(page))

    assert set(source) <= set(urls)


@pytest.mark.parametrize("page", [page for page in DOCS if page != "docs/index.md"])
def test_every_page_is_linked_from_the_index_and_the_readme(page: str) -> None:
    targets = {target.partition("#")[0] for target in links_of("docs/index.md")}

    assert page.removeprefix("docs/") in targets
    assert page in {target.partition("#")[0] for target in links_of("README.md")}


# --- Language ---

#: Phrases that are wrong in every sentence of this project, and what to write instead.
PLAIN_WORDS = {
    r"go(es|ing)? on": "continue, keep running",
    r"anew": "again",
    r"whoever": "the user, the caller",
    r"(some|any|every)body": "the user, all users",
    r"(?<!/v1/)people|a person": "users, your team",
    r"mend(s|ed)?": "fix",
    r"(?<!there )is no(?! longer)": "is not a",
    r"nothing of": "no",
    r"of ours": "our",
    r"lest": "so that ... not",
    r"told|tells?": "report, notify, log",
    r"answer(s|ed|ing)?": "response, respond, return",
    r"(a|each|every|one|first|next|last|failed|two) looks?": "poll",
    r"(a|each|every|one|first|second|next|last|earlier|four|two) (try|tries)(?! to)": "attempt",
    r"(the|a|each|every|deferred|waiting|rescheduled|two|thousand|\d+) gates?": "sensor",
    r"(re)?order(s|ed|ing) (a|one|the|for|new|80)": "submit",
    r"was ordered|is ordered|ordered once": "submitted",
    r"(run|runs|ran|running) dry": "run out of credits",
    r"makes? (no )?sense": "invalid, unexpected, valid",
    r"let(s)? pass|pass(es)? over": "accept, skip",
    r"come(s)? to nothing": "fail",
}


@pytest.mark.parametrize("page", PAGES)
def test_the_page_uses_plain_words(page: str) -> None:
    found = {match[0]: plain for words, plain in PLAIN_WORDS.items() for match in _find(words, text_of(page))}

    assert found == {}


@pytest.mark.parametrize("words", ["the next look", "each gate", "it goes on", "this is no poll", "LeadMagic answers"])
def test_a_phrase_that_is_not_plain_is_found(words: str) -> None:
    assert [match[0] for phrase in PLAIN_WORDS for match in _find(phrase, words)] != []


@pytest.mark.parametrize("page", DOCS)
def test_the_page_starts_with_what_it_is_about(page: str) -> None:
    first, second, *_ = prose_of(page).splitlines()

    assert first.startswith("# ")
    assert second == ""


def _find(words: str, text: str) -> list[re.Match[str]]:
    return list(re.finditer(rf"(?<!\w)(?:{words})(?!\w)", text, re.IGNORECASE))


def _products_of(tables: str) -> list[str]:
    first_cells = re.findall(r"^\| (`[^|]*)\|", tables.partition("\n## ")[0], re.MULTILINE)
    return [name for cell in first_cells for name in re.findall(r"`(\w+)`", cell)]
