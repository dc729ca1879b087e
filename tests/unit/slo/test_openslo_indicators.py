"""Indicators of OpenSLO documents: references to other documents, SQL and ledger sources."""

from __future__ import annotations

from fractions import Fraction

import pytest

from airflow_slo_provider.slo.model import RatioMetric, ThresholdMetric
from tests.unit.slo.documents import (
    INDICATOR_TEXT,
    INLINE,
    SERVICE_TEXT,
    SLO_TEXT,
    SOURCE_TEXT,
    catalog_of,
    changed,
    faults,
    joined,
)


def test_references_resolve_in_any_order() -> None:
    slo = SLO_TEXT.replace(INLINE, "  indicatorRef: latency\n")
    slo = changed(slo, "target: 0.999", "target: 0.999\n      op: lte\n      value: 0.25")
    catalog = catalog_of(joined(slo, INDICATOR_TEXT, SERVICE_TEXT, SOURCE_TEXT))
    (objective,) = catalog["checkout"].objectives
    indicator = catalog["checkout"].indicator_of(objective)
    assert isinstance(indicator.metric, ThresholdMetric)
    assert (indicator.name, indicator.source_type, indicator.source_ref) == ("latency", "Prometheus", "metrics")
    assert (objective.op, objective.value) == ("lte", Fraction(1, 4))


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("indicatorRef: latency", "indicatorRef: latenzy", "no SLI named 'latenzy' among these documents; did you mean"),
        ("metricSourceRef: metrics", "metricSourceRef: metric", "there is no DataSource named 'metric' among these documents"),
        ("value: 0.25", "displayName: x", "spec.objectives[0].value: is required: the indicator is a thresholdMetric"),
        ("type: Prometheus", "type: SQL", "metricSource.spec.query: an indicator is one SELECT or WITH ... SELECT, this begins"),
        ("thresholdMetric", "tresholdMetric", "spec.tresholdMetric: unknown field; did you mean 'thresholdMetric'?"),
        ("query: max(latency_seconds)", "query: ''", "metricSource.spec.query: is required, and it is empty"),
    ],
)  # fmt: skip
def test_unresolved_references_are_errors(old: str, new: str, expected: str) -> None:
    slo = SLO_TEXT.replace(INLINE, "  indicatorRef: latency\n")
    slo = changed(slo, "target: 0.999", "target: 0.999\n      op: lte\n      value: 0.25")
    found = faults(changed(joined(slo, INDICATOR_TEXT, SERVICE_TEXT, SOURCE_TEXT), old, new))
    assert any(expected in fault for fault in found), found
    assert len([fault for fault in found if expected in fault]) == 1


def test_sql_query_with_good_and_total_is_read() -> None:
    ratio = INLINE[INLINE.index("        counter: true") :]
    sql = (
        "        metricSource:\n          metricSourceRef: log\n          spec:\n"
        "            query: SELECT good, total FROM t WHERE ts >= :date_from AND ts < :date_to\n"
    )
    source = changed(changed(SOURCE_TEXT, "type: Prometheus", "type: SQL"), "name: metrics", "name: log")
    slo = catalog_of(joined(changed(SLO_TEXT, ratio, sql), source, SERVICE_TEXT))["checkout"]
    assert slo.indicator is not None
    metric = slo.indicator.metric
    assert isinstance(metric, RatioMetric)
    assert metric.good is metric.total
    assert slo.indicator.source_type == "SQL"


def test_sql_indicator_without_database_is_a_warning() -> None:
    for part in ("metricSourceRef: log", "type: SQL"):
        sql = (
            f"        metricSource:\n          {part}\n          spec:\n"
            "            query: SELECT good, total FROM t WHERE ts >= :date_from AND ts < :date_to\n"
        )
        slo = changed(SLO_TEXT, INLINE[INLINE.index("        counter: true") :], sql)
        source = "apiVersion: openslo/v1\nkind: DataSource\nmetadata: {name: log}\nspec: {type: SQL, connectionDetails: {}}\n"
        with_source = catalog_of(joined(slo, SERVICE_TEXT, source)).warnings
        assert ["names no database; add airflowConnId" in str(one) for one in with_source] == [True]
    (alone,) = catalog_of(joined(slo, SERVICE_TEXT)).warnings
    assert "no DataSource of type SQL names the database" in str(alone)


def test_sql_source_options_are_read() -> None:
    def text(**options: str) -> str:
        more = "".join(f"            {key}: {value}\n" for key, value in options.items())
        sql = (
            "        metricSource:\n          metricSourceRef: log\n          spec:\n"
            f"            query: SELECT good, total FROM t WHERE ts >= :date_from AND ts < :date_to\n{more}"
        )
        source = changed(changed(SOURCE_TEXT, "type: Prometheus", "type: SQL"), "name: metrics", "name: log")
        return joined(changed(SLO_TEXT, INLINE[INLINE.index("        counter: true") :], sql), source, SERVICE_TEXT)

    indicator = catalog_of(text(timeFormat="epoch", timeZone="Europe/Berlin"))["checkout"].indicator
    assert indicator is not None
    spec = indicator.metric.sources[0].spec
    assert (spec["timeFormat"], spec["timeZone"]) == ("epoch", "Europe/Berlin")
    assert any("timeFormat" in one for one in faults(text(timeFormat="unix")))
    assert any("'Europe/Berlyn' is not an IANA time zone; did you mean" in one for one in faults(text(timeZone="Europe/Berlyn")))
    assert any("timeFormt: unknown field; did you mean 'timeFormat'?" in one for one in faults(text(timeFormt="epoch")))


LEDGER_TEXT = """\
apiVersion: openslo/v1
kind: SLO
metadata:
  name: model-fresh
spec:
  service: shop
  indicator:
    metadata:
      name: fresh
    spec:
      ratioMetric:
        metricSource:
          type: Ledger
          spec:
            check: model
            kind: freshness
            unknown: ignore
            events: false
  timeWindow:
    - duration: 7d
      isRolling: true
  budgetingMethod: Occurrences
  objectives:
    - target: 0.9
"""


def test_ledger_source_options_are_read() -> None:
    indicator = catalog_of(joined(LEDGER_TEXT, SERVICE_TEXT))["model-fresh"].indicator
    assert indicator is not None
    (source, _) = indicator.metric.sources
    assert (source.query, source.spec["unknown"], source.spec["events"]) == ("model", "ignore", False)
    assert faults(changed(joined(LEDGER_TEXT, SERVICE_TEXT), "unknown: ignore", "unknown: ignored")) == [
        "<text>:17: SLO/model-fresh spec.indicator.spec.ratioMetric.metricSource.spec.unknown: 'ignored' is none of bad, ignore; "
        "did you mean 'ignore'?"
    ]
