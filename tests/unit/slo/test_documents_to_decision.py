"""From the text of documents to what a gate does: what is written is what happens."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

import pytest

from airflow_slo_provider.exceptions import MeasurementError, QueryError
from airflow_slo_provider.slo import Decision, GateOutcome, PolicyState, SLOMonitor, decide, load
from airflow_slo_provider.slo.policy.error_budget_policy import Action
from tests.support import REPO
from tests.unit.slo.documents import changed, ratio_document
from tests.unit.slo.monitor_builders import AT, HOUR, Events, MemorySource, steady

TEXT = """\
apiVersion: openslo/v1
kind: SLO
metadata:
  name: answers
  annotations:
    airflow-slo/error-budget-policy: gate
    airflow-slo/min-events: "10"
spec:
  service: shop
  indicator:
    spec:
      ratioMetric:
        metricSource:
          type: SQL
          spec:
            query: SELECT good, total FROM api WHERE ts >= :date_from AND ts < :date_to
  timeWindow:
    - duration: 30d
      isRolling: true
  budgetingMethod: Occurrences
  objectives:
    - target: 0.99
---
apiVersion: airflow-slo/v1
kind: ErrorBudgetPolicy
metadata:
  name: gate
spec:
  rules:
    - name: spent
      action: freeze
      when: {signal: remainingBudget, enter: 0, exit: 0.5}
    - name: burns
      action: escalate
      when: {signal: burnRate, window: 1h, enter: 20, exit: 5}
    - name: soon
      action: reduce_experimentation
      when: {signal: timeToExhaustion, enter: 1d}
"""

QUERY = "SELECT good, total FROM api WHERE ts >= :date_from AND ts < :date_to"


def decision(text: str, events: Events | MeasurementError, previous: Mapping[str, PolicyState] | None = None) -> Decision:
    catalog = load(text)
    return decide(SLOMonitor(catalog, MemorySource(**{QUERY: events})).evaluate(AT), catalog, previous=previous)


def bad_share(thousandth: int) -> Events:
    return [(HOUR * hour + HOUR / 2, 1000 - thousandth, thousandth) for hour in range(720)]


@pytest.mark.parametrize(
    ("thousandth", "outcome"),
    [(0, GateOutcome.ALLOWED), (4, GateOutcome.ALLOWED), (10, GateOutcome.FROZEN), (11, GateOutcome.FROZEN)],
)
def test_decision_with_spent_budget_freezes(thousandth: int, outcome: GateOutcome) -> None:
    assert decision(TEXT, bad_share(thousandth)).outcome is outcome


def test_freeze_ends_only_past_exit_level() -> None:
    frozen = decision(TEXT, bad_share(10))
    held = {one.report.name: one.state for one in frozen.slos}
    assert decision(TEXT, bad_share(6), held).outcome is GateOutcome.FROZEN
    assert decision(TEXT, bad_share(6)).outcome is not GateOutcome.FROZEN
    assert decision(TEXT, bad_share(4), held).outcome is GateOutcome.ALLOWED


def test_burn_rate_rule_uses_documents_window() -> None:
    events = [*steady(0, until=HOUR), (HOUR / 2, 70, 30)]
    found = decision(TEXT, events)
    assert (found.outcome, found.action) == (GateOutcome.FROZEN, Action.ESCALATE)
    assert any("rule burns" in reason for reason in found.reasons)


@pytest.mark.parametrize(
    ("word", "outcome"),
    [(None, GateOutcome.UNKNOWN), ("block", GateOutcome.UNKNOWN), ("warn", GateOutcome.WARNING), ("allow", GateOutcome.ALLOWED)],
)
@pytest.mark.parametrize(("key", "events"), [("onNoData", []), ("onError", QueryError("refused"))])
def test_failed_query_follows_on_error_of_document(
    word: str | None, outcome: GateOutcome, key: str, events: Events | MeasurementError
) -> None:
    text = TEXT if word is None else changed(TEXT, "  rules:\n", f"  {key}: {word}\n  rules:\n")
    assert decision(text, events).outcome is outcome


def test_override_applies_to_named_slos_until_its_end() -> None:
    until = (AT + timedelta(minutes=1)).isoformat()
    override = f"  overrides:\n    - {{action: allow, until: '{until}', reason: The fix must go out., slos: [answers]}}\n"
    found = decision(TEXT + override, bad_share(20))
    assert found.outcome is GateOutcome.ALLOWED
    assert any("The fix must go out." in reason for reason in found.reasons)
    assert decision(TEXT + override.replace(until, AT.isoformat()), bad_share(20)).outcome is GateOutcome.FROZEN
    assert decision(TEXT + override.replace("[answers]", "[other]"), bad_share(20)).outcome is GateOutcome.FROZEN


def test_default_policy_freezes_spent_and_blocks_no_data() -> None:
    text = changed(TEXT[: TEXT.index("---")], "    airflow-slo/error-budget-policy: gate\n", "")
    assert decision(text, bad_share(10)).outcome is GateOutcome.FROZEN
    assert decision(text, bad_share(0)).outcome is GateOutcome.ALLOWED
    assert decision(text, []).outcome is GateOutcome.UNKNOWN


@pytest.mark.parametrize("directory", ["slos", "slos_prometheus"])
@pytest.mark.parametrize(("bad", "outcome"), [(0, GateOutcome.ALLOWED), (1, GateOutcome.FROZEN), (20, GateOutcome.FROZEN)])
def test_demo_documents_load(directory: str, bad: int, outcome: GateOutcome) -> None:
    """Out of 100: 0 failing is promoted, 1 of the 1 % promised is the whole budget."""
    catalog = load(REPO / "demo" / directory)
    queries = {one.indicator.metric.sources[0].query for one in catalog if one.indicator}
    source = MemorySource()
    source.events = {query: [(timedelta(minutes=5), 1000 - 10 * bad, 10 * bad)] for query in queries}
    assert decide(SLOMonitor(catalog, source).evaluate(AT), catalog).outcome is outcome


@pytest.mark.parametrize("signal", ["{signal: remainingBudget, enter: 0.5}", "{signal: remainingBudget, enter: -0.9}"])
@pytest.mark.parametrize("bad", [0, 1, 9])
def test_decision_on_declared_counts_says_once_that_they_are_not_proven(bad: int, signal: str) -> None:
    queries = {"bad": "sum(increase(e_total[{{.window}}])) default 0", "total": "sum(increase(r_total[{{.window}}]))"}
    annotations = 'airflow-slo/counts: "events"\n    airflow-slo/error-budget-policy: gate'
    policy = TEXT[TEXT.index("---") : TEXT.index("  rules:")] + f"  rules: [{{name: half, action: alert, when: {signal}}}]\n"
    catalog = load(ratio_document(queries, annotation=annotations) + policy)
    (report,) = SLOMonitor(catalog, MemorySource(**{queries["bad"]: bad_share(bad)})).evaluate(AT)
    note = "counts declared by the author (airflow-slo/counts), not proven"
    assert report.message.count(note) == 1
    decided = decide([report], catalog)
    assert str(decided.reasons).count(note) == 1
    assert str(decided.slos[0].reasons).count(note) == 1
    (unknown,) = SLOMonitor(catalog, MemorySource(**{queries["bad"]: []})).evaluate(AT)
    assert note not in str(decide([unknown], catalog).reasons), "nothing was counted"
