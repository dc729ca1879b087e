"""A budget is the same number in the table, in the report, on the page and in the sentence."""

from __future__ import annotations

from datetime import UTC, datetime
from fractions import Fraction

import pytest

from airflow_slo_provider import slo
from airflow_slo_provider.plugins.slo_page import formatting
from airflow_slo_provider.slo.budget.history import format_history_table, summarise_history
from airflow_slo_provider.slo.budget.indicator_source import Measurement
from airflow_slo_provider.slo.budget.ledger_records import slo_checks
from airflow_slo_provider.slo.budget.text_table import table

AT = datetime(2026, 3, 1, tzinfo=UTC)
DOCUMENT = """apiVersion: openslo/v1
kind: SLO
metadata: {name: answered}
spec:
  service: shop
  indicatorRef: answered
  timeWindow: [{duration: 30d, isRolling: true}]
  budgetingMethod: Occurrences
  objectives: [{displayName: most, target: 0.99}]
---
apiVersion: openslo/v1
kind: Service
metadata: {name: shop}
spec: {}
---
apiVersion: openslo/v1
kind: DataSource
metadata: {name: log}
spec: {type: SQL, connectionDetails: {airflowConnId: log}}
---
apiVersion: openslo/v1
kind: SLI
metadata: {name: answered}
spec:
  ratioMetric:
    metricSource: {metricSourceRef: log, spec: {query: "SELECT 1 WHERE :date_from < :date_to"}}
"""


class Counted:
    """A source that has counted."""

    def __init__(self, good: int, total: int) -> None:
        self.found = Measurement.of_counts(Fraction(good), Fraction(total), query="counted")

    def measure(self, requests):
        return [self.found for _ in requests]

    def coverage(self, requests):
        return [Fraction(1) for _ in requests]


@pytest.mark.parametrize(
    ("bad", "shown"),
    [(8131, "18.6 %"), (3, "99.9 %"), (9997, "0.03 %"), (0, "100 %"), (20_481, "-104.9 %"), (20_489, "-104.9 %")],
)
def test_budget_text_is_equal_in_tables_page_and_message(bad, shown):
    total = 1_000_000
    source = Counted(total - bad, total)
    (report,) = slo.SLOMonitor(slo.load(DOCUMENT), lambda *_: source).evaluate(at=AT)
    decision = slo.decide([report], slo.load(DOCUMENT))
    (check,) = slo_checks(decision)
    padded = shown.replace(" %", ".0 %") if "." not in shown else shown
    assert f"  {padded}  " in table([report]).splitlines()[-1]
    assert f"| {padded} | {padded} |" in format_history_table(summarise_history([check]))
    assert formatting.format_budget(check.evidence["remaining"]).replace(formatting.NO_BREAK_SPACE, " ") == shown
    if bad < 10_000:
        assert f"{shown} of the error budget is left" in report.message
    else:
        assert report.message == "the error budget is spent: 204.9 % of it is used"
