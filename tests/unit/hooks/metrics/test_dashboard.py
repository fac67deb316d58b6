"""The Grafana dashboard and the metrics page name exactly the metrics that are sent."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from itertools import combinations
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_leadmagic.api.models import CreditBalance
from airflow_provider_leadmagic.exceptions import LeadMagicServerError
from airflow_provider_leadmagic.hooks.metrics import BalanceMetrics, count_spent_credits, report_claims
from tests.support.airflow_home import REPOSITORY

if TYPE_CHECKING:
    from pytest_mock import MockerFixture

PAGE = (REPOSITORY / "docs" / "metrics.md").read_text()
DASHBOARD: dict[str, Any] = json.loads((REPOSITORY / "docs" / "grafana-dashboard.json").read_text())
PANELS: list[dict[str, Any]] = DASHBOARD["panels"]
VARIABLES: list[dict[str, Any]] = DASHBOARD["templating"]["list"]
QUERIES: list[str] = [target["expr"] for panel in PANELS for target in panel["targets"]]


@pytest.fixture
def sent(mocker: MockerFixture) -> dict[str, set[str]]:
    """Return the tags of every metric by its Prometheus name. A counter has two names."""
    stats = mocker.patch("airflow_provider_leadmagic.hooks.metrics.Stats")
    metrics = BalanceMetrics("main")
    metrics.seen(CreditBalance(credits=Decimal(1000), observed_at=datetime.now(UTC)))
    metrics.failed(LeadMagicServerError("LeadMagic returned 503"))
    report_claims("leadmagic", Decimal(700), Decimal(1000), 2)
    count_spent_credits(1, "main", "email_finder", {"dag_id": "night", "task_id": "enrich"})
    calls = {call.args[0].replace(".", "_"): set(call.kwargs["tags"]) for call in stats.gauge.call_args_list}
    for call in stats.incr.call_args_list:
        name = call.args[0].replace(".", "_")
        calls |= {name: set(call.kwargs["tags"]), f"{name}_total": set(call.kwargs["tags"])}
    return calls


def objects(value: Any) -> Iterator[dict[str, Any]]:
    """Yield every JSON object of the dashboard, at any depth."""
    if isinstance(value, dict):
        yield value
    for child in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from objects(child)


def selectors(query: str) -> list[str]:
    return re.findall(r"([\w:${}]+)\{(?=\w+\s*[=!])", query)


def test_its_queries_select_the_metrics_that_are_sent_and_no_others(sent: dict[str, set[str]]) -> None:
    selected = {name for query in QUERIES for name in selectors(query)}

    assert selected == {f"${{prefix}}_{name}" for name in sent}


def test_every_metric_in_its_queries_is_filtered_by_connection_or_claim_pool(sent: dict[str, set[str]]) -> None:
    for query in QUERIES:
        filtered = re.findall(r'_(leadmagic_\w+){(\w+)=~"\$\2"}', query)

        assert len(filtered) == query.count("_leadmagic_") > 0
        assert all(label in sent[name] & {"conn_id", "pool"} for name, label in filtered)


def test_it_groups_by_tags_that_are_sent(sent: dict[str, set[str]]) -> None:
    for query in QUERIES:
        common = set.intersection(*(sent[name.removeprefix("${prefix}_")] for name in selectors(query)))
        groups = {label.strip() for labels in re.findall(r"by \(([^)]*)\)", query) for label in labels.split(",")}

        assert groups
        assert groups <= common


def test_its_legends_show_labels_that_the_query_keeps() -> None:
    for panel in PANELS:
        for target in panel["targets"]:
            kept = {label for labels in re.findall(r"by \(([^)]*)\)", target["expr"]) for label in labels.split(", ")}

            assert set(re.findall(r"{{(\w+)}}", target["legendFormat"])) == kept


def test_the_brackets_in_its_queries_match() -> None:
    for query in QUERIES:
        assert [query.count(bracket) for bracket in "([{"] == [query.count(bracket) for bracket in ")]}"]


def test_it_uses_exactly_the_variables_that_it_defines() -> None:
    defined = {variable["name"] for variable in VARIABLES} | {"__rate_interval"}

    assert set(re.findall(r"\$\{?(\w+)", json.dumps(DASHBOARD))) - {"__all"} == defined


@pytest.mark.parametrize(("label", "gauge"), [("conn_id", "credits"), ("pool", "credits_claimed")])
def test_the_choices_of_its_variables_come_from_a_gauge(sent: dict[str, set[str]], label: str, gauge: str) -> None:
    (query,) = [variable["query"]["query"] for variable in VARIABLES if variable["name"] == label]

    assert label in sent[f"leadmagic_{gauge}"]
    assert query == f"label_values(${{prefix}}_leadmagic_{gauge}, {label})"


def test_its_panels_do_not_overlap_and_fit_the_width() -> None:
    positions = [panel["gridPos"] for panel in PANELS]

    assert all(position["x"] >= 0 and position["x"] + position["w"] <= 24 for position in positions)
    for one, other in combinations(positions, 2):
        beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        below = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        assert beside or below


def test_its_panels_and_queries_have_unique_ids_and_titles() -> None:
    assert len({panel["id"] for panel in PANELS}) == len({panel["title"] for panel in PANELS}) == len(PANELS)
    for panel in PANELS:
        assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])


def test_it_reads_from_the_selected_data_source() -> None:
    sources = [found["datasource"] for found in objects(DASHBOARD) if "datasource" in found]

    assert len(sources) == len(PANELS) + len(QUERIES) + 2
    assert all(source == {"type": "prometheus", "uid": "${datasource}"} for source in sources)


def test_it_has_no_id_of_a_grafana_instance() -> None:
    assert DASHBOARD["id"] is None


def test_the_balance_turns_yellow_and_red_at_the_thresholds_of_the_alerts() -> None:
    (now,) = [panel for panel in PANELS if panel["title"] == "Spendable credits now"]
    steps = [step["value"] for step in now["fieldConfig"]["defaults"]["thresholds"]["steps"]]

    assert steps == [None, *sorted(map(int, re.findall(r"credits_spendable\) < (\d+)", PAGE)))]


def test_the_page_lists_the_metrics_that_are_sent_with_their_prometheus_names(sent: dict[str, set[str]]) -> None:
    rows = re.findall(r"^\| `leadmagic\.(\w+)` \| (\w+) \| \w+ \| (.*?) \|", PAGE, re.MULTILINE)

    assert {f"leadmagic_{name}": set(re.findall(r"`(\w+)`", tags)) for name, _, tags in rows} == {
        name: tags for name, tags in sent.items() if not name.endswith("_total")
    }
    assert set(re.findall(r"airflow_(leadmagic_\w+)", PAGE)) == set(sent)
