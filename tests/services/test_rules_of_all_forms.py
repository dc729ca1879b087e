"""``airflow slo rules`` writes nothing that promtool rejects: every form of query and every published document."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from airflow_slo_provider.slo import SLOCatalog, load, read, rules
from tests.services.promtool import check
from tests.support import acceptance
from tests.unit.slo.documents import ratio_document
from tests.unit.slo.promql_forms import FORMS


def recorded_slos(tmp_path: Path, *catalogs: SLOCatalog) -> set[str]:
    """Write rules of each catalog, check them all with promtool, and return the names of the SLOs that have rules."""
    found = set()
    for number, catalog in enumerate(catalogs):
        text = rules(catalog)
        (tmp_path / f"{number}.yml").write_text(text)
        groups = yaml.safe_load(text)["groups"]
        found |= {rule["labels"]["slo"] for group in groups for rule in group["rules"] if "slo" in rule.get("labels", {})}
    check(*sorted(tmp_path.glob("*.yml")))
    return found


def test_rules_of_every_accepted_form_pass_promtool(tmp_path: Path) -> None:
    accepted = {f"form-{number}": queries for number, (_, queries, kind, _) in enumerate(FORMS) if kind}
    catalogs = [load(ratio_document(queries, name=name)) for name, queries in accepted.items()]
    assert recorded_slos(tmp_path, *catalogs) == set(accepted)


def test_rules_of_every_published_form_pass_promtool(tmp_path: Path) -> None:
    forms = json.loads(acceptance("slo", "promql", "forms.json").read_text())["forms"]
    queries = [{role: form[role] for role in ("good", "bad", "total", "raw") if role in form} for form in forms]
    readings = [read(ratio_document(one, name=f"form-{number}")) for number, one in enumerate(queries)]
    accepted = {f"form-{number}" for number, form in enumerate(forms) if form["expect"] != "refused"}
    assert {f"form-{number}" for number, reading in enumerate(readings) if reading.catalog} == accepted
    assert recorded_slos(tmp_path, *(reading.catalog for reading in readings if reading.catalog)) == accepted


def test_rules_of_every_published_document_pass_promtool(tmp_path: Path) -> None:
    root = acceptance("slo")
    paths = sorted(path for path in root.rglob("*") if path.suffix in (".yaml", ".yml"))
    catalogs = [catalog for path in paths if (catalog := read(path).catalog) is not None and catalog.slos]
    found = recorded_slos(tmp_path, *catalogs)
    measured = {
        name
        for catalog in catalogs
        for slo in catalog
        for name, objective in slo.parts()
        if slo.indicator_of(objective).source_type == "Prometheus"
    }
    assert found == measured


@pytest.mark.parametrize(
    "query",
    [
        "max(latency)",
        "latency or latency_old",
        "histogram_quantile(0.9, sum by (le) (rate(x_bucket[{{.window}}])))",
        "absent(up) * 0 + 1  # a comment",
    ],
)
def test_rules_of_a_threshold_metric_pass_promtool(tmp_path: Path, query: str) -> None:
    text = ratio_document({"bad": "x", "total": "y"})
    start, end = text.index("  indicator:"), text.index("  timeWindow:")
    metric = yaml.safe_dump(
        {"spec": {"thresholdMetric": {"metricSource": {"type": "Prometheus", "spec": {"query": query}}}}}, default_flow_style=True
    )
    text = f"{text[:start]}  indicator: {metric}{text[end:]}".replace("target: 0.999", "{target: 0.99, op: lt, value: 0.5}")
    reading = read(text)
    if reading.catalog is not None:
        assert recorded_slos(tmp_path, reading.catalog) == {"checkout"}
    else:
        assert "absent" in query
