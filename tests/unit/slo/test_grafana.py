"""The dashboard shows recorded series and nothing else."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest
import yaml

from airflow_slo_provider.slo.export.grafana_dashboard import grafana_dashboard
from airflow_slo_provider.slo.export.prometheus_rules import rules
from airflow_slo_provider.slo.model import MetricSource, RatioMetric
from tests.support import need
from tests.unit.slo.rules_builders import catalog, slo

SQL = MetricSource("SQL", None, "select 1 as good, 2 as total")
DOCUMENTS = catalog(slo(), slo(name="a,b"), slo(RatioMetric(good=SQL, total=SQL), name="in-sql"))


def expressions() -> list[str]:
    return [target["expr"] for panel in grafana_dashboard(DOCUMENTS)["panels"] for target in panel["targets"]]


def test_dashboard_lists_slos_with_series() -> None:
    board = grafana_dashboard(DOCUMENTS, title="Shop")
    assert json.loads(json.dumps(board)) == board == grafana_dashboard(DOCUMENTS, title="Shop")
    _, service, variable = board["templating"]["list"]
    assert service["query"] == "myservice"
    assert [option["value"] for option in variable["options"]] == ["$__all", "requests-availability", "a,b"]
    assert variable["query"] == "requests-availability,a\\,b"
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])


def test_panels_fit_without_overlap() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in grafana_dashboard(DOCUMENTS)["panels"]:
        place = panel["gridPos"]
        cells = {(x, y) for x in range(place["x"], place["x"] + place["w"]) for y in range(place["y"], place["y"] + place["h"])}
        assert not cells & taken
        assert place["x"] + place["w"] <= 24
        taken |= cells


def test_panels_show_only_recorded_series() -> None:
    recorded = {rule.get("record") for group in yaml.safe_load(rules(DOCUMENTS))["groups"] for rule in group["rules"]}
    shown = {name for expr in expressions() for name in re.findall(r"(slo:[a-z_]+:[a-z_]+)\{", expr)}
    assert len(shown) == 4
    assert shown <= recorded


def test_panel_expressions_are_promql(tmp_path: Path) -> None:
    group = [{"record": f"x:{number}", "expr": expr} for number, expr in enumerate(expressions())]
    (tmp_path / "rules.yml").write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": group}]}))
    done = subprocess.run([need("promtool"), "check", "rules", "rules.yml"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_dashboard_without_series_raises_value_error() -> None:
    with pytest.raises(ValueError, match="nothing to draw"):
        grafana_dashboard(catalog(slo(RatioMetric(good=SQL, total=SQL))))
