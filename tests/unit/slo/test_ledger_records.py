"""What is recorded of a decision, what travels in XCom, and what a log shows."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from fractions import Fraction

import pytest

from airflow_slo_provider.documents.durations import parse_duration
from airflow_slo_provider.exceptions import QueryError
from airflow_slo_provider.results import Verdict
from airflow_slo_provider.slo.budget import text_table as table
from airflow_slo_provider.slo.budget.ledger_records import decision_check, policy_state, slo_checks, summary
from airflow_slo_provider.slo.budget.monitor import SLOMonitor
from airflow_slo_provider.slo.budget.reports import Decision, PolicyState
from airflow_slo_provider.slo.model import BudgetingMethod
from airflow_slo_provider.slo.policy.decisions import decide
from airflow_slo_provider.slo.policy.error_budget_policy import Action
from tests.unit.slo.monitor_builders import AT, DAY, HOUR, MemorySource, catalog, slo, steady

LOST = QueryError("no answer", reason="timeout", transient=True, query="sum(x)", source="http://prometheus")


def gate_decision() -> Decision:
    documents = catalog(slo("fine", target="0.98"), slo("spent"), slo("lost"), slo("few", min_events=9**9))
    source = MemorySource(fine=steady(1), spent=steady(2), lost=LOST, few=steady(1))
    return decide(SLOMonitor(documents, source).evaluate(AT), documents)


def test_slo_checks_return_one_check_per_objective() -> None:
    checks = {check.name: check for check in slo_checks(gate_decision())}
    assert {name: check.verdict for name, check in checks.items()} == {
        "fine": Verdict.PASS,
        "spent": Verdict.FAIL,
        "lost": Verdict.UNKNOWN,
        "few": Verdict.WARN,
    }
    fine = checks["fine"]
    assert (fine.kind, fine.value, fine.unit, fine.target, fine.op) == ("slo", 0.99, "ratio", 0.98, "gte")
    assert (fine.good, fine.total) == (71_280, 72_000)
    assert (fine.checked_at, fine.interval_end, fine.interval_start) == (AT, AT, AT - timedelta(days=30))
    assert fine.evidence["remaining"] == 0.5
    assert fine.evidence["query"] == "fine"
    lost = checks["lost"]
    assert lost.value is None
    assert lost.evidence["error"] == {"reason": "timeout", "transient": True, "asked": "http://prometheus"}
    assert lost.evidence["query"] == "sum(x)"


def test_policy_state_round_trips_through_evidence() -> None:
    (check,) = [check for check in slo_checks(gate_decision()) if check.name == "spent"]
    assert policy_state(json.loads(json.dumps(dict(check.evidence)))) == PolicyState(("budget-spent",), Action.FREEZE, AT)
    assert policy_state({}) is None
    with pytest.raises(ValueError, match="not a policy state"):
        policy_state({"policy_state": {"holding": []}})


def test_decision_check_records_outcome_and_action() -> None:
    check = decision_check(gate_decision(), name="dag.gate")
    assert (check.kind, check.name, check.verdict, check.checked_at) == ("decision", "dag.gate", Verdict.FAIL, AT)
    assert check.evidence["slos"]["lost"] == "QUERY_ERROR"
    assert "spent: rule budget-spent" in check.message


@pytest.mark.parametrize(
    ("bad", "status", "outcome", "verdict"),
    [
        (0, "HEALTHY", "allowed", Verdict.PASS),
        (9, "WARNING", "warning", Verdict.WARN),
        (10, "EXHAUSTED", "frozen", Verdict.FAIL),
        (None, "QUERY_ERROR", "unknown", Verdict.UNKNOWN),
    ],
)
def test_readers_of_the_ledger_find_these_words(bad: int | None, status: str, outcome: str, verdict: Verdict) -> None:
    documents = catalog(slo(target="0.9"))
    events = LOST if bad is None else [(10 * DAY, 100 - bad, bad)]
    decision = decide(SLOMonitor(documents, MemorySource(api=events)).evaluate(AT), documents)
    check = decision_check(decision, name="gate", more={"complete": True})
    assert (check.evidence["outcome"], check.verdict, check.evidence["complete"]) == (outcome, verdict, True)
    assert (check.evidence["slos"], check.evidence["services"]) == ({"api": status}, {"api": "shop"})
    (one,) = slo_checks(decision)
    assert (one.evidence["status"], one.evidence["outcome"]) == (status, outcome)


def test_record_says_how_it_was_measured() -> None:
    sliced = {"time_slice_target": Fraction(9, 10), "time_slice_window": parse_duration("1h")}
    documents = catalog(slo("whole", tier="critical"), slo("sliced", method=BudgetingMethod.TIMESLICES, **sliced))
    source = MemorySource(whole=steady(1), sliced=steady(1))
    whole, sliced_one = (check.evidence for check in slo_checks(decide(SLOMonitor(documents, source).evaluate(AT), documents)))
    assert (whole["method"], whole["tier"], whole["window"]) == ("Occurrences", "critical", "30d")
    assert not {"time_slice", "missing_slices", "group", "retired", "error", "name", "message"} & set(whole)
    assert (sliced_one["method"], sliced_one["time_slice"], sliced_one["missing_slices"]) == ("Timeslices", "1h", "bad")
    assert whole["burn_rates"] == dict.fromkeys(["5m", "30m", "1h", "2h", "6h", "1d", "3d"], 1.0) | {"5m": None}


@pytest.mark.parametrize(("length", "shown"), [(500, "x" * 500), (501, "x" * 497 + "...")])
def test_long_message_is_cut_in_xcom_only(length: int, shown: str) -> None:
    documents = catalog(slo("lost"))
    error = QueryError("x" * length, reason="timeout", transient=True)
    decision = decide(SLOMonitor(documents, MemorySource(lost=error)).evaluate(AT), documents)
    assert summary(decision)["slos"][0]["message"] == shown
    assert slo_checks(decision)[0].message == "x" * length


@pytest.mark.parametrize("since", [None, AT])
def test_policy_state_is_read_as_it_was_written(since: datetime | None) -> None:
    state = PolicyState(("a", "b"), Action.ESCALATE, since)
    assert PolicyState.from_dict(json.loads(json.dumps(state.to_dict()))) == state
    with pytest.raises(ValueError, match="has no time zone"):
        PolicyState.from_dict(state.to_dict() | {"blocked_since": "2026-11-01T00:00:00"})


def test_summary_is_small_json() -> None:
    found = json.loads(json.dumps(summary(gate_decision())))
    assert (found["schema_version"], found["outcome"], found["action"], found["allowed"]) == (1, "frozen", "freeze", False)
    assert [one["status"] for one in found["slos"]] == ["HEALTHY", "EXHAUSTED", "QUERY_ERROR", "LOW_TRAFFIC"]
    assert (found["slos"][2]["sli"], found["at"]) == (None, AT.isoformat())


def test_format_decision_lies_between_markers() -> None:
    text = table.format_decision(gate_decision())
    lines = text.splitlines()
    assert (lines[0], lines[-1]) == (table.BEGIN, table.END)
    rows = {line.split()[0]: line.split() for line in lines[3:7]}
    assert lines[1].split("  ")[0].strip() == "SLO"
    assert rows["fine"] == ["fine", "98", "%", "/", "30d", "99.0000", "%", "50.0", "%", "7h", "12m", "0.50", "30d", "HEALTHY"]
    assert rows["spent"][-2:] == ["spent", "EXHAUSTED"]
    assert rows["lost"] == ["lost", "99", "%", "/", "30d", "-", "-", "-", "-", "-", "QUERY_ERROR"]
    assert "decision: frozen (action: freeze)" in lines


def test_format_decision_unknown_is_not_shown_as_freeze() -> None:
    documents = catalog(slo("lost"))
    reports = SLOMonitor(documents, MemorySource(lost=QueryError("refused", reason="refused"))).evaluate(AT)
    assert "decision: unknown (blocks as freeze does)" in table.format_decision(decide(reports, documents)).splitlines()


def test_table_shares_are_rounded_down() -> None:
    documents = catalog(slo(target="0.999"))
    reports = SLOMonitor(documents, MemorySource(api=[(HOUR, 99_999_999, 1)])).evaluate(AT)
    row = table.table(reports).splitlines()[-1]
    assert "99.9999 %" in row
    assert "99.9 %" in row.split("/")[0]
    assert reports[0].remaining == 1 - Fraction(1, 100_000)
    assert " 99.9 %" in row.split("99.9999 %")[1]
