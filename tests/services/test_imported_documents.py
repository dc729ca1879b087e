"""Imported documents, as rules in Prometheus' own engine: the numbers are those of the tools they were written for."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest

from airflow_slo_provider import slo
from tests.services.promtool import equals, nothing, run

SLO_GENERATOR = """\
apiVersion: sre.google.com/v2
kind: ServiceLevelObjective
metadata:
  name: requests
  labels: {{service_name: shop}}
spec:
  backend: prometheus
  method: {method}
  service_level_indicator:
{sli}
  goal: 0.99
"""
SLOTH = """\
version: prometheus/v1
service: shop
slos:
  - name: requests
    objective: 99
    sli:
      raw:
        error_ratio_query: |
          sum(rate(failed_total[{{.window}}]))
          / (sum(rate(ok_total[{{.window}}])) + sum(rate(failed_total[{{ .window }}])))
"""
GOOD_BAD = SLO_GENERATOR.format(method="good_bad_ratio", sli="    filter_good: ok_total\n    filter_bad: failed_total")
FORMS = {
    "good-valid": SLO_GENERATOR.format(method="good_bad_ratio", sli="    filter_good: ok_total\n    filter_valid: took_count"),
    "good-bad": GOOD_BAD,
    "query-sli": SLO_GENERATOR.format(
        method="query_sli",
        sli="    expression: sum(rate(ok_total[window])) / (sum(rate(ok_total[window])) + sum(rate(failed_total[window])))",
    ),
    "cut": SLO_GENERATOR.format(method="distribution_cut", sli="    expression: took_bucket\n    threshold_bucket: 0.25"),
    "sloth-raw": SLOTH,
}
RATIO = "slo:sli_error:ratio_rate1h"


def series(**values: str) -> list[dict[str, str]]:
    return [{"series": name, "values": text} for name, text in values.items()]


@pytest.mark.parametrize("form", FORMS)
def test_imported_slos_measure_two_percent_failures(tmp_path: Path, form: str) -> None:
    counters = series(ok_total="0+98x120", failed_total="0+2x120", took_count="0+100x120")
    counters.append({"series": 'took_bucket{le="0.25"}', "values": "0+98x120"})
    counters.append({"series": 'took_bucket{le="1.0"}', "values": "0+100x120"})
    case = {"interval": "1m", "input_series": counters, "promql_expr_test": [equals(RATIO, Fraction(2, 100), "2h")]}
    run(tmp_path, slo.rules(slo.load(FORMS[form])), case)


def test_empty_good_or_bad_counts_as_zero_only_if_its_metric_exists(tmp_path: Path) -> None:
    def case(expected: list[dict[str, object]], **values: str) -> dict[str, object]:
        return {"interval": "1m", "input_series": series(**values), "promql_expr_test": expected}

    run(
        tmp_path,
        slo.rules(slo.load(GOOD_BAD)),
        case([equals(RATIO, 0, "2h")], ok_total="0+98x120", failed_total="0+0x120"),
        case([equals(RATIO, 1, "2h")], ok_total="0+0x120", failed_total="0+2x120"),
        case([nothing(RATIO, "2h")], ok_total="0+98x120"),
        case([nothing(RATIO, "2h")], failed_total="0+2x120"),
        case([nothing(RATIO, "2h")], other_total="0+2x120"),
    )
